// SPDX-License-Identifier: GPL-2.0
/*
 * Lessons from the history of mm/hmm.c, commit by commit, where no other test covers
 * them. Each test names the kernel commits that it is about; for those that are not here,
 * grep the other programs.
 */
#include "core/differential_test/differential_test.h"
#include "dmirror_test.h"
#include "range_fault.h"

FIXTURE(history)
{
	int fd;
	size_t page;
};

FIXTURE_VARIANT(history)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(history, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(history, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(history, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(history, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(history)
{
	self->page = page_size();
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(history)
{
	close(self->fd);
}

static int ask_words(struct __test_metadata *_metadata, int fd, __u32 call,
		     const void *start, size_t npages, const __u64 *words)
{
	const struct request request = {
		.call = call,
		.start = start,
		.npages = npages,
		.mask = REQ_BITS,
		.words = words,
	};

	return ask_request(_metadata, fd, &request);
}

/*
 * 42fc541404 "mmap_assert_locked": each of these calls asserts that mmap_lock is held if
 * the caller must take it. dfdc22078f "pte_unmap": every way out of a page table leaves
 * it unlocked and unmapped; 05fc1df95e "no sleeping under a spinlock": the fault is taken
 * after that. The assertions are made by kernels with lockdep (unbalanced RCU sections)
 * and DEBUG_ATOMIC_SLEEP; without them, an RCU section that is never left keeps grace
 * periods, and munmap() of a page table, from ending.
 */
TEST_F(history, ways_out_of_a_page_table)
{
	size_t npages = 64, round;

	for (round = 0; round < 8; round++) {
		char *start = map_anonymous(npages);
		struct request request = {
			.call = variant->call,
			.start = start,
			.npages = npages,
			.capacity = 1,
		};
		__u64 words[64] = {};

		ASSERT_NE(NULL, start);
		mark_pages(page_at(start, 3), 1, 1);
		mark_pages(page_at(start, 40), 5, 1);
		/* The array of extents fills up in the middle. */
		EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
		/* More runs of missing pages than are remembered. */
		for (size_t i = 0; i < npages; i += 2)
			words[i] = REQ_FAULT;
		EXPECT_EQ(0, ask_words(_metadata, self->fd, variant->call,
				       start, npages, words));
		EXPECT_EQ(npages / 2 - 3, answer.nr_faults);
		/* A page cannot be had: the first one, and one behind a missing page. */
		ASSERT_EQ(0, mprotect(start, npages * self->page, PROT_READ));
		words[0] = REQ_BITS;
		EXPECT_EQ(EPERM, ask_words(_metadata, self->fd, variant->call,
					   start, npages, words));
		words[0] = 0;
		words[1] = REQ_FAULT;
		words[2] = REQ_BITS;
		EXPECT_EQ(EPERM, ask_words(_metadata, self->fd, variant->call,
					   start, npages, words));
		EXPECT_EQ(2, fault_page(start));
		/* To its end */
		EXPECT_EQ(0, ask(_metadata, self->fd, variant->call, start,
				 npages, READ));
		ASSERT_EQ(0, munmap(start, npages * self->page));
	}
}

/*
 * 2288a9a681, 76612d6ce4, c2579c9c4a "need-fault before EFAULT": what a page is makes the
 * request fail only if that page is asked for; and on success no page that was asked for
 * is an error.
 */
TEST_F(history, only_what_is_asked_for_fails)
{
	char *start = mmap(NULL, RANGE_FAULT_TEST_MMAP_PAGES * self->page,
			   PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	__u64 words[RANGE_FAULT_TEST_MMAP_PAGES] = { REQ_BITS };

	ASSERT_NE(MAP_FAILED, start);
	EXPECT_EQ(0, ask_words(_metadata, self->fd, variant->call, start, 3,
			       words));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(1, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_SPECIAL);
	EXPECT_PAGES(2, 1, 0, 0, HMM_MIRROR_KIND_NONE);

	/* A request to write without a request to fault asks for nothing. */
	words[1] = REQ_WRITE;
	EXPECT_EQ(0, ask_words(_metadata, self->fd, variant->call, start, 3,
			       words));
	words[1] = REQ_FAULT;
	EXPECT_EQ(EFAULT, ask_words(_metadata, self->fd, variant->call, start,
				    3, words));
	EXPECT_EQ(1, fault_page(start));
}

/*
 * 53bfe17ff8 "outputs on error": do not rely on them. Rely on requests: a caller can
 * repair what failed, and repeat the call.
 */
TEST_F(history, requests_survive_an_error)
{
	char *start = map_anonymous(8);
	__u64 words[8];
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < 8; i++)
		words[i] = i % 3 ? i % 3 == 1 ? REQ_FAULT : REQ_BITS : 0;
	ASSERT_EQ(0, mprotect(page_at(start, 5), self->page, PROT_NONE));
	EXPECT_EQ(EFAULT, ask_words(_metadata, self->fd, variant->call, start,
				    8, words));
	EXPECT_EQ(5, fault_page(start));
	for (i = 0; i < 8; i++)
		EXPECT_EQ(words[i], answer.argument[i] & REQ_BITS);

	ASSERT_EQ(0, mprotect(page_at(start, 5), self->page,
			      PROT_READ | PROT_WRITE));
	for (i = 0; i < 8; i++)
		words[i] = answer.argument[i] & REQ_BITS;
	EXPECT_EQ(0, ask_words(_metadata, self->fd, variant->call, start, 8,
			       words));
	EXPECT_EQ(5, count_mapped(start, 8));
}

/*
 * remap_file_pages(), for which notifiers were invented: other pages at the same
 * addresses. The answer goes stale, and the next one sees the new pages.
 */
TEST_F(history, remap_file_pages)
{
	char *start = map_file(make_memfd(4), 4, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	__u64 before[4];

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask(_metadata, self->fd, variant->call, start, 4, READ));
	memcpy(before, answer.words, sizeof(before));
	EXPECT_FALSE(answer_is_stale());
	if (syscall(__NR_remap_file_pages, start, self->page, 0, 3, 0))
		SKIP(return, "no remap_file_pages(): %s", strerror(errno));
	EXPECT_TRUE(answer_is_stale());
	EXPECT_EQ(0, ask(_metadata, self->fd, variant->call, start, 4, READ));
	EXPECT_EQ(before[3] & WORD_PFN, answer.words[0] & WORD_PFN);
	EXPECT_EQ(before[1] & WORD_PFN, answer.words[1] & WORD_PFN);
	EXPECT_PAGEMAP(start, 0, 4);
	EXPECT_EQ(1003, touch_page(start));
}

/*
 * b756a3b5e7 "device exclusive": nothing in a snapshot; when asked for, the page comes
 * back, and the device's mirror is told, so that it drops atomic access.
 */
TEST_F(history, device_exclusive)
{
	int dmirror = open_dmirror(0);
	char *buffer = alloc_buffer(2);
	char *start = map_anonymous(2);
	int error;

	ASSERT_NE(NULL, start);
	ASSERT_NE(NULL, buffer);
	if (dmirror < 0 || !can_migrate(dmirror))
		SKIP(return, NO_DEVICE_PRIVATE);
	mark_pages(start, 2, 80);
	error = dmirror_call(dmirror, HMM_DMIRROR_EXCLUSIVE, start, 2, buffer,
			     NULL);
	ASSERT_EQ(0, error);

	EXPECT_EQ(0, ask(_metadata, self->fd, variant->call, start, 2,
			 SNAPSHOT));
	EXPECT_PAGES(0, 2, 0, 0, HMM_MIRROR_KIND_DEVICE_EXCLUSIVE);
	EXPECT_EQ(EPERM, dmirror_call(dmirror, HMM_DMIRROR_CHECK_EXCLUSIVE,
				      start, 1, buffer, NULL));

	EXPECT_EQ(0, ask(_metadata, self->fd, variant->call, start, 1, READ));
	EXPECT_EQ(WORD_VALID, answer.words[0] & WORD_VALID);
	EXPECT_PAGEMAP(start, 0, 1);
	EXPECT_EQ(0, dmirror_call(dmirror, HMM_DMIRROR_CHECK_EXCLUSIVE, start,
				  1, buffer, NULL));
	EXPECT_EQ(EPERM, dmirror_call(dmirror, HMM_DMIRROR_CHECK_EXCLUSIVE,
				      page_at(start, 1), 1, buffer, NULL));
	EXPECT_TRUE(pages_are_marked(start, 2, 80));
	close(dmirror);
}

/* Requests in the name of the owner of a device-private page. */

FIXTURE(owner)
{
	int fd;
	int devices[2];
	char *start; /* 4 pages: 0 and 1 in the first device, 2 and 3 in the other */
	__u64 pfns[4];
};

FIXTURE_VARIANT(owner)
{
	__u32 function;
};

FIXTURE_VARIANT_ADD(owner, pages)
{
	.function = DIFFERENTIAL_PAGES,
};

FIXTURE_VARIANT_ADD(owner, pages_unlocked)
{
	.function = DIFFERENTIAL_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(owner, extents)
{
	.function = DIFFERENTIAL_EXTENTS,
};

FIXTURE_VARIANT_ADD(owner, extents_unlocked)
{
	.function = DIFFERENTIAL_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(owner)
{
	char *buffer = alloc_buffer(4);
	const char *why_not;
	size_t i;

	self->fd = open(DIFFERENTIAL_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	if (ioctl(self->fd, DIFFERENTIAL_RUN, NULL) && errno == EOPNOTSUPP)
		SKIP(return, "this kernel has no hmm_range_fault(), hmm_differential serves others only");
	self->start = map_anonymous(4);
	ASSERT_NE(NULL, self->start);
	ASSERT_NE(NULL, buffer);
	mark_pages(self->start, 4, 70);
	why_not = open_devices(self->devices, 0);
	if (why_not)
		SKIP(return, "%s", why_not);
	ASSERT_LE(0, self->devices[0]);
	ASSERT_EQ(0, move_to_device(self->devices[0], self->start, 2, buffer));
	ASSERT_EQ(0, move_to_device(self->devices[1], page_at(self->start, 2),
				    2, buffer));
	for (i = 0; i < 4; i++) {
		self->pfns[i] = device_pfn_at(page_at(self->start, i));
		ASSERT_NE(0, self->pfns[i]);
	}
}

FIXTURE_TEARDOWN(owner)
{
	close(self->devices[0]);
	close(self->devices[1]);
	close(self->fd);
}

/* Words of the four pages, asked for by the owner of @owner_pfn. */
static int ask_as(FIXTURE_DATA(owner) *self, __u32 function, __u64 owner_pfn,
		  __u64 flags, __u64 *words, __u64 *nr_faults)
{
	__u64 requests[4] = {};
	struct differential_call call = {
		.function = function,
		.capacity = 4,
		.start = (unsigned long)self->start,
		.npages = 4,
		.default_flags = flags,
		.owner_pfn = owner_pfn,
		.requests = (unsigned long)requests,
		.words = (unsigned long)words,
	};
	struct differential_run args = {
		.flags = DIFFERENTIAL_REPEAT,
		.nr_calls = 1,
		.start = call.start,
		.npages = 4,
		.calls = (unsigned long)&call,
	};

	if (ioctl(self->fd, DIFFERENTIAL_RUN, &args))
		return errno;
	*nr_faults = call.nr_faults;
	return call.error;
}

/*
 * 08ddddda66 "owner check": another owner's device-private page is never handed out.
 * 17ffdc4829 "no fault-back flag": reading one's own does not bring it back. 068354ade5
 * "no pgmap check": one's own is what the entry says.
 */
TEST_F(owner, own_pages_only)
{
	__u64 words[4], nr_faults;
	size_t i;

	ASSERT_EQ(0, ask_as(self, variant->function, self->pfns[0], SNAPSHOT,
			    words, &nr_faults));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(WORD_VALID | WORD_WRITE, words[i] & WORD_STATE);
		EXPECT_EQ(self->pfns[i], words[i] & WORD_PFN);
	}
	for (i = 2; i < 4; i++)
		EXPECT_EQ(0, words[i]);
	/* Without an owner, neither is handed out. */
	ASSERT_EQ(0, ask_as(self, variant->function, 0, SNAPSHOT, words,
			    &nr_faults));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, words[i]);

	ASSERT_EQ(0, ask_as(self, variant->function, self->pfns[0], READ,
			    words, &nr_faults));
	EXPECT_EQ(2, nr_faults);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(self->pfns[i], words[i] & WORD_PFN);
	for (i = 2; i < 4; i++) {
		EXPECT_TRUE(words[i] & WORD_VALID);
		EXPECT_NE(self->pfns[i], words[i] & WORD_PFN);
		EXPECT_EQ(pfn_at(page_at(self->start, i)), words[i] & WORD_PFN);
	}
	EXPECT_FALSE(is_mapped(self->start));
	EXPECT_TRUE(pages_are_marked(self->start, 4, 70));
}

TEST_HARNESS_MAIN
