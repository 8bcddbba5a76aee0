// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/leafops.h>

bool probe(pmd_t pmd);
bool probe(pmd_t pmd)
{
	return pmd_is_device_private_entry(pmd);
}
