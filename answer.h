/* SPDX-License-Identifier: GPL-2.0 */
/* Writes answers: what entries say, into a request's page array or extents. */
#ifndef HMM_MIRROR_ANSWER_H
#define HMM_MIRROR_ANSWER_H

#include "internal.h"
#include "page_entry.h"

int hmm_mirror_answer(struct hmm_mirror_walk *walk, unsigned long addr,
		      unsigned long end, const struct page_leaf *leaf);
unsigned long hmm_mirror_answer_words(struct hmm_mirror_walk *walk,
				      const pte_t *ptep, unsigned long addr,
				      unsigned long nr,
				      const struct known_entry *known);
unsigned long hmm_mirror_answer_extents(struct hmm_mirror_walk *walk,
					const pte_t *ptep, unsigned long addr,
					unsigned long nr,
					const struct known_entry *first,
					int *err);
unsigned long hmm_mirror_answer_unasked(struct hmm_mirror_walk *walk,
					const pte_t *ptep, unsigned long addr,
					unsigned long nr, int *err);
unsigned long hmm_mirror_answer_huge_pmds(struct hmm_mirror_walk *walk,
					  pmd_t *pmdp, unsigned long addr,
					  unsigned long end,
					  const struct known_entry *known,
					  int *err);

#endif /* HMM_MIRROR_ANSWER_H */
