// SPDX-License-Identifier: GPL-2.0
/* Compares answers with each other, with what was asked for, and with what is there. */
#include <errno.h>
#include <string.h>

#include "calls.h"
#include "judge.h"
#include "layout.h"
#include "memory.h"
#include "tally.h"

/* The kernel's word, without what it does not mean to say. */
static uint64_t normal(uint64_t word)
{
	uint64_t normal_word = word & (STATE | DIFFERENTIAL_ORDER_MASK |
				       DIFFERENTIAL_PFN_MASK);

	if (normal_word & VALID)
		return normal_word;
	if (normal_word & ~STATE)
		count_allowed(GARBAGE_NOT_VALID);
	return normal_word & ERROR;
}

/*
 * If a range begins within a huge page of device memory, the kernel (since v6.19) answers
 * as if it began at the beginning of that page: with a page of the same huge page, but an
 * earlier one.
 */
static bool is_earlier_in_block(uint64_t theirs, uint64_t ours)
{
	const uint64_t block = DIFFERENTIAL_PFN_MASK & ~(pages_per_pmd() - 1);
	const uint64_t offset = DIFFERENTIAL_PFN_MASK & ~block;

	return !((theirs ^ ours) & ~offset) &&
	       (theirs & offset) < (ours & offset);
}

/**
 * struct entry - what one entry of the page table maps of a range
 * @first: page of the range
 * @end: the page behind it
 */
struct entry {
	long first;
	long end;
};

/* The entry that maps page @i, if its word is right. */
static struct entry entry_of(const struct test_case *test, long npages, long i,
			     uint64_t word)
{
	long size = 1L << ((word & DIFFERENTIAL_ORDER_MASK) >>
			   DIFFERENTIAL_ORDER_SHIFT);
	unsigned long number = ARENA / PAGE + test->first + i;
	long first = i - (long)(number % size);

	return (struct entry){
		.first = first > 0 ? first : 0,
		.end = first + size < npages ? first + size : npages,
	};
}

bool judge_entries(const struct test_case *test,
		   const struct differential_call *call,
		   const uint64_t *answer)
{
	long npages = call->npages;
	struct entry entry;
	long i, j;

	for (i = 0; i < npages; i = entry.end) {
		entry = (struct entry){ i, i + 1 };
		if (answer[i] & VALID)
			entry = entry_of(test, npages, i, answer[i]);
		for (j = entry.first; j < entry.end; j++) {
			if (((answer[i] & ANSWER) + (j - i)) ==
			    (answer[j] & ANSWER))
				continue;
			return differ("function %u: one entry (%s), two answers: page %ld %s, page %ld %s",
				      call->function,
				      info_at(test->first + i)->name, i,
				      describe(answer[i]), j,
				      describe(answer[j]));
		}
	}
	return true;
}

static bool is_kernel(unsigned int function)
{
	return function == DIFFERENTIAL_KERNEL ||
	       function == DIFFERENTIAL_KERNEL_BY_PAGE;
}

/*
 * Checks calls[0] to calls[@nr - 1], if they have answered at all. The kernel is not
 * judged: from the middle of a huge device page on it names the first page again and
 * again.
 */
static bool judge_entries_of_calls(const struct test_case *test, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (is_kernel(calls[i].function) || calls[i].error)
			continue;
		if (!judge_entries(test, &calls[i], words[i]))
			return false;
	}
	return true;
}

/* Whether we may say @ours about a page of which the kernel says @theirs. */
static bool same_or_allowed(long page, uint64_t theirs, uint64_t ours)
{
	enum kind kind = kind_at(page);

	theirs = normal(theirs);
	ours &= ANSWER;
	if (theirs == ours)
		return true;
	if (kind == SECRETMEM && ours == ERROR) {
		count_allowed(SECRETMEM_ERROR);
		return true;
	}
	if (kind == SHADOW_STACK && theirs == (ours | WRITE)) {
		count_allowed(SHADOW_STACK_NOT_WRITE);
		return true;
	}
	if (kind == UFFD_POISON && !theirs && ours == ERROR) {
		count_allowed(POISON_ERROR);
		return true;
	}
	if (kind == GUARD && !theirs && ours == ERROR) {
		count_allowed(GUARD_ERROR);
		return true;
	}
	if ((kind == HWPOISON || kind == HUGETLB_HWPOISON) && !theirs &&
	    ours == ERROR) {
		count_allowed(HWPOISON_ERROR);
		return true;
	}
	if ((kind == THP_DEVICE_OTHER || kind == THP_DEVICE_OWN) &&
	    theirs == ERROR && !ours) {
		count_allowed(DEVICE_PMD_NOT_ERROR);
		return true;
	}
	if (kind == THP_DEVICE_OWN && is_earlier_in_block(theirs, ours)) {
		count_allowed(DEVICE_PMD_OFFSET);
		return true;
	}
	return false;
}

bool judge_snapshots(const struct test_case *test, const char *when)
{
	long i;
	int j;

	for (j = 0; j < 4; j++) {
		if (calls[j].error)
			return differ("snapshot %d %s fails: %s", j, when,
				      strerror(calls[j].error));
		if (calls[j].nr_faults || calls[j].charged_faults)
			return differ("snapshot %d %s faults", j, when);
	}
	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;

		if (words[1][i] & ~ANSWER)
			return differ("snapshot %s, page %ld: bits %#llx", when,
				      i, (unsigned long long)words[1][i]);
		/* A page may have come between the two; if so, for the kernel, too. */
		if (words[1][i] != words[2][i] &&
		    !(same_or_allowed(page, words[0][i], words[1][i]) &&
		      same_or_allowed(page, words[3][i], words[2][i])))
			return differ("snapshot %s, page %ld (%s): pages %s, extents %s",
				      when, i, info_at(page)->name,
				      describe(words[1][i]),
				      describe(words[2][i]));
		/* Pages may have come, but not gone. */
		if (!same_or_allowed(page, words[0][i], words[1][i]) &&
		    !same_or_allowed(page, words[3][i], words[1][i]))
			return differ("snapshot %s, page %ld (%s): kernel %s, we %s",
				      when, i, info_at(page)->name,
				      describe(words[0][i]),
				      describe(words[1][i]));
	}
	return true;
}

bool is_met(uint64_t request, uint64_t word)
{
	if (asked_to_write(request))
		return word & WRITE;
	return !asked_at_all(request) || (word & VALID);
}

/*
 * The kernel's answer to the whole range, @error, differs from that to its pages. Whether
 * the reason may be a page that was asked for less than others, or not at all.
 */
static bool is_overfault(const struct test_case *test)
{
	uint64_t strongest = 0;
	long i;

	for (i = 0; i < test->npages; i++) {
		if (asked_at_all(asked(test, i)))
			strongest |= asked(test, i);
	}
	for (i = 0; i < test->npages; i++) {
		if (can_be_had(test->first + i, asked(test, i)) &&
		    !can_be_had(test->first + i, strongest))
			return true;
	}
	return false;
}

/* Where and how the range should fail, given what the kernel says page by page. */
static void expected_error(const struct test_case *test,
			   const struct differential_call *by_page,
			   unsigned int *error, long *page)
{
	long i, limit = by_page->error ? (long)by_page->fault_page :
					 (long)by_page->npages;
	enum kind kind;

	*error = by_page->error;
	*page = limit;
	for (i = 0; i < limit; i++) {
		kind = kind_at(test->first + i);
		if (kind == SECRETMEM && asked_at_all(asked(test, i))) {
			count_allowed(SECRETMEM_REFUSED);
			*error = EFAULT;
			*page = i;
			return;
		}
		if (kind == SHADOW_STACK && asked_to_write(asked(test, i))) {
			count_allowed(SHADOW_STACK_REFUSED);
			*error = EPERM;
			*page = i;
			return;
		}
	}
	if (*error != EFAULT)
		return;
	kind = kind_at(test->first + limit);
	if (kind == HWPOISON || kind == HUGETLB_HWPOISON) {
		count_allowed(HWPOISON_ERRNO);
		*error = EHWPOISON;
	}
}

static bool judge_error(const struct differential_call *call, const char *who,
			unsigned int error, long page)
{
	if (call->error != error)
		return differ("%s: errno %u (page %lld), expected %u (page %ld)",
			      who, call->error, call->fault_page, error, page);
	if (error && (long)call->fault_page != page)
		return differ("%s: errno %u of page %lld, expected of page %ld",
			      who, error, call->fault_page, page);
	return true;
}

static bool is_own_device_page(long page)
{
	switch (kind_at(page)) {
	case DEVICE_OWN:
	case DEVICE_FORKED:
	case THP_DEVICE_OWN:
		return true;
	default:
		return false;
	}
}

/* Whether another fault in the range may have changed how this page is mapped. */
static bool shares_fate(long page)
{
	return info_at(page)->flags & (SPREADS | IS_BLOCK) ||
	       kind_at(page) == READ_ONLY; /* may be a piece of a huge page */
}

/*
 * A marker first becomes a page, which is protected; a device page shared with a child is
 * brought back, and still shared; a huge one for which there is no huge page in memory is
 * first split.
 */
static bool is_made_in_two_steps(long page)
{
	return kind_at(page) == UFFD_WP_MARKER ||
	       kind_at(page) == DEVICE_FORKED ||
	       kind_at(page) == THP_DEVICE_OWN ||
	       kind_at(page) == THP_DEVICE_OTHER;
}

/* By a page that was asked for what the entry's first page was not. */
static void count_changed_entries(const struct test_case *test)
{
	struct entry entry;
	long i;

	for (i = 0; counting && i < test->npages; i = entry.end) {
		entry = (struct entry){ i, i + 1 };
		if (first_words[i] & VALID)
			entry = entry_of(test, test->npages, i, first_words[i]);
		if (is_met(asked(test, i), before_words[i]) &&
		    ((before_words[i] ^ first_words[i]) & STATE) &&
		    entry.end > i + 1)
			changed_entries[kind_at(test->first + i)]++;
	}
}

/* Serving the request changed nothing that it should have left alone. */
static bool judge_bystanders(const struct test_case *test)
{
	unsigned long needed = 0;
	long i;

	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t now = words[1][i];

		if (!is_met(asked(test, i), before_words[i])) {
			needed += is_made_in_two_steps(page) ? 2 : 1;
			continue;
		}
		if (now == before_words[i] || shares_fate(page))
			continue;
		return differ("page %ld (%s) was %s, and became %s although that was not asked",
			      i, info_at(page)->name, describe(before_words[i]),
			      describe(now));
	}
	/* What fails after others of a batch is retried on its own. */
	if (first_call.nr_faults > needed + !!first_call.error)
		return differ("%lld faults for %lu pages", first_call.nr_faults,
			      needed);
	return true;
}

/* On success: what the function said that served the request. */
static bool judge_first_words(const struct test_case *test)
{
	bool kernel = test->function == DIFFERENTIAL_KERNEL;
	bool overlooked = false;
	long i;

	for (i = 0; kernel && i < test->npages; i++) {
		if (!is_met(asked(test, i), first_words[i]) &&
		    (info_at(test->first + i)->flags & IS_HUGETLB))
			overlooked = true;
	}
	if (overlooked)
		count_allowed(KERNEL_HUGETLB_IGNORED);
	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t first = first_words[i];
		uint64_t now = words[5][i] & ANSWER;

		if (kernel) {
			/* Device pages: words[5] has been made writable. */
			if (is_own_device_page(page))
				continue;
			if (overlooked && (info_at(page)->flags & IS_HUGETLB))
				continue;
			if (!is_met(asked(test, i), first))
				return differ("kernel succeeds without page %ld (%s)",
					      i, info_at(page)->name);
			if (same_or_allowed(page, first, now))
				continue;
			first = normal(first);
		} else {
			first &= ANSWER;
			if (first == now)
				continue;
		}
		/* When it was answered it was not there, or not writable, yet. */
		if (shares_fate(page) && (now & VALID) &&
		    (!first || (first | WRITE) == now))
			continue;
		return differ("page %ld (%s): %s says %s, afterwards it is %s",
			      i, info_at(page)->name,
			      kernel ? "kernel" : "function that faulted",
			      describe(first), describe(now));
	}
	return true;
}

/*
 * For a request that succeeds: calls[4] is the kernel page by page, [5] pages, [6]
 * extents, [7] the kernel.
 */
static bool judge_words(const struct test_case *test)
{
	bool made_writable = false;
	long i;

	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t request = asked(test, i);
		uint64_t kept = test->words[i] & test->mask;
		uint64_t ours = words[5][i];

		if ((ours & ~ANSWER) != (kept & (REQ_BITS | DRIVER_BITS)))
			return differ("page %ld: bits %#llx, should keep %#llx",
				      i, (unsigned long long)ours,
				      (unsigned long long)kept);
		ours &= ANSWER;
		if (!is_met(request, ours))
			return differ("page %ld (%s) was asked for and is %s",
				      i, info_at(page)->name, describe(ours));
		if (ours != words[6][i])
			return differ("page %ld (%s): pages %s, extents %s", i,
				      info_at(page)->name, describe(ours),
				      describe(words[6][i]));
		if (is_own_device_page(page) && asked_to_write(request) &&
		    !(words[4][i] & WRITE)) {
			count_allowed(DEVICE_MADE_WRITABLE);
			made_writable = true;
			continue;
		}
		if (!same_or_allowed(page, words[4][i], ours))
			return differ("page %ld (%s): kernel by page %s, we %s",
				      i, info_at(page)->name,
				      describe(words[4][i]), describe(ours));
		if (!same_or_allowed(page, words[7][i], ours))
			return differ("page %ld (%s): kernel %s, we %s", i,
				      info_at(page)->name,
				      describe(words[7][i]), describe(ours));
	}
	for (i = 4; i < 8; i++) {
		if (calls[i].error || made_writable)
			continue;
		if (calls[i].nr_faults || calls[i].charged_faults)
			return differ("function %u finds %lld pages not faulted yet",
				      calls[i].function,
				      calls[i].charged_faults);
	}
	return true;
}

/* The kernel's answer to the range that it served first, given its answer page by page. */
static bool judge_kernel_error(const struct test_case *test,
			       const struct differential_call *by_page)
{
	if (test->function != DIFFERENTIAL_KERNEL ||
	    first_call.error == by_page->error)
		return true;
	if (first_call.error) {
		if (!is_overfault(test))
			return differ("kernel: errno %u, by page %u (page %lld)",
				      first_call.error, by_page->error,
				      by_page->fault_page);
		count_allowed(KERNEL_OVERFAULT_ERROR);
		return true;
	}
	if (!(info_at(test->first + by_page->fault_page)->flags & IS_HUGETLB))
		return differ("kernel succeeds, by page: errno %u (page %lld)",
			      by_page->error, by_page->fault_page);
	count_allowed(KERNEL_HUGETLB_IGNORED);
	return true;
}

static bool judge_request(const struct test_case *test)
{
	bool ours_first = !is_kernel(test->function);
	unsigned int error;
	long page;

	if (counting) {
		nr_requests++;
		nr_first_faults += first_call.nr_faults;
	}
	if (ours_first && first_call.error == EBUSY)
		return differ("never an answer that is not stale");

	/* Then the kernel was not asked for anything beyond it. */
	if (ours_first && first_call.error &&
	    calls[4].error && calls[4].fault_page < first_call.fault_page)
		return differ("errno %u of page %lld, kernel by page: %u of page %lld",
			      first_call.error, first_call.fault_page,
			      calls[4].error, calls[4].fault_page);
	if (!judge_kernel_error(test, &calls[4]))
		return false;

	expected_error(test, &calls[4], &error, &page);
	if (ours_first &&
	    !judge_error(&first_call, "the first", error, page))
		return false;
	if (!judge_error(&calls[5], "pages", error, page) ||
	    !judge_error(&calls[6], "extents", error, page))
		return false;
	if (ours_first && !judge_bystanders(test))
		return false;
	if (error) {
		if (counting)
			nr_refused++;
		/* A fault that fails is taken, but not charged. */
		if (calls[5].nr_faults > 1 || calls[5].charged_faults)
			return differ("%lld faults before page %ld fails",
				      calls[5].nr_faults, page);
		return true;
	}
	if (calls[7].error)
		return differ("kernel: errno %u, by page none",
			      calls[7].error);
	if (!judge_words(test))
		return false;
	/* By page, each has been answered at a time of its own. */
	if (first_call.error || test->function == DIFFERENTIAL_KERNEL_BY_PAGE)
		return true;
	return judge_first_words(test);
}

bool try_case(const struct test_case *test)
{
	unsigned int nr = 7;

	make_snapshots(test);
	if (!run(test, calls, 4, 0) || !judge_entries_of_calls(test, 4) ||
	    !judge_snapshots(test, "before"))
		return false;
	count_coverage(test);
	memcpy(before_words, words[1], test->npages * sizeof(words[1][0]));
	if (!((test->default_flags | test->mask) & REQ_BITS))
		return true;

	first_call = make_request(test, test->function, first_words);
	if (!run(test, &first_call, 1, DIFFERENTIAL_REPEAT))
		return false;
	/* By page, each has been answered at a time of its own. */
	if (test->function != DIFFERENTIAL_KERNEL_BY_PAGE && !first_call.error) {
		if (!judge_entries(test, &first_call, first_words))
			return false;
		if (!is_kernel(test->function))
			count_changed_entries(test);
	}
	if (test->function == DIFFERENTIAL_KERNEL) {
		/* It may have done less than page by page, and fails only then. */
		calls[0] = make_request(test, DIFFERENTIAL_KERNEL_BY_PAGE,
					words[0]);
		if (!run(test, calls, 1, DIFFERENTIAL_REPEAT))
			return false;
	}

	make_snapshots(test);
	calls[4] = make_request(test, DIFFERENTIAL_KERNEL_BY_PAGE, words[4]);
	calls[5] = make_request(test, DIFFERENTIAL_PAGES, words[5]);
	calls[6] = make_request(test, DIFFERENTIAL_EXTENTS, words[6]);
	calls[7] = make_request(test, DIFFERENTIAL_KERNEL, words[7]);
	if (!is_kernel(test->function) && first_call.error)
		calls[4].npages = first_call.fault_page + 1;
	/* On an error, the kernel's own function might go on where the others stopped. */
	if (!first_call.error)
		nr = 8;
	calls[7].error = 0;
	if (!run(test, calls, nr, 0) || !judge_entries_of_calls(test, nr) ||
	    !judge_snapshots(test, "after"))
		return false;
	if (nr < 8)
		memcpy(words[7], words[4], sizeof(words[7]));
	return judge_request(test);
}
