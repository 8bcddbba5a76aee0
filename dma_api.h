/* SPDX-License-Identifier: GPL-2.0 */
/* One run, or many pages, and the kernel's DMA API. */
#ifndef HMM_MIRROR_DMA_API_H
#define HMM_MIRROR_DMA_API_H

#include "dma_tables.h"

/* Where the DMA API has nothing to do, gives @run of @npages its address, without a call. */
static inline bool map_directly(struct hmm_mirror_dma *dma, struct dma_run *run,
				unsigned int npages)
{
	phys_addr_t phys = PFN_PHYS(run->pfn);

	if (!dma->tables->direct ||
	    !compat_dma_reaches(dma->dev, phys, (size_t)npages << PAGE_SHIFT))
		return false;
	run->dma = phys_to_dma(dma->dev, phys);
	run->word |= RUN_ONE(direct);
	return true;
}

void hmm_mirror_dma_begin_api(struct hmm_mirror_dma *dma,
			      struct hmm_mirror_dma_tables *tables,
			      unsigned int flags);
void hmm_mirror_dma_end_api(struct hmm_mirror_dma *dma,
			    struct hmm_mirror_dma_tables *tables);
int hmm_mirror_dma_map_run(struct hmm_mirror_dma *dma, struct dma_block *block,
			   unsigned int at, struct dma_run *run);
unsigned int hmm_mirror_dma_map_at_once(struct hmm_mirror_dma *dma,
					struct dma_block *block, unsigned int at,
					struct dma_run *first, unsigned int nr);
void hmm_mirror_dma_unmap_run(struct hmm_mirror_dma *dma, const struct dma_run *run);
void hmm_mirror_dma_unlink_runs(struct hmm_mirror_dma *dma, struct dma_block *block,
				unsigned int at, unsigned int npages);

#endif /* HMM_MIRROR_DMA_API_H */
