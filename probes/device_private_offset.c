// SPDX-License-Identifier: GPL-2.0
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/swap.h>
#include <linux/swapops.h>

struct page *probe(unsigned long offset);
struct page *probe(unsigned long offset)
{
	return device_private_offset_to_page(offset);
}
