// SPDX-License-Identifier: GPL-2.0
/*
 * Must compile on every kernel: if it does not, no other probe's "no" means
 * anything.
 */
#include <linux/dma-mapping.h>

int probe(struct device *dev);
int probe(struct device *dev)
{
	return dma_set_mask(dev, DMA_BIT_MASK(64));
}
