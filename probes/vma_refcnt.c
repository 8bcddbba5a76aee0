// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>

bool probe(struct vm_area_struct *vma);
bool probe(struct vm_area_struct *vma)
{
	vma_start_write(vma);
	return refcount_read(&vma->vm_refcnt) > 1;
}
