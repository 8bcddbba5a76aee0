/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of hmm_mirror.ko share. Nothing outside the module includes this. */
#ifndef HMM_MIRROR_INTERNAL_H
#define HMM_MIRROR_INTERNAL_H

#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mmu_notifier.h>
#include <linux/pagewalk.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>

#include "hmm_mirror.h"
#include "page_entry.h"

/**
 * struct hmm_mirror_limit - how long a call may take
 * @deadline: jiffies at which to give up
 * @has_deadline: @deadline counts
 *
 * A fatal signal ends the call in any case.
 */
struct hmm_mirror_limit {
	unsigned long deadline;
	bool has_deadline;
};

/* From now on; 0 jiffies are no limit. */
static inline struct hmm_mirror_limit
hmm_mirror_limit_of(unsigned long timeout)
{
	return (struct hmm_mirror_limit){
		.deadline = jiffies + min(timeout, MAX_JIFFY_OFFSET),
		.has_deadline = timeout,
	};
}

static __always_inline bool
hmm_mirror_deadline_passed(const struct hmm_mirror_limit *limit)
{
	return limit->has_deadline &&
	       time_after_eq(jiffies, limit->deadline);
}

/* The errno with which a call must end between two steps of its work, or 0. */
static __always_inline int
hmm_mirror_interrupted(const struct hmm_mirror_limit *limit)
{
	if (fatal_signal_pending(current))
		return -EINTR;
	if (hmm_mirror_deadline_passed(limit))
		return -EBUSY;
	return 0;
}

/* Jiffies that a sleep may take, 0 if there are none left. */
static inline long hmm_mirror_time_left(const struct hmm_mirror_limit *limit)
{
	long left = limit->deadline - jiffies;

	if (!limit->has_deadline)
		return MAX_SCHEDULE_TIMEOUT;
	return max(left, 0L);
}

/**
 * struct hmm_mirror_fault_run - adjacent pages that need the same kind of fault
 * @start: first virtual address
 * @npages: how many base pages
 * @write: they need to be writable
 * @one_entry: a fault for a nearby page may map them too: they share a huge entry with
 *	others, or are in a hole that such an entry can fill
 */
struct hmm_mirror_fault_run {
	unsigned long start;
	u32 npages;
	bool write;
	bool one_entry;
};

static inline unsigned long
hmm_mirror_run_end(const struct hmm_mirror_fault_run *run)
{
	return run->start + ((unsigned long)run->npages << PAGE_SHIFT);
}

/* The array is on the stack. */
#define HMM_MIRROR_MAX_FAULT_RUNS	32

/**
 * struct hmm_mirror_walk - a request being served by page-table walks
 * @range: the request
 * @extents: where the answer goes; NULL for the page array of @range
 * @next: everything below it has been answered
 * @full: @extents is full, @next is where to go on
 * @runs: HMM_MIRROR_MAX_FAULT_RUNS elements; set by a walk: what must be faulted in
 *	before @next can advance
 * @nr_runs: set by a walk: number of @runs. If there are any, the first of them is in
 *	the entry for @next, and the next walk takes it that they have been faulted in
 * @stuck_on_device: set by a walk: a page of the entry for @next is in the caller's own
 *	device memory, but not writable
 * @as_is_end: such entries are reported as they are if they begin below this address
 * @horizon: private to the walk: where to stop looking for more @runs
 * @error: private to the walk: why it stopped
 * @budget: private to the walk: how much work it may still do
 * @slot_requests: pages have requests of their own
 * @rules: how entries are read. @rules.vma is the last VMA that a walk was in, often
 *	that of all @runs; set it to NULL whenever mmap_lock has been dropped
 */
struct hmm_mirror_walk {
	struct hmm_mirror_range *range;
	struct hmm_mirror_extents *extents;
	unsigned long next;
	bool full;
	struct hmm_mirror_fault_run *runs;
	unsigned int nr_runs;
	bool stuck_on_device;
	unsigned long as_is_end;
	unsigned long horizon;
	int error;
	long budget;
	bool slot_requests;
	struct entry_rules rules;
};

/* pagewalk_ops.c */
int hmm_mirror_walk(struct hmm_mirror_walk *walk);

/* The part of @range that is in the mirror, which the driver is told of. */
static inline unsigned long
hmm_mirror_invalid_start(const struct hmm_mirror *mirror,
			 const struct mmu_notifier_range *range)
{
	return max(range->start, mirror->notifier.interval_tree.start);
}

static inline unsigned long
hmm_mirror_invalid_end(const struct hmm_mirror *mirror,
		       const struct mmu_notifier_range *range)
{
	/* On release @range ends at ULONG_MAX, which is not a page's border. */
	return min(range->end - 1, mirror->notifier.interval_tree.last) + 1;
}

/* hmm_mirror.c */
int hmm_mirror_collect_extents(struct hmm_mirror_range *range,
			       struct hmm_mirror_extents *extents,
			       struct hmm_mirror_mm *mm,
			       const struct hmm_mirror_limit *limit);

/*
 * An answer became stale after @length bytes: try half of that next time, and so on. Once
 * one is complete, the next may be longer.
 */
static inline void hmm_mirror_shorten(struct hmm_mirror_extents *extents,
				      unsigned long length)
{
	extents->max_pages = max(length >> (PAGE_SHIFT + 1), 1UL);
}

static inline void hmm_mirror_lengthen(struct hmm_mirror_extents *extents)
{
	/* Past the highest bit it is 0, which is no limit. */
	extents->max_pages <<= 1;
}

/* mirrored_mm.c */
struct hmm_mirror_mm *hmm_mirror_mm_get(struct mm_struct *mm,
					const struct hmm_mirror_limit *limit);
void hmm_mirror_mm_put(struct hmm_mirror_mm *mm);
atomic_long_t *hmm_mirror_mm_callers(struct hmm_mirror_mm *mm);
/* A change more, and a call more or less */
#define HMM_MIRROR_CALLER_ENTERS	((1L << 32) + 1)
#define HMM_MIRROR_CALLER_LEAVES	((1L << 32) - 1)
int hmm_mirror_make_room(struct mm_struct *mm,
			 const struct hmm_mirror_limit *limit);
void hmm_mirror_mm_remove(struct hmm_mirror_mm *mm,
			  struct hmm_mirror_removal *removal);
int hmm_mirror_mm_read_begin(struct hmm_mirror_mm *mm,
			     struct mmu_interval_notifier *notifier,
			     const struct hmm_mirror_limit *limit,
			     unsigned long *sequence);
int hmm_mirror_read_begin_limited(struct mmu_interval_notifier *notifier,
				  const struct hmm_mirror_limit *limit,
				  unsigned long *sequence);
int hmm_mirror_mm_init(void);
void hmm_mirror_mm_exit(void);

/* interval_notifier.c */
void hmm_mirror_forget(struct hmm_mirror *mirror);

/* kernel_symbols.c */
int hmm_mirror_resolve_symbols(void);
int hmm_mirror_walk_page_range(struct mm_struct *mm, unsigned long start,
			       unsigned long end, const struct mm_walk_ops *ops,
			       void *private);

/* ioctl.c */
int hmm_mirror_device_register(void);
void hmm_mirror_device_unregister(void);

/**
 * struct hmm_mirror_counters - what the module has done since it was loaded
 * @range_calls: range requests served
 * @range_errors: of those, how many failed
 * @faults: page faults taken
 * @walks: page-table walks
 * @restarts: answers collected again because of an invalidation
 * @invalidations: invalidations of subscribed ranges
 * @events: events queued to readers
 * @events_lost: events dropped because a queue was full
 * @dma_maps: runs mapped for DMA
 * @dma_unmaps: runs unmapped
 * @dma_bytes: memory mapped for DMA, over time
 *
 * One per CPU; only the sum over all CPUs is meaningful.
 */
struct hmm_mirror_counters {
	u64 range_calls;
	u64 range_errors;
	u64 faults;
	u64 walks;
	u64 restarts;
	u64 invalidations;
	u64 events;
	u64 events_lost;
	u64 dma_maps;
	u64 dma_unmaps;
	u64 dma_bytes;
};

DECLARE_PER_CPU(struct hmm_mirror_counters, hmm_mirror_counters);

#define hmm_mirror_count(counter, amount) \
	this_cpu_add(hmm_mirror_counters.counter, amount)

/* stats.c: how many there are now */
extern atomic_long_t hmm_mirror_open_files;
extern atomic_long_t hmm_mirror_subscriptions;
void hmm_mirror_sum_counters(struct hmm_mirror_counters *sum);

#endif /* HMM_MIRROR_INTERNAL_H */
