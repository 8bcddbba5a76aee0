// SPDX-License-Identifier: GPL-2.0
/*
 * Must compile on every kernel: if it does not, no other probe's "no" means
 * anything. It includes all that the others do.
 */
#include <linux/mm.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/hugetlb.h>
#include <linux/iommu.h>
#include <linux/memremap.h>
#include <linux/pagewalk.h>
#include <linux/scatterlist.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/timer.h>

unsigned long probe(struct vm_area_struct *vma);
unsigned long probe(struct vm_area_struct *vma)
{
	return vma->vm_start;
}
