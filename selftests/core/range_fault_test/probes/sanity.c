// SPDX-License-Identifier: GPL-2.0
/*
 * Must compile on every kernel: if it does not, no other probe's "no" means
 * anything. It includes all that the others do, but for pfn_t.h, which is gone since
 * v6.17.
 */
#include <linux/mm.h>

unsigned long probe(struct vm_area_struct *vma);
unsigned long probe(struct vm_area_struct *vma)
{
	return vma->vm_start;
}
