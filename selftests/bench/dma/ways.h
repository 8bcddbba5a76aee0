/* SPDX-License-Identifier: GPL-2.0 */
/* What maps memory for a device, for the file operations in main.c. */
#ifndef BENCH_DMA_WAYS_H
#define BENCH_DMA_WAYS_H

#include <linux/types.h>

struct device;

/**
 * struct bench_way - something that maps memory for a device
 * @open: watch current's memory in [@start, @start + @length) for @dev; an ERR_PTR() on
 *	failure
 * @close: end that; what is mapped is unmapped
 * @populate: fault memory in, and map it for reading and writing
 * @unmap: unmap all
 * @lookup: the device's address of a page; false if it is not mapped
 */
struct bench_way {
	void *(*open)(struct device *dev, unsigned long start,
		      unsigned long length);
	void (*close)(void *watch);
	int (*populate)(void *watch, unsigned long start, unsigned long end);
	void (*unmap)(void *watch);
	bool (*lookup)(void *watch, unsigned long addr, dma_addr_t *dma);
};

extern const struct bench_way bench_mirror;
/* All NULL where the kernel does not have them */
extern const struct bench_way bench_gpusvm;
extern const struct bench_way bench_odp;

#endif /* BENCH_DMA_WAYS_H */
