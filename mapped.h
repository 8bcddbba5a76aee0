/* SPDX-License-Identifier: GPL-2.0 */
/* What has been mapped since a walk: where the next fault is needed. */
#ifndef HMM_MIRROR_MAPPED_H
#define HMM_MIRROR_MAPPED_H

#include <linux/mm_types.h>
#include <linux/pgtable.h>

/**
 * struct hmm_mirror_cursor - where hmm_mirror_next_unmapped() was last
 * @pmdp: entry in a table that stays where it is while mmap_lock is held
 * @last: last address that it is for; 0 if there is no such entry
 */
struct hmm_mirror_cursor {
	pmd_t *pmdp;
	unsigned long last;
};

unsigned long hmm_mirror_next_unmapped(struct hmm_mirror_cursor *cursor,
				       struct mm_struct *mm, unsigned long addr,
				       unsigned long end, bool write);

#endif /* HMM_MIRROR_MAPPED_H */
