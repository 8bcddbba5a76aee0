// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of a page does not depend on how many others are asked for.
 *
 * A write fault on memory shared since fork() invalidates the very range for which it is
 * taken. With mm/hmm.c the caller has to start over after each page table, so the work
 * grows with the square of the range. It is counted here, not timed: entries looked at,
 * faults, walks, and repeated calls.
 */
#include "range_fault.h"

FIXTURE(linear)
{
	int fd;
	size_t page;
	__u32 call;
};

FIXTURE_VARIANT(linear)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(linear, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(linear, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(linear, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(linear, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(linear)
{
	self->page = page_size();
	self->call = variant->call;
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(linear)
{
	close(self->fd);
}

#define SMALL	(4UL << 20)
#define LARGE	(256UL << 20)

/* Memory that must be copied on write. */
static char *map_shared_with_child(size_t npages, pid_t *child)
{
	char *start = map_anonymous_aligned(npages, pmd_size());

	if (!start)
		return NULL;
	mark_pages(start, npages, 1);
	*child = fork_sleeper();
	return *child > 0 ? start : NULL;
}

static double work_per_page(size_t npages)
{
	return (double)(answer.nr_slots + answer.nr_faults + answer.nr_walks +
			answer.caller_retries + answer.nr_restarts) / npages;
}

static void log_work(struct __test_metadata *_metadata, size_t npages)
{
	TH_LOG("%zu pages: %llu slots, %llu faults, %llu walks, %llu restarts, %llu calls again: %.3f per page",
	       npages, answer.nr_slots, answer.nr_faults, answer.nr_walks,
	       answer.nr_restarts, answer.caller_retries,
	       work_per_page(npages));
}

/* Pages that had been swapped out when the measurement began. */
static unsigned long swapped_before;

/* If nobody else interferes, the request starts over @own times, and no page is swapped. */
static bool interfered(unsigned int own)
{
	return answer.caller_retries + answer.nr_restarts > own ||
	       vmstat_value("pswpout") != swapped_before;
}

/*
 * Compaction and reclaim invalidate what they like, even memory that only the test uses.
 * A measurement that they have disturbed is repeated, but no more often than this: what
 * happens every time is the function's own doing.
 */
#define ATTEMPTS	5

static bool disturbed(struct __test_metadata *_metadata, unsigned int own)
{
	if (!interfered(own))
		return false;
	TH_LOG("more than %u times begun anew, or pages were swapped", own);
	return true;
}

static void expect_faults(struct __test_metadata *_metadata,
			  unsigned long number, unsigned int own)
{
	EXPECT_LE(number, answer.nr_faults);
	EXPECT_TRUE(answer.nr_faults == number || interfered(own));
}

/* Fills a hole, or breaks COW, in memory that is freshly mapped each time. */
static double write_work(struct __test_metadata *_metadata,
			 FIXTURE_DATA(linear) *self, size_t size,
			 void (*write)(struct __test_metadata *_metadata,
				       FIXTURE_DATA(linear) *self,
				       size_t npages),
			 unsigned int own)
{
	size_t npages = size / self->page;
	unsigned int attempt = 0;

	do {
		swapped_before = vmstat_value("pswpout");
		write(_metadata, self, npages);
		log_work(_metadata, npages);
	} while (disturbed(_metadata, own) && ++attempt < ATTEMPTS);
	EXPECT_GE(own, answer.caller_retries + answer.nr_restarts);
	return work_per_page(npages);
}

static void break_copy_on_write(struct __test_metadata *_metadata,
				FIXTURE_DATA(linear) *self, size_t npages)
{
	pid_t child = 0;
	char *start = map_shared_with_child(npages, &child);

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask(_metadata, self->fd, self->call, start, npages,
			 WRITE));
	expect_faults(_metadata, npages, 1);
	/* In that much time the kernel may have taken a page of the test's own. */
	EXPECT_LE(npages, answer.charged_faults);
	EXPECT_TRUE(answer.charged_faults <= npages + 16 || interfered(1));
	EXPECT_PAGEMAP(start, 0, 100);
	EXPECT_PAGEMAP(start, npages - 100, 100);
	EXPECT_TRUE(pages_are_marked(start, npages, 1));
	kill_and_wait(child);
	munmap(start, npages * self->page);
}

TEST_F_TIMEOUT(linear, copy_on_write, 450)
{
	/* Once for the faults' own invalidations. */
	double small = write_work(_metadata, self, SMALL, break_copy_on_write,
				  1);
	double large = write_work(_metadata, self, LARGE, break_copy_on_write,
				  1);

	EXPECT_LT(0, small);
	EXPECT_LT(small * 0.95, large);
	EXPECT_GT(small * 1.05, large);
	/* Faulted, looked at before and after, and once by the caller's retry. */
	EXPECT_GT(5, small);
}

static void fill_hole(struct __test_metadata *_metadata,
		      FIXTURE_DATA(linear) *self, size_t npages)
{
	char *start = map_anonymous_aligned(npages, pmd_size());

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask(_metadata, self->fd, self->call, start, npages,
			 WRITE));
	expect_faults(_metadata, npages, 0);
	munmap(start, npages * self->page);
}

/* Filling a hole invalidates nothing. */
TEST_F_TIMEOUT(linear, hole, 450)
{
	double small = write_work(_metadata, self, SMALL, fill_hole, 0);
	double large = write_work(_metadata, self, LARGE, fill_hole, 0);

	EXPECT_LT(0, small);
	EXPECT_GT(small * 1.05, large);
	EXPECT_GT(3, small);
}

/*
 * Every other page is missing: each walk finds many small faults to take, and must not
 * look at what is beyond them over and over.
 */
static void fill_scattered(struct __test_metadata *_metadata,
			   FIXTURE_DATA(linear) *self, size_t npages)
{
	char *start = map_anonymous_aligned(npages, pmd_size());
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < npages; i += 2)
		*(volatile char *)page_at(start, i) = 1;
	EXPECT_EQ(0, ask(_metadata, self->fd, self->call, start, npages,
			 WRITE));
	expect_faults(_metadata, npages / 2, 0);
	munmap(start, npages * self->page);
}

TEST_F_TIMEOUT(linear, scattered_holes, 450)
{
	double small = write_work(_metadata, self, SMALL, fill_scattered, 0);
	double large = write_work(_metadata, self, LARGE / 4, fill_scattered, 0);

	EXPECT_LT(0, small);
	EXPECT_GT(small * 1.05, large);
	EXPECT_GT(6, small);
}

/* A snapshot looks at each page once. */
TEST_F_TIMEOUT(linear, snapshot, 300)
{
	size_t npages = LARGE / 4 / self->page;
	char *start = map_anonymous_aligned(npages, pmd_size());

	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 1);
	EXPECT_EQ(0, ask(_metadata, self->fd, self->call, start, npages,
			 SNAPSHOT));
	log_work(_metadata, npages);
	EXPECT_EQ(0, answer.nr_faults);
	EXPECT_EQ(npages, answer.nr_slots);
	EXPECT_GE(npages / 512, answer.nr_walks);
	EXPECT_PAGEMAP(start, 0, 1000);
}

/* What mm/hmm.c needs for the same, for information only; nothing is expected of it. */
TEST_F_TIMEOUT(linear, kernel_in_comparison, 300)
{
	static const size_t sizes[] = { 4UL << 20, 16UL << 20 };
	size_t i;

	if (self->call != RANGE_FAULT_TEST_PAGES)
		SKIP(return, "shown once");
	for (i = 0; i < 2; i++) {
		struct request request = {
			.call = RANGE_FAULT_TEST_KERNEL,
			.npages = sizes[i] / self->page,
			.default_flags = WRITE,
			.max_retries = 20000,
			.timeout_ms = 20000,
		};
		pid_t child = 0;
		int error;

		request.start = map_shared_with_child(request.npages, &child);
		ASSERT_NE(NULL, request.start);
		error = ask_request(_metadata, self->fd, &request);
		if (error == EOPNOTSUPP)
			SKIP(return, "the kernel has no hmm_range_fault()");
		TH_LOG("hmm_range_fault() of %zu COW pages: %s after %llu calls, %lu faults",
		       request.npages, error ? strerror(error) : "done",
		       answer.caller_retries + 1, answer.charged_faults);
		kill_and_wait(child);
	}
}

TEST_HARNESS_MAIN
