// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

bool probe(pte_t pte, pmd_t pmd, pud_t pud);
bool probe(pte_t pte, pmd_t pmd, pud_t pud)
{
	return pte_devmap(pte) || pmd_devmap(pmd) || pud_devmap(pud);
}
