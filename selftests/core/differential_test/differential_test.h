/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between the differential test and its module. It is not a stable ABI:
 * both are built from one tree. Words are in the format of hmm_mirror.h, whichever
 * function they come from.
 */
#ifndef DIFFERENTIAL_TEST_H
#define DIFFERENTIAL_TEST_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define DIFFERENTIAL_DEVICE		"/dev/hmm_differential"

#define DIFFERENTIAL_VALID		_BITULL(63)
#define DIFFERENTIAL_WRITE		_BITULL(62)
#define DIFFERENTIAL_ERROR		_BITULL(61)
#define DIFFERENTIAL_DMA_MAPPED		_BITULL(60)
#define DIFFERENTIAL_P2PDMA		_BITULL(59)
#define DIFFERENTIAL_P2PDMA_BUS		_BITULL(58)
#define DIFFERENTIAL_ORDER_SHIFT	53
#define DIFFERENTIAL_ORDER_MASK		(0x1fULL << 53)
#define DIFFERENTIAL_REQ_FAULT		_BITULL(52)
#define DIFFERENTIAL_REQ_WRITE		_BITULL(51)
#define DIFFERENTIAL_PFN_MASK		0x1ffffffffffULL

#define DIFFERENTIAL_MAX_CALLS		8
#define DIFFERENTIAL_MAX_PAGES		2048

/* differential_call.function */
enum differential_function {
	/* hmm_range_fault() */
	DIFFERENTIAL_KERNEL			= 0,
	/* hmm_range_fault() for page after page, until one fails */
	DIFFERENTIAL_KERNEL_BY_PAGE		= 1,
	/* The four of hmm_mirror.h */
	DIFFERENTIAL_PAGES			= 2,
	DIFFERENTIAL_EXTENTS			= 3,
	DIFFERENTIAL_PAGES_UNLOCKED		= 4,
	DIFFERENTIAL_EXTENTS_UNLOCKED		= 5,
	DIFFERENTIAL_NR_FUNCTIONS		= 6,
};

/* differential_call.violation: what is wrong with the form of an answer */
enum differential_violation {
	DIFFERENTIAL_NO_VIOLATION		= 0,
	/* Extents leave a gap, overlap, are empty or extend beyond the range */
	DIFFERENTIAL_EXTENT_BOUNDS		= 1,
	/* Two adjacent extents should have been one */
	DIFFERENTIAL_EXTENTS_SPLIT		= 2,
	/* An extent names a node on which its pages are not */
	DIFFERENTIAL_EXTENT_NODE		= 3,
	/* No extents, or fewer than fit, although the end was not reached */
	DIFFERENTIAL_EXTENTS_MISSING		= 4,
	/* The extents call has written to its requests */
	DIFFERENTIAL_REQUESTS_CHANGED		= 5,
};

/**
 * struct differential_call - one call of one function
 * @function:	in: enum differential_function
 * @capacity:	in: of the array of extents; as many calls are made as it takes
 * @start:	in: first address
 * @npages:	in: pages of the range
 * @default_flags: in: as in hmm_mirror.h
 * @pfn_flags_mask: in: likewise
 * @owner_pfn:	in: a page of device-private memory, whose owner is to be the
 *		caller's; 0 for none
 * @requests:	in: pointer to @npages words to begin with
 * @words:	in: pointer to @npages words for the answer
 * @entries:	in: pointer to @npages bytes, enum hmm_mirror_entry, for the
 *		extent calls; 0 if not wanted
 * @error:	out: errno, positive
 * @violation:	out: enum differential_violation
 * @fault_page:	out: page of the range that failed, where the function says so
 * @nr_faults:	out: hmm_mirror_range.nr_faults
 * @charged_faults: out: faults that the task was charged with meanwhile
 */
struct differential_call {
	__u32 function;
	__u32 capacity;
	__u64 start;
	__u64 npages;
	__u64 default_flags;
	__u64 pfn_flags_mask;
	__u64 owner_pfn;
	__u64 requests;
	__u64 words;
	__u64 entries;
	__u32 error;
	__u32 violation;
	__u64 fault_page;
	__u64 nr_faults;
	__u64 charged_faults;
};

/* differential_run.flags */
/*
 * One call only: it may cause invalidations, and is repeated, with mmap_lock and the
 * sequence number taken again, until it does not fail with EBUSY.
 */
#define DIFFERENTIAL_REPEAT		_BITUL(0)

/**
 * struct differential_run - DIFFERENTIAL_RUN: calls on the same state
 * @flags:	in: DIFFERENTIAL_REPEAT
 * @nr_calls:	in: calls, made one after the other under one mmap_lock, with one
 *		sequence number of one subscription
 * @start:	in: first address of the subscription
 * @npages:	in: its pages
 * @calls:	in: pointer to struct differential_call, in and out
 * @stale:	out: there was an invalidation meanwhile: the calls may have seen
 *		different states
 * @reserved:	zero
 */
struct differential_run {
	__u32 flags;
	__u32 nr_calls;
	__u64 start;
	__u64 npages;
	__u64 calls;
	__u32 stale;
	__u32 reserved;
};

#define DIFFERENTIAL_IOCTL_TYPE	0xE2
/* EOPNOTSUPP: this kernel has no hmm_range_fault() */
#define DIFFERENTIAL_RUN \
	_IOWR(DIFFERENTIAL_IOCTL_TYPE, 0xC0, struct differential_run)

#endif /* DIFFERENTIAL_TEST_H */
