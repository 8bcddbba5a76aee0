/* SPDX-License-Identifier: GPL-2.0 */
/* What has been mapped since a walk: where the next fault is needed. */
#ifndef HMM_MIRROR_MAPPED_H
#define HMM_MIRROR_MAPPED_H

#include <linux/mm_types.h>
#include <linux/pgtable.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>

#include "compat.h"
#include "page_entry.h"

/**
 * struct hmm_mirror_cursor - where hmm_mirror_next_unmapped() was last
 * @pmdp: entry in a table that stays where it is while mmap_lock is held
 * @last: last address that it is for; 0 if there is no such entry
 */
struct hmm_mirror_cursor {
	pmd_t *pmdp;
	unsigned long last;
};

static inline bool
hmm_mirror_cursor_is_at(const struct hmm_mirror_cursor *cursor, unsigned long addr)
{
	return cursor->last == (addr | ~PMD_MASK);
}

/*
 * Whether the page at @addr, for which the cursor is, is mapped, and writable if @write is
 * set. Sets *@end to the end of what its entry maps, at most what it was.
 */
static __always_inline bool
hmm_mirror_mapped_below(const struct hmm_mirror_cursor *cursor,
			unsigned long addr, bool write, unsigned long *end)
{
	bool mapped = false;
	pmd_t pmd;

	/* RCU waits for this, too, and for one entry it costs less than rcu_read_lock(). */
	rcu_read_lock_sched();
	pmd = compat_pmdp_get(cursor->pmdp);
	if (likely(compat_pmd_table(pmd))) {
		pte_t pte = ptep_get_lockless(pte_offset_kernel(&pmd, addr));

		mapped = compat_pte_bits(pte) && pte_present(pte) &&
			 !pte_protnone(pte) && (pte_write(pte) || !write);
		*end = addr + PAGE_SIZE;
	} else if (pmd_present(pmd)) {
		mapped = !pmd_protnone(pmd) && (pmd_write(pmd) || !write);
		*end = entry_end(addr, *end, PMD_MASK);
	}
	rcu_read_unlock_sched();
	return mapped;
}

unsigned long hmm_mirror_skip_mapped(struct hmm_mirror_cursor *cursor,
				     struct mm_struct *mm, unsigned long addr,
				     unsigned long end, bool write);

/**
 * hmm_mirror_next_unmapped() - skip pages that have been mapped in the meantime
 * @cursor: all zero at first, and again after mmap_lock was dropped
 * @mm: address space
 * @addr: where to begin
 * @end: where to end
 * @write: pages count as mapped only if they are writable
 *
 * A hint that saves needless faults; hmm_mirror_walk() decides whether a page can be had.
 * Not for hugetlb mappings.
 *
 * Locking: mmap_lock is held for reading or writing. Does not sleep.
 *
 * Return: the first address from @addr on that is not mapped as needed, or @end.
 */
static __always_inline unsigned long
hmm_mirror_next_unmapped(struct hmm_mirror_cursor *cursor, struct mm_struct *mm,
			 unsigned long addr, unsigned long end, bool write)
{
	unsigned long next = end;

	/* Most often it is the page after the one that was faulted in: no call for that. */
	if (addr < end && hmm_mirror_cursor_is_at(cursor, addr)) {
		if (!hmm_mirror_mapped_below(cursor, addr, write, &next))
			return addr;
		addr = next;
	}
	return hmm_mirror_skip_mapped(cursor, mm, addr, end, write);
}

#endif /* HMM_MIRROR_MAPPED_H */
