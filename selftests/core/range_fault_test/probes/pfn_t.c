// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/pfn_t.h>

pfn_t probe(unsigned long pfn);
pfn_t probe(unsigned long pfn)
{
	return pfn_to_pfn_t(pfn);
}
