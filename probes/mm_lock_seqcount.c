// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/mmap_lock.h>

void probe(struct mm_struct *mm);
void probe(struct mm_struct *mm)
{
	mm_lock_seqcount_begin(mm);
}
