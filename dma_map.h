/* SPDX-License-Identifier: GPL-2.0 */
/* Steps of hmm_mirror_dma_map() for those who map many extents. */
#ifndef HMM_MIRROR_DMA_MAP_H
#define HMM_MIRROR_DMA_MAP_H

#include "dma_tables.h"

/* Whether an extent is something to map at all. */
static inline bool is_mappable(const struct hmm_mirror_extent *extent)
{
	return (extent->flags & HMM_MIRROR_PFN_VALID) &&
	       extent->entry != HMM_MIRROR_ENTRY_DEVICE_PRIVATE;
}

static inline unsigned long extent_end(const struct hmm_mirror_extent *extent)
{
	return extent->addr + (extent->npages << PAGE_SHIFT);
}

static inline bool extent_writable(const struct hmm_mirror_extent *extent)
{
	return extent->flags & HMM_MIRROR_PFN_WRITE;
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
