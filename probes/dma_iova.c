// SPDX-License-Identifier: GPL-2.0
#include <linux/dma-mapping.h>

bool probe(struct device *dev, struct dma_iova_state *state, phys_addr_t phys);
bool probe(struct device *dev, struct dma_iova_state *state, phys_addr_t phys)
{
	return dma_iova_try_alloc(dev, state, 0, PAGE_SIZE) &&
	       !dma_iova_link(dev, state, phys, 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
}
