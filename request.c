// SPDX-License-Identifier: GPL-2.0
/* Requests: the parts that are not in the middle of a hot loop. */
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/overflow.h>

#include "request.h"

/**
 * hmm_mirror_find_unmet() - search per-page requests for one that is not met
 * @walk: the request, with per-page requests
 * @addr: first page
 * @end: first address past the last page, which may be @addr
 * @flags: flags of all these pages; they meet the default request
 *
 * Return: the first page that is asked for more than @flags, or @end.
 */
unsigned long hmm_mirror_find_unmet(const struct hmm_mirror_walk *walk,
				    unsigned long addr, unsigned long end,
				    unsigned long flags)
{
	/* Words per step. */
	enum { STRIDE = 16 };
	const struct hmm_mirror_range *range = walk->range;
	const unsigned long missing = unmet_request(flags) &
				      ~range->default_flags;
	const unsigned long *word = &range->hmm_pfns[slot_index(walk, addr)];
	unsigned long nr = (end - addr) >> PAGE_SHIFT;
	unsigned long i = 0;

	if (missing & ~range->pfn_flags_mask)
		return end;
	while (i < nr) {
		/* Long ranges in which nothing is asked for are common. */
		for (; i + STRIDE <= nr; i += STRIDE) {
			unsigned long any = 0;
			unsigned int k;

#pragma GCC unroll 16
			for (k = 0; k < STRIDE; k++)
				any |= word[i + k];
			if ((any & missing) == missing)
				break;
		}
		for (; i < nr; i++) {
			if ((word[i] & missing) == missing)
				return addr + (i << PAGE_SHIFT);
			if (!((i + 1) % STRIDE)) {
				i++;
				break;
			}
		}
	}
	return end;
}

/**
 * hmm_mirror_same_request_end() - how far pages are asked for the same
 * @walk: the request, with per-page requests
 * @addr: first page
 * @end: first address past the last page
 *
 * Return: end of the pages that are asked for the same as the first one, at most @end.
 */
unsigned long hmm_mirror_same_request_end(const struct hmm_mirror_walk *walk,
					  unsigned long addr, unsigned long end)
{
	unsigned long request = slot_request(walk, addr);

	do {
		addr += PAGE_SIZE;
	} while (addr < end && slot_request(walk, addr) == request);
	return addr;
}

/* Whether a page that is not like the one before it can no longer be reported. */
static bool no_room(const struct hmm_mirror_walk *walk)
{
	const struct hmm_mirror_extents *extents = walk->extents;

	return extents && extents->nr == extents->capacity;
}

/**
 * hmm_mirror_refuse() - a page cannot be had
 * @walk: the request
 * @addr: the page
 * @error: why
 *
 * Counts only if there is room to report it, and nothing below it is still to be faulted
 * in: if that fails, it is the first address that failed; if it succeeds, the next walk
 * comes here again.
 *
 * Return: STOP_WALK.
 */
int hmm_mirror_refuse(struct hmm_mirror_walk *walk, unsigned long addr,
		      int error)
{
	if (no_room(walk)) {
		walk->full = true;
	} else if (!walk->nr_runs) {
		walk->error = error;
		walk->range->fault_addr = addr;
	}
	return STOP_WALK;
}

/**
 * hmm_mirror_begin_runs() - note the first page of a walk that must be faulted in
 * @walk: the request
 * @addr: the page
 * @leaf: what its entry says
 *
 * From here on the walk only looks ahead.
 *
 * Return: false if the walk ends here: what is faulted in could not be reported anyway.
 */
bool hmm_mirror_begin_runs(struct hmm_mirror_walk *walk, unsigned long addr,
			   const struct page_leaf *leaf)
{
	if (no_room(walk)) {
		walk->full = true;
		return false;
	}
	if (check_add_overflow(addr, look_ahead(walk) << PAGE_SHIFT,
			       &walk->horizon))
		walk->horizon = ULONG_MAX & PAGE_MASK;
	walk->stuck_on_device = is_own_device(leaf);
	return true;
}
