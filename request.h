/* SPDX-License-Identifier: GPL-2.0 */
/* Requests: what pages are asked for, and what must be faulted in before the answer. */
#ifndef HMM_MIRROR_REQUEST_H
#define HMM_MIRROR_REQUEST_H

#include "internal.h"
#include "page_entry.h"

/* Callbacks return it through the walker to end the walk. */
#define STOP_WALK	(-ECANCELED)

/*
 * How far beyond the first missing page a walk looks for more: far enough that the cost
 * of a walk is nothing beside that of the faults, near enough that little is looked at
 * twice when faults come one at a time. They do where pages have requests of their own
 * and few are asked for.
 */
#define LOOK_AHEAD		128UL
#define LOOK_AHEAD_SLOTS	32UL

static inline unsigned long slot_index(const struct hmm_mirror_walk *walk,
				       unsigned long addr)
{
	return (addr - walk->range->start) >> PAGE_SHIFT;
}

static inline unsigned long slot_request(const struct hmm_mirror_walk *walk,
					 unsigned long addr)
{
	const struct hmm_mirror_range *range = walk->range;
	unsigned long request = range->default_flags;

	if (walk->slot_requests)
		request |= range->hmm_pfns[slot_index(walk, addr)] &
			   range->pfn_flags_mask & HMM_MIRROR_PFN_REQ_FLAGS;
	return request;
}

static inline bool write_requested(unsigned long request)
{
	return (request & HMM_MIRROR_PFN_REQ_FLAGS) ==
	       HMM_MIRROR_PFN_REQ_FLAGS;
}

/* How many pages a walk looks at, from the first missing one on. */
static inline unsigned long look_ahead(const struct hmm_mirror_walk *walk)
{
	return walk->slot_requests ? LOOK_AHEAD_SLOTS : LOOK_AHEAD;
}

/* A request that an entry with these flags does not meet has all of these bits. */
static inline unsigned long unmet_request(unsigned long flags)
{
	if (!(flags & HMM_MIRROR_PFN_VALID))
		return HMM_MIRROR_PFN_REQ_FAULT;
	return HMM_MIRROR_PFN_REQ_FLAGS;
}

/* Whether a page with these flags satisfies @request. */
static inline bool request_met(unsigned long request, unsigned long flags)
{
	unsigned long unmet = unmet_request(flags);

	return (flags & HMM_MIRROR_PFN_WRITE) || (request & unmet) != unmet;
}

unsigned long hmm_mirror_find_unmet(const struct hmm_mirror_walk *walk,
				    unsigned long addr, unsigned long end,
				    unsigned long flags);

/*
 * The first page of [@addr, @end) that must be faulted in before the entry is reported;
 * @end if there is none. All of the pages are part of one entry, or of entries that are
 * alike.
 */
static __always_inline unsigned long
first_unmet(const struct hmm_mirror_walk *walk, unsigned long addr,
	    unsigned long end, const struct page_leaf *leaf)
{
	unsigned long unmet = addr;

	if (leaf->flags & HMM_MIRROR_PFN_WRITE)
		return end;
	if (request_met(walk->range->default_flags, leaf->flags)) {
		if (!walk->slot_requests)
			return end;
		unmet = hmm_mirror_find_unmet(walk, addr, end, leaf->flags);
	}
	/* Its driver has been asked, and has left the page as it is. */
	if (unlikely(is_own_device(leaf)) && addr < walk->as_is_end)
		return end;
	return unmet;
}

/* Notes that [@addr, @end) must be faulted in. Returns false if there is no room. */
static __always_inline bool add_run(struct hmm_mirror_walk *walk,
				    unsigned long addr, unsigned long end,
				    bool write, bool one_entry)
{
	struct hmm_mirror_fault_run *run = walk->runs + walk->nr_runs;

	if (walk->nr_runs && hmm_mirror_run_end(run - 1) == addr &&
	    run[-1].write == write) {
		run--;
	} else {
		if (walk->nr_runs == HMM_MIRROR_MAX_FAULT_RUNS)
			return false;
		walk->nr_runs++;
		run->start = addr;
		run->write = write;
		run->one_entry = one_entry;
	}
	run->npages = (end - run->start) >> PAGE_SHIFT;
	return true;
}

unsigned long hmm_mirror_same_request_end(const struct hmm_mirror_walk *walk,
					  unsigned long addr,
					  unsigned long end);
int hmm_mirror_refuse(struct hmm_mirror_walk *walk, unsigned long addr,
		      int error);
bool hmm_mirror_begin_runs(struct hmm_mirror_walk *walk, unsigned long addr,
			   const struct page_leaf *leaf);

/*
 * Notes what must be faulted in of [@addr, @end), which is part of one entry (@one_entry)
 * or of entries that are alike; the page at @addr must be. Returns 0 to look for more
 * behind @end.
 */
static __always_inline int want_fault(struct hmm_mirror_walk *walk,
				      unsigned long addr, unsigned long end,
				      const struct page_leaf *leaf,
				      bool one_entry)
{
	if (unlikely(leaf->flags & HMM_MIRROR_PFN_ERROR))
		return hmm_mirror_refuse(walk, addr,
					 leaf->entry == HMM_MIRROR_ENTRY_HWPOISON ?
					 -EHWPOISON : -EFAULT);
	do {
		bool write = write_requested(slot_request(walk, addr));
		unsigned long next;

		if (unlikely(write && !walk->rules.write_allowed))
			return hmm_mirror_refuse(walk, addr, -EPERM);
		if (!walk->nr_runs && !hmm_mirror_begin_runs(walk, addr, leaf))
			return STOP_WALK;
		next = min(end, walk->horizon);
		if (addr >= next)
			return STOP_WALK;
		if (walk->slot_requests)
			next = hmm_mirror_same_request_end(walk, addr, next);
		if (!add_run(walk, addr, next, write, one_entry) ||
		    next == walk->horizon)
			return STOP_WALK;
		if (!walk->slot_requests)
			return 0;
		addr = first_unmet(walk, next, min(end, walk->horizon), leaf);
	} while (addr < min(end, walk->horizon));
	return end >= walk->horizon ? STOP_WALK : 0;
}

#endif /* HMM_MIRROR_REQUEST_H */
