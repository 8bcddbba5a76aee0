// SPDX-License-Identifier: GPL-2.0
/*
 * Tells kmemleak that the 1 GiB pages that the command line reserves contain no pointers.
 * They come from memblock, whose memory it assumes may refer to other objects: reading
 * such a page is half of the work of a scan for leaks. Loading the module is all; it must
 * be loaded before another such page is made, of which kmemleak would not know.
 */
#include <linux/hugetlb.h>
#include <linux/kmemleak.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>

#define PUD_ORDER	(PUD_SHIFT - PAGE_SHIFT)

static void __init ignore_reserved_pages(int node)
{
	unsigned long pfn;

	for (pfn = ALIGN(node_start_pfn(node), 1UL << PUD_ORDER); pfn < node_end_pfn(node);
	     pfn += 1UL << PUD_ORDER) {
		struct page *page = pfn_to_online_page(pfn);

		if (page && PageHuge(page) && compound_order(page) == PUD_ORDER)
			kmemleak_ignore_phys(PFN_PHYS(pfn));
	}
}

static int __init hmm_kmemleak_init(void)
{
	int node;

	for_each_online_node(node)
		ignore_reserved_pages(node);
	return 0;
}
module_init(hmm_kmemleak_init);

static void __exit hmm_kmemleak_exit(void)
{
}
module_exit(hmm_kmemleak_exit);

MODULE_DESCRIPTION("Keeps kmemleak from looking for pointers in reserved huge pages");
MODULE_LICENSE("GPL");
