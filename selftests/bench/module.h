/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between bench and hmm_bench.ko. It is not a stable ABI: both are built
 * from one tree.
 */
#ifndef BENCH_MODULE_H
#define BENCH_MODULE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BENCH_DEVICE	"/dev/hmm_bench"

/* bench_call.function: what is measured */
enum bench_function {
	/* Nothing: what the measurement itself costs. */
	BENCH_NOTHING		= 0,
	/* hmm_mirror_range_fault(), hmm_mirror_range_extents() */
	BENCH_PAGES		= 1,
	BENCH_EXTENTS		= 2,
	/* The kernel's own hmm_range_fault(); EOPNOTSUPP where it has none. */
	BENCH_KERNEL		= 3,
	BENCH_NR_FUNCTIONS
};

/* Bits of bench_call.flags: what every page is asked for. */
#define BENCH_FAULT	0x1
#define BENCH_WRITE	0x2

/* Extents collected by one call of hmm_mirror_range_extents(). */
#define BENCH_EXTENT_CAPACITY	4096

/**
 * struct bench_call - BENCH_CALL: serve a request, and count
 * @function:	in: enum bench_function
 * @flags:	in: BENCH_FAULT, BENCH_WRITE
 * @start:	in: first address
 * @end:	in: first address past the range
 * @stride:	in: not 0: only every so many pages is asked for @flags, by a
 *		request of its own
 * @repeat:	in: how often to do it
 * @ticks:	out: the shortest time of one, in units of the time stamp counter
 * @nr_faults:	out: page faults of the last one; of BENCH_KERNEL 0
 * @nr_calls:	out: calls that the last one took: restarts of the caller, and
 *		full arrays of extents
 * @nr_extents:	out: extents of the last one
 */
struct bench_call {
	__u32 function;
	__u32 flags;
	__u64 start;
	__u64 end;
	__u32 stride;
	__u32 repeat;
	__u64 ticks;
	__u64 nr_faults;
	__u64 nr_calls;
	__u64 nr_extents;
};

/* bench_subscribe.kind */
enum bench_subscription_kind {
	/* mmu_interval_notifier with a mutex around the sequence number */
	BENCH_BARE_NOTIFIER	= 0,
	/* struct hmm_mirror */
	BENCH_MIRROR		= 1,
};

/**
 * struct bench_subscribe - BENCH_SUBSCRIBE: subscribe to neighbouring intervals
 * @kind:	in: enum bench_subscription_kind
 * @nr:		in: how many; 0 ends all subscriptions of the open file
 * @start:	in: where the first one begins
 * @length:	in: of each
 * @nr_called:	out: with @nr 0: invalidations that were seen
 */
struct bench_subscribe {
	__u32 kind;
	__u32 nr;
	__u64 start;
	__u64 length;
	__u64 nr_called;
};

#define BENCH_IOCTL_TYPE	0xE2
#define BENCH_CALL		_IOWR(BENCH_IOCTL_TYPE, 0xA0, struct bench_call)
#define BENCH_SUBSCRIBE \
	_IOWR(BENCH_IOCTL_TYPE, 0xA1, struct bench_subscribe)

#endif /* BENCH_MODULE_H */
