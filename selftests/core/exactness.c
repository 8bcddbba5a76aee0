// SPDX-License-Identifier: GPL-2.0
/*
 * A range call faults in what it was asked for and nothing else, each page once, and
 * takes its requests from where they should be: tested for every call, with the mapped
 * pages in /proc/self/pagemap and smaps and the process's fault counters as witnesses.
 */
#include <sys/mount.h>
#include <sys/stat.h>

#include "range_fault.h"

FIXTURE(exact)
{
	int fd;
	size_t page;
	__u64 *words; /* requests per page, MAX_PAGES of them */
	struct request request;
};

FIXTURE_VARIANT(exact)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(exact, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(exact, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(exact, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(exact, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(exact)
{
	self->page = page_size();
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	self->words = mmap(NULL, MAX_PAGES * sizeof(*self->words),
			   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	ASSERT_NE(MAP_FAILED, self->words);
	self->request.call = variant->call;
}

FIXTURE_TEARDOWN(exact)
{
	close(self->fd);
}

static int ask_words(struct __test_metadata *_metadata,
		     FIXTURE_DATA(exact) *self, const void *start,
		     size_t npages, __u64 mask)
{
	self->request.start = start;
	self->request.npages = npages;
	self->request.words = self->words;
	self->request.mask = mask;
	return ask_request(_metadata, self->fd, &self->request);
}

static int ask_all(struct __test_metadata *_metadata,
		   FIXTURE_DATA(exact) *self, const void *start, size_t npages,
		   __u64 flags)
{
	return ask(_metadata, self->fd, self->request.call, start, npages,
		   flags);
}

/* Makes the same request to the kernel's own function, only to show the result. */
static int ask_kernel(struct __test_metadata *_metadata,
		      FIXTURE_DATA(exact) *self, const void *start,
		      size_t npages)
{
	struct request request = {
		.call = RANGE_FAULT_TEST_KERNEL,
		.start = start,
		.npages = npages,
		.words = self->words,
		.mask = REQ_BITS,
		.max_retries = 1000,
	};

	return ask_request(_metadata, self->fd, &request);
}

/* Faults are charged to the process, once each (bce617edec). */
#define EXPECT_FAULTS(number) \
	do { \
		unsigned long expected_faults = (number); \
		EXPECT_EQ(expected_faults, answer.nr_faults); \
		EXPECT_EQ(expected_faults, answer.charged_faults); \
	} while (0)

/*
 * One page of a 1 GiB hole is asked for: one page is there afterwards. mm/hmm.c takes the
 * requests of a hole together and fills all of it.
 */
TEST_F_TIMEOUT(exact, one_page_in_a_gigabyte, 300)
{
	size_t npages = MAX_PAGES;
	size_t asked = 100000;
	char *start = map_anonymous_aligned(npages, 1UL << 30);
	size_t small = 512;

	ASSERT_NE(NULL, start);
	self->words[asked] = REQ_FAULT | REQ_WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_FAULTS(1);
	EXPECT_EQ(1, resident_pages(start));
	EXPECT_TRUE(is_mapped(page_at(start, asked)));
	EXPECT_PAGEMAP(start, asked - 1, 3);

	memset(self->words, 0, small * sizeof(*self->words));
	self->words[7] = REQ_FAULT | REQ_WRITE;
	munmap(start, npages * self->page);
	start = map_anonymous_aligned(small, small * self->page);
	if (!ask_kernel(_metadata, self, start, small))
		TH_LOG("hmm_range_fault() maps %lu pages for one in %zu",
		       resident_pages(start), small);
}

/*
 * A file mapping that extends beyond the end of the file, whose only page is asked for.
 * mm/hmm.c goes on to fault what follows, and fails.
 */
TEST_F(exact, file_tail)
{
	size_t npages = 8;
	int file = make_memfd(1);
	char *start = map_file(file, npages, PROT_READ | PROT_WRITE,
			       MAP_SHARED);

	ASSERT_NE(NULL, start);
	self->words[0] = REQ_FAULT;
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_FAULTS(1);
	EXPECT_PAGEMAP(start, 0, npages);
	EXPECT_EQ(1, count_mapped(start, npages));

	start = map_file(file, npages, PROT_READ | PROT_WRITE, MAP_SHARED);
	TH_LOG("hmm_range_fault() returns %d",
	       ask_kernel(_metadata, self, start, npages));
}

/* What is asked for is served although its neighbours can never be. */
TEST_F(exact, bad_neighbours)
{
	int uffd = open_userfaultfd(0);
	char *start = map_anonymous(6);

	ASSERT_NE(NULL, start);
	/* 0: wanted, 1: no mapping, 2: wanted, 3: unreadable, 4: wanted */
	ASSERT_EQ(0, munmap(page_at(start, 1), self->page));
	ASSERT_EQ(0, mprotect(page_at(start, 3), self->page, PROT_NONE));
	/* 5: nobody serves it */
	if (uffd >= 0)
		ASSERT_TRUE(uffd_register(uffd, page_at(start, 5), 1,
					  UFFDIO_REGISTER_MODE_MISSING));
	self->words[0] = REQ_FAULT | REQ_WRITE;
	self->words[2] = REQ_FAULT | REQ_WRITE;
	self->words[4] = REQ_FAULT | REQ_WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, start, 6, REQ_BITS));
	EXPECT_FAULTS(3);
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(1, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_NO_VMA);
	EXPECT_PAGES(3, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_UNREADABLE);
	EXPECT_PAGES(5, 1, 0, 0, HMM_MIRROR_KIND_NONE);
}

/* A read request never breaks COW, however large it is. */
TEST_F(exact, read_keeps_sharing)
{
	size_t npages = 2048;
	static uint64_t before[2048], after[2048];
	char *start = map_anonymous(npages);
	pid_t child;

	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 1);
	child = fork_sleeper();
	ASSERT_LT(0, child);
	ASSERT_TRUE(read_pagemap(start, npages, before));
	EXPECT_EQ(0, ask_all(_metadata, self, start, npages, READ));
	EXPECT_FAULTS(0);
	ASSERT_TRUE(read_pagemap(start, npages, after));
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	ASSERT_TRUE(read_pagemap_of(child, (unsigned long)start, npages,
				    after));
	EXPECT_EQ(before[5] & PAGEMAP_PFN_MASK, after[5] & PAGEMAP_PFN_MASK);
	kill_and_wait(child);
}

/* The first and the last page of a page table, nothing in between. */
TEST_F(exact, neighbours_stay_untouched)
{
	size_t npages = 512;
	char *start = map_anonymous_aligned(npages, npages * self->page);

	ASSERT_NE(NULL, start);
	mark_pages(page_at(start, 100), 1, 1);
	EXPECT_EQ(0, ask_all(_metadata, self, start, 1, WRITE));
	EXPECT_FAULTS(1);
	EXPECT_EQ(0, ask_all(_metadata, self, page_at(start, npages - 1), 1,
			     WRITE));
	EXPECT_FAULTS(1);
	EXPECT_EQ(3, resident_pages(start));
	EXPECT_EQ(3, count_mapped(start, npages));
}

TEST_F(exact, every_other_page)
{
	size_t npages = 1536;
	char *start = map_anonymous_aligned(npages, 512 * self->page);
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < npages; i += 2)
		self->words[i] = REQ_FAULT | REQ_WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_FAULTS(npages / 2);
	EXPECT_EQ(npages / 2, resident_pages(start));
	EXPECT_PAGEMAP(start, 0, npages);
}

/*
 * Each page's own request: pages to be read share the zero page, pages to be written are
 * allocated. mm/hmm.c decides by the first one in a page table.
 */
TEST_F(exact, read_and_write_requests)
{
	size_t npages = 64;
	char *start = map_anonymous(npages);
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < npages; i++) {
		if (i % 3 == 0)
			self->words[i] = REQ_FAULT;
		else if (i % 3 == 1)
			self->words[i] = REQ_FAULT | REQ_WRITE;
	}
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_FAULTS(npages - npages / 3);
	EXPECT_PAGEMAP(start, 0, npages);
	for (i = 0; i < npages; i++) {
		if (i % 3 == 0) {
			EXPECT_PAGES(i, 1, WORD_VALID, 0,
				     HMM_MIRROR_KIND_ZERO);
			EXPECT_TRUE(is_zero_page(page_at(start, i)));
		} else if (i % 3 == 1) {
			EXPECT_PAGES(i, 1, WORD_VALID | WORD_WRITE, 0,
				     HMM_MIRROR_KIND_PRESENT);
			EXPECT_FALSE(is_zero_page(page_at(start, i)));
		} else {
			EXPECT_PAGES(i, 1, 0, 0, HMM_MIRROR_KIND_NONE);
		}
	}

	/* A write request on top of read requests: only zero pages are left. */
	self->request.default_flags = WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, 0));
	EXPECT_FAULTS(2 * npages / 3 + 1);
	EXPECT_EQ(npages, resident_pages(start));
}

/* A page is asked for its word's request and the default. */
TEST_F(exact, default_flags_add_to_requests)
{
	char *start = map_anonymous(4);

	ASSERT_NE(NULL, start);
	self->words[2] = REQ_WRITE;
	self->request.default_flags = READ;
	EXPECT_EQ(0, ask_words(_metadata, self, start, 4, REQ_BITS));
	EXPECT_PAGES(0, 2, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
	EXPECT_PAGES(2, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(3, 1, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
}

/* REQ_WRITE says how to fault, not whether to: without REQ_FAULT nothing is asked. */
TEST_F(exact, write_without_fault)
{
	char *start = map_anonymous(2);

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask_all(_metadata, self, start, 2, REQ_WRITE));
	EXPECT_FAULTS(0);
	EXPECT_EQ(0, count_mapped(start, 2));
}

/* 6bfef2f919: a snapshot requests nothing; neither do masked words. */
TEST_F(exact, mask_hides_requests)
{
	char *start = map_anonymous(4);
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < 4; i++)
		self->words[i] = REQ_FAULT | REQ_WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, start, 4, 0));
	EXPECT_FAULTS(0);
	EXPECT_EQ(0, count_mapped(start, 4));
	/* Only REQ_WRITE is selected: no fault was asked for. */
	EXPECT_EQ(0, ask_words(_metadata, self, start, 4, REQ_WRITE));
	EXPECT_FAULTS(0);
	EXPECT_EQ(0, ask_words(_metadata, self, start, 4, REQ_FAULT));
	EXPECT_FAULTS(4);
	EXPECT_PAGES(0, 4, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
}

/*
 * be957c886d: an output is never taken for a request, even if a driver that retries
 * passes the array in as it came out.
 */
TEST_F(exact, output_is_no_request)
{
	size_t npages = 8;
	char *start = map_anonymous(npages);

	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 1);
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, 0,
		     HMM_MIRROR_KIND_PRESENT);

	memcpy(self->words, answer.words, npages * sizeof(*self->words));
	ASSERT_EQ(0, madvise(start, 4 * self->page, MADV_DONTNEED));
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_FAULTS(0);
	EXPECT_PAGES(0, 4, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_PAGES(4, 4, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_EQ(0, count_mapped(start, 4));
}

/*
 * 846babe85e, f8c888a304 "inputs on -EBUSY": a call that has to be repeated finds its
 * requests, and the pages that the first one faulted in.
 */
TEST_F(exact, requests_survive_busy)
{
	size_t npages = 32;
	char *start = map_anonymous(npages);
	pid_t child;
	size_t i;

	ASSERT_NE(NULL, start);
	if (call_is_unlocked(self->request.call))
		SKIP(return, "the unlocked calls try again by themselves");
	mark_pages(start, npages, 1);
	child = fork_sleeper();
	ASSERT_LT(0, child);
	for (i = 0; i < npages; i++)
		self->words[i] = i % 2 ? REQ_FAULT | REQ_WRITE :
				RANGE_FAULT_TEST_DMA_MAPPED | REQ_FAULT;

	/* Breaking COW invalidates the very range that is asked for. */
	self->request.flags = RANGE_FAULT_TEST_NO_RETRY;
	EXPECT_EQ(EBUSY, ask_words(_metadata, self, start, npages,
				   REQ_BITS | DRIVER_BITS));
	EXPECT_EQ(npages / 2, answer.nr_faults);
	for (i = 0; i < npages; i++) {
		if ((answer.argument[i] & (REQ_BITS | DRIVER_BITS)) !=
		    self->words[i])
			EXPECT_EQ(self->words[i], answer.argument[i]);
	}
	memcpy(self->words, answer.argument, npages * sizeof(*self->words));
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages,
			       REQ_BITS | DRIVER_BITS));
	EXPECT_FAULTS(0);
	EXPECT_EQ(1, answer.nr_walks);
	for (i = 0; i < npages; i++)
		EXPECT_EQ(i % 2 ? WORD_WRITE : 0, answer.words[i] & WORD_WRITE);
	EXPECT_PAGEMAP(start, 0, npages);
	kill_and_wait(child);
}

/* The driver's own bits stay if the mask selects them, and only then. */
TEST_F(exact, driver_bits)
{
	static const __u64 masks[] = {
		0, RANGE_FAULT_TEST_DMA_MAPPED, RANGE_FAULT_TEST_P2PDMA,
		RANGE_FAULT_TEST_P2PDMA_BUS, DRIVER_BITS,
		DRIVER_BITS | REQ_BITS,
	};
	char *start = map_anonymous(6);
	size_t i, j;

	if (call_has_extents(self->request.call))
		SKIP(return, "extents do not carry a driver's bits");
	ASSERT_NE(NULL, start);
	mark_pages(start, 2, 1);
	touch_page(page_at(start, 2));
	ASSERT_EQ(0, munmap(page_at(start, 3), self->page));
	for (i = 0; i < ARRAY_SIZE(masks); i++) {
		for (j = 0; j < 6; j++)
			self->words[j] = DRIVER_BITS | (j ? 0 : REQ_FAULT);
		EXPECT_EQ(0, ask_words(_metadata, self, start, 6, masks[i]));
		/* range_fault.h has compared each word with the mask. */
		EXPECT_EQ(masks[i] & DRIVER_BITS,
			  answer.words[5] & DRIVER_BITS);
	}
}

/* One fault for each huge page, not one for each of its pages. */
TEST_F(exact, one_fault_per_huge_page)
{
	size_t nhuge = 4;
	unsigned long before, after;
	char *start;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	start = map_huge_hole(nhuge);
	ASSERT_NE(NULL, start);
	before = vmstat_value("pgfault");
	EXPECT_EQ(0, ask_all(_metadata, self, start, nhuge * pages_per_pmd(),
			     WRITE));
	after = vmstat_value("pgfault");
	EXPECT_FAULTS(nhuge);
	EXPECT_EQ(nhuge * pages_per_pmd(), pmd_mapped_pages(start));
	EXPECT_PAGES(0, nhuge * pages_per_pmd(), WORD_VALID | WORD_WRITE,
		     pmd_order(), HMM_MIRROR_KIND_PRESENT);
	/*
	 * The answer's arrays are 20 pages of this process, and there are others: still
	 * far less than one per page.
	 */
	EXPECT_GE(nhuge * pages_per_pmd() / 4, after - before);
}

TEST_F(exact, one_fault_per_hugetlb_page)
{
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	char *start;

	if (free_hugetlb_pages(2048) < 3)
		SKIP(return, "no three free 2M hugetlb pages");
	start = map_hugetlb(3 * size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	/* From the middle of the first page to the middle of the last. */
	EXPECT_EQ(0, ask_all(_metadata, self, page_at(start, npages / 2),
			     2 * npages, WRITE));
	EXPECT_FAULTS(3);
	EXPECT_PAGEMAP(page_at(start, npages / 2), 0, 2 * npages);
	munmap(start, 3 * size);
}

/* Pages that a fault has mapped along with its own are not faulted again. */
TEST_F(exact, fault_around)
{
	unsigned long around = read_number("/sys/kernel/debug/fault_around_bytes",
					   0) / self->page;
	size_t npages = 256;
	char *start;

	if (around < 2)
		SKIP(return, "no fault-around, or no debugfs to tell");
	start = map_file(make_file(npages), npages, PROT_READ, MAP_SHARED);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask_all(_metadata, self, start, npages, READ));
	EXPECT_EQ(answer.nr_faults, answer.charged_faults);
	EXPECT_LE(1, answer.nr_faults);
	/* Blocks are aligned; the mapping need not be. */
	EXPECT_GE(npages / around + 1, answer.nr_faults);
	EXPECT_EQ(npages, count_mapped(start, npages));
	EXPECT_PAGEMAP(start, 0, npages);
}

/*
 * bce617edec "fault accounting": what /proc/PID/stat says. mm/hmm.c itself is exact here;
 * a fault that is retried must not count twice.
 */
TEST_F(exact, accounting)
{
	size_t npages = 400;
	char *start = map_anonymous(npages);
	unsigned long before, after;

	ASSERT_NE(NULL, start);
	/* So that only the range is left to be faulted in. */
	EXPECT_EQ(0, ask_all(_metadata, self, start, npages, SNAPSHOT));
	process_faults();
	before = process_faults();
	EXPECT_EQ(0, ask_all(_metadata, self, start, npages, WRITE));
	after = process_faults();
	EXPECT_FAULTS(npages);
	EXPECT_LE(npages, after - before);
	EXPECT_GE(npages + 8, after - before);
}

/* Present pages cost no fault, no second walk, and a PMD is one step. */
TEST_F(exact, present_is_one_walk)
{
	size_t npages = 2048;
	char *start = map_anonymous(npages);

	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 1);
	EXPECT_EQ(0, ask_all(_metadata, self, start, npages, WRITE));
	EXPECT_FAULTS(0);
	EXPECT_EQ(1, answer.nr_walks);
	EXPECT_EQ(npages, answer.nr_slots);

	if (!have_huge_pages())
		return;
	start = map_huge(8);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask_all(_metadata, self, start, 8 * pages_per_pmd(),
			     WRITE));
	EXPECT_FAULTS(0);
	EXPECT_EQ(1, answer.nr_walks);
	EXPECT_EQ(8, answer.nr_slots);
}

/* "Misaligned, empty, wrapping or out of the interval": nothing is touched. */
static void expect_invalid(struct __test_metadata *_metadata,
			   FIXTURE_DATA(exact) *self, int line,
			   unsigned long start, unsigned long end,
			   unsigned long interval, size_t length,
			   const char *probe)
{
	struct range_fault_test_range *raw = &answer.raw;
	__u64 words[16];
	size_t i;

	memset(words, 0xff, sizeof(words));
	memset(raw, 0, sizeof(*raw));
	raw->call = self->request.call;
	raw->start = start;
	raw->end = end;
	raw->default_flags = WRITE;
	raw->max_retries = 3;
	raw->words = (unsigned long)words;
	raw->nr_words = 16;
	raw->extents = (unsigned long)answer.extents;
	raw->nr_extents = 16;
	if (length) {
		raw->flags = RANGE_FAULT_TEST_INTERVAL;
		raw->interval_start = interval;
		raw->interval_length = length;
	}
	ASSERT_EQ(0, ioctl(self->fd, RANGE_FAULT_TEST_RANGE, raw)) {
		TH_LOG("line %d: %s", line, strerror(errno));
	}
	EXPECT_EQ(EINVAL, raw->error) {
		TH_LOG("line %d", line);
	}
	EXPECT_EQ(0, raw->nr_faults);
	EXPECT_EQ(0, raw->nr_walks);
	EXPECT_EQ(0, raw->fault_addr);
	EXPECT_EQ(0, count_mapped(probe, 8));
	for (i = 0; i < 16; i++)
		EXPECT_EQ(POISONED_WORD, words[i]);
}

#define EXPECT_INVALID(start, end, interval, length) \
	expect_invalid(_metadata, self, __LINE__, start, end, interval, \
		       length, probe)

TEST_F(exact, invalid_ranges)
{
	char *probe = map_anonymous(8);
	unsigned long start = (unsigned long)probe;
	unsigned long page = self->page;

	ASSERT_NE(NULL, probe);
	EXPECT_INVALID(start + 1, start + 4 * page, 0, 0);
	EXPECT_INVALID(start + 8, start + 4 * page, 0, 0);
	EXPECT_INVALID(start, start + 4 * page - 1, 0, 0);
	EXPECT_INVALID(start, start + 512, 0, 0);
	EXPECT_INVALID(start, start, 0, 0);
	EXPECT_INVALID(start + page, start, 0, 0);
	EXPECT_INVALID(start, 0, 0, 0);
	EXPECT_INVALID(-page, 0, 0, 0);
	EXPECT_INVALID(start, start + 4 * page, start, 3 * page);
	EXPECT_INVALID(start, start + 4 * page, start + page, 3 * page);
	EXPECT_INVALID(start, start + 4 * page, start + page, page);
	EXPECT_INVALID(start, start + 2 * page, start + 2 * page, 2 * page);
	EXPECT_INVALID(start + 2 * page, start + 4 * page, start, 2 * page);
}

/* An interval larger than the range is fine. */
TEST_F(exact, larger_interval)
{
	char *start = map_anonymous(8);

	ASSERT_NE(NULL, start);
	self->request.flags = RANGE_FAULT_TEST_INTERVAL;
	self->request.interval_start = start;
	self->request.interval_length = 8 * self->page;
	self->request.default_flags = WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, page_at(start, 2), 3, 0));
	EXPECT_EQ(3, count_mapped(start, 8));
	/* The whole address space, as for a driver that mirrors a process. */
	self->request.interval_start = 0;
	self->request.interval_length = -self->page;
	EXPECT_EQ(0, ask_words(_metadata, self, start, 8, 0));
	EXPECT_EQ(8, count_mapped(start, 8));
}

TEST_F(exact, invalid_flags)
{
	static const __u64 bad_defaults[] = {
		WORD_VALID, WORD_WRITE, WORD_ERROR, 1,
		RANGE_FAULT_TEST_DMA_MAPPED | REQ_FAULT, 1ULL << 50,
	};
	static const __u64 bad_masks[] = {
		WORD_VALID, WORD_ERROR, 1, WORD_ORDER, ~0ULL, 1ULL << 50,
	};
	char *start = map_anonymous(2);
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < ARRAY_SIZE(bad_defaults); i++) {
		self->request.default_flags = bad_defaults[i];
		EXPECT_EQ(EINVAL, ask_words(_metadata, self, start, 2, 0));
	}
	self->request.default_flags = READ;
	for (i = 0; i < ARRAY_SIZE(bad_masks); i++)
		EXPECT_EQ(EINVAL, ask_words(_metadata, self, start, 2,
					    bad_masks[i]));
	EXPECT_EQ(0, count_mapped(start, 2));
}

/* An extents call needs an array, and room in it. */
TEST_F(exact, no_room_for_extents)
{
	struct range_fault_test_range *raw = &answer.raw;
	char *start = map_anonymous(2);

	if (!call_has_extents(self->request.call))
		SKIP(return, "pages come in an array of known size");
	raw->call = self->request.call;
	raw->start = (unsigned long)start;
	raw->end = raw->start + 2 * self->page;
	raw->default_flags = WRITE;
	raw->extents = (unsigned long)answer.extents;
	ASSERT_EQ(0, ioctl(self->fd, RANGE_FAULT_TEST_RANGE, raw));
	EXPECT_EQ(EINVAL, raw->error);
	EXPECT_EQ(0, count_mapped(start, 2));
}

/* What comes behind a full array is no reason to fail. */
TEST_F(exact, full_before_a_refusal)
{
	struct range_fault_test_range *raw = &answer.raw;
	char *start = map_anonymous(3);

	if (!call_has_extents(self->request.call))
		SKIP(return, "pages come in an array of known size");
	ASSERT_NE(NULL, start);
	mark_pages(start, 1, 1);
	ASSERT_EQ(0, mprotect(page_at(start, 1), self->page, PROT_NONE));
	raw->call = self->request.call;
	raw->start = (unsigned long)start;
	raw->end = raw->start + 3 * self->page;
	raw->default_flags = RANGE_FAULT_TEST_REQ_FAULT;
	raw->extents = (unsigned long)answer.extents;
	raw->nr_extents = 1;
	ASSERT_EQ(0, ioctl(self->fd, RANGE_FAULT_TEST_RANGE, raw));
	EXPECT_EQ(0, raw->error);
	EXPECT_EQ(1, raw->nr_extents);
	EXPECT_EQ(raw->start + self->page, raw->next);
	raw->start = raw->next;
	raw->nr_extents = 1;
	ASSERT_EQ(0, ioctl(self->fd, RANGE_FAULT_TEST_RANGE, raw));
	EXPECT_EQ(EFAULT, raw->error);
	EXPECT_EQ(raw->start, raw->fault_addr);
	EXPECT_FALSE(is_mapped(page_at(start, 2)));
}

/*
 * Extents that did not fit are asked for from where the answer stopped, and all answers
 * together are the same as one; per-page requests move along.
 */
TEST_F(exact, extents_resume)
{
	static __u64 one_shot[256];
	size_t npages = 256;
	char *start = map_anonymous(npages);
	unsigned int nr_extents;
	size_t i;

	if (!call_has_extents(self->request.call))
		SKIP(return, "pages come in an array of known size");
	ASSERT_NE(NULL, start);
	for (i = 0; i + 2 <= npages; i += 5)
		mark_pages(page_at(start, i), 2, 1);
	for (i = 3; i < npages; i += 11)
		self->words[i] = REQ_FAULT | (i % 2 ? REQ_WRITE : 0);
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_EQ(1, answer.nr_calls);
	memcpy(one_shot, answer.words, sizeof(one_shot));
	nr_extents = answer.nr_extents;

	for (i = 1; i < 8; i++) {
		self->request.capacity = i;
		EXPECT_EQ(0, ask_words(_metadata, self, start, npages,
				       REQ_BITS));
		EXPECT_EQ((nr_extents + i - 1) / i, answer.nr_calls);
		EXPECT_EQ(nr_extents, answer.nr_extents);
		EXPECT_EQ(0, memcmp(one_shot, answer.words, sizeof(one_shot)));
	}

	/* The same for pages that have yet to be faulted in. */
	start = map_anonymous(npages);
	self->request.capacity = 3;
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, REQ_BITS));
	EXPECT_LT(1, answer.nr_calls);
	for (i = 0; i < npages; i++) {
		if (!!(self->words[i]) != is_mapped(page_at(start, i)))
			EXPECT_EQ(-1, (long)i);
	}
}

/*
 * e3fe8e555d "swapped-out pages": even if the process may not have more memory than what
 * it asks for.
 */
TEST_F_TIMEOUT(exact, swap_under_pressure, 450)
{
	size_t npages = (8UL << 20) / self->page;
	char path[64] = "/tmp/cgroup_XXXXXX";
	char file[128];
	char *start;

	if (!have_swap())
		SKIP(return, "no swap space is active");
	ASSERT_NE(NULL, mkdtemp(path));
	if (mount("cgroup2", path, "cgroup2", 0, NULL))
		SKIP(return, "no cgroup2: %s", strerror(errno));
	snprintf(file, sizeof(file), "%s/cgroup.subtree_control", path);
	write_text(file, "+memory");
	snprintf(file, sizeof(file), "%s/test", path);
	mkdir(file, 0700);
	snprintf(file, sizeof(file), "%s/test/memory.max", path);
	if (!write_text(file, "12582912")) {
		umount2(path, MNT_DETACH);
		SKIP(return, "no memory controller in cgroup2");
	}
	snprintf(file, sizeof(file), "%s/test/cgroup.procs", path);
	ASSERT_TRUE(write_number(file, getpid()));

	start = map_anonymous(npages);
	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 7);
	madvise(start, npages * self->page, MADV_PAGEOUT);
	EXPECT_GT(npages / 2, count_mapped(start, npages));
	self->request.timeout_ms = 60000;
	self->request.default_flags = WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self, start, npages, 0));
	EXPECT_TRUE(pages_are_marked(start, npages, 7));
	umount2(path, MNT_DETACH);
}

/*
 * A userfaultfd-wp marker takes two faults: the first makes it a page, the second fails
 * for want of a handler. The page behind it fails at once; the address that is reported
 * is still the lower one.
 */
TEST_F(exact, lowest_address_that_fails)
{
	int uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				    UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	char *start;

	if (call_is_unlocked(self->request.call))
		SKIP(return, "the unlocked calls wait for the handler");
	if (uffd < 0)
		SKIP(return, "no userfaultfd write protection of shmem: %s",
		     strerror(errno));
	start = map_file(make_memfd(2), 2, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, start);
	touch_page(page_at(start, 1));
	ASSERT_TRUE(uffd_register(uffd, start, 2, UFFDIO_REGISTER_MODE_WP));
	/* Fault-around may have mapped the first page too. */
	ASSERT_EQ(0, madvise(start, self->page, MADV_DONTNEED));
	ASSERT_TRUE(uffd_write_protect(uffd, start, 2, true));
	ASSERT_FALSE(is_mapped(start));
	ASSERT_TRUE(is_mapped(page_at(start, 1)));

	EXPECT_EQ(EFAULT, ask_all(_metadata, self, start, 2, WRITE));
	EXPECT_EQ(0, fault_page(start));
}

TEST_HARNESS_MAIN
