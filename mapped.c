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
	if (unlikely(!hmm_mirror_cursor_is_at(cursor, addr))) {
		pud_t pud = find_pmd(cursor, mm, addr);

		if (!cursor->pmdp) {
			*end = entry_end(addr, *end, PUD_MASK);
			return pud_present(pud) && compat_pud_leaf(pud) &&
			       (pud_write(pud) || !write);
		}
	}
	return hmm_mirror_mapped_below(cursor, addr, write, end);
}

/**
 * hmm_mirror_skip_mapped() - hmm_mirror_next_unmapped(), wherever the cursor is
 * @cursor: as there
 * @mm: as there
 * @addr: as there
 * @end: as there
 * @write: as there
 *
 * Return: as there.
 */
unsigned long hmm_mirror_skip_mapped(struct hmm_mirror_cursor *cursor,
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
