// SPDX-License-Identifier: GPL-2.0
/*
 * Allocations, and copies from and to user space, fail, one after the other and many at
 * once, while pages are moved, read and written: each time there is an errno or success,
 * no data is lost, no page stays behind, and nothing appears in the kernel's log. The
 * kernel's fault injection (Documentation/fault-injection) makes them fail for this task
 * only.
 */
#include "harness.h"

#include "dmirror_test.h"

#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define FAIL_PAGE_ALLOC	"/sys/kernel/debug/fail_page_alloc/"

/* Where there is this, fail-nth counts copies from and to user space, too. */
#define FAIL_USERCOPY	"/sys/kernel/debug/fail_usercopy"

#define NPAGES		8
/* Far more allocations than any command here makes for its few pages. */
#define MAX_STEPS	4000

enum place { NOWHERE, IN_SYSTEM, IN_DEVICE };

FIXTURE(failure)
{
	int fds[2];
	int fail_nth;
	int make_it_fail;
	unsigned int unit;
	size_t page;
	size_t npages;
	char *start;
	char *buffer;
};

FIXTURE_VARIANT(failure)
{
	unsigned int unit;
	bool huge;
};

FIXTURE_VARIANT_ADD(failure, private)
{
	.unit = 0,
	.huge = false,
};

FIXTURE_VARIANT_ADD(failure, private_huge)
{
	.unit = 0,
	.huge = true,
};

FIXTURE_VARIANT_ADD(failure, coherent)
{
	.unit = 2,
	.huge = false,
};

/* Every allocation can fail, without a message. */
static bool set_up_injection(void)
{
	return write_text(FAILSLAB "ignore-gfp-wait", "N") &&
	       write_text(FAILSLAB "task-filter", "Y") &&
	       write_text(FAILSLAB "verbose", "0") &&
	       write_text(FAILSLAB "times", "-1") &&
	       write_text(FAILSLAB "probability", "0") &&
	       write_text(FAIL_PAGE_ALLOC "ignore-gfp-wait", "N") &&
	       write_text(FAIL_PAGE_ALLOC "ignore-gfp-highmem", "N") &&
	       write_text(FAIL_PAGE_ALLOC "min-order", "0") &&
	       write_text(FAIL_PAGE_ALLOC "task-filter", "Y") &&
	       write_text(FAIL_PAGE_ALLOC "verbose", "0") &&
	       write_text(FAIL_PAGE_ALLOC "times", "-1") &&
	       write_text(FAIL_PAGE_ALLOC "probability", "0");
}

/*
 * While every allocation of this task fails, a fault on a page of its own is tried again for
 * ever: a page of the stack, say, that a deeper call is the first to reach, or that is still
 * shared with the parent. So all of them are there before.
 */
static bool fault_in_own_memory(void)
{
	char stack[65536];

	memset(stack, 1, sizeof(stack));
	/* The compiler must not leave it out. */
	asm volatile("" : : "r" (stack) : "memory");
	return !mlockall(MCL_CURRENT) && !munlockall();
}

static char *new_pages(bool huge)
{
	return huge ? map_huge(1) : map_anonymous(NPAGES);
}

FIXTURE_SETUP(failure)
{
	const char *reason;

	self->unit = variant->unit;
	self->page = page_size();
	self->npages = variant->huge ? pages_per_pmd() : NPAGES;
	reason = open_devices(self->fds, variant->unit);
	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	ASSERT_LE(0, self->fds[1]);
	self->fail_nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	self->make_it_fail = open("/proc/thread-self/make-it-fail",
				  O_RDWR | O_CLOEXEC);
	if (self->fail_nth < 0 || self->make_it_fail < 0 ||
	    !set_up_injection())
		SKIP(return,
		     "this kernel has no CONFIG_FAULT_INJECTION, CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC");
	self->buffer = alloc_buffer(self->npages);
	ASSERT_NE(NULL, self->buffer);
	if (variant->huge && !can_migrate_huge(self->fds[0]))
		SKIP(return, NO_HUGE_DEVICE_PAGES);
	ASSERT_TRUE(fault_in_own_memory());
}

FIXTURE_TEARDOWN(failure)
{
	write_text(FAILSLAB "probability", "0");
	write_text(FAIL_PAGE_ALLOC "probability", "0");
	close(self->fds[0]);
	close(self->fds[1]);
}

/**
 * struct step - something during which allocations fail
 * @run: does it; returns an errno
 * @place: where the pages are before
 * @errors: what may come of it, besides success and ENOMEM
 * @writes: the pages are then marked 200 ..., or 100 ... as before, each
 */
struct step {
	int (*run)(FIXTURE_DATA(failure) *self);
	enum place place;
	int errors[2];
	bool writes;
};

static bool error_allowed(const struct step *step, int error)
{
	if (error == EFAULT && !access(FAIL_USERCOPY, F_OK))
		return true;
	return !error || error == ENOMEM || error == step->errors[0] ||
	       error == step->errors[1];
}

/* New pages each time: a huge page that was split is no longer one. */
static void prepare(struct __test_metadata *_metadata,
		    FIXTURE_DATA(failure) *self, const struct step *step)
{
	bool huge = self->npages != NPAGES;

	if (self->start)
		munmap(self->start, self->npages * self->page);
	if (step->place == NOWHERE) {
		self->start = huge ? map_huge_hole(1) : map_anonymous(NPAGES);
		ASSERT_NE(NULL, self->start);
		return;
	}
	self->start = new_pages(huge);
	ASSERT_NE(NULL, self->start);
	mark_pages(self->start, self->npages, 100);
	if (step->place == IN_DEVICE)
		ASSERT_EQ(0, move_to_device(self->fds[0], self->start,
					    self->npages, self->buffer));
	mark_pages(self->buffer, self->npages, 200);
}

static bool data_is_right(FIXTURE_DATA(failure) *self, const struct step *step,
			  int error)
{
	size_t i;

	for (i = 0; i < self->npages; i++) {
		unsigned long value = touch_page(page_at(self->start, i));
		unsigned long old = step->place == NOWHERE ? 0 : 100 + i;

		if (value == (step->writes && !error ? 200 + i : old))
			continue;
		if (step->writes && error && value == 200 + i)
			continue;
		printf("# page %zu has %lu after %s\n", i, value,
		       error ? strerror(error) : "success");
		return false;
	}
	return true;
}

/*
 * Makes the @nth allocation from now on fail; 0 for none. To say that none shall fail is a
 * copy, and may be what fails; then it has come about, and the second try succeeds.
 */
static void fail_nth(FIXTURE_DATA(failure) *self, unsigned int nth)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", nth);

	if (pwrite(self->fail_nth, text, length, 0) != length &&
	    pwrite(self->fail_nth, text, length, 0) != length)
		abort();
}

/* Whether there have been that many. If not, to ask may be the one that fails. */
static bool has_failed(FIXTURE_DATA(failure) *self)
{
	char text[16] = "";

	if (pread(self->fail_nth, text, sizeof(text) - 1, 0) < 1) {
		if (errno != EFAULT || access(FAIL_USERCOPY, F_OK))
			abort();
		return false;
	}
	return text[0] == '0';
}

/* Each allocation that a step makes fails once; the others succeed. */
static void fail_one_by_one(struct __test_metadata *_metadata,
			    FIXTURE_DATA(failure) *self,
			    const struct step *step)
{
	unsigned int nth, errors = 0;
	bool failed = true;

	for (nth = 1; failed; nth++) {
		int error;

		ASSERT_GE(MAX_STEPS, nth);
		prepare(_metadata, self, step);
		fail_nth(self, nth);
		error = step->run(self);
		failed = has_failed(self);
		fail_nth(self, 0);
		errors += !!error;
		if (!error_allowed(step, error))
			TH_LOG("allocation %u: %s", nth, strerror(error));
		ASSERT_TRUE(error_allowed(step, error));
		ASSERT_TRUE(data_is_right(self, step, error));
	}
	/* Without a failure there is no error, and there was a failure. */
	EXPECT_LT(2, nth);
	TH_LOG("%u allocations, %u failed with an errno", nth - 2, errors);
}

static void make_it_fail(FIXTURE_DATA(failure) *self, bool fail)
{
	if (pwrite(self->make_it_fail, fail ? "1" : "0", 1, 0) != 1)
		abort();
}

/*
 * Every @interval-th allocation of a step fails, starting with a different one each time.
 */
static void fail_many(struct __test_metadata *_metadata,
		      FIXTURE_DATA(failure) *self, const struct step *step,
		      unsigned int interval)
{
	unsigned int round;

	ASSERT_TRUE(write_number(FAILSLAB "interval", interval));
	ASSERT_TRUE(write_number(FAIL_PAGE_ALLOC "interval", interval));
	ASSERT_TRUE(write_text(FAILSLAB "probability", "100"));
	ASSERT_TRUE(write_text(FAIL_PAGE_ALLOC "probability", "100"));
	for (round = 0; round < 6; round++) {
		int error;

		prepare(_metadata, self, step);
		make_it_fail(self, true);
		error = step->run(self);
		make_it_fail(self, false);
		if (!error_allowed(step, error))
			TH_LOG("round %u: %s", round, strerror(error));
		ASSERT_TRUE(error_allowed(step, error));
		ASSERT_TRUE(data_is_right(self, step, error));
	}
	ASSERT_TRUE(write_text(FAILSLAB "probability", "0"));
	ASSERT_TRUE(write_text(FAIL_PAGE_ALLOC "probability", "0"));
}

static void fail_all_ways(struct __test_metadata *_metadata,
			  FIXTURE_DATA(failure) *self, const struct step *step)
{
	unsigned int interval;

	fail_one_by_one(_metadata, self, step);
	for (interval = 1; interval <= 3; interval++)
		fail_many(_metadata, self, step, interval);
	munmap(self->start, self->npages * self->page);
	self->start = NULL;
	/* Nothing was left behind: the device's memory can be removed. */
	EXPECT_EQ(0, dmirror_call(self->fds[0], HMM_DMIRROR_RELEASE,
				  self->buffer, 1, NULL, NULL));
}

static int run_to_device(FIXTURE_DATA(failure) *self)
{
	return dmirror_call(self->fds[0], HMM_DMIRROR_MIGRATE_TO_DEV,
			    self->start, self->npages, self->buffer, NULL);
}

static int run_to_system(FIXTURE_DATA(failure) *self)
{
	return move_to_system(self->fds[0], self->start, self->npages, NULL);
}

static int run_read(FIXTURE_DATA(failure) *self)
{
	return device_read(self->fds[0], self->start, self->npages,
			   self->buffer);
}

static int run_write(FIXTURE_DATA(failure) *self)
{
	return device_write(self->fds[0], self->start, self->npages,
			    self->buffer);
}

static int run_read_by_other(FIXTURE_DATA(failure) *self)
{
	return device_read(self->fds[1], self->start, self->npages,
			   self->buffer);
}

static int run_snapshot(FIXTURE_DATA(failure) *self)
{
	static unsigned char bytes[4096];

	return take_snapshot(self->fds[0], self->start, self->npages, bytes);
}

static int run_exclusive(FIXTURE_DATA(failure) *self)
{
	return dmirror_call(self->fds[0], HMM_DMIRROR_EXCLUSIVE, self->start,
			    self->npages, self->buffer, NULL);
}

/* What cannot be evicted stays, and the CPU still gets it page by page. */
static int run_close_and_open(FIXTURE_DATA(failure) *self)
{
	int error = close(self->fds[0]) ? errno : 0;

	fail_nth(self, 0);
	make_it_fail(self, false);
	self->fds[0] = open_dmirror(self->unit);
	return self->fds[0] < 0 ? errno : error;
}

static int run_open(FIXTURE_DATA(failure) *self)
{
	int fd = open_dmirror(self->unit);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* The CPU's fault is retried until there is memory. */
static int run_cpu_fault(FIXTURE_DATA(failure) *self)
{
	return touch_page(page_at(self->start, 3)) == 103 ? 0 : EIO;
}

TEST_F_TIMEOUT(failure, to_device, 300)
{
	const struct step step = {
		.run = run_to_device,
		.place = IN_SYSTEM,
		.errors = { ENOENT },
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, holes_to_device, 300)
{
	const struct step step = {
		.run = run_to_device,
		.place = NOWHERE,
		.errors = { ENOENT },
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, to_system, 300)
{
	const struct step step = {
		.run = run_to_system,
		.place = IN_DEVICE,
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, device_faults_in, 300)
{
	const struct step step = {
		.run = run_read,
		.place = NOWHERE,
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, device_writes, 300)
{
	const struct step step = {
		.run = run_write,
		.place = IN_DEVICE,
		.writes = true,
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, other_device_reads, 300)
{
	const struct step step = {
		.run = run_read_by_other,
		.place = IN_DEVICE,
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, snapshot, 300)
{
	const struct step step = {
		.run = run_snapshot,
		.place = IN_DEVICE,
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, exclusive, 300)
{
	const struct step step = {
		.run = run_exclusive,
		.place = IN_SYSTEM,
		.errors = { EBUSY, ENOENT },
	};

	if (dmirror_call(self->fds[0], HMM_DMIRROR_EXCLUSIVE, self->buffer, 1,
			 self->buffer, NULL) == EOPNOTSUPP)
		SKIP(return, NO_DEVICE_PRIVATE);
	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, close, 300)
{
	const struct step step = {
		.run = run_close_and_open,
		.place = IN_DEVICE,
	};
	unsigned int interval;

	/* After close() nobody can see whether an allocation has failed. */
	for (interval = 1; interval <= 3; interval++)
		fail_many(_metadata, self, &step, interval);
}

TEST_F_TIMEOUT(failure, open, 300)
{
	const struct step step = {
		.run = run_open,
		.place = IN_SYSTEM,
	};

	fail_all_ways(_metadata, self, &step);
}

TEST_F_TIMEOUT(failure, cpu_faults, 300)
{
	const struct step step = {
		.run = run_cpu_fault,
		.place = IN_DEVICE,
	};

	if (is_coherent(self->unit))
		SKIP(return, "the CPU needs no fault to reach coherent memory");
	/* Not with all of them failing: it would be retried for ever. */
	fail_one_by_one(_metadata, self, &step);
}

TEST_HARNESS_MAIN
