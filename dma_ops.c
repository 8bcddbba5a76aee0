// SPDX-License-Identifier: GPL-2.0
/*
 * What a driver need not write: the order of things. A device joins, is told of what was
 * mapped, stopped before that is unmapped, and leaves.
 *
 * Functions are described in hmm_mirror.h.
 */
#include <linux/export.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "dma_api.h"
#include "dma_map.h"

static void zap_device(struct hmm_mirror_dma *dma, unsigned long start,
		       unsigned long end)
{
	if (dma->ops->zap)
		dma->ops->zap(dma, start, end);
}

static void wait_for_device(struct hmm_mirror_dma *dma, unsigned long start,
			    unsigned long end)
{
	if (dma->ops->wait)
		dma->ops->wait(dma, start, end);
}

/*
 * Leaves out the ends of an interval in which nothing is mapped, by the block: a mirror may
 * be as large as an address space, and a driver may clear its entries one by one.
 */
static void clip_to_blocks(struct hmm_mirror_dma_tables *tables,
			   unsigned long *start, unsigned long *end)
{
	struct dma_block *first, *last;

	if (*end - *start <= BLOCK_BYTES)
		return;
	first = first_block(tables, *start, *end);
	if (!first)
		return;
	last = hmm_mirror_dma_last_block(tables, *end);
	*start = max(*start, block_address(first, 0));
	*end = min(*end, block_address(last, BLOCK_PAGES));
}

/* For whole runs. */
static void stop_and_unmap(struct hmm_mirror_dma *dma, unsigned long start,
			   unsigned long end)
{
	clip_to_blocks(dma->tables, &start, &end);
	zap_device(dma, start, end);
	wait_for_device(dma, start, end);
	hmm_mirror_dma_unmap(dma, start, end);
}

/* Makes way for extents. One stop of the device is for all of them. */
static void remove_outdated(struct hmm_mirror_dma *dma,
			    const struct hmm_mirror_extent *extents,
			    unsigned int nr)
{
	unsigned long start = ULONG_MAX, end = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		unsigned long from, to;

		if (!hmm_mirror_dma_outdated(dma, &extents[i], &from, &to))
			continue;
		start = min(start, from);
		end = max(end, to);
	}
	if (start < end)
		stop_and_unmap(dma, start, end);
}

/* Maps the first one of @nr extents. @end becomes the first address that is not. */
static int map_extent(struct hmm_mirror_dma *dma,
		      const struct hmm_mirror_extent *extent, unsigned int nr,
		      unsigned long *end)
{
	struct hmm_mirror_dma_run run;
	unsigned long pos = 0;
	int ret;

	do {
		unsigned int npages = 0;

		if (maps_pages_together(dma->tables, extent))
			npages = hmm_mirror_dma_map_pages(dma, extent, pos);
		pos += npages;
		ret = npages ? 1 : hmm_mirror_dma_map_next(dma, extent, &run, &pos);
		/* Another page without an invalidation in between. */
		if (ret == -EEXIST) {
			remove_outdated(dma, extent, nr);
			ret = hmm_mirror_dma_map_next(dma, extent, &run, &pos);
		}
		*end = extent->addr + (pos << PAGE_SHIFT);
		cond_resched();
	} while (ret > 0 && pos < extent->npages);
	return min(ret, 0);
}

/* Has the device told of what is mapped. What it does not take is unmapped. */
static int set_runs(struct hmm_mirror_dma *dma, unsigned long start,
		    unsigned long end)
{
	struct hmm_mirror_dma_run description;
	struct dma_block *block;
	struct dma_run *run;
	unsigned int at;
	int err;

	for (block = first_block(dma->tables, start, end); block;
	     block = next_block(block, end)) {
		unsigned int from = first_page(block, start);
		unsigned int to = last_page(block, end) + 1;

		at = from;
		for (; (run = next_run(block, &at, to)); at += run->npages) {
			hmm_mirror_dma_describe(block, at, run, from, to, &description);
			err = dma->ops->set(dma, &description);
			if (!err)
				continue;
			start = description.addr;
			hmm_mirror_dma_grow(dma, &start, &end);
			stop_and_unmap(dma, start, end);
			return err;
		}
		cond_resched();
	}
	return 0;
}

static int map_for_device(struct hmm_mirror_dma *dma,
			  const struct hmm_mirror_extent *extents,
			  unsigned int nr)
{
	unsigned long start = nr ? extents[0].addr : 0;
	unsigned long end = start;
	unsigned int i;
	int err = 0, set_err = 0;

	if (dma->tables->nr_read_only)
		remove_outdated(dma, extents, nr);
	for (i = 0; !err && i < nr; i++) {
		unsigned int done = 0;

		if (dma->tables->direct)
			done = hmm_mirror_dma_map_scattered(dma, &extents[i], nr - i);
		i += done;
		if (done)
			end = extent_end(&extents[i - 1]);
		if (i < nr)
			err = map_extent(dma, &extents[i], nr - i, &end);
	}
	if (dma->ops->set && start < end)
		set_err = set_runs(dma, start, end);
	return set_err ?: err;
}

int hmm_mirror_dma_ops_map(struct hmm_mirror *mirror,
			   const struct hmm_mirror_extent *extents,
			   unsigned int nr)
{
	struct hmm_mirror_dma *dma;
	int err = -ENODEV;

	list_for_each_entry(dma, &mirror->dmas, node) {
		if (!dma->ops)
			continue;
		err = map_for_device(dma, extents, nr);
		if (err)
			break;
	}
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_ops_map);

void hmm_mirror_dma_ops_unmap(struct hmm_mirror *mirror, unsigned long start,
			      unsigned long end, enum mmu_notifier_event event)
{
	struct hmm_mirror_dma *dma;
	bool busy = false;

	/* Each device has runs of its own. All of them stop at the same time. */
	list_for_each_entry(dma, &mirror->dmas, node) {
		struct hmm_mirror_dma_tables *tables = dma->tables;

		tables->zapped_start = start;
		tables->zapped_end = end;
		tables->zapped = dma->ops &&
				 hmm_mirror_dma_grow(dma, &tables->zapped_start,
						     &tables->zapped_end);
		if (!tables->zapped)
			continue;
		clip_to_blocks(tables, &tables->zapped_start,
			       &tables->zapped_end);
		zap_device(dma, tables->zapped_start, tables->zapped_end);
		busy = true;
	}
	if (!busy)
		return;
	list_for_each_entry(dma, &mirror->dmas, node) {
		struct hmm_mirror_dma_tables *tables = dma->tables;

		if (!tables->zapped)
			continue;
		wait_for_device(dma, tables->zapped_start, tables->zapped_end);
		hmm_mirror_dma_unmap(dma, tables->zapped_start,
				     tables->zapped_end);
	}
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_ops_unmap);

const struct hmm_mirror_ops hmm_mirror_dma_mirror_ops = {
	.map = hmm_mirror_dma_ops_map,
	.unmap = hmm_mirror_dma_ops_unmap,
};
EXPORT_SYMBOL_GPL(hmm_mirror_dma_mirror_ops);

/*
 * Whether a device has all of an interval, for writing. What is mapped for reading only may
 * have become writable since.
 */
static bool is_complete(struct hmm_mirror_dma *dma, unsigned long start,
			unsigned long end)
{
	struct dma_block *block;
	unsigned int at, to;
	struct dma_run *run;

	for (block = first_block(dma->tables, start, end); block;
	     block = next_block(block, end)) {
		at = first_page(block, start);
		if (start < block_address(block, at) || block->nr_read_only)
			return false;
		to = last_page(block, end) + 1;
		start = block_address(block, to);
		cond_resched();
		if (block->nr_pages == BLOCK_PAGES)
			continue;
		for (; at < to; at += run->npages) {
			unsigned int first = at;

			run = find_run(block, &first);
			if (!run)
				return false;
			at = first;
		}
	}
	return start >= end;
}

/* Whether there is nothing to do. If that takes longer to find out, it does not matter. */
static bool is_populated(struct hmm_mirror *mirror,
			 const struct hmm_mirror_request *request)
{
	struct hmm_mirror_dma *dma;
	bool complete;

	if (mirror->ops->map != hmm_mirror_dma_ops_map ||
	    request->default_flags & ~HMM_MIRROR_PFN_REQ_FLAGS ||
	    request->start >= request->end ||
	    !PAGE_ALIGNED(request->start | request->end) ||
	    !mutex_trylock(&mirror->lock))
		return false;
	complete = !list_empty(&mirror->dmas);
	list_for_each_entry(dma, &mirror->dmas, node) {
		if (!dma->ops || !is_complete(dma, request->start, request->end))
			complete = false;
	}
	mutex_unlock(&mirror->lock);
	return complete;
}

int hmm_mirror_dma_populate(struct hmm_mirror *mirror,
			    struct hmm_mirror_request *request)
{
	struct hmm_mirror_limit limit = hmm_mirror_limit_of(request->timeout);
	struct hmm_mirror_request part = *request;
	unsigned long nr_faults = 0, nr_restarts = 0;
	int err;

	if (is_populated(mirror, request)) {
		request->next = request->end;
		request->fault_addr = 0;
		request->nr_faults = 0;
		request->nr_restarts = 0;
		return 0;
	}
	for (;;) {
		/* Only a change that this task makes matters: it needs no lock to see that. */
		unsigned long nr_starved = READ_ONCE(mirror->nr_starved);

		err = hmm_mirror_populate(mirror, &part);
		nr_faults += part.nr_faults;
		nr_restarts += part.nr_restarts;
		/* If no table lacks anything, it is the driver that does. */
		if (err != -EAGAIN || READ_ONCE(mirror->nr_starved) == nr_starved)
			break;
		err = hmm_mirror_dma_feed(mirror);
		if (!err)
			err = hmm_mirror_interrupted(&limit);
		if (err)
			break;
		part.start = part.next;
		if (limit.has_deadline)
			part.timeout = max(hmm_mirror_time_left(&limit), 1L);
	}
	request->next = part.next;
	request->fault_addr = part.fault_addr;
	request->nr_faults = nr_faults;
	request->nr_restarts = nr_restarts;
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_populate);

int hmm_mirror_dma_init(struct hmm_mirror_dma *dma, struct hmm_mirror *mirror,
			struct device *dev, unsigned int flags)
{
	struct hmm_mirror_dma_tables *tables;

	if (flags & ~(HMM_MIRROR_DMA_FIXED | HMM_MIRROR_DMA_TRACKED) ||
	    !dev->dma_mask || !*dev->dma_mask)
		return -EINVAL;
	if (!dev_is_dma_coherent(dev))
		return -EOPNOTSUPP;
	tables = kzalloc(sizeof(*tables), GFP_KERNEL_ACCOUNT);
	if (!tables)
		return -ENOMEM;

	tables->blocks = RB_ROOT;
	tables->tracked = flags & HMM_MIRROR_DMA_TRACKED;

	dma->mirror = mirror;
	dma->dev = dev;
	hmm_mirror_dma_begin_api(dma, tables, flags);
	dma->tables = tables;
	hmm_mirror_lock(mirror);
	list_add_tail(&dma->node, &mirror->dmas);
	hmm_mirror_unlock(mirror);
	return 0;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_init);

void hmm_mirror_dma_exit(struct hmm_mirror_dma *dma)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	struct hmm_mirror *mirror = dma->mirror;
	unsigned long start = mirror->notifier.interval_tree.start;
	unsigned long end = mirror->notifier.interval_tree.last + 1;

	hmm_mirror_lock(mirror);
	if (!RB_EMPTY_ROOT(&tables->blocks)) {
		if (dma->ops)
			stop_and_unmap(dma, start, end);
		else
			hmm_mirror_dma_unmap(dma, start, end);
	}
	list_del(&dma->node);
	/* Invalidations go on: for them nothing is mapped. */
	dma->tables = NULL;
	hmm_mirror_unlock(mirror);

	hmm_mirror_dma_end_api(dma, tables);
	hmm_mirror_dma_free_spares(tables->spare_blocks, tables->spare_tables);
	kfree(tables);
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_exit);
