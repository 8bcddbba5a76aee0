/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions of hmm_mirror.h, called through hmm_range_fault_test.ko. Every answer, of
 * whichever function, is converted to one word per page, so that one test serves them
 * all; and every answer is checked for what must always hold.
 */
#ifndef RANGE_FAULT_H
#define RANGE_FAULT_H

#include <linux/hmm_mirror.h>
#include <sys/resource.h>
#include <sys/rseq.h>

#include "harness.h"
#include "memory.h"
#include "core/range_fault_test/range_fault_test.h"
#include "witness.h"

#define WORD_VALID	RANGE_FAULT_TEST_VALID
#define WORD_WRITE	RANGE_FAULT_TEST_WRITE
#define WORD_ERROR	RANGE_FAULT_TEST_ERROR
#define WORD_STATE	(WORD_VALID | WORD_WRITE | WORD_ERROR)
#define WORD_ORDER	RANGE_FAULT_TEST_ORDER_MASK
#define WORD_PFN	RANGE_FAULT_TEST_PFN_MASK
#define REQ_FAULT	RANGE_FAULT_TEST_REQ_FAULT
#define REQ_WRITE	RANGE_FAULT_TEST_REQ_WRITE
#define REQ_BITS	(REQ_FAULT | REQ_WRITE)
#define DRIVER_BITS	(RANGE_FAULT_TEST_DMA_MAPPED | \
			 RANGE_FAULT_TEST_P2PDMA | RANGE_FAULT_TEST_P2PDMA_BUS)

/* What can be asked for: default_flags of a request. */
#define SNAPSHOT	0ULL
#define READ		REQ_FAULT
#define WRITE		(REQ_FAULT | REQ_WRITE)

#define MAX_PAGES	RANGE_FAULT_TEST_MAX_WORDS

/* No word has all bits set: a slot that still has was not written. */
#define POISONED_WORD	(~0ULL)

/**
 * struct request - one call of the function under test
 * @call:	enum range_fault_test_call
 * @flags:	RANGE_FAULT_TEST_INTERVAL, ...
 * @start:	first address
 * @npages:	pages of the range
 * @default_flags: SNAPSHOT, READ, WRITE
 * @mask:	pfn_flags_mask
 * @words:	one word per page for it to look at. Without them the array is
 *		poisoned
 * @interval_start: with RANGE_FAULT_TEST_INTERVAL
 * @interval_length: with RANGE_FAULT_TEST_INTERVAL
 * @timeout_ms:	0 for none
 * @max_retries: 0 for any number
 * @capacity:	of the array of extents; 0 for one that is large
 */
struct request {
	__u32 call;
	__u32 flags;
	const void *start;
	size_t npages;
	__u64 default_flags;
	__u64 mask;
	const __u64 *words;
	const void *interval_start;
	size_t interval_length;
	unsigned int timeout_ms;
	unsigned int max_retries;
	unsigned int capacity;
};

/* The answer to the last request. */
static struct {
	struct range_fault_test_range raw;
	/* Sums over all calls, if the array of extents filled up. */
	__u64 nr_faults;
	__u64 nr_walks;
	__u64 nr_restarts;
	__u64 nr_slots;
	__u64 caller_retries;
	unsigned int nr_extents;
	unsigned int nr_calls;
	/* Faults that this process was charged with during the calls. */
	unsigned long charged_faults;
	int fd; /* that was asked */
	bool has_entries; /* extents only */
	__u64 words[MAX_PAGES];
	__u64 argument[MAX_PAGES]; /* what the call is given */
	__u64 kernel_words[MAX_PAGES];
	__u8 entries[MAX_PAGES];
	__s8 nodes[MAX_PAGES];
	struct range_fault_test_extent extents[RANGE_FAULT_TEST_MAX_EXTENTS];
} answer;

static inline bool call_has_extents(__u32 call)
{
	return call == RANGE_FAULT_TEST_EXTENTS ||
	       call == RANGE_FAULT_TEST_EXTENTS_UNLOCKED;
}

static inline bool call_is_unlocked(__u32 call)
{
	return call == RANGE_FAULT_TEST_PAGES_UNLOCKED ||
	       call == RANGE_FAULT_TEST_EXTENTS_UNLOCKED;
}

static inline __u64 requested(const struct request *request, size_t page)
{
	__u64 word = 0;

	if (request->words)
		word = request->words[page] & request->mask;
	return (word | request->default_flags) & REQ_BITS;
}

/* There cannot be more extents than pages. */
static inline unsigned int capacity_of(const struct request *request)
{
	if (request->capacity)
		return request->capacity;
	return request->npages < RANGE_FAULT_TEST_MAX_EXTENTS ?
	       request->npages : RANGE_FAULT_TEST_MAX_EXTENTS;
}

/*
 * After fork() all memory is shared with the child. This unshares what is written to
 * without being asked for: the stack, by everything that is called from here on; and the
 * thread's struct rseq, by the kernel whenever it has let somebody else run.
 */
static __attribute__((noinline, unused)) void touch_stack_and_rseq(void)
{
	char *rseq = (char *)__builtin_thread_pointer() + __rseq_offset;
	char room[4096];

	memset(room, 0, sizeof(room));
	/* The compiler must not drop it. */
	asm volatile("" : : "r" (room) : "memory");
	if (__rseq_size)
		__atomic_fetch_or((__u32 *)rseq, 0, __ATOMIC_SEQ_CST);
}

/*
 * Like process_faults(), but without taking any fault that it does not count. Not
 * inlined, so that it always writes to the same place, below its caller's part of the
 * stack.
 */
static __attribute__((noinline, unused)) unsigned long charged_faults(void)
{
	struct rusage usage = {};

	touch_stack_and_rseq();
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/*
 * Memory that is a shadow stack, or at least is marked as one; @fd:
 * RANGE_FAULT_TEST_DEVICE.
 */
static inline void *map_shadow_stack(int fd, size_t npages)
{
	size_t length = npages * page_size();
	long of_cpu = syscall(453 /* map_shadow_stack */, 0, length, 0);
	void *start;

	if (of_cpu >= 0)
		return (void *)of_cpu;
	start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		     RANGE_FAULT_TEST_MMAP_SHADOW_STACK * page_size());
	return start == MAP_FAILED ? NULL : start;
}

/* Room for one huge page of addresses that have no struct page. */
static inline void *map_special_pmd(int fd)
{
	void *start = map_anonymous_aligned(pages_per_pmd(), pmd_size());

	if (!start)
		return NULL;
	start = mmap(start, pmd_size(), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED, fd,
		     RANGE_FAULT_TEST_MMAP_SPECIAL_PMD * page_size());
	return start == MAP_FAILED ? NULL : start;
}

static inline void describe_word(__u64 word, char *text, size_t size)
{
	snprintf(text, size, "%s%s%s%s%s order %llu pfn %#llx",
		 word & WORD_VALID ? "VALID " : "",
		 word & WORD_WRITE ? "WRITE " : "",
		 word & WORD_ERROR ? "ERROR " : "",
		 word & REQ_BITS ? "request " : "",
		 word & DRIVER_BITS ? "driver " : "",
		 (word & WORD_ORDER) >> RANGE_FAULT_TEST_ORDER_SHIFT,
		 word & WORD_PFN);
}

/* What is wrong with a word of a successful answer, whatever is mapped; or NULL */
static inline const char *wrong_with_word(const struct request *request,
					  size_t page)
{
	__u64 word = answer.words[page];
	__u64 kept = 0;
	__u64 asked = requested(request, page);

	if (word == POISONED_WORD)
		return "was not written";
	/* Extents have no such bits and leave the words alone. */
	if (request->words && !call_has_extents(request->call))
		kept = request->words[page] & request->mask;
	if ((word & (REQ_BITS | DRIVER_BITS)) != kept)
		return "has request or driver bits that are not those kept";
	if (word & ~(WORD_STATE | WORD_ORDER | WORD_PFN | REQ_BITS |
		     DRIVER_BITS))
		return "has bits that mean nothing";
	if (!(word & WORD_VALID) && (word & (WORD_ORDER | WORD_PFN)))
		return "has an order or PFN but is not VALID";
	if (!(word & WORD_VALID) && (word & WORD_WRITE))
		return "is WRITE but not VALID";
	if ((word & WORD_VALID) && (word & WORD_ERROR))
		return "is VALID and ERROR";
	if ((asked & REQ_FAULT) && !(word & WORD_VALID))
		return "was requested but is not VALID";
	if ((asked & REQ_FAULT) && (asked & REQ_WRITE) && !(word & WORD_WRITE))
		return "was requested for writing but is not WRITE";
	return NULL;
}

static inline void check_words(struct __test_metadata *_metadata,
			       const struct request *request)
{
	char text[128];
	size_t i;

	for (i = 0; i < request->npages; i++) {
		const char *wrong = wrong_with_word(request, i);

		if (!wrong)
			continue;
		describe_word(answer.words[i], text, sizeof(text));
		TH_LOG("word of page %zu (%s) %s", i, text, wrong);
		EXPECT_EQ(NULL, wrong);
		return;
	}
}

/*
 * One page-table entry gets one answer, whatever its pages were asked for: all of them in
 * the range have the same flags and order, and consecutive page frame numbers.
 */
static inline void check_entries(struct __test_metadata *_metadata,
				 const struct request *request)
{
	const unsigned long base = (unsigned long)request->start / page_size();
	const __u64 mask = WORD_STATE | WORD_ORDER | WORD_PFN;
	char one[128], other[128];
	size_t i, first, end, j;

	for (i = 0; i < request->npages; i = end) {
		unsigned int order = (answer.words[i] & WORD_ORDER) >>
				     RANGE_FAULT_TEST_ORDER_SHIFT;
		size_t before = (base + i) % (1UL << order);

		first = before < i ? i - before : 0;
		end = i - before + (1UL << order);
		if (end > request->npages)
			end = request->npages;
		for (j = first; j < end; j++) {
			if ((answer.words[i] & mask) + (j - i) ==
			    (answer.words[j] & mask) || !order)
				continue;
			describe_word(answer.words[i], one, sizeof(one));
			describe_word(answer.words[j], other, sizeof(other));
			TH_LOG("one entry, two answers: page %zu %s, page %zu %s",
			       i, one, j, other);
			EXPECT_EQ(answer.words[i] & mask, answer.words[j] & mask);
			return;
		}
	}
}

/*
 * Extents cover the range from @from on without gaps, stay inside it, and none of them
 * could have been part of the previous one.
 */
static inline void check_extents(struct __test_metadata *_metadata,
				 const struct request *request,
				 unsigned long from)
{
	unsigned long end = (unsigned long)request->start +
			    request->npages * page_size();
	unsigned long expected = from;
	unsigned int i;

	for (i = 0; i < answer.raw.nr_extents; i++) {
		const struct range_fault_test_extent *extent =
			&answer.extents[i];
		const struct range_fault_test_extent *before = extent - 1;

		EXPECT_EQ(expected, extent->addr);
		EXPECT_NE(0, extent->npages);
		ASSERT_LE(extent->npages * page_size(), end - extent->addr);
		expected = extent->addr + extent->npages * page_size();
		if (extent->flags & WORD_VALID) {
			EXPECT_LE(0, extent->node);
		} else {
			EXPECT_EQ(-1, extent->node);
			EXPECT_EQ(0, extent->pfn);
		}
		EXPECT_EQ(!!(extent->flags & WORD_ERROR),
			  extent->entry >= HMM_MIRROR_KIND_HWPOISON);
		if (!i)
			continue;
		EXPECT_FALSE(before->flags == extent->flags &&
			     before->order == extent->order &&
			     before->node == extent->node &&
			     before->entry == extent->entry &&
			     (!(extent->flags & WORD_VALID) ||
			      before->pfn + before->npages == extent->pfn))
			TH_LOG("extents %u and %u should be one", i - 1, i);
	}
	EXPECT_EQ(expected, answer.raw.next);
	if (answer.raw.next < end)
		EXPECT_EQ(capacity_of(request), answer.raw.nr_extents);
}

static inline void expand_extents(const struct request *request)
{
	unsigned int i;
	size_t page, j;

	for (i = 0; i < answer.raw.nr_extents; i++) {
		const struct range_fault_test_extent *extent =
			&answer.extents[i];

		page = (extent->addr - (unsigned long)request->start) /
		       page_size();
		for (j = 0; j < extent->npages; j++) {
			bool valid = extent->flags & WORD_VALID;

			answer.words[page + j] = extent->flags |
				(__u64)extent->order <<
				RANGE_FAULT_TEST_ORDER_SHIFT |
				(valid ? extent->pfn + j : 0);
			answer.entries[page + j] = extent->entry;
			answer.nodes[page + j] = extent->node;
		}
	}
}

static inline void call_once(struct __test_metadata *_metadata, int fd,
			     const struct request *request, unsigned long from)
{
	struct range_fault_test_range *raw = &answer.raw;
	size_t first = (from - (unsigned long)request->start) / page_size();
	unsigned long charged;
	int result;

	memset(raw, 0, sizeof(*raw));
	raw->call = request->call;
	raw->flags = request->flags;
	raw->start = from;
	raw->end = (unsigned long)request->start +
		   request->npages * page_size();
	raw->default_flags = request->default_flags;
	raw->pfn_flags_mask = request->mask;
	raw->interval_start = (unsigned long)request->interval_start;
	raw->interval_length = request->interval_length;
	raw->timeout_ms = request->timeout_ms;
	raw->max_retries = request->max_retries;
	if (!call_has_extents(request->call) || request->words) {
		raw->words = (unsigned long)(answer.argument + first);
		raw->nr_words = request->npages - first;
	}
	if (call_has_extents(request->call)) {
		raw->extents = (unsigned long)answer.extents;
		raw->nr_extents = capacity_of(request);
		/* Writing the answer must not cause faults that would be counted. */
		memset(answer.extents, 0xff,
		       raw->nr_extents * sizeof(*answer.extents));
	}
	if (request->flags & RANGE_FAULT_TEST_COMPARE)
		raw->kernel_words = (unsigned long)answer.kernel_words;
	charged = charged_faults();
	result = ioctl(fd, RANGE_FAULT_TEST_RANGE, raw);
	answer.charged_faults += charged_faults() - charged;
	ASSERT_EQ(0, result) {
		TH_LOG("RANGE_FAULT_TEST_RANGE failed: %s", strerror(errno));
	}
	answer.nr_calls++;
	answer.nr_faults += raw->nr_faults;
	answer.nr_walks += raw->nr_walks;
	answer.nr_restarts += raw->nr_restarts;
	answer.nr_slots += raw->nr_slots;
	answer.caller_retries += raw->caller_retries;
	answer.nr_extents += raw->nr_extents;
}

static inline bool error_has_address(int error)
{
	return error == EFAULT || error == EPERM || error == EHWPOISON ||
	       error == ENOMEM;
}

/*
 * Repeats a request until the whole range is answered. Returns the errno of the call, 0
 * on success; then the answer is in answer.words, and in .entries and .nodes too if
 * .has_entries.
 */
static inline int ask_request(struct __test_metadata *_metadata, int fd,
			      const struct request *request)
{
	unsigned long from = (unsigned long)request->start;
	unsigned long end = from + request->npages * page_size();
	bool has_extents = call_has_extents(request->call);
	bool kernel = request->call == RANGE_FAULT_TEST_KERNEL;
	size_t size = request->npages * sizeof(*answer.words);

	ASSERT_LE(request->npages, MAX_PAGES);
	answer.nr_faults = 0;
	answer.nr_walks = 0;
	answer.nr_restarts = 0;
	answer.nr_slots = 0;
	answer.caller_retries = 0;
	answer.nr_extents = 0;
	answer.nr_calls = 0;
	answer.charged_faults = 0;
	answer.has_entries = has_extents;
	answer.fd = fd;
	memset(answer.words, 0xff, size);
	if (request->words)
		memcpy(answer.argument, request->words, size);
	else
		memset(answer.argument, 0xff, size); /* POISONED_WORD */
	do {
		call_once(_metadata, fd, request, from);
		if (answer.raw.error) {
			if (!error_has_address(answer.raw.error)) {
				EXPECT_EQ(0, answer.raw.fault_addr);
			} else if (!kernel) {
				EXPECT_LE(from, answer.raw.fault_addr);
				EXPECT_GT(end, answer.raw.fault_addr);
			}
			return answer.raw.error;
		}
		EXPECT_EQ(0, answer.raw.fault_addr);
		if (!(request->flags & RANGE_FAULT_TEST_NO_RETRY))
			EXPECT_EQ(0, answer.raw.stale);
		if (!has_extents)
			break;
		check_extents(_metadata, request, from);
		ASSERT_LT(from, answer.raw.next);
		expand_extents(request);
		from = answer.raw.next;
	} while (from < end);

	if (!has_extents)
		memcpy(answer.words, answer.argument, size);
	else if (request->words) /* The extent calls do not write to it. */
		EXPECT_EQ(0, memcmp(answer.argument, request->words, size));
	if (!kernel)
		check_words(_metadata, request);
	check_entries(_metadata, request);
	return 0;
}

static inline int ask(struct __test_metadata *_metadata, int fd, __u32 call,
		      const void *start, size_t npages, __u64 default_flags)
{
	const struct request request = {
		.call = call,
		.start = start,
		.npages = npages,
		.default_flags = default_flags,
	};

	return ask_request(_metadata, fd, &request);
}

static inline unsigned long fault_page(const void *start)
{
	return (answer.raw.fault_addr - (unsigned long)start) / page_size();
}

/*
 * Expects @count pages from @first on to be in @state (of WORD_STATE), mapped with
 * @order, and, if the answer tells, to be an @entry.
 */
#define EXPECT_PAGES(first, count, state, order, entry) \
	expect_pages(_metadata, __LINE__, first, count, state, order, entry)

static inline void expect_pages(struct __test_metadata *_metadata, int line,
				size_t first, size_t count, __u64 state,
				unsigned int order, unsigned int entry)
{
	char seen[128], expected[128];
	size_t i;

	for (i = first; i < first + count; i++) {
		__u64 word = answer.words[i] & (WORD_STATE | WORD_ORDER);
		__u64 wanted = state | (__u64)order <<
					RANGE_FAULT_TEST_ORDER_SHIFT;

		if (word != wanted) {
			describe_word(answer.words[i], seen, sizeof(seen));
			describe_word(wanted, expected, sizeof(expected));
			TH_LOG("line %d: page %zu: expected %s, seen %s", line,
			       i, expected, seen);
			EXPECT_EQ(wanted, word);
			return;
		}
		if (answer.has_entries && answer.entries[i] != entry) {
			TH_LOG("line %d: page %zu: kind of entry", line, i);
			EXPECT_EQ(entry, answer.entries[i]);
			return;
		}
	}
}

static inline bool answer_is_stale(void)
{
	__u32 stale = 0;

	return !ioctl(answer.fd, RANGE_FAULT_TEST_IS_STALE, &stale) && stale;
}

/*
 * Expects the answer for the pages from @first on to agree with /proc/self/pagemap: VALID
 * where it has a page, and the same page. Unless the answer has gone stale: the kernel
 * may move a page whenever it likes.
 */
#define EXPECT_PAGEMAP(start, first, count) \
	expect_pagemap(_metadata, __LINE__, start, first, count)

static inline void expect_pagemap(struct __test_metadata *_metadata, int line,
				  const void *start, size_t first, size_t count)
{
	uint64_t entries[512];
	size_t i;

	for (i = first; i < first + count; i++) {
		size_t nth = (i - first) % 512;
		size_t left = first + count - i;
		uint64_t entry;
		bool present;
		bool valid = answer.words[i] & WORD_VALID;

		if (!nth)
			ASSERT_TRUE(read_pagemap((char *)start + i * page_size(),
						 left < 512 ? left : 512, entries));
		entry = entries[nth];
		present = entry & PAGEMAP_PRESENT;
		if (present == valid &&
		    (!present || (entry & PAGEMAP_PFN_MASK) ==
				 (answer.words[i] & WORD_PFN)))
			continue;
		if (answer_is_stale()) {
			TH_LOG("line %d: page %zu has been moved", line, i);
			return;
		}
		TH_LOG("line %d: page %zu: word %#llx, pagemap %#llx", line, i,
		       answer.words[i], (unsigned long long)entry);
		EXPECT_EQ(present, valid);
		if (present && valid)
			EXPECT_EQ(entry & PAGEMAP_PFN_MASK,
				  answer.words[i] & WORD_PFN);
		return;
	}
}

static inline int open_range_fault_test(void)
{
	return open(RANGE_FAULT_TEST_DEVICE, O_RDWR | O_CLOEXEC);
}

#endif /* RANGE_FAULT_H */
