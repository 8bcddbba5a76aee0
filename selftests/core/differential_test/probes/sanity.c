// SPDX-License-Identifier: GPL-2.0
/*
 * Must compile on every kernel: if it does not, no other probe's "no" means
 * anything. It includes all that the others do.
 */
#include <linux/hmm.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/rmap.h>

unsigned long probe(struct vm_area_struct *vma);
unsigned long probe(struct vm_area_struct *vma)
{
	return vma->vm_start;
}
