// SPDX-License-Identifier: GPL-2.0
/*
 * Every wait can be ended: whatever another driver, another thread or dead storage does
 * to a process, whoever looks at it gets away, by the deadline or by SIGKILL, and others
 * can still look at it.
 *
 * A target process gets stuck; this process, and callers that it kills, look at it.
 */
#include <linux/fs.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "device.h"
#include "mirror/mirror_test/mirror_test.h"
#include "range_fault.h"

#define NR_PAGES	16

/* How long a request may take, and how long to wait before a wait counts as endless. */
#define TIMEOUT_MS	500
#define PATIENCE	5.0

/* How long the target holds mmap_lock for writing if it releases it. */
#define WHILE_MS	300

/* What the target is to do for us, with its own memory. */
enum order {
	ORDER_NONE,
	ORDER_DISCARD,		/* the first hung page; does not return */
	ORDER_RANGE_FAULT,	/* hmm_mirror_range_fault_unlocked(), elsewhere */
	ORDER_EXTENTS,		/* the same with extents */
	ORDER_DISCARD_ELSEWHERE,
	ORDER_TOUCH_FILE,	/* writes to a page of a file; does not return */
	ORDER_HOLD_MMAP_LOCK,	/* does not return before MIRROR_TEST_LET_GO */
	ORDER_WRITE_MMAP_LOCK,	/* nor does this */
	ORDER_WRITE_FOR_A_WHILE, /* WHILE_MS */
};

struct servant {
	pthread_t thread;
	pid_t tid;
	enum order order;
	int result;
	double seconds;
};

/* Shared by this process and the target. */
struct target {
	pid_t pid;
	bool ready;
	int error;
	struct servant servants[2];
};

FIXTURE(waits)
{
	size_t page;
	char *hung;		/* what somebody is stuck with */
	char *elsewhere;
	char *file;		/* a page on the file system that is frozen */
	int mount;		/* that file system, or -1 */
	int hung_mirror;
	int other_mirror;
	int device;		/* which the target has not inherited */
	struct target *target;
	__u64 subscriptions;
};

static int register_target(int fd, const void *start)
{
	struct mirror_test_register args = {
		.start = (unsigned long)start,
		.length = NR_PAGES * page_size(),
	};

	return ioctl(fd, MIRROR_TEST_REGISTER, &args) ? errno : args.error;
}

static __u64 count_subscriptions(void)
{
	struct hmm_mirror_stats stats = {};
	int fd = open_device();

	call_stats(fd, &stats);
	close(fd);
	return stats.subscriptions;
}

static int ask_range_fault(FIXTURE_DATA(waits) *self, __u32 call)
{
	static __u64 words[NR_PAGES];
	static struct range_fault_test_extent extents[NR_PAGES];
	struct range_fault_test_range args = {
		.call = call,
		.start = (unsigned long)self->elsewhere,
		.end = (unsigned long)self->elsewhere + NR_PAGES * self->page,
		.words = (unsigned long)words,
		.nr_words = NR_PAGES,
		.extents = (unsigned long)extents,
		.nr_extents = NR_PAGES,
		.timeout_ms = TIMEOUT_MS,
		.flags = RANGE_FAULT_TEST_NO_RETRY,
	};
	int fd = open(RANGE_FAULT_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	int error = ioctl(fd, RANGE_FAULT_TEST_RANGE, &args) ? errno :
							       (int)args.error;

	close(fd);
	return error;
}

static int obey(FIXTURE_DATA(waits) *self, enum order order)
{
	switch (order) {
	case ORDER_NONE:
		break;
	case ORDER_DISCARD:
		return madvise(self->hung, self->page, MADV_DONTNEED);
	case ORDER_DISCARD_ELSEWHERE:
		return madvise(self->elsewhere, self->page, MADV_DONTNEED);
	case ORDER_RANGE_FAULT:
		return ask_range_fault(self, RANGE_FAULT_TEST_PAGES_UNLOCKED);
	case ORDER_EXTENTS:
		return ask_range_fault(self, RANGE_FAULT_TEST_EXTENTS_UNLOCKED);
	case ORDER_TOUCH_FILE:
		*(volatile char *)self->file = 1;
		break;
	case ORDER_HOLD_MMAP_LOCK:
		return ioctl(self->hung_mirror, MIRROR_TEST_HOLD_MMAP_LOCK);
	case ORDER_WRITE_MMAP_LOCK:
		return ioctl(self->hung_mirror, MIRROR_TEST_WRITE_MMAP_LOCK, 0);
	case ORDER_WRITE_FOR_A_WHILE:
		return ioctl(self->hung_mirror, MIRROR_TEST_WRITE_MMAP_LOCK,
			     WHILE_MS);
	}
	return 0;
}

static FIXTURE_DATA(waits) *served;

static void *serve_orders(void *argument)
{
	struct servant *servant = argument;

	__atomic_store_n(&servant->tid, gettid(), __ATOMIC_RELEASE);
	for (;;) {
		enum order order = __atomic_load_n(&servant->order,
						   __ATOMIC_ACQUIRE);
		double begin = seconds_now();

		if (order == ORDER_NONE) {
			sleep_ms(1);
			continue;
		}
		servant->result = obey(served, order);
		servant->seconds = seconds_now() - begin;
		__atomic_store_n(&servant->order, ORDER_NONE, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *hold_mirror(void *argument)
{
	FIXTURE_DATA(waits) *self = argument;

	ioctl(self->hung_mirror, MIRROR_TEST_HOLD);
	return NULL;
}

static void be_target(FIXTURE_DATA(waits) *self, bool with_mirrors)
{
	struct target *target = self->target;
	pthread_t thread;
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	served = self;
	if (with_mirrors) {
		target->error = register_target(self->hung_mirror, self->hung);
		if (!target->error)
			target->error = register_target(self->other_mirror,
							self->elsewhere);
		if (!target->error &&
		    pthread_create(&thread, NULL, hold_mirror, self))
			target->error = errno;
	}
	for (i = 0; i < ARRAY_SIZE(target->servants); i++) {
		struct servant *servant = &target->servants[i];

		if (pthread_create(&servant->thread, NULL, serve_orders,
				   servant))
			target->error = errno;
	}
	__atomic_store_n(&target->ready, true, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

static bool start_target(FIXTURE_DATA(waits) *self, bool with_mirrors)
{
	double deadline = seconds_now() + 30;
	struct target *target = self->target;
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (!pid)
		be_target(self, with_mirrors);
	target->pid = pid;
	while (!(__atomic_load_n(&target->ready, __ATOMIC_ACQUIRE) &&
		 __atomic_load_n(&target->servants[0].tid, __ATOMIC_ACQUIRE) &&
		 __atomic_load_n(&target->servants[1].tid, __ATOMIC_ACQUIRE)) &&
	       seconds_now() < deadline)
		sleep_ms(1);
	self->device = open_device();
	return target->ready && !target->error && self->device >= 0;
}

static void give_order(FIXTURE_DATA(waits) *self, size_t servant,
		       enum order order)
{
	__atomic_store_n(&self->target->servants[servant].order, order,
			 __ATOMIC_RELEASE);
}

/* Returns its result, or -1 if there is none. */
static int result_of(FIXTURE_DATA(waits) *self, size_t servant)
{
	double deadline = seconds_now() + 3 * PATIENCE;

	while (__atomic_load_n(&self->target->servants[servant].order,
			       __ATOMIC_ACQUIRE) != ORDER_NONE) {
		if (seconds_now() > deadline)
			return -1;
		sleep_ms(2);
	}
	return self->target->servants[servant].result;
}

/* Waits until it sleeps where only a fatal signal wakes it, or none. */
static bool gets_stuck(FIXTURE_DATA(waits) *self, size_t servant)
{
	double deadline = seconds_now() + 10;
	char path[64], line[512];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat",
		 self->target->pid, self->target->servants[servant].tid);
	while (seconds_now() < deadline) {
		int fd = open(path, O_RDONLY);
		ssize_t length = read(fd, line, sizeof(line) - 1);
		const char *rest;

		close(fd);
		if (length <= 0)
			return false;
		line[length] = '\0';
		rest = strrchr(line, ')');
		if (rest && rest[2] == 'D')
			return true;
		sleep_ms(2);
	}
	return false;
}

FIXTURE_SETUP(waits)
{
	self->page = page_size();
	self->mount = -1;
	self->subscriptions = count_subscriptions();
	self->hung = map_anonymous(NR_PAGES);
	self->elsewhere = map_anonymous(NR_PAGES);
	ASSERT_NE(NULL, self->hung);
	ASSERT_NE(NULL, self->elsewhere);
	mark_pages(self->hung, NR_PAGES, 100);
	mark_pages(self->elsewhere, NR_PAGES, 200);
	self->target = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->target);
	self->hung_mirror = open(MIRROR_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	self->other_mirror = open(MIRROR_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->hung_mirror);
	ASSERT_LE(0, self->other_mirror);
	self->device = -1;
}

static void let_go(FIXTURE_DATA(waits) *self)
{
	ioctl(self->hung_mirror, MIRROR_TEST_LET_GO);
}

FIXTURE_TEARDOWN(waits)
{
	double deadline = seconds_now() + 20;

	let_go(self);
	if (self->mount >= 0) {
		ioctl(self->mount, FITHAW, 0);
		close(self->mount);
	}
	if (self->target->pid > 0) {
		kill(self->target->pid, SIGKILL);
		waitpid(self->target->pid, NULL, 0);
	}
	close(self->device);
	close(self->other_mirror);
	close(self->hung_mirror);
	while (count_subscriptions() != self->subscriptions &&
	       seconds_now() < deadline)
		sleep_ms(10);
	EXPECT_EQ(self->subscriptions, count_subscriptions());
}

/* --- A driver's callback that does not return ------------------------------ */

/*
 * The target discards a page that a driver mirrors, and the driver does not return from
 * its callback. Watches of @device exist before that.
 */
static void hang_target(struct __test_metadata *_metadata,
			FIXTURE_DATA(waits) *self, unsigned int nr_watches,
			__u32 *ids)
{
	struct mirror_test_record record = {};
	double deadline = seconds_now() + 10;

	ASSERT_TRUE(start_target(self, true));
	while (!record.holders && seconds_now() < deadline) {
		sleep_ms(1);
		ASSERT_EQ(0, ioctl(self->hung_mirror, MIRROR_TEST_RECORD,
				   &record));
	}
	ASSERT_EQ(1, record.holders);
	ASSERT_EQ(0, call_attach(self->device, self->target->pid));
	while (nr_watches--)
		ASSERT_EQ(0, call_watch(self->device, self->elsewhere, NR_PAGES,
					&ids[nr_watches]));
	give_order(self, 0, ORDER_DISCARD);
	ASSERT_TRUE(gets_stuck(self, 0));
}

static int ask_target(FIXTURE_DATA(waits) *self, int device, __u32 flags,
		      unsigned int timeout_ms)
{
	static struct hmm_mirror_extent_info extents[NR_PAGES];
	struct hmm_mirror_range_args args =
		range_args(self->elsewhere, NR_PAGES, flags, extents, NR_PAGES);

	args.timeout_ms = timeout_ms;
	return call_range(device, &args);
}

static int populate_target(FIXTURE_DATA(waits) *self, unsigned int timeout_ms)
{
	struct mirror_test_populate args = {
		.start = (unsigned long)self->elsewhere,
		.end = (unsigned long)self->elsewhere + NR_PAGES * self->page,
		.timeout_ms = timeout_ms,
	};

	return ioctl(self->other_mirror, MIRROR_TEST_POPULATE, &args) ?
	       errno : (int)args.error;
}

TEST_F(waits, range_deadline)
{
	double begin;

	hang_target(_metadata, self, 0, NULL);
	begin = seconds_now();
	EXPECT_EQ(ETIMEDOUT, ask_target(self, self->device, 0, TIMEOUT_MS));
	EXPECT_LE(TIMEOUT_MS / 2000.0, seconds_now() - begin);
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	begin = seconds_now();
	EXPECT_EQ(ETIMEDOUT, ask_target(self, self->device,
					HMM_MIRROR_RANGE_FAULT, 1));
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	/* The target hangs, not the module. */
	EXPECT_EQ(0, call_attach(self->device, getpid()));
	begin = seconds_now();
	EXPECT_EQ(0, ask_target(self, self->device, HMM_MIRROR_RANGE_FAULT,
				0));
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	EXPECT_EQ(0, call_attach(self->device, self->target->pid));

	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	EXPECT_EQ(0, ask_target(self, self->device, HMM_MIRROR_RANGE_FAULT,
				0));
}

/* Whoever waits goes on as soon as possible. */
TEST_F(waits, range_goes_on)
{
	double begin;
	pid_t child;
	int status;

	hang_target(_metadata, self, 0, NULL);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int device = open_device();

		if (call_attach(device, self->target->pid))
			_exit(1);
		_exit(ask_target(self, device, 0, 60000));
	}
	sleep_ms(200);
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	let_go(self);
	begin = seconds_now();
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_GT(PATIENCE, seconds_now() - begin);
}

/* Forks, and kills the child in the middle of what it does. */
#define EXPECT_KILLED_IN_CALL(what) \
do { \
	double begin__; \
	int status__; \
	pid_t child__ = fork(); \
	ASSERT_LE(0, child__); \
	if (!child__) { \
		int device = open_device(); \
		call_attach(device, self->target->pid); \
		what; \
		_exit(0); \
	} \
	sleep_ms(300); \
	begin__ = seconds_now(); \
	ASSERT_EQ(0, kill(child__, SIGKILL)); \
	ASSERT_EQ(child__, waitpid(child__, &status__, 0)); \
	/* If it had not been waiting, it would have ended. */ \
	EXPECT_TRUE(WIFSIGNALED(status__)); \
	EXPECT_GT(PATIENCE, seconds_now() - begin__); \
} while (0)

TEST_F(waits, range_kill)
{
	hang_target(_metadata, self, 0, NULL);
	EXPECT_KILLED_IN_CALL(ask_target(self, device, 0, 0));
}

TEST_F(waits, range_fault_kill)
{
	hang_target(_metadata, self, 0, NULL);
	EXPECT_KILLED_IN_CALL(ask_target(self, device, HMM_MIRROR_RANGE_FAULT,
					 0));
}

TEST_F(waits, populate_deadline)
{
	double begin;

	hang_target(_metadata, self, 0, NULL);
	/* This mirror was quiet before, and nothing touches its range. */
	EXPECT_EQ(0, populate_target(self, 0));
	/*
	 * Now something does: an invalidation that shares the hung one's number, so it is
	 * not over before that one ends.
	 */
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	begin = seconds_now();
	EXPECT_EQ(EBUSY, populate_target(self, TIMEOUT_MS));
	EXPECT_LE(TIMEOUT_MS / 2000.0, seconds_now() - begin);
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	EXPECT_EQ(0, populate_target(self, 0));
}

TEST_F(waits, populate_kill)
{
	hang_target(_metadata, self, 0, NULL);
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_KILLED_IN_CALL(populate_target(self, 0));
}

/* hmm_mirror_range_fault_unlocked() with the driver's own notifier */
TEST_F(waits, driver_deadline)
{
	hang_target(_metadata, self, 0, NULL);
	give_order(self, 1, ORDER_RANGE_FAULT);
	EXPECT_EQ(EBUSY, result_of(self, 1));
	EXPECT_GT(PATIENCE, self->target->servants[1].seconds);
	give_order(self, 1, ORDER_EXTENTS);
	EXPECT_EQ(EBUSY, result_of(self, 1));
	EXPECT_GT(PATIENCE, self->target->servants[1].seconds);
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	give_order(self, 1, ORDER_RANGE_FAULT);
	EXPECT_EQ(0, result_of(self, 1));
	give_order(self, 1, ORDER_EXTENTS);
	EXPECT_EQ(0, result_of(self, 1));
}

static int begin_with_target(FIXTURE_DATA(waits) *self, unsigned int timeout_ms)
{
	return ioctl(self->other_mirror, MIRROR_TEST_READ_BEGIN, timeout_ms) ?
	       errno : 0;
}

TEST_F(waits, begin_deadline)
{
	double begin;

	hang_target(_metadata, self, 0, NULL);
	EXPECT_EQ(0, begin_with_target(self, 0));
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	begin = seconds_now();
	EXPECT_EQ(EBUSY, begin_with_target(self, TIMEOUT_MS));
	EXPECT_LE(TIMEOUT_MS / 2000.0, seconds_now() - begin);
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	EXPECT_KILLED_IN_CALL(begin_with_target(self, 0));
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	EXPECT_EQ(0, begin_with_target(self, 0));
}

/* Callbacks are called until it is complete, and then no more. */
TEST_F(waits, unregister_async)
{
	struct mirror_test_record record;
	double begin;

	hang_target(_metadata, self, 0, NULL);
	begin = seconds_now();
	EXPECT_EQ(0, ioctl(self->other_mirror, MIRROR_TEST_UNREGISTER_ASYNC));
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_EQ(0, ioctl(self->other_mirror, MIRROR_TEST_RECORD, &record));
	EXPECT_EQ(0, record.gone);
	EXPECT_EQ(1, record.nr_unmap);
	EXPECT_EQ(-1, ioctl(self->other_mirror, MIRROR_TEST_UNREGISTER));
	EXPECT_EQ(ENOENT, errno);

	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	begin = seconds_now();
	do {
		sleep_ms(2);
		EXPECT_EQ(0, ioctl(self->other_mirror, MIRROR_TEST_RECORD,
				   &record));
	} while (!record.gone && seconds_now() - begin < PATIENCE);
	EXPECT_EQ(1, record.gone);
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_EQ(0, ioctl(self->other_mirror, MIRROR_TEST_RECORD, &record));
	EXPECT_EQ(1, record.nr_unmap);
	EXPECT_EQ(MIRROR_TEST_NO_VIOLATION, record.violation);
}

static bool queue_is_empty(int device)
{
	struct pollfd poll_fd = { device, POLLIN, 0 };

	return !poll(&poll_fd, 1, 0);
}

TEST_F(waits, unwatch)
{
	__u32 ids[2];
	__u32 id;
	double begin;

	hang_target(_metadata, self, 2, ids);
	begin = seconds_now();
	EXPECT_EQ(0, call_unwatch(self->device, ids[0]));
	EXPECT_EQ(0, call_watch(self->device, self->elsewhere, NR_PAGES, &id));
	EXPECT_EQ(0, call_unwatch(self->device, id));
	EXPECT_EQ(ENOENT, call_unwatch(self->device, ids[0]));
	EXPECT_EQ(0, call_unwatch(self->device, ids[1]));
	EXPECT_GT(PATIENCE, seconds_now() - begin);

	/* All of them are gone, even if the kernel cannot remove them yet. */
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_TRUE(queue_is_empty(self->device));
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_TRUE(queue_is_empty(self->device));
	/* And a new one works. */
	EXPECT_EQ(0, call_watch(self->device, self->elsewhere, NR_PAGES, &id));
	give_order(self, 1, ORDER_DISCARD_ELSEWHERE);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_FALSE(queue_is_empty(self->device));
}

/* Nobody waits for what hangs, and the number of removals in the meantime is bounded. */
TEST_F(waits, watch_again_and_again)
{
	double begin;
	size_t i;
	__u32 id;

	hang_target(_metadata, self, 1, &id);
	begin = seconds_now();
	/* The kernel keeps this one, and all that follow have to wait for it. */
	ASSERT_EQ(0, call_unwatch(self->device, id));
	for (i = 0; i < 100000; i++) {
		int error = call_watch(self->device, self->elsewhere, NR_PAGES,
				       &id);

		if (error) {
			EXPECT_EQ(EDQUOT, error);
			break;
		}
		ASSERT_EQ(0, call_unwatch(self->device, id));
		if (seconds_now() - begin > 30)
			break;
	}
	EXPECT_LT(64, i);
	EXPECT_GT(100000, i);
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	begin = seconds_now();
	while (call_watch(self->device, self->elsewhere, NR_PAGES, &id) &&
	       seconds_now() - begin < PATIENCE)
		sleep_ms(10);
	EXPECT_GT(PATIENCE, seconds_now() - begin);
}

TEST_F(waits, close)
{
	__u32 ids[3];
	double begin;

	hang_target(_metadata, self, 3, ids);
	begin = seconds_now();
	EXPECT_EQ(0, close(self->device));
	EXPECT_GT(PATIENCE, seconds_now() - begin);
	self->device = open_device();
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
}

TEST_F(waits, exit_with_watches)
{
	double begin;
	pid_t child;
	int status;
	int ready[2];
	char byte;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_TRUE(start_target(self, true));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int device = open_device();
		__u32 id;

		if (call_attach(device, self->target->pid) ||
		    call_watch(device, self->elsewhere, NR_PAGES, &id) ||
		    write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	give_order(self, 0, ORDER_DISCARD);
	EXPECT_TRUE(gets_stuck(self, 0));
	begin = seconds_now();
	EXPECT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(PATIENCE, seconds_now() - begin);
}

/* --- mmap_lock that nobody gives back -------------------------------------- */

/* Whether others, such as ps, can still look at it. */
static bool maps_can_be_read(pid_t pid)
{
	double deadline = seconds_now() + PATIENCE;
	char path[64];
	pid_t child;
	int status;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	child = fork();
	if (!child) {
		char text[256];
		int fd = open(path, O_RDONLY);

		_exit(read(fd, text, sizeof(text)) <= 0);
	}
	while (seconds_now() < deadline) {
		if (waitpid(child, &status, WNOHANG) == child)
			return !status;
		sleep_ms(2);
	}
	/* It is reaped when this process exits. */
	kill(child, SIGKILL);
	return false;
}

/* The target's memory has never been looked at, and it is stuck in a fault. */
static void expect_to_get_away(struct __test_metadata *_metadata,
			       FIXTURE_DATA(waits) *self)
{
	double begin;
	pid_t child;
	int status;
	__u32 id;

	begin = seconds_now();
	EXPECT_EQ(0, call_attach(self->device, self->target->pid));
	EXPECT_EQ(ETIMEDOUT, ask_target(self, self->device, 0, TIMEOUT_MS));
	EXPECT_LE(TIMEOUT_MS / 2000.0, seconds_now() - begin);
	EXPECT_GT(PATIENCE, seconds_now() - begin);

	EXPECT_KILLED_IN_CALL(ask_target(self, device, 0, 0));
	EXPECT_KILLED_IN_CALL(call_watch(device, self->elsewhere, NR_PAGES,
					 &id));

	/* And nobody else has to wait because somebody looks at it. */
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int device = open_device();

		call_attach(device, self->target->pid);
		_exit(ask_target(self, device, 0, 60000));
	}
	sleep_ms(300);
	EXPECT_TRUE(maps_can_be_read(self->target->pid));
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	kill(child, SIGKILL);
	EXPECT_EQ(child, waitpid(child, &status, 0));
}

static bool lock_is_held(FIXTURE_DATA(waits) *self)
{
	double deadline = seconds_now() + 10;
	struct mirror_test_record record = {};

	while (!record.holders && seconds_now() < deadline) {
		sleep_ms(1);
		if (ioctl(self->hung_mirror, MIRROR_TEST_RECORD, &record))
			return false;
	}
	return record.holders == 1;
}

TEST_F(waits, mmap_lock_held)
{
	double begin;

	ASSERT_TRUE(start_target(self, false));
	give_order(self, 0, ORDER_HOLD_MMAP_LOCK);
	ASSERT_TRUE(lock_is_held(self));
	expect_to_get_away(_metadata, self);
	let_go(self);
	EXPECT_EQ(0, result_of(self, 0));
	begin = seconds_now();
	EXPECT_EQ(0, ask_target(self, self->device, HMM_MIRROR_RANGE_FAULT,
				0));
	EXPECT_GT(PATIENCE, seconds_now() - begin);
}

static void ignore_signal(int signal)
{
	(void)signal;
}

/*
 * The lock changes hands during the wait, and its new holder is stuck with it. The first
 * subscription is another matter, and was made before.
 */
TEST_F(waits, mmap_lock_changes_hands)
{
	struct itimerval soon = { .it_value.tv_usec = 100000 };
	struct sigaction action = { .sa_handler = ignore_signal };
	double begin, took;

	ASSERT_TRUE(start_target(self, false));
	ASSERT_EQ(0, call_attach(self->device, self->target->pid));
	ASSERT_EQ(0, ask_target(self, self->device, 0, 0));
	give_order(self, 0, ORDER_WRITE_FOR_A_WHILE);
	ASSERT_TRUE(lock_is_held(self));
	give_order(self, 1, ORDER_WRITE_MMAP_LOCK);
	ASSERT_TRUE(gets_stuck(self, 1));
	begin = seconds_now();
	EXPECT_EQ(ETIMEDOUT, ask_target(self, self->device, 0, 1000));
	took = seconds_now() - begin;
	TH_LOG("%.2f s", took);
	EXPECT_LE(0.95, took);
	EXPECT_GT(PATIENCE, took);
	/* Otherwise it waited for the first holder. */
	EXPECT_EQ(0, result_of(self, 0));
	EXPECT_TRUE(lock_is_held(self));

	EXPECT_KILLED_IN_CALL(ask_target(self, device, 0, 60000));
	/* A signal is a reason neither to fail nor to wait longer. */
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
	begin = seconds_now();
	EXPECT_EQ(ETIMEDOUT, ask_target(self, self->device, 0, TIMEOUT_MS));
	took = seconds_now() - begin;
	EXPECT_LE(TIMEOUT_MS / 2000.0, took);
	EXPECT_GT(PATIENCE, took);

	let_go(self);
	EXPECT_EQ(0, result_of(self, 1));
	EXPECT_EQ(0, ask_target(self, self->device, HMM_MIRROR_RANGE_FAULT,
				0));
}

#define FROZEN_DIRECTORY	"/tmp/hmm_mirror_frozen"

/*
 * Mounts a file system with a device below it: tmpfs cannot be frozen. Returns what is
 * missing, or NULL.
 */
static const char *mount_ext2(void)
{
	unsigned int number;
	char command[128];
	char path[64];
	FILE *file = fopen("/sys/class/zram-control/hot_add", "r");

	if (!file)
		return "no zram";
	if (fscanf(file, "%u", &number) != 1) {
		fclose(file);
		return "no second zram device";
	}
	fclose(file);
	snprintf(path, sizeof(path), "/sys/block/zram%u/disksize", number);
	if (!write_text(path, "33554432"))
		return "no memory for a zram device";
	snprintf(command, sizeof(command),
		 "mke2fs -b 4096 /dev/zram%u >/dev/null 2>&1", number);
	if (system(command))
		return "no mke2fs";
	mkdir(FROZEN_DIRECTORY, 0700);
	snprintf(path, sizeof(path), "/dev/zram%u", number);
	if (mount(path, FROZEN_DIRECTORY, "ext4", 0, NULL))
		return "no ext4";
	return NULL;
}

/* A process writes to a page of a file while the file system is frozen. */
TEST_F(waits, frozen_file_system)
{
	const char *lacking = mount_ext2();
	int file;

	if (lacking)
		SKIP(return, "%s: %s", lacking, strerror(errno));
	file = open(FROZEN_DIRECTORY "/file", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, file);
	ASSERT_EQ(1, pwrite(file, "", 1, self->page - 1));
	self->file = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED,
			  file, 0);
	ASSERT_NE(MAP_FAILED, self->file);
	close(file);
	ASSERT_TRUE(start_target(self, false));
	self->mount = open(FROZEN_DIRECTORY, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->mount);
	ASSERT_EQ(0, ioctl(self->mount, FIFREEZE, 0));
	give_order(self, 0, ORDER_TOUCH_FILE);
	ASSERT_TRUE(gets_stuck(self, 0));
	expect_to_get_away(_metadata, self);

	ASSERT_EQ(0, ioctl(self->mount, FITHAW, 0));
	EXPECT_EQ(0, result_of(self, 0));
	EXPECT_EQ(0, ask_target(self, self->device, HMM_MIRROR_RANGE_FAULT,
				0));
	munmap(self->file, self->page);
	kill(self->target->pid, SIGKILL);
	waitpid(self->target->pid, NULL, 0);
	self->target->pid = 0;
	close(self->mount);
	self->mount = -1;
	EXPECT_EQ(0, umount(FROZEN_DIRECTORY));
}

/* --- Those who wait for a request ------------------------------------------ */

struct asker {
	FIXTURE_DATA(waits) *self;
	struct hmm_mirror_range_args args;
	int fd;
	int error;
	bool done;
};

static void *ask_thread(void *argument)
{
	struct asker *asker = argument;

	asker->error = call_range(asker->fd, &asker->args);
	__atomic_store_n(&asker->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static int compare_longs(const void *left, const void *right)
{
	long first = *(const long *)left;
	long second = *(const long *)right;

	return (first > second) - (first < second);
}

/*
 * A request that takes many faults lets others have mmap_lock to change mappings. How
 * long one of them waits depends on the machine, and on who else uses it; for how many
 * faults most of them wait does not.
 */
TEST_F_TIMEOUT(waits, mmap_while_faulting, 300)
{
	size_t npages = (2UL << 30) / self->page;
	char *start = map_anonymous(npages);
	struct asker asker = {
		.fd = open_device(),
		.args = range_args(start, npages, HMM_MIRROR_RANGE_FAULT, NULL,
				   0),
	};
	long faults[50] = {};
	double longest = 0;
	pthread_t thread;
	unsigned int i;

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask_target(self, asker.fd, 0, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, ask_thread, &asker));
	while (charged_faults() < 20000 && !asker.done)
		sleep_ms(1);
	for (i = 0; i < 50 && !__atomic_load_n(&asker.done, __ATOMIC_ACQUIRE);
	     i++) {
		struct rusage before, after;
		double begin = seconds_now();
		double took;
		void *mapped;

		getrusage(RUSAGE_SELF, &before);
		mapped = mmap(NULL, self->page, PROT_READ,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		getrusage(RUSAGE_SELF, &after);
		took = seconds_now() - begin;
		EXPECT_NE(MAP_FAILED, mapped);
		munmap(mapped, self->page);
		/* Long enough for it to be in the middle of its faults again. */
		sleep_ms(2);
		if (took > longest)
			longest = took;
		faults[i] = after.ru_minflt - before.ru_minflt;
	}
	/* Otherwise nothing was timed. */
	EXPECT_EQ(50, i);
	qsort(faults, 50, sizeof(*faults), compare_longs);
	TH_LOG("mmap(): the longest took %.1f ms; faults: half of them at most %ld, 90%% %ld, all %ld",
	       longest * 1000, faults[24], faults[44], faults[49]);
	/*
	 * Without turns for others half of them wait for 168 faults. With turns, 1 was
	 * seen on a busy host, and up to 35 on an idle one, where a writer spins before
	 * it queues.
	 */
	EXPECT_GT(100, faults[24]);
	EXPECT_GT(1000, faults[44]);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, asker.error);
	EXPECT_EQ(asker.args.end, asker.args.next);
	close(asker.fd);
	munmap(start, npages * self->page);
}

struct nuisance {
	char *page;
	volatile bool stop;
	volatile unsigned long rounds;
};

static void *invalidate_page(void *argument)
{
	struct nuisance *nuisance = argument;

	while (!nuisance->stop) {
		*(volatile char *)nuisance->page = 1;
		madvise(nuisance->page, page_size(), MADV_DONTNEED);
		nuisance->rounds++;
	}
	return NULL;
}

/* An opener who sees no PFNs gets one extent, however scattered the memory is. */
static int open_device_without_pfns(void)
{
	uid_t nobody = 65534;
	int fd;

	/* Without CAP_SYS_ADMIN; but the node belongs to root. */
	if (chmod(DEVICE, 0666) || seteuid(nobody))
		return -1;
	fd = open_device();
	if (seteuid(0) || chmod(DEVICE, 0600))
		return -1;
	return fd;
}

/*
 * Pages of a long extent are discarded again and again. A request without a deadline
 * still ends, and looks at all pages no more than a few times.
 */
TEST_F_TIMEOUT(waits, invalidated_for_ever, 300)
{
	size_t npages = (1UL << 30) / self->page;
	static struct hmm_mirror_extent_info extents[NR_PAGES];
	char *start = map_anonymous(npages);
	struct nuisance nuisances[2] = {};
	struct asker asker = {
		.fd = open_device_without_pfns(),
		.args = range_args(start, npages, 0, extents, NR_PAGES),
	};
	double deadline = seconds_now() + 60;
	pthread_t threads[2], asking;
	size_t i;

	ASSERT_NE(NULL, start);
	ASSERT_LE(0, asker.fd);
	for (i = 0; i < npages; i++)
		touch_page(page_at(start, i));
	for (i = 0; i < ARRAY_SIZE(nuisances); i++) {
		nuisances[i].page = page_at(start, npages / 3 * (i + 1));
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, invalidate_page,
					    &nuisances[i]));
		while (nuisances[i].rounds < 10)
			sleep_ms(1);
	}
	ASSERT_EQ(0, pthread_create(&asking, NULL, ask_thread, &asker));
	while (!__atomic_load_n(&asker.done, __ATOMIC_ACQUIRE) &&
	       seconds_now() < deadline)
		sleep_ms(10);
	EXPECT_TRUE(__atomic_load_n(&asker.done, __ATOMIC_ACQUIRE));
	for (i = 0; i < ARRAY_SIZE(nuisances); i++) {
		nuisances[i].stop = true;
		pthread_join(threads[i], NULL);
	}
	pthread_join(asking, NULL);
	TH_LOG("%llu restarts, %llu walks, %.1f times all pages, %u extents, %.1f s",
	       asker.args.nr_restarts, asker.args.nr_walks,
	       (double)asker.args.nr_slots / npages, asker.args.nr_extents,
	       asker.args.nanoseconds / 1e9);
	EXPECT_EQ(0, asker.error);
	EXPECT_LE(1, asker.args.nr_restarts);
	EXPECT_GT(20 * npages, asker.args.nr_slots);
	close(asker.fd);
	munmap(start, npages * self->page);
}

/* --- A process that is killed while it is looked at ------------------------ */

/* By two at a time, who each keep the memory: that must not look like a process. */
TEST_F_TIMEOUT(waits, target_killed, 300)
{
	size_t npages = (2UL << 30) / self->page;
	char *start = map_anonymous(npages);
	struct asker askers[2];
	double deadline = seconds_now() + 60;
	unsigned long resident = 0;
	pthread_t threads[2];
	char path[64];
	int i;

	ASSERT_NE(NULL, start);
	ASSERT_TRUE(start_target(self, false));
	for (i = 0; i < 2; i++) {
		askers[i] = (struct asker){
			.args = range_args(page_at(start, i * npages / 2),
					   npages / 2, HMM_MIRROR_RANGE_FAULT |
					   HMM_MIRROR_RANGE_WRITE, NULL, 0),
			.fd = open_device(),
		};
		ASSERT_EQ(0, call_attach(askers[i].fd, self->target->pid));
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, ask_thread,
					    &askers[i]));
	}
	snprintf(path, sizeof(path), "/proc/%d/statm", self->target->pid);
	while (resident < 5000 && seconds_now() < deadline) {
		FILE *file = fopen(path, "r");

		ASSERT_NE(NULL, file);
		if (fscanf(file, "%*u %lu", &resident) != 1)
			resident = 0;
		fclose(file);
	}
	EXPECT_LE(5000, resident);
	ASSERT_EQ(0, kill(self->target->pid, SIGKILL));
	ASSERT_EQ(self->target->pid, waitpid(self->target->pid, NULL, 0));
	self->target->pid = 0;
	for (i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(ESRCH, askers[i].error);
		EXPECT_GT(npages / 4, askers[i].args.nr_faults);
		EXPECT_EQ(0, askers[i].args.fault_addr);
		close(askers[i].fd);
	}
	munmap(start, npages * self->page);
}

/* --- A reader that does not come back -------------------------------------- */

struct reader {
	int fd;
	char *buffer;
	ssize_t size;
	bool done;
};

static void *read_thread(void *argument)
{
	struct reader *reader = argument;

	reader->size = read(reader->fd, reader->buffer, page_size());
	__atomic_store_n(&reader->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Events are copied to memory of a userfaultfd that nobody serves. */
TEST_F(waits, read_beside_a_stuck_reader)
{
	struct reader stuck = { .fd = open_device() };
	struct reader other = { .fd = stuck.fd };
	struct hmm_mirror_event event;
	struct uffd_msg message;
	pthread_t thread, second;
	struct uffdio_zeropage zero = {};
	int uffd = open_userfaultfd(0);
	double begin;
	__u32 id;

	if (uffd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	stuck.buffer = map_anonymous(1);
	other.buffer = self->elsewhere;
	ASSERT_NE(NULL, stuck.buffer);
	ASSERT_TRUE(uffd_register(uffd, stuck.buffer, 1,
				  UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, fcntl(stuck.fd, F_SETFL, O_RDWR | O_NONBLOCK));
	ASSERT_EQ(0, call_watch(stuck.fd, self->hung, NR_PAGES, &id));
	EXPECT_EQ(0, madvise(self->hung, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_thread, &stuck));
	/* Block until the reader is stuck there. */
	fcntl(uffd, F_SETFL, 0);
	ASSERT_EQ((ssize_t)sizeof(message), read(uffd, &message,
						 sizeof(message)));
	ASSERT_EQ(0, pthread_create(&second, NULL, read_thread, &other));
	begin = seconds_now();
	while (!__atomic_load_n(&other.done, __ATOMIC_ACQUIRE) &&
	       seconds_now() - begin < PATIENCE)
		sleep_ms(2);
	EXPECT_TRUE(__atomic_load_n(&other.done, __ATOMIC_ACQUIRE));
	EXPECT_FALSE(__atomic_load_n(&stuck.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(-1, other.size);

	zero.range.start = (unsigned long)stuck.buffer;
	zero.range.len = self->page;
	EXPECT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(thread, NULL);
	pthread_join(second, NULL);
	EXPECT_EQ((ssize_t)sizeof(event), stuck.size);
	EXPECT_EQ(-1, read(stuck.fd, &event, sizeof(event)));
	EXPECT_EQ(EAGAIN, errno);
	close(uffd);
	close(stuck.fd);
}

TEST_HARNESS_MAIN
