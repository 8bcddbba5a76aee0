// SPDX-License-Identifier: GPL-2.0
/* The way of GPU drivers, on kernels that have a module for it. */
#include "bench_dma_probes.h"
#include "ways.h"

#if defined(BENCH_HAVE_DRM_GPUSVM) && IS_ENABLED(CONFIG_DRM_GPUSVM)
#include <drm/drm_drv.h>
#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>
#include <linux/err.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

/* One notifier for so much memory: what drivers of today choose. */
#define NOTIFIER_SIZE	SZ_512M

static const unsigned long chunk_sizes[] = { SZ_2M, SZ_64K, SZ_4K };

/* It only gives mappings an owner, and is never registered. */
static const struct drm_driver bench_drm_driver = {
	.name = "hmm_bench_dma",
	.desc = "benchmark",
	.major = 1,
};

struct watch {
	struct drm_gpusvm gpusvm;
	struct drm_device *drm;
	unsigned long start;
	unsigned long end;
	struct mutex lock; /* over the tree of ranges, as a driver has one */
};

struct bench_range {
	struct drm_gpusvm_range base;
	struct drm_gpusvm_pages pages;
};

static struct watch *watch_of(struct drm_gpusvm *gpusvm)
{
	return container_of(gpusvm, struct watch, gpusvm);
}

static struct bench_range *bench_range_of(struct drm_gpusvm_range *range)
{
	return container_of(range, struct bench_range, base);
}

static unsigned long range_pages(struct drm_gpusvm_range *range)
{
	return drm_gpusvm_range_size(range) >> PAGE_SHIFT;
}

static struct drm_gpusvm_range *range_alloc(struct drm_gpusvm *gpusvm)
{
	struct bench_range *range = kzalloc(sizeof(*range), GFP_KERNEL);

	if (!range)
		return NULL;
	drm_gpusvm_init_pages(&range->pages, watch_of(gpusvm)->drm);
	return &range->base;
}

static void range_free(struct drm_gpusvm_range *range)
{
	kfree(bench_range_of(range));
}

static void invalidate(struct drm_gpusvm *gpusvm,
		       struct drm_gpusvm_notifier *notifier,
		       const struct mmu_notifier_range *mmu_range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = true };
	struct drm_gpusvm_range *range = NULL;

	drm_gpusvm_for_each_range(range, notifier, mmu_range->start,
				  mmu_range->end) {
		struct bench_range *ours = bench_range_of(range);

		drm_gpusvm_unmap_pages(gpusvm, &ours->pages,
				       range_pages(range), &ctx);
		if (mmu_range->event == MMU_NOTIFY_UNMAP)
			drm_gpusvm_range_set_unmapped(range, &ours->pages, 1,
						      mmu_range);
	}
}

static const struct drm_gpusvm_ops gpusvm_ops = {
	.range_alloc = range_alloc,
	.range_free = range_free,
	.invalidate = invalidate,
};

static void *gpusvm_open(struct device *dev, unsigned long start,
			 unsigned long length)
{
	struct watch *watch = kzalloc(sizeof(*watch), GFP_KERNEL);
	int err;

	if (!watch)
		return ERR_PTR(-ENOMEM);
	watch->start = start;
	watch->end = start + length;
	mutex_init(&watch->lock);
	watch->drm = drm_dev_alloc(&bench_drm_driver, dev);
	err = PTR_ERR_OR_ZERO(watch->drm);
	if (err)
		goto err_free;
	err = drm_gpusvm_init(&watch->gpusvm, "benchmark", current->mm, 0,
			      TASK_SIZE, NOTIFIER_SIZE, &gpusvm_ops,
			      chunk_sizes, ARRAY_SIZE(chunk_sizes));
	if (err)
		goto err_put;
	drm_gpusvm_driver_set_lock(&watch->gpusvm, &watch->lock);
	return watch;

err_put:
	drm_dev_put(watch->drm);
err_free:
	kfree(watch);
	return ERR_PTR(err);
}

static void gpusvm_unmap(void *data)
{
	const struct drm_gpusvm_ctx ctx = {};
	struct drm_gpusvm_notifier *notifier, *next_notifier;
	struct drm_gpusvm_range *range, *next;
	struct watch *watch = data;
	struct drm_gpusvm *gpusvm = &watch->gpusvm;

	mutex_lock(&watch->lock);
	drm_gpusvm_for_each_notifier_safe(notifier, next_notifier, gpusvm,
					  watch->start, watch->end) {
		drm_gpusvm_for_each_range_safe(range, next, notifier,
					       watch->start, watch->end) {
			struct bench_range *ours = bench_range_of(range);
			unsigned long npages = range_pages(range);

			drm_gpusvm_unmap_pages(gpusvm, &ours->pages, npages,
					       &ctx);
			drm_gpusvm_free_pages(gpusvm, &ours->pages, npages);
			drm_gpusvm_range_remove(gpusvm, range);
		}
	}
	mutex_unlock(&watch->lock);
}

static void gpusvm_close(void *data)
{
	struct watch *watch = data;

	gpusvm_unmap(watch);
	mutex_lock(&watch->lock);
	drm_gpusvm_fini(&watch->gpusvm);
	mutex_unlock(&watch->lock);
	drm_dev_put(watch->drm);
	kfree(watch);
}

static int gpusvm_populate(void *data, unsigned long start, unsigned long end)
{
	const struct drm_gpusvm_ctx ctx = {};
	struct drm_gpusvm_range *range;
	struct watch *watch = data;
	int err = 0;

	mutex_lock(&watch->lock);
	while (!err && start < end) {
		range = drm_gpusvm_range_find_or_insert(&watch->gpusvm, start,
							watch->start,
							watch->end, &ctx);
		err = PTR_ERR_OR_ZERO(range);
		if (err)
			break;
		err = drm_gpusvm_get_pages(&watch->gpusvm,
					   &bench_range_of(range)->pages,
					   watch->gpusvm.mm,
					   &range->notifier->notifier,
					   drm_gpusvm_range_start(range),
					   drm_gpusvm_range_end(range), &ctx);
		start = drm_gpusvm_range_end(range);
	}
	mutex_unlock(&watch->lock);
	return err;
}

static bool find_address(struct drm_gpusvm_range *range, unsigned long addr,
			 dma_addr_t *dma)
{
	const struct drm_gpusvm_pages *pages = &bench_range_of(range)->pages;
	unsigned long at = drm_gpusvm_range_start(range);
	const struct drm_pagemap_addr *entry = pages->dma_addr;

	if (!pages->flags.has_dma_mapping)
		return false;
	/* An entry for each block that is mapped as one */
	for (; addr >= at + (PAGE_SIZE << entry->order); entry++)
		at += PAGE_SIZE << entry->order;
	*dma = entry->addr + (addr - at);
	return entry->dir == DMA_BIDIRECTIONAL;
}

static bool gpusvm_lookup(void *data, unsigned long addr, dma_addr_t *dma)
{
	struct watch *watch = data;
	struct drm_gpusvm_notifier *notifier;
	struct drm_gpusvm_range *range = NULL;
	bool found = false;

	mutex_lock(&watch->lock);
	drm_gpusvm_notifier_lock(&watch->gpusvm);
	notifier = drm_gpusvm_notifier_find(&watch->gpusvm, addr, addr + 1);
	if (notifier)
		range = drm_gpusvm_range_find(notifier, addr, addr + 1);
	if (range)
		found = find_address(range, addr, dma);
	drm_gpusvm_notifier_unlock(&watch->gpusvm);
	mutex_unlock(&watch->lock);
	return found;
}

const struct bench_way bench_gpusvm = {
	.open = gpusvm_open,
	.close = gpusvm_close,
	.populate = gpusvm_populate,
	.unmap = gpusvm_unmap,
	.lookup = gpusvm_lookup,
};
#else
const struct bench_way bench_gpusvm = {};
#endif
