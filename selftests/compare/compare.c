// SPDX-License-Identifier: GPL-2.0
/*
 * What mm/hmm.c does and hmm_mirror does not: every defect or limit that hmm_mirror
 * claims to have removed is shown for the kernel's own hmm_range_fault() and for
 * hmm_mirror, in the same boot. "make compare" prints the table. hmm_mirror's side of it
 * is tested here; the kernel's side is only shown, since it differs from kernel to
 * kernel.
 */
#include <poll.h>
#include <pthread.h>

#include "core/differential_test/differential_test.h"
#include "dmirror_test.h"
#include "range_fault.h"

FIXTURE(compare)
{
	int fd;
	size_t page;
};

FIXTURE_SETUP(compare)
{
	void *page = map_anonymous(1);

	self->page = page_size();
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	if (ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, page, 1,
		SNAPSHOT) == EOPNOTSUPP)
		SKIP(return, "this kernel has no hmm_range_fault() (CONFIG_HMM_MIRROR) to compare with");
}

FIXTURE_TEARDOWN(compare)
{
	close(self->fd);
}

/* A row of the table in docs/comparison.md: number, what is measured, two values. */
__attribute__((format(printf, 3, 4)))
static void row(const char *number, const char *what, const char *format, ...)
{
	char values[256];
	char *ours;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(values, sizeof(values), format, arguments);
	va_end(arguments);
	ours = strchr(values, '|');
	if (ours)
		*ours++ = '\0';
	printf("#| %-3s | %-61s | %-16s | %-20s |\n", number, what, values,
	       ours ? ours : "");
	fflush(stdout);
}

static void cannot(const char *number, const char *what, const char *why)
{
	row(number, what, "%s|", why);
}

static const char *outcome(int error)
{
	static char texts[4][24];
	static unsigned int next;
	char *text = texts[next++ % 4];

	if (!error)
		return "success";
	snprintf(text, sizeof(texts[0]), "-%s", strerrorname_np(error));
	return text;
}

static const char *state(__u64 word)
{
	if (word & WORD_ERROR)
		return "ERROR";
	if (word & WORD_WRITE)
		return "VALID WRITE";
	if (word & WORD_VALID)
		return "VALID";
	return word & (WORD_PFN | WORD_ORDER) ? "0, garbage PFN" : "0";
}

#define KERNEL	RANGE_FAULT_TEST_KERNEL
#define PAGES	RANGE_FAULT_TEST_PAGES
#define EXTENTS	RANGE_FAULT_TEST_EXTENTS
#define ASK(call, start, npages, flags) \
	ask(_metadata, self->fd, call, start, npages, flags)

/* Asks @call with requests per page. */
static int ask_per_page(struct __test_metadata *_metadata, int fd, __u32 call,
			const void *start, size_t npages, const __u64 *words)
{
	struct request request = {
		.call = call,
		.start = start,
		.npages = npages,
		.mask = REQ_BITS,
		.words = words,
		.max_retries = 100000,
	};

	return ask_request(_metadata, fd, &request);
}

/*
 * Asks for the owner of the device-private page @owner_pfn, with a per-page request
 * that is @word for all pages and @mask. Returns the errno; the words in @words.
 */
static int ask_as_owner(struct __test_metadata *_metadata, __u32 function,
			const void *start, size_t npages, __u64 default_flags,
			__u64 word, unsigned long owner_pfn, __u64 *words)
{
	static __u64 requests[512];
	struct differential_call call = {
		.function = function,
		.capacity = 1,
		.start = (unsigned long)start,
		.npages = npages,
		.default_flags = default_flags,
		.owner_pfn = owner_pfn,
		.requests = (unsigned long)requests,
		.words = (unsigned long)words,
	};
	struct differential_run run = {
		.flags = DIFFERENTIAL_REPEAT,
		.nr_calls = 1,
		.start = call.start,
		.npages = npages,
		.calls = (unsigned long)&call,
	};
	int fd = open(DIFFERENTIAL_DEVICE, O_RDWR | O_CLOEXEC);
	size_t i;

	ASSERT_LE(0, fd);
	ASSERT_GE(512, npages);
	for (i = 0; i < npages; i++)
		requests[i] = word;
	ASSERT_EQ(0, ioctl(fd, DIFFERENTIAL_RUN, &run));
	close(fd);
	return call.error;
}

static void do_nothing(int signal)
{
	(void)signal;
}

/* Each comparison is made twice: with the kernel's function, and with ours. */
static const __u32 functions[] = { KERNEL, PAGES };
static const __u32 owner_functions[] = {
	DIFFERENTIAL_KERNEL, DIFFERENTIAL_PAGES,
};

TEST_F(compare, c1_secretmem)
{
	int secret = syscall(__NR_memfd_secret, 0);
	int error[2], turn;
	char *start;

	if (secret < 0) {
		cannot("C1", "memfd_secret() asked for", "no memfd_secret() here");
		SKIP(return, "no memfd_secret(): %s", strerror(errno));
	}
	ASSERT_EQ(0, ftruncate(secret, self->page));
	start = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED,
		     secret, 0);
	ASSERT_NE(MAP_FAILED, start);
	*start = 1;
	for (turn = 0; turn < 2; turn++)
		error[turn] = ASK(functions[turn], start, 1, READ);
	row("C1", "memfd_secret() asked for", "%s|%s", outcome(error[0]),
	    outcome(error[1]));
	EXPECT_EQ(EFAULT, error[1]);
}

TEST_F(compare, c2_shadow_stack)
{
	const char *what = "memory marked as shadow stack, asked for writing";
	void *start = map_shadow_stack(self->fd, 1);
	int error[2], turn;

	if (!start && errno == EOPNOTSUPP) {
		cannot("C2", what, "no shadow stacks");
		SKIP(return, "this kernel has no user shadow stacks");
	}
	ASSERT_NE(NULL, start);
	touch_page(start);
	for (turn = 0; turn < 2; turn++)
		error[turn] = ASK(functions[turn], start, 1, WRITE);
	row("C2", what, "%s|%s", outcome(error[0]), outcome(error[1]));
	EXPECT_EQ(EPERM, error[1]);
}

/* A page in device memory, shared since fork(), is asked for writing. */
TEST_F(compare, c3_own_device_page)
{
	const char *what = "own device page, shared since fork(), asked for writing";
	char *buffer = alloc_buffer(1);
	int dmirror[2], error[2], turn;
	const char *problem = open_devices(dmirror, 0);
	__u64 word[2];

	if (problem) {
		cannot("C3", what, "no device memory here");
		SKIP(return, "%s", problem);
	}
	for (turn = 0; turn < 2; turn++) {
		char *start = map_anonymous(1);
		pid_t child;

		ASSERT_NE(NULL, start);
		mark_pages(start, 1, 1);
		ASSERT_EQ(0, move_to_device(dmirror[0], start, 1, buffer));
		child = fork_sleeper();
		ASSERT_LT(0, child);
		error[turn] = ask_as_owner(_metadata, owner_functions[turn],
					   start, 1, WRITE, 0,
					   device_pfn_at(start), &word[turn]);
		kill_and_wait(child);
	}
	row("C3", what, "%s, %s|%s, %s", outcome(error[0]), state(word[0]),
	    outcome(error[1]), state(word[1]));
	EXPECT_EQ(0, error[1]);
	EXPECT_TRUE(word[1] & WORD_WRITE);
}

TEST_F(compare, c7_other_device_page)
{
	const char *what = "another's device page, huge";
	size_t npages = pages_per_pmd();
	char *buffer = alloc_buffer(npages);
	int dmirror[2], turn;
	const char *problem = open_devices(dmirror, 0);
	char *start;
	__u64 word[2];

	if (!problem && !can_migrate_huge(dmirror[0]))
		problem = NO_HUGE_DEVICE_PAGES;
	if (problem) {
		cannot("C7", what, "no huge device memory here");
		SKIP(return, "%s", problem);
	}
	start = map_huge(1);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, move_to_device(dmirror[0], start, npages, buffer));
	for (turn = 0; turn < 2; turn++)
		EXPECT_EQ(0, ask_as_owner(_metadata, owner_functions[turn],
					  start, 1, SNAPSHOT, 0, 0,
					  &word[turn]));
	row("C7", what, "%s|%s", state(word[0]), state(word[1]));
	EXPECT_EQ(0, word[1]);
}

TEST_F(compare, c4_c5_hugetlb)
{
	size_t size = 2UL << 20, npages = size / self->page, i;
	size_t garbage[2] = {};
	__u64 words[512] = {};
	__u64 word[2];
	int turn;
	char *start;

	if (free_hugetlb_pages(2048) < 4) {
		cannot("C4", "request on page 300 of a hugetlb page",
		       "no free hugetlb pages");
		SKIP(return, "no four free 2M hugetlb pages");
	}
	words[300] = REQ_FAULT;
	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];

		start = map_hugetlb(size, HUGETLB_2M);
		ASSERT_NE(NULL, start);
		/* A table, so that the kernel's walker sees an entry. */
		mark_pages(start, 1, 1);
		ASSERT_EQ(0, madvise(start, size, MADV_DONTNEED));
		EXPECT_EQ(0, ASK(call, start, npages, SNAPSHOT));
		for (i = 0; i < npages; i++)
			garbage[turn] += answer.words[i] &&
					 !(answer.words[i] & WORD_STATE);
		EXPECT_EQ(0, ask_per_page(_metadata, self->fd, call, start,
					  npages, words));
		word[turn] = answer.words[300];
		munmap(start, size);
	}
	row("C4", "request on page 300 of a hugetlb page: success and", "%s|%s",
	    state(word[0]), state(word[1]));
	row("C5", "hugetlb hole: words of 512 that are neither 0 nor VALID",
	    "%zu|%zu", garbage[0], garbage[1]);
	EXPECT_TRUE(word[1] & WORD_VALID);
	EXPECT_EQ(0, garbage[1]);
}

TEST_F(compare, c6_d5_hwpoison)
{
	int error[2], turn;
	__u64 word[2];
	char *start = map_anonymous(1);

	ASSERT_NE(NULL, start);
	mark_pages(start, 1, 1);
	signal(SIGBUS, do_nothing);
	if (madvise(start, self->page, MADV_HWPOISON)) {
		cannot("C6", "failed memory in a snapshot", "no MADV_HWPOISON");
		SKIP(return, "no MADV_HWPOISON: %s", strerror(errno));
	}
	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];

		EXPECT_EQ(0, ASK(call, start, 1, SNAPSHOT));
		word[turn] = answer.words[0];
		error[turn] = ASK(call, start, 1, READ);
	}
	row("C6", "failed memory in a snapshot", "%s|%s", state(word[0]),
	    state(word[1]));
	row("D5", "failed memory asked for", "%s|%s", outcome(error[0]),
	    outcome(error[1]));
	EXPECT_EQ(WORD_ERROR, word[1] & WORD_STATE);
	EXPECT_EQ(EHWPOISON, error[1]);
}

/*
 * More memory than there is: a cgroup is full, may not swap, and its only process must
 * not be killed.
 */
TEST_F(compare, d5_out_of_memory)
{
	const char *what = "more asked for than a cgroup may have";
	size_t npages = (16UL << 20) / self->page;
	char *start[2] = { map_anonymous(npages), map_anonymous(npages) };
	int error[2], turn;

	for (turn = 0; turn < 2; turn++) {
		ASSERT_NE(NULL, start[turn]);
		/* The memory for the answer is already there. */
		EXPECT_EQ(0, ASK(functions[turn], start[turn], npages, SNAPSHOT));
	}
	if (!write_text("/proc/self/oom_score_adj", "-1000") ||
	    !enter_memory_cgroup("memory.max", 8UL << 20)) {
		cannot("D5", what, "no memory cgroup");
		SKIP(return, "no memory controller in cgroup2");
	}
	write_text(MEMORY_CGROUP "/memory.swap.max", "0");
	for (turn = 0; turn < 2; turn++) {
		error[turn] = ASK(functions[turn], start[turn], npages, WRITE);
		munmap(start[turn], npages * self->page);
	}
	leave_memory_cgroup();
	row("D5", what, "%s|%s", outcome(error[0]), outcome(error[1]));
	EXPECT_EQ(ENOMEM, error[1]);
}

#define TRACING	"/sys/kernel/tracing/"

/*
 * How many hugetlb_vma_lock_read() had not been followed by an unlock when
 * hugetlb_fault() was first called, according to kprobes; -1 if there was no fault.
 */
static int locks_held_at_fault(void)
{
	FILE *file = fopen(TRACING "trace", "re");
	char line[512];
	int held = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (line[0] == '#')
			continue;
		if (strstr(line, " hugetlb_locked:"))
			held++;
		else if (strstr(line, " hugetlb_unlocked:"))
			held--;
		else if (strstr(line, " hugetlb_faulted:"))
			break;
	}
	if (!file || feof(file))
		held = -1;
	if (file)
		fclose(file);
	return held;
}

/*
 * The walker holds the VMA's lock around its callbacks. hugetlb_fault() takes it again,
 * also for reading: a deadlock if a writer has queued in between. What can be seen is
 * that the lock is held, if there is no table of PMDs yet.
 */
TEST_F(compare, c8_hugetlb_vma_lock)
{
	const char *what = "hugetlb_vma_lock held while a hole of hugetlb is faulted in";
	void *empty_gigabyte = (void *)(42UL << 40);
	size_t size = 2UL << 20;
	int held[2], turn;

	if (!access("/proc/lockdep_chains", F_OK)) {
		cannot("C8", what, "lockdep complains");
		SKIP(return, "lockdep complains about it, rightly, and that is a failure");
	}
	if (free_hugetlb_pages(2048) < 4) {
		cannot("C8", what, "no free hugetlb pages");
		SKIP(return, "no four free 2M hugetlb pages");
	}
	if (!write_text(TRACING "kprobe_events",
			"p:c8/hugetlb_locked hugetlb_vma_lock_read\n"
			"p:c8/hugetlb_unlocked hugetlb_vma_unlock_read\n"
			"p:c8/hugetlb_faulted hugetlb_fault\n")) {
		cannot("C8", what, "no kprobe events");
		SKIP(return, "no kprobe events, or none of these functions: %s",
		     strerror(errno));
	}
	for (turn = 0; turn < 2; turn++) {
		void *start = mmap(empty_gigabyte, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
				   HUGETLB_2M | MAP_FIXED_NOREPLACE, -1, 0);

		EXPECT_EQ(empty_gigabyte, start);
		write_text(TRACING "trace", "");
		EXPECT_TRUE(write_text(TRACING "events/c8/enable", "1"));
		EXPECT_EQ(0, ASK(functions[turn], start, 1, WRITE));
		EXPECT_TRUE(write_text(TRACING "events/c8/enable", "0"));
		held[turn] = locks_held_at_fault();
		munmap(start, size);
	}
	EXPECT_TRUE(write_text(TRACING "kprobe_events", ""));
	row("C8", what, "%d|%d", held[0], held[1]);
	EXPECT_EQ(0, held[1]);
}

/*
 * A driver calls again with the same array. In the kernel's format VALID and REQ_FAULT
 * are the same bit: the first answer becomes the second request.
 */
TEST_F(compare, c9_retry)
{
	size_t faults[2];
	__u64 words[2];
	int turn;

	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		char *start = map_anonymous(2);

		ASSERT_NE(NULL, start);
		mark_pages(start, 2, 1);
		words[0] = 0;
		words[1] = REQ_FAULT;
		EXPECT_EQ(0, ask_per_page(_metadata, self->fd, call, start, 2,
					  words));
		memcpy(words, answer.words, sizeof(words));
		if (call == KERNEL && (words[0] & WORD_VALID))
			words[0] |= REQ_FAULT;
		if (call == KERNEL)
			words[1] |= REQ_FAULT;
		ASSERT_EQ(0, madvise(start, 2 * self->page, MADV_DONTNEED));
		EXPECT_EQ(0, ask_per_page(_metadata, self->fd, call, start, 2,
					  words));
		faults[turn] = count_mapped(start, 1);
	}
	row("C9", "pages not asked for that a retry faults in", "%zu|%zu",
	    faults[0], faults[1]);
	EXPECT_EQ(0, faults[1]);
}

/* A snapshot, for which the array need not be initialised. */
TEST_F(compare, c10_sticky_bits)
{
	size_t npages = 16, garbage[2] = {}, i;
	char *start = map_anonymous(npages);
	__u64 words[16];
	int turn;

	ASSERT_NE(NULL, start);
	for (turn = 0; turn < 2; turn++) {
		EXPECT_EQ(0, ask_as_owner(_metadata, owner_functions[turn],
					  start, npages, SNAPSHOT, DRIVER_BITS,
					  0, words));
		for (i = 0; i < npages; i++)
			garbage[turn] += !!(words[i] & DRIVER_BITS);
	}
	row("C10", "snapshot into an array of garbage: words of 16 that keep some",
	    "%zu|%zu", garbage[0], garbage[1]);
	EXPECT_EQ(0, garbage[1]);
}

TEST_F(compare, c11_special_pmd)
{
	const char *what = "special PMD of a VM_MIXEDMAP mapping asked for";
	int error[2], turn;
	char *start;

	for (turn = 0; turn < 2; turn++) {
		start = map_special_pmd(self->fd);
		if (!start && errno == EOPNOTSUPP) {
			cannot("C11", what, "no such entries");
			SKIP(return, "this kernel has no special entries for huge pages");
		}
		ASSERT_NE(NULL, start);
		error[turn] = ASK(functions[turn], page_at(start, 5), 1, READ);
	}
	row("C11", what, "%s|%s", outcome(error[0]), outcome(error[1]));
	EXPECT_EQ(EFAULT, error[1]);
}

TEST_F(compare, c12_arguments)
{
	int misaligned[2], outside[2], turn;
	char *start = map_anonymous(4);

	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		struct request request = {
			.call = call,
			.start = start,
			.npages = 2,
			.flags = RANGE_FAULT_TEST_INTERVAL |
				 RANGE_FAULT_TEST_NO_RETRY,
			.interval_start = page_at(start, 1),
			.interval_length = self->page,
		};

		struct range_fault_test_range raw = {
			.call = call,
			.flags = RANGE_FAULT_TEST_NO_RETRY,
			.start = (unsigned long)start + 512,
			.end = (unsigned long)start + 512 + self->page,
			.words = (unsigned long)answer.argument,
			.nr_words = 4,
		};

		outside[turn] = ask_request(_metadata, self->fd, &request);
		ASSERT_EQ(0, ioctl(self->fd, RANGE_FAULT_TEST_RANGE, &raw));
		misaligned[turn] = raw.error;
	}
	row("C12", "range that reaches out of the subscription", "%s|%s",
	    outcome(outside[0]), outcome(outside[1]));
	row("C12", "range that is not page aligned", "%s|%s",
	    outcome(misaligned[0]), outcome(misaligned[1]));
	EXPECT_EQ(EINVAL, outside[1]);
	EXPECT_EQ(EINVAL, misaligned[1]);
}

/* One page is asked for in a 2 MiB hole, and one before the end of a file. */
TEST_F(compare, p1_overfault)
{
	size_t npages = pages_per_pmd(), mapped[2];
	__u64 words[512] = {};
	int error[2], turn;

	ASSERT_EQ(512, npages);
	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		char *start = map_anonymous_aligned(npages, pmd_size());
		char *file = map_file(make_memfd(1), 4, PROT_READ, MAP_SHARED);

		ASSERT_NE(NULL, start);
		ASSERT_NE(NULL, file);
		words[100] = REQ_BITS;
		EXPECT_EQ(0, ask_per_page(_metadata, self->fd, call, start,
					  npages, words));
		mapped[turn] = count_mapped(start, npages);
		words[100] = 0;
		words[0] = REQ_FAULT;
		error[turn] = ask_per_page(_metadata, self->fd, call, file, 4,
					   words);
		words[0] = 0;
	}
	row("P1", "1 page asked for in a hole of 2 MiB: pages mapped",
	    "%zu|%zu", mapped[0], mapped[1]);
	row("P1", "first page of a file asked for, its end unasked in the range",
	    "%s|%s", outcome(error[0]), outcome(error[1]));
	EXPECT_EQ(1, mapped[1]);
	EXPECT_EQ(0, error[1]);
}

TEST_F(compare, p2_huge_pages)
{
	size_t npages = pages_per_pmd();
	unsigned long thp[2] = {}, hugetlb[2] = {};
	bool have_hugetlb = free_hugetlb_pages(2048) >= 4;
	int turn;

	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		char *start = map_huge_hole(1);

		ASSERT_NE(NULL, start);
		EXPECT_EQ(0, ASK(call, start, npages, WRITE));
		thp[turn] = answer.charged_faults;
		if (!have_hugetlb)
			continue;
		start = map_hugetlb(2UL << 20, HUGETLB_2M);
		ASSERT_NE(NULL, start);
		/* Without a table, the kernel does what c8_hugetlb_vma_lock shows. */
		mark_pages(start, 1, 1);
		ASSERT_EQ(0, madvise(start, 2UL << 20, MADV_DONTNEED));
		EXPECT_EQ(0, ASK(call, start, npages, WRITE));
		hugetlb[turn] = answer.charged_faults;
		munmap(start, 2UL << 20);
	}
	row("P2", "faults for a transparent huge page", "%lu|%lu", thp[0],
	    thp[1]);
	row("P2", "faults for a hugetlb page of 2 MiB", "%lu|%lu", hugetlb[0],
	    hugetlb[1]);
	if (have_huge_pages())
		EXPECT_EQ(1, thp[1]);
	if (have_hugetlb)
		EXPECT_EQ(1, hugetlb[1]);
}

/* The first page is asked for reading, the others for writing. */
TEST_F(compare, p3_read_before_write)
{
	unsigned long faults[2];
	__u64 words[64];
	size_t i;
	int turn;

	words[0] = REQ_FAULT;
	for (i = 1; i < 64; i++)
		words[i] = REQ_BITS;
	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		char *start = map_anonymous(66);

		ASSERT_NE(NULL, start);
		/* So that there is a page table. */
		mark_pages(page_at(start, 65), 1, 1);
		EXPECT_EQ(0, ask_per_page(_metadata, self->fd, call, start, 64,
					  words));
		faults[turn] = answer.charged_faults;
	}
	row("P3", "faults for 1 page to read and 63 to write", "%lu|%lu",
	    faults[0], faults[1]);
	EXPECT_EQ(64, faults[1]);
}

/* Memory shared since fork(), asked for writing: how often the caller starts over. */
TEST_F(compare, p4_copy_on_write)
{
	size_t npages = 16 * pages_per_pmd();
	__u64 restarts[2], walks = 0;
	int turn;

	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		char *start = map_anonymous_aligned(npages, pmd_size());
		pid_t child;

		ASSERT_NE(NULL, start);
		mark_pages(start, npages, 1);
		child = fork_sleeper();
		ASSERT_LT(0, child);
		EXPECT_EQ(0, ASK(call, start, npages, WRITE));
		restarts[turn] = answer.caller_retries;
		walks = answer.nr_walks;
		kill_and_wait(child);
		munmap(start, npages * self->page);
	}
	row("P4", "32 MiB shared since fork(), to write: calls made again",
	    "%llu|%llu (%llu walks)", restarts[0], restarts[1], walks);
	EXPECT_GE(1, restarts[1]);
}

TEST_F(compare, p6_d6_extents)
{
	size_t npages = 4 * pages_per_pmd();
	char *start = map_huge(4);

	if (!start) {
		cannot("P6", "answer for 8 MiB of huge pages", "no huge pages");
		SKIP(return, "no huge page could be made");
	}
	EXPECT_EQ(0, ASK(EXTENTS, start, npages, SNAPSHOT));
	row("P6", "bytes of answer for 8 MiB of huge pages", "%zu|%zu (%u extents)",
	    npages * sizeof(__u64),
	    answer.nr_extents * sizeof(answer.extents[0]), answer.nr_extents);
	row("D6", "NUMA node and kind of page", "none|node %d, kind %u",
	    answer.extents[0].node, answer.extents[0].entry);
	EXPECT_GE(8, answer.nr_extents);
	EXPECT_LE(0, answer.extents[0].node);
}

/* SIGKILL in the middle of a request for much memory. */
TEST_F_TIMEOUT(compare, d1_sigkill, 300)
{
	size_t npages = (128UL << 20) / self->page;
	double seconds[2];
	int turn;

	for (turn = 0; turn < 2; turn++) {
		const __u32 call = functions[turn];
		int pipe_fds[2];
		double start_time;
		char ready;
		pid_t child;

		ASSERT_EQ(0, pipe(pipe_fds));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			char *start = map_anonymous_aligned(npages, pmd_size());

			if (!start || write(pipe_fds[1], "r", 1) != 1)
				_exit(1);
			ask(_metadata, self->fd, call, start, npages, WRITE);
			_exit(0);
		}
		ASSERT_EQ(1, read(pipe_fds[0], &ready, 1));
		sleep_ms(50);
		start_time = seconds_now();
		ASSERT_EQ(0, kill(child, SIGKILL));
		waitpid(child, NULL, 0);
		seconds[turn] = seconds_now() - start_time;
		close(pipe_fds[0]);
		close(pipe_fds[1]);
	}
	row("D1", "seconds from SIGKILL to the end, 128 MiB asked for",
	    "%.2f|%.2f", seconds[0], seconds[1]);
	EXPECT_GT(10, seconds[1]);
}

static void *serve_userfaultfd(void *argument)
{
	int uffd = *(int *)argument;
	struct pollfd poll_fd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;

	while (poll(&poll_fd, 1, 10000) > 0 &&
	       read(uffd, &message, sizeof(message)) == sizeof(message)) {
		struct uffdio_zeropage page = {
			.range = {
				message.arg.pagefault.address &
					-(__u64)page_size(),
				page_size(),
			},
		};

		ioctl(uffd, UFFDIO_ZEROPAGE, &page);
	}
	return NULL;
}

TEST_F(compare, d2_d8_userfaultfd)
{
	int uffd = open_userfaultfd(0);
	char *start = map_anonymous(8);
	struct request request = {
		.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
		.start = start,
		.npages = 1,
		.default_flags = READ,
		.timeout_ms = 300,
	};
	double start_time, waited;
	int locked, unlocked, late;
	pthread_t server;

	if (uffd < 0) {
		cannot("D2", "page that a userfaultfd handler serves",
		       "no userfaultfd here");
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	}
	ASSERT_NE(NULL, start);
	ASSERT_TRUE(uffd_register(uffd, start, 8,
				  UFFDIO_REGISTER_MODE_MISSING));
	/* Nobody answers yet: the deadline. */
	start_time = seconds_now();
	late = ask_request(_metadata, self->fd, &request);
	waited = seconds_now() - start_time;
	locked = ASK(KERNEL, start, 8, READ);
	ASSERT_EQ(0, pthread_create(&server, NULL, serve_userfaultfd, &uffd));
	unlocked = ASK(RANGE_FAULT_TEST_PAGES_UNLOCKED, start, 8, READ);
	row("D2", "8 pages that a userfaultfd handler serves", "%s|%s",
	    outcome(locked), outcome(unlocked));
	row("D8", "handler that never answers, deadline 0.3 s",
	    "no deadline|%s after %.2f s", outcome(late), waited);
	EXPECT_EQ(0, unlocked);
	EXPECT_EQ(EBUSY, late);
	EXPECT_GT(20, waited);
	pthread_cancel(server);
	pthread_join(server, NULL);
}

TEST_F(compare, d3_d4_address)
{
	size_t mapped[2];
	int error[2], turn;

	for (turn = 0; turn < 2; turn++) {
		char *start = map_anonymous(8);

		ASSERT_NE(NULL, start);
		ASSERT_EQ(0, munmap(page_at(start, 5), self->page));
		error[turn] = ASK(functions[turn], start, 8, READ);
		if (turn == 0)
			continue;
		row("D3", "page 5 of 8 is not mapped", "%s|%s of page %lu",
		    outcome(error[0]), outcome(error[1]), fault_page(start));
		EXPECT_EQ(EFAULT, error[1]);
		EXPECT_EQ(5, fault_page(start));
		EXPECT_EQ(5, count_mapped(start, 5));
		/* Go on behind it: the caller knows where. */
		mapped[1] = 5;
		EXPECT_EQ(0, ASK(functions[turn], page_at(start, 6), 2, READ));
		mapped[1] += count_mapped(page_at(start, 6), 2);
	}
	row("D4", "the other 7 of them, when the caller goes on behind page 5",
	    "does not know|%zu mapped", mapped[1]);
	EXPECT_EQ(7, mapped[1]);
}

/* What is as it was, and why. */
TEST_F(compare, not_measured)
{
	row("P5", "a walk whose answer is stale already",
	    "goes on|goes on: faults are kept");
	row("P7", "order of a large folio that is mapped page by page",
	    "0|0: it is the entry's; see P6");
}

TEST_HARNESS_MAIN
