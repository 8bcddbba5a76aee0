/* SPDX-License-Identifier: GPL-2.0 */
/* What mapping extents and telling a device of them have in common. */
#ifndef HMM_MIRROR_DMA_MAP_H
#define HMM_MIRROR_DMA_MAP_H

#include "dma_tables.h"

static inline unsigned long extent_end(const struct hmm_mirror_extent *extent)
{
	return extent->addr + (extent->npages << PAGE_SHIFT);
}

/* Whether it may be worth while to try hmm_mirror_dma_map_pages(). */
static inline bool
maps_pages_together(const struct hmm_mirror_dma_tables *tables,
		    const struct hmm_mirror_extent *extent)
{
	/* Otherwise each page takes a call of the DMA API. */
	return !extent->order && (tables->direct || tables->use_iova);
}

void hmm_mirror_dma_describe(const struct dma_block *block, unsigned int at,
			     const struct dma_run *run, unsigned int from,
			     unsigned int end,
			     struct hmm_mirror_dma_run *description);
int hmm_mirror_dma_map_next(struct hmm_mirror_dma *dma,
			    const struct hmm_mirror_extent *extent,
			    struct hmm_mirror_dma_run *description,
			    unsigned long *pos);
unsigned int hmm_mirror_dma_map_pages(struct hmm_mirror_dma *dma,
				      const struct hmm_mirror_extent *extent,
				      unsigned long pos);
unsigned int hmm_mirror_dma_map_scattered(struct hmm_mirror_dma *dma,
					  const struct hmm_mirror_extent *extents,
					  unsigned int nr);

#endif /* HMM_MIRROR_DMA_MAP_H */
