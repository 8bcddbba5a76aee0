/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between bench_dma and hmm_bench_dma.ko. It is not a stable ABI: both are
 * built from one tree.
 */
#ifndef BENCH_DMA_H
#define BENCH_DMA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BENCH_DMA_DEVICE	"/dev/hmm_bench_dma"

/* bench_dma_open.way: what maps memory for the device */
enum bench_dma_way {
	/* hmm_mirror_dma_populate() */
	BENCH_DMA_MIRROR	= 0,
	/* drm_gpusvm_get_pages(); EOPNOTSUPP where it is not */
	BENCH_DMA_GPUSVM	= 1,
	/* ib_umem_odp_map_dma_and_lock(), likewise */
	BENCH_DMA_ODP		= 2,
	BENCH_DMA_NR_WAYS
};

/* bench_dma_open.target: the device */
enum bench_dma_target {
	/* A platform device, which no IOMMU is in front of */
	BENCH_DMA_PLATFORM	= 0,
	/* QEMU's edu */
	BENCH_DMA_PCI		= 1,
	BENCH_DMA_NR_TARGETS
};

/**
 * struct bench_dma_open - BENCH_DMA_OPEN: watch memory for a device
 * @way: in: enum bench_dma_way
 * @target: in: enum bench_dma_target
 * @start: in: first address
 * @length: in: bytes
 * @translated: out: 1 if an IOMMU is in front of the device
 * @reserved: zero
 */
struct bench_dma_open {
	__u32 way;
	__u32 target;
	__u64 start;
	__u64 length;
	__u32 translated;
	__u32 reserved;
};

/**
 * struct bench_dma_populate - BENCH_DMA_POPULATE: fault memory in and map it
 * @start: in: first address
 * @end: in: first address past the range
 * @step: in: bytes of one call
 * @ticks: out: what all calls took, in units of the time stamp counter
 */
struct bench_dma_populate {
	__u64 start;
	__u64 end;
	__u64 step;
	__u64 ticks;
};

/**
 * struct bench_dma_sum - BENCH_DMA_SUM: what the device would reach
 * @start: in: first address
 * @end: in: first address past the range
 * @nr_pages: out: pages that are mapped
 * @sum: out: made of every page's address and of the memory that the device reaches there
 */
struct bench_dma_sum {
	__u64 start;
	__u64 end;
	__u64 nr_pages;
	__u64 sum;
};

/**
 * struct bench_dma_pages - BENCH_DMA_PAGES: map and unmap 512 pages one by one
 * @target: in: enum bench_dma_target
 * @repeat: in: how often
 * @ticks: out: the least that it took
 */
struct bench_dma_pages {
	__u32 target;
	__u32 repeat;
	__u64 ticks;
};

#define BENCH_DMA_IOCTL_TYPE	0xE3
#define BENCH_DMA_OPEN \
	_IOWR(BENCH_DMA_IOCTL_TYPE, 0xA0, struct bench_dma_open)
#define BENCH_DMA_POPULATE \
	_IOWR(BENCH_DMA_IOCTL_TYPE, 0xA1, struct bench_dma_populate)
/* Out: ticks */
#define BENCH_DMA_UNMAP		_IOR(BENCH_DMA_IOCTL_TYPE, 0xA2, __u64)
#define BENCH_DMA_SUM \
	_IOWR(BENCH_DMA_IOCTL_TYPE, 0xA3, struct bench_dma_sum)
#define BENCH_DMA_CLOSE		_IO(BENCH_DMA_IOCTL_TYPE, 0xA4)
#define BENCH_DMA_PAGES \
	_IOWR(BENCH_DMA_IOCTL_TYPE, 0xA5, struct bench_dma_pages)

#endif /* BENCH_DMA_H */
