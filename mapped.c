// SPDX-License-Identifier: GPL-2.0
/*
 * A fault can map more than the page that it was taken for: pages around it, or a huge
 * page. This finds where the next fault is needed.
 */
#include <linux/mm.h>

#include "compat.h"
#include "mapped.h"
#include "page_entry.h"

/* Points @cursor to the PMD for @addr, if there is a table of PMDs, and returns the PUD. */
static noinline pud_t find_pmd(struct hmm_mirror_cursor *cursor,
			       struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgdp = pgd_offset(mm, addr);
	p4d_t *p4dp;
	pud_t *pudp, pud;

	*cursor = (struct hmm_mirror_cursor){};
	/* Pairs with the WRITE_ONCE() of set_pgd() and set_p4d(): tables are only added. */
	if (pgd_none(READ_ONCE(*pgdp)))
		return (pud_t){};
	p4dp = p4d_offset(pgdp, addr);
	if (p4d_none(READ_ONCE(*p4dp)))
		return (pud_t){};
	pudp = pud_offset(p4dp, addr);
	pud = compat_pudp_get(pudp);
	if (likely(pud_present(pud) && !compat_pud_leaf(pud) && !pud_bad(pud))) {
		cursor->pmdp = pmd_offset(pudp, addr);
		cursor->last = addr | ~PMD_MASK;
	}
	return pud;
}

/*
 * Whether the page at @addr is mapped, and writable if @write is set. Sets *@end to the
 * end of what its entry maps, at most what it was.
 */
static __always_inline bool page_mapped_at(struct hmm_mirror_cursor *cursor,
					   struct mm_struct *mm, unsigned long addr,
					   bool write, unsigned long *end)
{
	bool mapped = false;
	pmd_t pmd;

	if (unlikely(cursor->last != (addr | ~PMD_MASK))) {
		pud_t pud = find_pmd(cursor, mm, addr);

		if (!cursor->pmdp) {
			*end = entry_end(addr, *end, PUD_MASK);
			return pud_present(pud) && compat_pud_leaf(pud) &&
			       (pud_write(pud) || !write);
		}
	}
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
unsigned long hmm_mirror_next_unmapped(struct hmm_mirror_cursor *cursor,
				       struct mm_struct *mm, unsigned long addr,
				       unsigned long end, bool write)
{
	unsigned long next;

	for (; addr < end; addr = next) {
		next = end;
		if (!page_mapped_at(cursor, mm, addr, write, &next))
			break;
	}
	return addr;
}
