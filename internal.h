/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of hmm_mirror.ko share among themselves. Nothing outside of
 * the module includes this.
 */
#ifndef HMM_MIRROR_INTERNAL_H
#define HMM_MIRROR_INTERNAL_H

#include <linux/atomic.h>
#include <linux/minmax.h>
#include <linux/mmu_notifier.h>
#include <linux/pagewalk.h>
#include <linux/percpu.h>

#include "hmm_mirror.h"

/**
 * struct hmm_mirror_fault_run - neighbouring pages that need the same fault
 * @start: first virtual address
 * @npages: how many base pages
 * @write: they need to be writable
 */
struct hmm_mirror_fault_run {
	unsigned long start;
	u32 npages;
	bool write;
};

/* They are on the stack. */
#define HMM_MIRROR_MAX_FAULT_RUNS	32

/**
 * struct hmm_mirror_walk - a request being served by page-table walks
 * @range: the request
 * @extents: where the answer goes; NULL for the page array of @range
 * @next: everything below it has been answered
 * @full: @extents is full, @next is where to go on
 * @runs: HMM_MIRROR_MAX_FAULT_RUNS elements; out of a walk: what must be faulted
 *	before @next can advance
 * @nr_runs: out of a walk: number of @runs. If there are any, the pages at
 *	@next are the first of them, and the next walk takes them as faulted
 * @vma: the last VMA that a walk was in, often that of all @runs; to be set to NULL
 *	whenever mmap_lock has been dropped
 * @stuck_on_device: out of a walk: a page at @next is in the caller's own device
 *	memory, but not writable
 * @as_is_end: pages of that kind below it are reported all the same
 * @horizon: private to the walk: where to stop looking for more @runs
 * @error: private to the walk: why it stopped
 * @budget: private to the walk: how much work it may still do
 * @slot_requests: pages have requests of their own
 * @order_shift: lowest bit of the order in a word
 * @write_allowed: private to the walk: the VMA may be written to
 */
struct hmm_mirror_walk {
	struct hmm_mirror_range *range;
	struct hmm_mirror_extents *extents;
	unsigned long next;
	bool full;
	struct hmm_mirror_fault_run *runs;
	unsigned int nr_runs;
	struct vm_area_struct *vma;
	bool stuck_on_device;
	unsigned long as_is_end;
	unsigned long horizon;
	int error;
	long budget;
	bool slot_requests;
	unsigned int order_shift;
	bool write_allowed;
};

/**
 * struct hmm_mirror_cursor - where hmm_mirror_next_unmapped() was last
 * @start: first address that the entry at @pmdp is for
 * @pmdp: entry in a table that stays where it is while mmap_lock is held
 * @table: value of the entry when it was last seen to be a page table
 * @ptes: that page table, to be used only while the entry has that value
 */
struct hmm_mirror_cursor {
	unsigned long start;
	pmd_t *pmdp;
	unsigned long table;
	pte_t *ptes;
};

/* pagewalk_ops.c */
int hmm_mirror_walk(struct hmm_mirror_walk *walk);
unsigned long hmm_mirror_next_unmapped(struct hmm_mirror_cursor *cursor,
				       struct mm_struct *mm, unsigned long addr,
				       unsigned long end, bool write);

/* What of @range is in the mirror, as the driver is told. */
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
 * @restarts: answers collected anew because of an invalidation
 * @invalidations: invalidations of subscribed ranges
 * @events: events queued to readers
 * @events_lost: events dropped because a queue was full
 *
 * One per CPU; only the sum over all CPUs means something.
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
};

DECLARE_PER_CPU(struct hmm_mirror_counters, hmm_mirror_counters);

#define hmm_mirror_count(counter, amount) \
	this_cpu_add(hmm_mirror_counters.counter, amount)

/* stats.c: what there is now, not over time */
extern atomic_long_t hmm_mirror_open_files;
extern atomic_long_t hmm_mirror_subscriptions;
void hmm_mirror_sum_counters(struct hmm_mirror_counters *sum);

#endif /* HMM_MIRROR_INTERNAL_H */
