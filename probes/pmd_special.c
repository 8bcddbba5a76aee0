// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

bool probe(pmd_t pmd, pud_t pud);
bool probe(pmd_t pmd, pud_t pud)
{
	return pmd_special(pmd) || pud_special(pud);
}
