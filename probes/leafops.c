// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/leafops.h>

bool probe(pte_t pte);
bool probe(pte_t pte)
{
	return softleaf_is_guard_marker(softleaf_from_pte(pte));
}
