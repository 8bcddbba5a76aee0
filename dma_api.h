/* SPDX-License-Identifier: GPL-2.0 */
/* One run, or many pages, and the kernel's DMA API. */
#ifndef HMM_MIRROR_DMA_API_H
#define HMM_MIRROR_DMA_API_H

#include "dma_tables.h"

void hmm_mirror_dma_begin_api(struct hmm_mirror_dma *dma,
			      struct hmm_mirror_dma_tables *tables,
			      unsigned int flags);
int hmm_mirror_dma_map_run(struct hmm_mirror_dma *dma, struct dma_block *block,
			   unsigned int at, struct dma_run *run);
unsigned int hmm_mirror_dma_map_at_once(struct hmm_mirror_dma *dma,
					struct dma_block *block, unsigned int at,
					struct dma_run *first, unsigned int nr);
void hmm_mirror_dma_unmap_run(struct hmm_mirror_dma *dma, const struct dma_run *run);
void hmm_mirror_dma_unlink_runs(struct hmm_mirror_dma *dma, struct dma_block *block,
				unsigned int at, unsigned int npages);

#endif /* HMM_MIRROR_DMA_API_H */
