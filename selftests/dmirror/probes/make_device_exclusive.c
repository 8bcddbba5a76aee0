// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/rmap.h>

struct page *probe(struct mm_struct *mm, unsigned long addr, void *owner,
		   struct folio **folio);
struct page *probe(struct mm_struct *mm, unsigned long addr, void *owner,
		   struct folio **folio)
{
	return make_device_exclusive(mm, addr, owner, folio);
}
