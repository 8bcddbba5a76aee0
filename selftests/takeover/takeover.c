// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_takeover.ko: the kernel's own hmm_range_fault(), called by a module that knows
 * nothing about it, before, while and after it is taken over.
 */
#include "range_fault.h"

#include <cpuid.h>
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>

#include "dmirror_test.h"
#include "mirror/mirror_test/mirror_test.h"

#define MODULE		"/modules/hmm_takeover.ko"
#define LIVEPATCH	"/sys/kernel/livepatch/hmm_takeover/"
#define CALLERS		"/sys/kernel/debug/hmm_takeover/callers"
#define CALLER		"hmm_range_fault_test"

#define NPAGES		512
#define NR_CHILDREN	2

/* A transition looks at all tasks once a second. */
#define TRANSITION_MS	200000
#define SLEEP_MS	4000
#define PAUSE_MS	20

/*
 * To begin and to end a transition, livepatch patches every cond_resched() of the running
 * kernel. QEMU's emulator may translate such a place just when another processor changes
 * it, keep the breakpoint that was there in between, and run into it ever after, which
 * the kernel takes for an oops. This cannot happen with one processor.
 */
static void use_one_processor(bool one)
{
	unsigned int eax, signature[3];

	__cpuid(0x40000000, eax, signature[0], signature[1], signature[2]);
	if (!memcmp(signature, "TCGTCGTCGTCG", sizeof(signature)))
		write_text("/sys/devices/system/cpu/cpu1/online", one ? "0" : "1");
}

static int load_takeover(void)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	int error;

	if (fd < 0)
		return errno;
	error = syscall(__NR_finit_module, fd, "", 0) ? errno : 0;
	close(fd);
	return error;
}

static int unload_takeover(void)
{
	return syscall(__NR_delete_module, "hmm_takeover", O_NONBLOCK) ?
	       errno : 0;
}

static bool in_transition(void)
{
	return read_number(LIVEPATCH "transition", 0);
}

static bool is_active(void)
{
	return read_number(LIVEPATCH "enabled", 0) && !in_transition();
}

/* Says which tasks a transition waits for. */
static void print_laggards(void)
{
	bool enabled = read_number(LIVEPATCH "enabled", 0);
	struct dirent *entry;
	DIR *tasks = opendir("/proc");
	char path[300], name[64];
	FILE *file;

	while (tasks && (entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/%s/patch_state",
			 entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		/* -1: not in a transition, 0: not patched, 1: patched */
		if (fgets(name, sizeof(name), file) && atoi(name) == !enabled) {
			fclose(file);
			snprintf(path, sizeof(path), "/proc/%s/comm",
				 entry->d_name);
			file = fopen(path, "re");
			if (file && fgets(name, sizeof(name), file))
				printf("# waits for %s %s", entry->d_name,
				       name);
		}
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
}

static bool wait_until_active(void)
{
	int waited;

	for (waited = 0; waited < TRANSITION_MS; waited += PAUSE_MS) {
		if (is_active())
			return true;
		sleep_ms(PAUSE_MS);
		if (waited % 5000 == 4980)
			print_laggards();
	}
	return false;
}

static bool take_over(void)
{
	int error = load_takeover();

	if (error)
		printf("# insmod: %s\n", strerror(error));
	return !error && wait_until_active();
}

/* Disables and unloads it. Livepatch releases the module a moment later. */
static bool wait_until_unloaded(void)
{
	int waited, error = 0;

	for (waited = 0; waited < TRANSITION_MS; waited += PAUSE_MS) {
		error = unload_takeover();
		if (!error)
			return true;
		sleep_ms(PAUSE_MS);
	}
	printf("# rmmod: %s\n", strerror(error));
	return false;
}

static bool disable(void)
{
	return write_text(LIVEPATCH "enabled", "0");
}

static bool give_back(void)
{
	return disable() && wait_until_unloaded();
}

/* A number from the caller's line, or 0. */
static unsigned long caller_number(const char *what)
{
	char line[256];
	unsigned long number = 0;
	FILE *file = fopen(CALLERS, "re");

	while (file && fgets(line, sizeof(line), file)) {
		char *found = strstr(line, what);

		if (!strncmp(line, CALLER " ", strlen(CALLER) + 1) && found)
			number = strtoul(found + strlen(what), NULL, 10);
	}
	if (file)
		fclose(file);
	return number;
}

FIXTURE(takeover)
{
	int fd;
	__u64 words[NPAGES];
	__u64 kernels[NPAGES];
};

FIXTURE_SETUP(takeover)
{
	void *page;

	if (access("/sys/kernel/livepatch", F_OK))
		SKIP(return, "this kernel has no CONFIG_LIVEPATCH");
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	page = map_anonymous(1);
	ASSERT_NE(NULL, page);
	if (ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, page, 1,
		SNAPSHOT) == EOPNOTSUPP)
		SKIP(return, "this kernel has no CONFIG_HMM_MIRROR");
	use_one_processor(true);
}

/* Whatever a test has left behind, the next one begins with the kernel's own function. */
FIXTURE_TEARDOWN(takeover)
{
	close(self->fd);
	if (!access(LIVEPATCH, F_OK)) {
		disable();
		EXPECT_TRUE(wait_until_unloaded());
	}
	use_one_processor(false);
}

/* If there is nothing to take over, loading it fails, and the log says why. */
TEST(refused_without_hmm)
{
	char line[4096];
	bool said = false;
	ssize_t size;
	int log;

	if (access("/sys/kernel/livepatch", F_OK))
		SKIP(return, "this kernel has no CONFIG_LIVEPATCH");
	if (file_has_word("/proc/kallsyms", "hmm_range_fault"))
		SKIP(return, "this kernel has hmm_range_fault()");
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, log);
	ASSERT_LE(0, lseek(log, 0, SEEK_END));
	EXPECT_EQ(EOPNOTSUPP, load_takeover());
	while ((size = read(log, line, sizeof(line) - 1)) > 0) {
		line[size] = '\0';
		said |= strstr(line, "hmm_takeover: cannot take over") &&
			strstr(line, "hmm_range_fault()");
	}
	EXPECT_TRUE(said);
	EXPECT_NE(0, access("/sys/module/hmm_takeover", F_OK));
	close(log);
}

static int ask_kernel(struct __test_metadata *_metadata, int fd,
		      const void *start, size_t npages, __u64 default_flags,
		      const __u64 *words)
{
	const struct request request = {
		.call = RANGE_FAULT_TEST_KERNEL,
		.start = start,
		.npages = npages,
		.default_flags = default_flags,
		.words = words,
		.mask = words ? REQ_BITS : 0,
		.max_retries = 1000,
	};

	return ask_request(_metadata, fd, &request);
}

/*
 * One page of a hole is asked for: the kernel's own function fills the whole hole, which
 * tells who has answered.
 */
static size_t pages_faulted_for_one(struct __test_metadata *_metadata, int fd,
				    __u64 *words)
{
	char *start = map_anonymous_aligned(NPAGES, NPAGES * page_size());
	size_t faulted;

	ASSERT_NE(NULL, start);
	memset(words, 0, NPAGES * sizeof(*words));
	words[7] = REQ_FAULT | REQ_WRITE;
	EXPECT_EQ(0, ask_kernel(_metadata, fd, start, NPAGES, 0, words));
	EXPECT_EQ(WORD_VALID | WORD_WRITE, answer.words[7] & WORD_STATE);
	faulted = resident_pages(start);
	munmap(start, NPAGES * page_size());
	return faulted;
}

TEST_F_TIMEOUT(takeover, takes_over_and_gives_back, 300)
{
	size_t before, during, after;

	before = pages_faulted_for_one(_metadata, self->fd, self->words);
	ASSERT_TRUE(take_over());
	during = pages_faulted_for_one(_metadata, self->fd, self->words);
	EXPECT_LT(0, caller_number("calls "));
	EXPECT_EQ(NPAGES, caller_number("pages "));
	EXPECT_EQ(1, caller_number("faults "));

	/*
	 * It is loaded only once; it is in use as long as it is enabled, and so is what
	 * it calls.
	 */
	EXPECT_EQ(EEXIST, load_takeover());
	EXPECT_TRUE(is_active());
	EXPECT_EQ(EWOULDBLOCK, unload_takeover());
	EXPECT_NE(0, syscall(__NR_delete_module, "hmm_mirror", O_NONBLOCK));

	ASSERT_TRUE(give_back());
	after = pages_faulted_for_one(_metadata, self->fd, self->words);
	TH_LOG("pages faulted, one of %d asked for: %zu, taken over %zu, given back %zu",
	       NPAGES, before, during, after);
	EXPECT_EQ(NPAGES, before);
	EXPECT_EQ(1, during);
	EXPECT_EQ(NPAGES, after);
	EXPECT_NE(0, access(CALLERS, F_OK));

	/* Again, as if new: the counts are gone. */
	ASSERT_TRUE(take_over());
	EXPECT_EQ(0, caller_number("calls "));
}

/* Memory of some kinds, in which hmm_range_fault() fills no neighbours. */
static char *map_mixture(void)
{
	char *start = map_anonymous_aligned(NPAGES, NPAGES * page_size());
	size_t i;

	if (!start)
		return NULL;
	for (i = 0; i < NPAGES; i += 4) {
		*page_at(start, i) = 1;
		touch_page(page_at(start, i + 1));
		*page_at(start, i + 2) = 1;
	}
	if (mprotect(page_at(start, 128), 64 * page_size(), PROT_READ))
		return NULL;
	return start;
}

/*
 * A snapshot by the kernel's own function, or, once taken over, by ours in its place, and
 * by ours directly: always the same words.
 */
static void expect_same_snapshot(struct __test_metadata *_metadata, int fd,
				 const char *start, __u64 *kernels)
{
	size_t size = NPAGES * sizeof(*kernels);

	ASSERT_EQ(0, ask_kernel(_metadata, fd, start, NPAGES, SNAPSHOT, NULL));
	if (!is_active()) {
		memcpy(kernels, answer.words, size);
		return;
	}
	EXPECT_EQ(0, memcmp(kernels, answer.words, size));
	ASSERT_EQ(0, ask(_metadata, fd, RANGE_FAULT_TEST_PAGES, start, NPAGES,
			 SNAPSHOT));
	EXPECT_EQ(0, memcmp(kernels, answer.words, size));
}

/* The kernel signals the process whose memory fails, which is the one that caused it. */
static void expect_sigbus(int signal)
{
	(void)signal;
}

/* @start: writable, read-only, unmapped, writable */
static void expect_same_errors(struct __test_metadata *_metadata, int fd,
			       char *start, const char *poisoned)
{
	EXPECT_EQ(EPERM, ask_kernel(_metadata, fd, start, 2, WRITE, NULL));
	EXPECT_EQ(EFAULT, ask_kernel(_metadata, fd, start, 4, READ, NULL));
	/* Not EHWPOISON, which none of its callers has ever seen. */
	EXPECT_EQ(EFAULT, ask_kernel(_metadata, fd, poisoned, 1, READ, NULL));
	EXPECT_EQ(0, ask_kernel(_metadata, fd, start, 4, SNAPSHOT, NULL));
	EXPECT_EQ(WORD_ERROR, answer.words[2]);
}

/* First the kernel's own answers, then ours. */
TEST_F_TIMEOUT(takeover, same_answers, 300)
{
	char *mixture = map_mixture();
	char *huge = map_huge(1);
	char *small = map_anonymous(4);
	char *poisoned = map_anonymous(1);
	size_t round;

	ASSERT_NE(NULL, mixture);
	ASSERT_NE(NULL, small);
	ASSERT_NE(NULL, poisoned);
	mark_pages(small, 4, 1);
	*poisoned = 1;
	signal(SIGBUS, expect_sigbus);
	ASSERT_EQ(0, mprotect(page_at(small, 1), page_size(), PROT_READ));
	ASSERT_EQ(0, munmap(page_at(small, 2), page_size()));
	ASSERT_EQ(0, madvise(poisoned, page_size(), MADV_HWPOISON));
	for (round = 0; round < 2; round++) {
		ASSERT_TRUE(!round || take_over());
		expect_same_snapshot(_metadata, self->fd, mixture, self->words);
		if (huge)
			expect_same_snapshot(_metadata, self->fd, huge,
					     self->kernels);
		expect_same_errors(_metadata, self->fd, small, poisoned);
	}
	EXPECT_NE(0, self->words[0] & WORD_WRITE);
	EXPECT_EQ(0, self->words[3]);
	EXPECT_EQ(3, caller_number("errors "));
	if (!huge)
		SKIP(return, "no huge page could be made");
	ASSERT_EQ(NPAGES, pages_per_pmd());
	EXPECT_EQ(pmd_order(), (self->kernels[0] & WORD_ORDER) >>
			       RANGE_FAULT_TEST_ORDER_SHIFT);
}

static void expect_requests_served(struct __test_metadata *_metadata,
				   FIXTURE_DATA(takeover) *self)
{
	char *start = map_mixture();
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < NPAGES; i++)
		self->words[i] = i % 8 == 3 ? REQ_FAULT | REQ_WRITE :
				 i % 8 == 4 ? REQ_FAULT : 0;
	/* These cannot be written to. */
	for (i = 128; i < 192; i++)
		self->words[i] &= ~REQ_WRITE;
	ASSERT_EQ(0, ask_kernel(_metadata, self->fd, start, NPAGES, 0,
				self->words));
	memcpy(self->kernels, answer.words, sizeof(self->kernels));
	for (i = 0; i < NPAGES; i++) {
		__u64 state = self->kernels[i] & WORD_STATE;

		/* Only what was asked for has been faulted in. */
		EXPECT_EQ(i % 4 == 3 && !self->words[i], !state);
		EXPECT_EQ(0, self->kernels[i] & REQ_BITS);
		EXPECT_TRUE(!(self->words[i] & REQ_WRITE) ||
			    state & WORD_WRITE);
	}
	ASSERT_EQ(0, ask(_metadata, self->fd, RANGE_FAULT_TEST_PAGES, start,
			 NPAGES, SNAPSHOT));
	EXPECT_EQ(0, memcmp(self->kernels, answer.words,
			    sizeof(self->kernels)));
}

/*
 * In the kernel's layout an answer looks like a request. A call that fails must leave the
 * requests in the array as they were, so that asking again does not ask for more.
 */
static void expect_requests_survive(struct __test_metadata *_metadata,
				    FIXTURE_DATA(takeover) *self)
{
	char *start = map_anonymous(8);

	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	ASSERT_EQ(0, munmap(page_at(start, 6), page_size()));
	memset(self->words, 0, sizeof(self->words));
	self->words[2] = REQ_FAULT | REQ_WRITE;
	self->words[3] = REQ_FAULT;
	self->words[6] = REQ_FAULT;
	EXPECT_EQ(EFAULT, ask_kernel(_metadata, self->fd, start, 8, 0,
				     self->words));
	/* The test module reads the kernel's words: requests are VALID, WRITE. */
	EXPECT_EQ(0, answer.argument[0]);
	EXPECT_EQ(WORD_VALID | WORD_WRITE, answer.argument[2]);
	EXPECT_EQ(WORD_VALID, answer.argument[3]);
	EXPECT_EQ(WORD_VALID, answer.argument[6]);
	EXPECT_EQ(0, answer.argument[7]);
}

/* A huge page is one entry and gets one answer, whichever page was asked for. */
static void expect_one_answer(struct __test_metadata *_metadata,
			      FIXTURE_DATA(takeover) *self)
{
	char *start;
	size_t i;

	make_room_for_huge_pages();
	start = map_huge_hole(1);
	if (!start)
		return;
	ASSERT_EQ(NPAGES, pages_per_pmd());
	memset(self->words, 0, sizeof(self->words));
	self->words[300] = REQ_FAULT | REQ_WRITE;
	/* ask_request() compares an entry's pages with each other. */
	EXPECT_EQ(0, ask_kernel(_metadata, self->fd, start, NPAGES, 0,
				self->words));
	EXPECT_EQ(pmd_order(), (answer.words[300] & WORD_ORDER) >>
			       RANGE_FAULT_TEST_ORDER_SHIFT);
	for (i = 0; i < NPAGES && (answer.words[i] & WORD_WRITE); i++)
		;
	EXPECT_EQ(NPAGES, i);
}

TEST_F_TIMEOUT(takeover, requests_of_pages, 300)
{
	ASSERT_TRUE(take_over());
	expect_one_answer(_metadata, self);
	expect_requests_served(_metadata, self);
	expect_requests_survive(_metadata, self);
}

/*
 * Calls until it is killed; the exit status says whether all calls were good. It pauses
 * now and then: livepatch changes the code of a running kernel, and under full load an
 * emulator, which translates it again each time, never finishes.
 */
static pid_t fork_caller(struct __test_metadata *_metadata)
{
	pid_t child = fork();
	unsigned long calls;
	char *start;
	int fd;

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open_range_fault_test();
	start = map_anonymous(64);
	if (fd < 0 || !start)
		_exit(1);
	for (calls = 1;; calls++) {
		if (calls % 8 == 0)
			sleep_ms(1);
		if (ask_kernel(_metadata, fd, start, 64, WRITE, NULL) ||
		    (answer.words[63] & WORD_STATE) !=
		    (WORD_VALID | WORD_WRITE))
			_exit(2);
		madvise(start, 64 * page_size(), MADV_DONTNEED);
	}
}

static void expect_still_running(struct __test_metadata *_metadata,
				 pid_t child)
{
	int status;

	EXPECT_EQ(0, waitpid(child, &status, WNOHANG))
		TH_LOG("a caller has ended, status %#x", status);
}

TEST_F_TIMEOUT(takeover, under_load, 450)
{
	pid_t children[NR_CHILDREN];
	unsigned long calls;
	size_t i;

	for (i = 0; i < NR_CHILDREN; i++) {
		children[i] = fork_caller(_metadata);
		ASSERT_LT(0, children[i]);
	}
	ASSERT_TRUE(take_over());
	sleep_ms(200);
	calls = caller_number("calls ");
	EXPECT_EQ(0, caller_number("errors "));
	ASSERT_TRUE(give_back());
	TH_LOG("%lu calls were taken over", calls);
	EXPECT_LT(0, calls);
	for (i = 0; i < NR_CHILDREN; i++) {
		expect_still_running(_metadata, children[i]);
		kill_and_wait(children[i]);
	}
}

/*
 * The child asks to write to memory that it shares with a child of its own, so that a
 * fault breaks copy-on-write. That invalidates its mirror, whose unmap is slow; its exit
 * is not.
 */
static pid_t fork_sleeping_caller(struct __test_metadata *_metadata,
				  unsigned int ms)
{
	struct mirror_test_knobs knobs = { .unmap_delay_us = ms * 1000 };
	struct mirror_test_register args = {};
	int ready[2], fd, mirror;
	char byte = 0;
	pid_t child;
	char *start;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (child) {
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		close(ready[1]);
		return byte == 'y' ? child : -1;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open_range_fault_test();
	mirror = open(MIRROR_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	start = map_anonymous(1);
	if (fd < 0 || mirror < 0 || !start)
		_exit(1);
	mark_pages(start, 1, 1);
	fork_sleeper();
	args.start = (unsigned long)start;
	args.length = page_size();
	if (ioctl(mirror, MIRROR_TEST_REGISTER, &args) || args.error ||
	    ioctl(mirror, MIRROR_TEST_KNOBS, &knobs))
		_exit(1);
	if (write(ready[1], "y", 1) != 1)
		_exit(1);
	if (ask_kernel(_metadata, fd, start, 1, WRITE, NULL) ||
	    (answer.words[0] & WORD_STATE) != (WORD_VALID | WORD_WRITE) ||
	    !pages_are_marked(start, 1, 1))
		_exit(2);
	knobs.unmap_delay_us = 0;
	_exit(ioctl(mirror, MIRROR_TEST_KNOBS, &knobs) ? 1 : 0);
}

static bool is_sleeping_in(pid_t pid, const char *function)
{
	char path[64], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		found |= !!strstr(line, function);
	if (file)
		fclose(file);
	return found;
}

static bool wait_until_sleeping_in(pid_t pid, const char *function)
{
	int waited;

	for (waited = 0; waited < 10000; waited += PAUSE_MS) {
		if (is_sleeping_in(pid, function))
			return true;
		sleep_ms(PAUSE_MS);
	}
	return false;
}

/* Since v7.3 it is just a jump to another function, which need not be waited for. */
static bool wait_until_sleeping_in_kernels(pid_t pid)
{
	int waited;

	for (waited = 0; waited < 10000; waited += PAUSE_MS) {
		if (is_sleeping_in(pid, " hmm_range_fault+") ||
		    is_sleeping_in(pid, " hmm_range_fault_locked"))
			return true;
		sleep_ms(PAUSE_MS);
	}
	return false;
}

/* A task that sleeps in the kernel's function finishes there; all others go on. */
TEST_F_TIMEOUT(takeover, sleeping_in_the_kernels_function, 300)
{
	pid_t child = fork_sleeping_caller(_metadata, SLEEP_MS);
	int status;

	ASSERT_LT(0, child);
	ASSERT_TRUE(wait_until_sleeping_in_kernels(child));
	ASSERT_EQ(0, load_takeover());
	sleep_ms(SLEEP_MS / 2);
	EXPECT_TRUE(in_transition() ||
		    !is_sleeping_in(child, " hmm_range_fault+"));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(wait_until_active());
}

#define KEEP_PAGES	"/sys/module/dmirror/parameters/keep_pages"

/* Asks for writing: a page in the device's memory that is shared with a child. */
static __u64 ask_for_own_page(struct __test_metadata *_metadata, int fd,
			      const void *page)
{
	const struct request request = {
		.call = RANGE_FAULT_TEST_KERNEL,
		.flags = RANGE_FAULT_TEST_OWNER,
		.start = page,
		.npages = 1,
		.default_flags = WRITE,
		.max_retries = 1000,
	};

	EXPECT_EQ(0, ask_request(_metadata, fd, &request));
	return answer.words[0] & WORD_STATE;
}

/*
 * The kernel's own function hands out a page of the caller's own device memory without
 * WRITE, although it was asked for writing. Ours has it brought back, unless the driver
 * refuses.
 */
TEST_F_TIMEOUT(takeover, own_device_page, 300)
{
	int device = open_dmirror(0);
	char *buffer = alloc_buffer(4);
	char *start = map_anonymous(4);
	size_t i;
	int err;

	ASSERT_LE(0, device);
	ASSERT_NE(NULL, buffer);
	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	err = move_to_device(device, start, 4, buffer);
	if (err == EOPNOTSUPP)
		SKIP(return, NO_DEVICE_PRIVATE);
	ASSERT_EQ(0, err);
	fork_sleeper();

	EXPECT_EQ(WORD_VALID, ask_for_own_page(_metadata, self->fd, start));
	ASSERT_TRUE(take_over());
	ASSERT_TRUE(write_text(KEEP_PAGES, "1"));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(WORD_VALID, ask_for_own_page(_metadata, self->fd,
						       page_at(start, i)));
	ASSERT_TRUE(write_text(KEEP_PAGES, "0"));
	EXPECT_LE(2, caller_number("faults "));
	EXPECT_EQ(WORD_VALID | WORD_WRITE,
		  ask_for_own_page(_metadata, self->fd, start));
	EXPECT_TRUE(pages_are_marked(start, 4, 1));
	close(device);
}

/*
 * A task that sleeps in our function keeps the module loaded, although it has been
 * disabled.
 */
TEST_F_TIMEOUT(takeover, sleeping_in_ours, 300)
{
	pid_t child;
	int status;

	ASSERT_TRUE(take_over());
	child = fork_sleeping_caller(_metadata, SLEEP_MS);
	ASSERT_LT(0, child);
	ASSERT_TRUE(wait_until_sleeping_in(child, " takeover_range_fault+"));
	ASSERT_TRUE(disable());
	sleep_ms(SLEEP_MS / 2);
	if (is_sleeping_in(child, " takeover_range_fault+")) {
		EXPECT_TRUE(in_transition());
		EXPECT_EQ(EWOULDBLOCK, unload_takeover());
	} else {
		TH_LOG("it did not sleep long enough for this machine");
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_TRUE(wait_until_unloaded());
}

TEST_HARNESS_MAIN
