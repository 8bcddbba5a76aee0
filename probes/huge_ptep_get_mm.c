// SPDX-License-Identifier: GPL-2.0
#include <linux/hugetlb.h>

pte_t probe(struct mm_struct *mm, unsigned long addr, pte_t *ptep);
pte_t probe(struct mm_struct *mm, unsigned long addr, pte_t *ptep)
{
	return huge_ptep_get(mm, addr, ptep);
}
