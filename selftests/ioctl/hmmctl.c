// SPDX-License-Identifier: GPL-2.0
/*
 * hmmctl on real processes: what happens to them while they are looked at, and what it
 * says about mappings and about the causes of events. Slow and hostile processes are
 * simulated on any machine, see qemu/t/hmmctl.t.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "harness.h"
#include "device.h"
#include "memory.h"

#define MEGABYTE	(1UL << 20)
/* A deadline, in seconds, for what takes no time unless something is broken */
#define PATIENCE	60

#ifndef __NR_pidfd_open
#define __NR_pidfd_open		434
#endif
#ifndef __NR_process_mrelease
#define __NR_process_mrelease	448
#endif

/* PAGEMAP_SCAN, since v6.7: the C library's headers may be too old */
struct pagemap_scan {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};

#define SCAN_REQUEST		_IOWR('f', 16, struct pagemap_scan)
#define SCAN_WRITE_PROTECT	1	/* PM_SCAN_WP_MATCHING */
#define SCAN_PRESENT		8	/* PAGE_IS_PRESENT */
#define FEATURE_WP_UNPOPULATED	(1 << 13)
#define FEATURE_WP_ASYNC	(1 << 15)

/* A command that runs beside the test, and its output so far. */
struct command {
	pid_t pid;
	int output;
	int status;
	size_t length;
	char text[65536];
};

FIXTURE(hmmctl) {
	struct command command;
	/* The process that is watched, faulted and killed */
	pid_t child;
	/* The child is ready when it has written a byte, and ends when it reads one. */
	int from_child;
	int to_child;
};

FIXTURE_SETUP(hmmctl)
{
	self->child = -1;
}

FIXTURE_TEARDOWN(hmmctl)
{
	if (self->child > 0) {
		kill(self->child, SIGKILL);
		waitpid(self->child, NULL, 0);
	}
}

/* Starts "hmmctl ..." with its output and its messages in one pipe. */
static void start(struct __test_metadata *_metadata, struct command *command,
		  const char *format, ...)
{
	char line[512];
	va_list list;
	int ends[2];

	memset(command, 0, sizeof(*command));
	va_start(list, format);
	vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC));
	command->output = ends[0];
	command->pid = fork();
	ASSERT_LE(0, command->pid);
	if (!command->pid) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", line, NULL);
		_exit(127);
	}
	close(ends[1]);
}

/* Reads its output until @text appears, to the end if that is NULL. */
static bool read_until(struct command *command, const char *text)
{
	struct pollfd file = { .fd = command->output, .events = POLLIN };

	while (!text || !strstr(command->text, text)) {
		ssize_t size;

		if (poll(&file, 1, PATIENCE * 1000) != 1)
			return false;
		size = read(command->output, command->text + command->length,
			    sizeof(command->text) - 1 - command->length);
		if (size <= 0)
			return !text && !size;
		command->length += size;
	}
	return true;
}

/* Its exit status, -1 if a signal has ended it */
static int finish(struct __test_metadata *_metadata, struct command *command)
{
	bool ended = read_until(command, NULL);

	EXPECT_TRUE(ended) {
		TH_LOG("it does not end: %s", command->text);
		kill(command->pid, SIGKILL);
	}
	close(command->output);
	ASSERT_EQ(command->pid, waitpid(command->pid, &command->status, 0));
	return WIFEXITED(command->status) ? WEXITSTATUS(command->status) : -1;
}

#define EXPECT_SAYS(command, what) \
	expect_says(_metadata, __LINE__, command, what, true)
#define EXPECT_SAYS_NOT(command, what) \
	expect_says(_metadata, __LINE__, command, what, false)

static void expect_says(struct __test_metadata *_metadata, int line,
			const struct command *command, const char *what, bool says)
{
	EXPECT_EQ(says, !!strstr(command->text, what)) {
		TH_LOG("line %d: \"%s\" is %s in: %s", line, what, says ? "not" : "",
		       command->text);
	}
}

/* Forks a child that goes on with "if (!...)", and must call child_ready(). */
static bool fork_child(struct __test_metadata *_metadata, FIXTURE_DATA(hmmctl) *self)
{
	int from[2];
	int to[2];

	ASSERT_EQ(0, pipe(from));
	ASSERT_EQ(0, pipe(to));
	self->child = fork();
	ASSERT_LE(0, self->child);
	if (!self->child) {
		/* The harness sets that of the parent. */
		alarm(0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		self->from_child = from[1];
		self->to_child = to[0];
		return true;
	}
	close(from[1]);
	close(to[0]);
	self->from_child = from[0];
	self->to_child = to[1];
	return false;
}

static void child_ready(FIXTURE_DATA(hmmctl) *self)
{
	if (write(self->from_child, "", 1) != 1)
		_exit(1);
}

static void child_wait(FIXTURE_DATA(hmmctl) *self)
{
	char byte;

	if (read(self->to_child, &byte, 1) < 0)
		_exit(1);
}

static void wait_for_child(struct __test_metadata *_metadata, FIXTURE_DATA(hmmctl) *self)
{
	char byte;

	ASSERT_EQ(1, read(self->from_child, &byte, 1));
}

static void tell_child(struct __test_metadata *_metadata, FIXTURE_DATA(hmmctl) *self)
{
	ASSERT_EQ(1, write(self->to_child, "", 1));
}

/* The main thread exits, the process lives on. */
static void *other_thread(void *argument)
{
	FIXTURE_DATA(hmmctl) *self = argument;

	/* Only after it has exited: then it has no address space any more. */
	while (!file_has_word("/proc/self/stat", "Z"))
		usleep(1000);
	child_ready(self);
	child_wait(self);
	_exit(0);
}

TEST_F(hmmctl, main_thread_exited)
{
	struct command *command = &self->command;
	char *start_address = map_anonymous(16);
	int fd;

	ASSERT_NE(NULL, start_address);
	mark_pages(start_address, 16, 100);
	if (fork_child(_metadata, self)) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, other_thread, self))
			_exit(1);
		pthread_exit(NULL);
	}
	wait_for_child(_metadata, self);

	fd = open_device();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, call_attach(fd, self->child));
	close(fd);

	start(_metadata, command, "hmmctl map %d --range %lx-%lx", self->child,
	      (unsigned long)start_address, (unsigned long)page_at(start_address, 16));
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "1 mapping");
	start(_metadata, command, "hmmctl fault -w -p %d %lx-%lx", self->child,
	      (unsigned long)start_address, (unsigned long)page_at(start_address, 16));
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "present");

	start(_metadata, command, "hmmctl watch %d", self->child);
	ASSERT_TRUE(read_until(command, "MAPPING"));
	tell_child(_metadata, self);
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "The address space is gone");
}

/* Processes without one are still recognised. */
TEST_F(hmmctl, no_address_space)
{
	int fd = open_device();

	ASSERT_LE(0, fd);
	/* kthreadd */
	EXPECT_EQ(EINVAL, call_attach(fd, 2));
	if (fork_child(_metadata, self))
		_exit(0);
	EXPECT_EQ(0, waitid(P_PID, self->child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT));
	EXPECT_EQ(EINVAL, call_attach(fd, self->child));
	EXPECT_EQ(self->child, waitpid(self->child, NULL, 0));
	EXPECT_EQ(ESRCH, call_attach(fd, self->child));
	self->child = -1;
	close(fd);
}

TEST_F(hmmctl, pid_namespace)
{
	struct command *command = &self->command;

	if (unshare(CLONE_NEWPID | CLONE_NEWNS)) {
		ASSERT_EQ(EINVAL, errno);
		SKIP(return, "no PID namespaces in this kernel");
	}
	/* What the shell in the new namespace starts: 2 is its "sleep", here kthreadd. */
	start(_metadata, command,
	      "sleep 100 & hmmctl map 2; echo status $?; hmmctl map | grep hmmctl; mount -t proc none /proc; hmmctl map 2; echo status $?; kill $!");
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS_NOT(command, "kthreadd");
	EXPECT_SAYS(command, "PID namespace");
	EXPECT_SAYS(command, "status 1\n");
	/* Itself, and the right process after /proc was mounted */
	EXPECT_SAYS(command, "(hmmctl)");
	EXPECT_SAYS(command, "process 2 (");
	EXPECT_SAYS(command, "status 0\n");
}

/* A /proc of a namespace that hmmctl is not in: it is nobody there. */
TEST_F(hmmctl, pid_namespace_of_others)
{
	struct command *command = &self->command;

	if (access("/proc/self/ns/pid", F_OK))
		SKIP(return, "no PID namespaces in this kernel");
	/* Such a /proc, which nothing but processes are in */
	start(_metadata, command,
	      "unshare -p -m -f sh -c 'mount -t proc -o subset=pid none /proc && sleep 30' >/dev/null 2>&1 & until nsenter -t $! -m sh -c '! test -e /proc/version'; do sleep 0.1; done; nsenter -t $! -m hmmctl map 1; echo status $?; kill -9 $(pgrep -P $!); true");
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "PID namespace");
	EXPECT_SAYS(command, "status 1\n");
}

/* A fault that waits for a userfaultfd whose handler never comes */
static char *start_waiting_child(struct __test_metadata *_metadata, FIXTURE_DATA(hmmctl) *self,
				 size_t npages, size_t present)
{
	char *memory = map_anonymous(npages);

	ASSERT_NE(NULL, memory);
	if (fork_child(_metadata, self)) {
		int uffd = open_userfaultfd(0);

		if (uffd < 0)
			_exit(2);
		mark_pages(memory, present, 300);
		if (!uffd_register(uffd, page_at(memory, present), npages - present,
				   UFFDIO_REGISTER_MODE_MISSING))
			_exit(3);
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	return memory;
}

/* Whether a thread of the command waits for the userfaultfd; 0 after a while */
static bool wait_until_it_waits(pid_t pid)
{
	char path[64];
	size_t tries;

	for (tries = 0; tries < PATIENCE * 100; tries++) {
		snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
		if (file_has_word(path, "handle_userfault"))
			return true;
		usleep(10000);
	}
	return false;
}

TEST_F(hmmctl, fault_interrupted)
{
	struct command *command = &self->command;
	char *memory = start_waiting_child(_metadata, self, 1024, 512);
	char text[64];

	wait_for_child(_metadata, self);
	start(_metadata, command, "exec hmmctl fault -p %d %lx-%lx", self->child,
	      (unsigned long)memory, (unsigned long)page_at(memory, 1024));
	ASSERT_TRUE(wait_until_it_waits(command->pid));
	kill(command->pid, SIGINT);
	EXPECT_EQ(1, finish(_metadata, command));
	snprintf(text, sizeof(text), "process %d", self->child);
	EXPECT_SAYS(command, text);
	EXPECT_SAYS(command, "complete  up to");
	EXPECT_SAYS(command, "(EINTR)");

	start(_metadata, command, "exec hmmctl fault -t 500 -p %d %lx-%lx --json", self->child,
	      (unsigned long)memory, (unsigned long)page_at(memory, 1024));
	EXPECT_EQ(1, finish(_metadata, command));
	EXPECT_SAYS(command, "\"errno\": \"ETIMEDOUT\"");
}

/* The process is killed, and its memory is taken, while it is faulted in. */
TEST_F(hmmctl, fault_killed)
{
	struct command *command = &self->command;
	char *memory = start_waiting_child(_metadata, self, 16, 0);
	int pidfd;

	wait_for_child(_metadata, self);
	pidfd = syscall(__NR_pidfd_open, self->child, 0);
	ASSERT_LE(0, pidfd);
	start(_metadata, command, "exec hmmctl fault -p %d %lx-%lx", self->child,
	      (unsigned long)memory, (unsigned long)page_at(memory, 16));
	ASSERT_TRUE(wait_until_it_waits(command->pid));
	kill(self->child, SIGKILL);
	/* It may be gone already, which makes no difference. */
	syscall(__NR_process_mrelease, pidfd, 0);
	EXPECT_EQ(1, finish(_metadata, command));
	EXPECT_SAYS(command, "(ESRCH)");
	EXPECT_SAYS_NOT(command, "EiB");
	EXPECT_SAYS_NOT(command, "0x0 ");
	EXPECT_SAYS_NOT(command, "nothing is mapped");
	close(pidfd);
}

/* The end of the process: everything that it had, and no size of the address space. */
TEST_F(hmmctl, exit_and_exec)
{
	struct command *command = &self->command;
	bool exec;
	int i;

	for (i = 0; i < 2; i++) {
		exec = i;
		if (fork_child(_metadata, self)) {
			if (!map_anonymous(64 * MEGABYTE / page_size()))
				_exit(1);
			child_ready(self);
			child_wait(self);
			if (exec)
				execl("/bin/sleep", "sleep", "0", NULL);
			_exit(0);
		}
		wait_for_child(_metadata, self);
		start(_metadata, command, "hmmctl watch %d", self->child);
		ASSERT_TRUE(read_until(command, "MAPPING"));
		tell_child(_metadata, self);
		EXPECT_EQ(0, finish(_metadata, command));
		EXPECT_SAYS(command, "The address space is gone");
		EXPECT_SAYS(command, "everything");
		EXPECT_SAYS(command, "MiB invalidated");
		EXPECT_SAYS_NOT(command, "PiB");
		EXPECT_SAYS_NOT(command, "TiB");
		EXPECT_EQ(self->child, waitpid(self->child, NULL, 0));
		self->child = -1;
		close(self->from_child);
		close(self->to_child);
	}
}

/* Names that a process has given itself */
TEST_F(hmmctl, names)
{
	struct command *command = &self->command;

	if (fork_child(_metadata, self)) {
		prctl(PR_SET_NAME, "a\033[2J\xc2\x9b\xe2\x80\xaez\n!");
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	wait_for_child(_metadata, self);
	start(_metadata, command, "hmmctl map %d | head -1", self->child);
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "(a?[2J??z?!)");
	start(_metadata, command, "hmmctl map %d --json", self->child);
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "\"a\\u001b[2J\\u009b\\u202ez\\u000a!\"");
}

/* On hugetlbfs or not: each kind there is, and files of another file system */
TEST_F(hmmctl, hugetlb)
{
	struct command *command = &self->command;
	size_t length = 2 * MEGABYTE;
	char *maps[4];
	int memfd = memfd_create("memory", 0);
	int huge = memfd_create("huge", MFD_HUGETLB);
	size_t i;

	maps[0] = mmap(NULL, length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGETLB_2M, -1, 0);
	if (huge < 0 || maps[0] == MAP_FAILED)
		SKIP(return, "no hugetlb pages: %s", strerror(errno));
	ASSERT_EQ(0, ftruncate(huge, length));
	ASSERT_EQ(0, ftruncate(memfd, length));
	maps[1] = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, huge, 0);
	maps[2] = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	maps[3] = map_anonymous(length / page_size());
	for (i = 0; i < 4; i++) {
		ASSERT_NE(MAP_FAILED, maps[i]);
		mark_pages(maps[i], length / page_size(), i);
		start(_metadata, command, "hmmctl map %d --json -r %lx-%lx", getpid(),
		      (unsigned long)maps[i], (unsigned long)maps[i] + length);
		EXPECT_EQ(0, finish(_metadata, command));
		if (i < 2)
			EXPECT_SAYS(command, "\"hugetlb\": true");
		else
			EXPECT_SAYS(command, "\"hugetlb\": false");
	}
}

/* "watch | head" of a process that does nothing */
TEST_F(hmmctl, reader_ends)
{
	struct command *command = &self->command;

	if (fork_child(_metadata, self)) {
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	wait_for_child(_metadata, self);
	start(_metadata, command, "hmmctl watch %d | head -1", self->child);
	EXPECT_EQ(0, finish(_metadata, command));
	EXPECT_SAYS(command, "watching process");
}

/* Watches this memory of the child while the child does @action. */
static void watch_action(struct __test_metadata *_metadata, FIXTURE_DATA(hmmctl) *self,
			 const char *memory, size_t npages)
{
	struct command *command = &self->command;

	start(_metadata, command, "exec hmmctl watch %d -r %lx-%lx", self->child,
	      (unsigned long)memory, (unsigned long)page_at((char *)memory, npages));
	ASSERT_TRUE(read_until(command, "MAPPING"));
	tell_child(_metadata, self);
	wait_for_child(_metadata, self);
	kill(command->pid, SIGINT);
	EXPECT_EQ(0, finish(_metadata, command));
}

/* These cause the kinds of events that hmmctl describes. */
TEST_F(hmmctl, causes_userfaultfd)
{
	struct command *command = &self->command;
	char *memory = map_anonymous(16);
	char byte;
	int step;

	ASSERT_NE(NULL, memory);
	mark_pages(memory, 16, 400);
	if (fork_child(_metadata, self)) {
		int uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);

		/* Its own pages, not those of the parent */
		mark_pages(memory, 16, 500);
		if (uffd < 0 || !uffd_register(uffd, memory, 16, UFFDIO_REGISTER_MODE_WP))
			_exit(2);
		child_ready(self);
		child_wait(self);
		if (!uffd_write_protect(uffd, memory, 16, true))
			_exit(3);
		child_ready(self);
		child_wait(self);
		close(uffd);
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	/* Nothing: the child has ended. */
	if (read(self->from_child, &byte, 1) != 1)
		SKIP(return, "no userfaultfd write protection");
	for (step = 0; step < 2; step++) {
		watch_action(_metadata, self, memory, 16);
		EXPECT_SAYS(command, "protection-vma ");
		EXPECT_SAYS(command, "userfaultfd (wp, closing)");
		EXPECT_SAYS_NOT(command, "protection-page ");
	}
}

static int scan_and_protect(int pagemap, const char *memory, size_t npages)
{
	struct pagemap_scan scan = {
		.size = sizeof(scan),
		.flags = SCAN_WRITE_PROTECT,
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + npages * page_size(),
		.category_mask = SCAN_PRESENT,
		.return_mask = SCAN_PRESENT,
	};

	return ioctl(pagemap, SCAN_REQUEST, &scan);
}

TEST_F(hmmctl, causes_pagemap_scan)
{
	struct command *command = &self->command;
	char *memory = map_anonymous(16);
	char byte;

	ASSERT_NE(NULL, memory);
	if (fork_child(_metadata, self)) {
		int uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
					    FEATURE_WP_UNPOPULATED | FEATURE_WP_ASYNC);
		int pagemap = open("/proc/self/pagemap", O_RDONLY);

		mark_pages(memory, 16, 600);
		if (uffd < 0 || pagemap < 0 ||
		    !uffd_register(uffd, memory, 16, UFFDIO_REGISTER_MODE_WP))
			_exit(2);
		child_ready(self);
		child_wait(self);
		if (scan_and_protect(pagemap, memory, 16) < 0)
			_exit(3);
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	/* Nothing: the child has ended. */
	if (read(self->from_child, &byte, 1) != 1)
		SKIP(return, "no PAGEMAP_SCAN, it came with v6.7");
	watch_action(_metadata, self, memory, 16);
	EXPECT_SAYS(command, "protection-vma ");
	EXPECT_SAYS(command, "PAGEMAP_SCAN");
	EXPECT_SAYS_NOT(command, "protection-page ");
}

static bool run_on(int processor, int priority)
{
	struct sched_param parameters = { .sched_priority = priority };
	cpu_set_t processors;

	CPU_ZERO(&processors);
	CPU_SET(processor, &processors);
	return !sched_setaffinity(0, sizeof(processors), &processors) &&
	       (!priority || !sched_setscheduler(0, SCHED_FIFO, &parameters));
}

/* Keeps this processor busy until *@state is 2; sets it to 1 once it does. */
static pid_t occupy_processor(int processor, volatile int *state)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!run_on(processor, 1))
		_exit(1);
	*state = 1;
	while (*state == 1)
		;
	_exit(0);
}

/*
 * process_mrelease() does what the OOM reaper does. It needs a process that has been
 * killed and is not gone yet: one that gets no time on its processor.
 */
TEST_F(hmmctl, causes_oom_reaper)
{
	struct command *command = &self->command;
	char *memory = map_anonymous(16);
	volatile int *state = mmap(NULL, page_size(), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	int pidfd;
	pid_t busy;

	ASSERT_NE(NULL, memory);
	ASSERT_NE(MAP_FAILED, (void *)state);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "one processor only");
	if (fork_child(_metadata, self)) {
		mark_pages(memory, 16, 700);
		if (!run_on(1, 0))
			_exit(1);
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	wait_for_child(_metadata, self);
	ASSERT_TRUE(run_on(0, 0));
	pidfd = syscall(__NR_pidfd_open, self->child, 0);
	ASSERT_LE(0, pidfd);
	start(_metadata, command, "hmmctl watch %d -r %lx-%lx", self->child,
	      (unsigned long)memory, (unsigned long)page_at(memory, 16));
	ASSERT_TRUE(read_until(command, "MAPPING"));
	busy = occupy_processor(1, state);
	ASSERT_LT(0, busy);
	while (!*state && waitpid(busy, &status, WNOHANG) != busy)
		usleep(1000);
	kill(self->child, SIGKILL);
	EXPECT_EQ(0, syscall(__NR_process_mrelease, pidfd, 0)) {
		TH_LOG("%s", strerror(errno));
	}
	*state = 2;
	EXPECT_EQ(busy, waitpid(busy, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, finish(_metadata, command));
	/* Linux 7.3 calls it "clear", earlier ones "unmap". */
	EXPECT_NE(!strstr(command->text, "unmap "),
		  !strstr(command->text, "clear "));
	EXPECT_SAYS(command, "the OOM killer");
	close(pidfd);
}

TEST_F(hmmctl, causes_ksm)
{
	struct command *command = &self->command;
	char *memory = map_anonymous(64);
	unsigned long scans;
	size_t i;

	ASSERT_NE(NULL, memory);
	if (access("/sys/kernel/mm/ksm/run", W_OK))
		SKIP(return, "no KSM in this kernel");
	if (fork_child(_metadata, self)) {
		for (i = 0; i < 64; i++)
			memset(page_at(memory, i), 0x5a, page_size());
		child_ready(self);
		child_wait(self);
		if (madvise(memory, 64 * page_size(), MADV_MERGEABLE))
			_exit(2);
		scans = read_number("/sys/kernel/mm/ksm/full_scans", 0);
		while (read_number("/sys/kernel/mm/ksm/full_scans", 0) < scans + 4)
			usleep(10000);
		child_ready(self);
		child_wait(self);
		_exit(0);
	}
	wait_for_child(_metadata, self);
	EXPECT_TRUE(write_text("/sys/kernel/mm/ksm/sleep_millisecs", "1"));
	EXPECT_TRUE(write_text("/sys/kernel/mm/ksm/pages_to_scan", "10000"));
	EXPECT_TRUE(write_text("/sys/kernel/mm/ksm/run", "1"));
	watch_action(_metadata, self, memory, 64);
	EXPECT_TRUE(write_text("/sys/kernel/mm/ksm/run", "2"));
	EXPECT_TRUE(write_text("/sys/kernel/mm/ksm/run", "0"));
	EXPECT_SAYS(command, "clear ");
	EXPECT_SAYS(command, "KSM");
	EXPECT_SAYS_NOT(command, "protection-page ");
}

TEST_HARNESS_MAIN
