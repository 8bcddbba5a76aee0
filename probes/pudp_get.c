// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

pud_t probe(pud_t *pudp);
pud_t probe(pud_t *pudp)
{
	return pudp_get(pudp);
}
