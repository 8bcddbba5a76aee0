// SPDX-License-Identifier: GPL-2.0
/*
 * The device's memory.
 *
 * Coherent memory exists at an address that the user of the module gives. Private memory
 * exists only in name: each of its pages is backed by a page of system memory, which the
 * CPU cannot reach through the private one. Every single private page has a backing page
 * of its own, whether it is part of a huge page or not, so that there is nothing to do
 * when huge pages are split.
 *
 * While pages are in use the module cannot be unloaded: it has the code that frees and
 * migrates them.
 */
#define pr_fmt(fmt) "dmirror: " fmt

#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/ioport.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pfn.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/topology.h>

#include "compat.h"
#include "dmirror.h"

#define CHUNK_SIZE	SZ_256M
#define CHUNK_PAGES	(CHUNK_SIZE >> PAGE_SHIFT)

/* Eviction is best effort: pages can be busy for a moment, or for long. */
#define EVICT_ROUNDS		3
#define RELEASE_ROUNDS		100
#define RELEASE_PAUSE_MS	10

/**
 * struct dmirror_chunk - a piece of device memory
 * @device: its device
 * @first_pfn: first page frame
 * @nr_used: pages in use
 * @lowest: no page below it is free
 * @closing: no more pages are given out
 * @backing: private: the page that has the data, for each page in use
 * @mms: for each page in use, the address space that it was allocated for; has
 *	a reference to it, each
 * @used: pages in use
 * @pagemap: what the kernel knows of it
 */
struct dmirror_chunk {
	struct dmirror_device *device;
	unsigned long first_pfn;
	unsigned long nr_used;
	unsigned long lowest;
	bool closing;
	struct page **backing;
	struct mm_struct **mms;
	DECLARE_BITMAP(used, CHUNK_PAGES);
	struct dev_pagemap pagemap;
};

static void free_backing(struct dmirror_chunk *chunk, unsigned long first,
			 unsigned long npages)
{
	unsigned long i;

	if (!chunk->backing)
		return;
	for (i = first; i < first + npages; i++) {
		if (chunk->backing[i])
			__free_page(chunk->backing[i]);
		chunk->backing[i] = NULL;
	}
}

/* One allocation for a huge page, if it can be had without effort. */
static bool alloc_backing_at_once(struct dmirror_chunk *chunk,
				  unsigned long first, unsigned int order)
{
	struct page *page;
	unsigned long i;

	page = alloc_pages(GFP_HIGHUSER | __GFP_ACCOUNT | __GFP_NORETRY |
			   __GFP_NOWARN, order);
	if (!page)
		return false;
	split_page(page, order);
	for (i = 0; i < 1UL << order; i++)
		chunk->backing[first + i] = page + i;
	return true;
}

static bool alloc_backing(struct dmirror_chunk *chunk, unsigned long first,
			  unsigned int order)
{
	unsigned long i;

	if (!chunk->backing)
		return true;
	if (order && alloc_backing_at_once(chunk, first, order))
		return true;
	for (i = 0; i < 1UL << order; i++) {
		/* No reason to kill anybody: the page stays where it is. */
		struct page *page = alloc_page(GFP_HIGHUSER | __GFP_ACCOUNT |
					       __GFP_RETRY_MAYFAIL |
					       __GFP_NOWARN);

		if (!page) {
			free_backing(chunk, first, i);
			return false;
		}
		chunk->backing[first + i] = page;
	}
	return true;
}

static void put_pages(struct dmirror_chunk *chunk, unsigned long first,
		      unsigned long npages)
{
	struct dmirror_device *device = chunk->device;
	/* Of one allocation, or a part of it. */
	struct mm_struct *mm = chunk->mms[first];
	unsigned long flags, i;
	bool unused;

	spin_lock_irqsave(&device->lock, flags);
	bitmap_clear(chunk->used, first, npages);
	memset(&chunk->mms[first], 0, npages * sizeof(chunk->mms[0]));
	chunk->lowest = min(chunk->lowest, first);
	chunk->nr_used -= npages;
	/* Pairs with the READ_ONCE() of evict_all(). */
	WRITE_ONCE(device->nr_used, device->nr_used - npages);
	unused = !device->nr_used;
	spin_unlock_irqrestore(&device->lock, flags);

	for (i = 0; i < npages; i++)
		mmdrop(mm);
	/*
	 * The kernel drops its reference to the chunk after we return, and
	 * dmirror_memory_destroy() waits for that.
	 */
	if (unused)
		module_put(THIS_MODULE);
}

/* The kernel's callback: the last reference to a device page is gone. */
static void free_device_page(COMPAT_FREE_ARG *arg)
{
	struct page *page = compat_freed_page(arg);
	unsigned long npages = compat_freed_pages(arg);
	struct dmirror_chunk *chunk = container_of(compat_page_pgmap(page),
						   struct dmirror_chunk,
						   pagemap);
	unsigned long first = page_to_pfn(page) - chunk->first_pfn;

	free_backing(chunk, first, npages);
	put_pages(chunk, first, npages);
}

/* "mm/memremap: add driver callback support for folio splitting", v6.19 */
#ifdef DMIRROR_HAVE_FOLIO_SPLIT
static unsigned int split_delay_ms;
module_param(split_delay_ms, uint, 0600);
MODULE_PARM_DESC(split_delay_ms,
		 "For how long the pages of a huge one that is split are nobody's");

/*
 * The kernel's callback: @tail, which was a part of @head, is now a page of its own, not
 * yet known to be device memory. Called once more at the end, without @tail.
 */
static void split_device_page(struct folio *head, struct folio *tail)
{
	if (!tail)
		return;
	if (folio_pfn(tail) == folio_pfn(head) + 1)
		mdelay(READ_ONCE(split_delay_ms));
	tail->pgmap = head->pgmap;
	tail->page.mapping = head->page.mapping;
}
#endif

static const struct dev_pagemap_ops pagemap_ops = {
	COMPAT_PAGE_FREE(free_device_page),
#ifdef DMIRROR_HAVE_FOLIO_SPLIT
	.folio_split = split_device_page,
#endif
	.migrate_to_ram = dmirror_migrate_to_ram,
};

/* Single pages are taken from the bottom, huge ones from the top. */
static long find_free(const struct dmirror_chunk *chunk, unsigned int order)
{
	unsigned long npages = 1UL << order;
	long first;

	if (chunk->closing || chunk->nr_used + npages > CHUNK_PAGES)
		return -1;
	if (!order)
		return find_next_zero_bit(chunk->used, CHUNK_PAGES,
					  chunk->lowest);
	for (first = CHUNK_PAGES - npages; first >= 0; first -= npages) {
		if (find_next_bit(chunk->used, first + npages, first) >=
		    first + npages)
			return first;
	}
	return -1;
}

static struct dmirror_chunk *get_pages(struct dmirror_device *device,
				       unsigned int order, struct mm_struct *mm,
				       unsigned long *first)
{
	unsigned long npages = 1UL << order;
	struct dmirror_chunk *chunk = NULL;
	unsigned long flags, page;
	unsigned int i;
	long found = -1;

	spin_lock_irqsave(&device->lock, flags);
	for (i = 0; i < device->nr_chunks && found < 0; i++) {
		chunk = device->chunks[i];
		found = find_free(chunk, order);
	}
	if (found < 0) {
		chunk = NULL;
	} else {
		*first = found;
		if (!device->nr_used)
			__module_get(THIS_MODULE);
		bitmap_set(chunk->used, found, npages);
		for (page = found; page < found + npages; page++) {
			mmgrab(mm);
			chunk->mms[page] = mm;
		}
		if (!order)
			chunk->lowest = found + 1;
		chunk->nr_used += npages;
		/* As in put_pages(). */
		WRITE_ONCE(device->nr_used, device->nr_used + npages);
	}
	spin_unlock_irqrestore(&device->lock, flags);
	return chunk;
}

/**
 * dmirror_memory_alloc() - allocate device memory
 * @device: device
 * @order: 0, or HPAGE_PMD_ORDER where huge pages are migrated whole
 * @mm: the address space that the page will be mapped in
 *
 * Context: sleeps.
 *
 * Return: a page that is locked and has one reference, or NULL. It is freed by
 * unlocking it and dropping the reference.
 */
struct page *dmirror_memory_alloc(struct dmirror_device *device,
				  unsigned int order, struct mm_struct *mm)
{
	unsigned long first;
	struct dmirror_chunk *chunk = get_pages(device, order, mm, &first);
	struct page *page;

	if (!chunk)
		return NULL;
	if (!alloc_backing(chunk, first, order)) {
		put_pages(chunk, first, 1UL << order);
		return NULL;
	}
	page = pfn_to_page(chunk->first_pfn + first);
	compat_zone_device_page_init(page, &chunk->pagemap, order);
	return page;
}

/*
 * The chunk that @page is part of, NULL if it is not memory of our devices. The caller
 * knows that the page is in use and stays so.
 */
static struct dmirror_chunk *chunk_of(struct page *page)
{
	struct dev_pagemap *pagemap;

	if (!is_zone_device_page(page))
		return NULL;
	pagemap = compat_page_pgmap(page);
	if (pagemap->ops != &pagemap_ops)
		return NULL;
	return container_of(pagemap, struct dmirror_chunk, pagemap);
}

/* Whether @pfn, a page in use, is memory of @device. */
bool dmirror_memory_owns(struct dmirror_device *device, unsigned long pfn)
{
	struct dmirror_chunk *chunk = chunk_of(pfn_to_page(pfn));

	return chunk && chunk->device == device;
}

/* Where the data of @pfn is: a page in use. */
struct page *dmirror_memory_data(unsigned long pfn)
{
	struct dmirror_chunk *chunk = chunk_of(pfn_to_page(pfn));

	if (!chunk || !chunk->backing)
		return pfn_to_page(pfn);
	return chunk->backing[pfn - chunk->first_pfn];
}

/* The device that @page, device memory in use, is part of. */
struct dmirror_device *dmirror_memory_device(struct page *page)
{
	return chunk_of(page)->device;
}

/* Sets the physical range of @chunk. */
static int find_range(struct dmirror_chunk *chunk)
{
	struct range *range = &chunk->pagemap.range;
	struct dmirror_device *device = chunk->device;

	if (device->type == MEMORY_DEVICE_COHERENT) {
		range->start = device->address;
		range->end = device->address + CHUNK_SIZE - 1;
	} else if (IS_ENABLED(CONFIG_DEVICE_PRIVATE)) {
		struct resource *resource;

		resource = request_free_mem_region(&iomem_resource, CHUNK_SIZE,
						   device->name);
		if (IS_ERR(resource))
			return PTR_ERR(resource);
		range->start = resource->start;
		range->end = resource->end;
	} else {
		return -EOPNOTSUPP;
	}
	chunk->first_pfn = PHYS_PFN(range->start);
	return 0;
}

static void put_range(struct dmirror_chunk *chunk)
{
	if (chunk->device->type == MEMORY_DEVICE_PRIVATE)
		release_mem_region(chunk->pagemap.range.start, CHUNK_SIZE);
}

/* The caller holds chunks_lock. */
static int add_chunk(struct dmirror_device *device)
{
	struct dmirror_chunk *chunk;
	void *mapped;
	int err = -ENOMEM;

	chunk = kvzalloc(sizeof(*chunk), GFP_KERNEL);
	if (!chunk)
		return -ENOMEM;
	chunk->device = device;
	chunk->mms = kvcalloc(CHUNK_PAGES, sizeof(*chunk->mms), GFP_KERNEL);
	if (!chunk->mms)
		goto err_free;
	if (device->type == MEMORY_DEVICE_PRIVATE) {
		chunk->backing = kvcalloc(CHUNK_PAGES, sizeof(*chunk->backing),
					  GFP_KERNEL);
		if (!chunk->backing)
			goto err_free;
	}
	err = find_range(chunk);
	if (err)
		goto err_free;

	chunk->pagemap.type = device->type;
	chunk->pagemap.nr_range = 1;
	chunk->pagemap.ops = &pagemap_ops;
	chunk->pagemap.owner = device;
	mapped = memremap_pages(&chunk->pagemap, numa_node_id());
	if (IS_ERR(mapped)) {
		err = PTR_ERR(mapped);
		goto err_put_range;
	}

	spin_lock_irq(&device->lock);
	device->chunks[device->nr_chunks++] = chunk;
	spin_unlock_irq(&device->lock);
	pr_info("%s: %lu MiB of memory at %#llx\n", device->name,
		(unsigned long)CHUNK_SIZE / SZ_1M,
		(unsigned long long)chunk->pagemap.range.start);
	return 0;

err_put_range:
	put_range(chunk);
err_free:
	kvfree(chunk->backing);
	kvfree(chunk->mms);
	kvfree(chunk);
	return err;
}

/* The chunk has no pages in use and no longer belongs to the device. */
static void destroy_chunk(struct dmirror_chunk *chunk)
{
	memunmap_pages(&chunk->pagemap);
	put_range(chunk);
	kvfree(chunk->backing);
	kvfree(chunk->mms);
	kvfree(chunk);
}

/**
 * dmirror_memory_reserve() - see to it that there is memory for one migration
 * @device: device
 *
 * It is an attempt, and what is there can be taken by others. Done before
 * mmap_lock is taken: it takes long to add memory.
 *
 * Context: sleeps.
 */
void dmirror_memory_reserve(struct dmirror_device *device)
{
	unsigned int i;
	bool room = false;

	mutex_lock(&device->chunks_lock);
	spin_lock_irq(&device->lock);
	for (i = 0; i < device->nr_chunks && !room; i++)
		room = find_free(device->chunks[i], PMD_SHIFT - PAGE_SHIFT) >= 0;
	spin_unlock_irq(&device->lock);
	if (!room && device->nr_chunks < DMIRROR_MAX_CHUNKS &&
	    (device->type == MEMORY_DEVICE_PRIVATE || !device->nr_chunks))
		add_chunk(device);
	mutex_unlock(&device->chunks_lock);
}

/*
 * Finds the next pages in use at *@first or after it, all of which were
 * allocated for one address space, and gets a reference to its users. Returns
 * the number of pages, none of which may be in use any more. *@mm is NULL if the
 * address space is gone.
 */
static unsigned long next_run(struct dmirror_chunk *chunk, unsigned long *first,
			      struct mm_struct **mm)
{
	struct dmirror_device *device = chunk->device;
	unsigned long end, npages = 0;

	*mm = NULL;
	spin_lock_irq(&device->lock);
	*first = find_next_bit(chunk->used, CHUNK_PAGES, *first);
	if (*first < CHUNK_PAGES) {
		*mm = chunk->mms[*first];
		end = ALIGN(*first + 1, DMIRROR_BATCH);
		do {
			npages++;
		} while (*first + npages < end &&
			 chunk->mms[*first + npages] == *mm);
		if (!mmget_not_zero(*mm))
			*mm = NULL;
	}
	spin_unlock_irq(&device->lock);
	return npages;
}

/*
 * Moves the pages of @chunk to system memory, as far as that is possible.
 *
 * While migrate_device_range() has a page unmapped everywhere, nothing keeps the
 * anon_vma, which it needs afterwards, from being freed together with the last
 * mapping that the page had. (migrate_pages() has a reference to it.) mmap_lock
 * prevents that: migrate_vma_setup() is called with it held. A page whose first
 * address space is gone, and which was inherited by a child, stays: the child can
 * have it back at any time.
 */
static void evict_chunk(struct dmirror_chunk *chunk)
{
	unsigned long first = 0, npages;
	struct mm_struct *mm;

	for (;; first += npages) {
		npages = next_run(chunk, &first, &mm);
		if (!npages)
			return;
		if (mm) {
			mmap_read_lock(mm);
			dmirror_migrate_evict(chunk->device,
					      chunk->first_pfn + first, npages);
			mmap_read_unlock(mm);
			mmput(mm);
		}
		cond_resched();
	}
}

/* Whether pages are left after @rounds attempts. The caller holds chunks_lock. */
static bool evict_all(struct dmirror_device *device, unsigned int rounds,
		      unsigned int pause_ms)
{
	unsigned int round, i;

	for (round = 0; round < rounds && READ_ONCE(device->nr_used); round++) {
		if (round && pause_ms)
			msleep(pause_ms);
		for (i = 0; i < device->nr_chunks; i++)
			evict_chunk(device->chunks[i]);
	}
	return READ_ONCE(device->nr_used);
}

/**
 * dmirror_memory_evict() - move all pages of a device to system memory
 * @device: device
 *
 * A page that is in use by somebody at the moment, for which there is no memory,
 * or whose first address space is gone, stays where it is. It can still be
 * migrated, and faulted back.
 *
 * Context: sleeps.
 */
void dmirror_memory_evict(struct dmirror_device *device)
{
	mutex_lock(&device->chunks_lock);
	evict_all(device, EVICT_ROUNDS, 0);
	mutex_unlock(&device->chunks_lock);
}

static void set_closing(struct dmirror_device *device, bool closing)
{
	unsigned int i;

	spin_lock_irq(&device->lock);
	for (i = 0; i < device->nr_chunks; i++)
		device->chunks[i]->closing = closing;
	spin_unlock_irq(&device->lock);
}

/**
 * dmirror_memory_release() - move all pages to system memory, give memory up
 * @device: device
 *
 * Memory is added again when it is needed.
 *
 * Context: sleeps.
 *
 * Return: 0, or -EBUSY if there are pages that could not be moved.
 */
int dmirror_memory_release(struct dmirror_device *device)
{
	int err = 0;

	if (!device->has_memory)
		return -EOPNOTSUPP;
	mutex_lock(&device->chunks_lock);
	set_closing(device, true);
	if (evict_all(device, RELEASE_ROUNDS, RELEASE_PAUSE_MS)) {
		set_closing(device, false);
		err = -EBUSY;
	}
	while (!err && device->nr_chunks) {
		struct dmirror_chunk *chunk;

		spin_lock_irq(&device->lock);
		chunk = device->chunks[--device->nr_chunks];
		spin_unlock_irq(&device->lock);
		destroy_chunk(chunk);
	}
	mutex_unlock(&device->chunks_lock);
	return err;
}

/* At module load. */
int dmirror_memory_init(struct dmirror_device *device)
{
	int err;

	spin_lock_init(&device->lock);
	mutex_init(&device->chunks_lock);
	if (device->type == MEMORY_DEVICE_PRIVATE &&
	    !IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		return 0;
	mutex_lock(&device->chunks_lock);
	err = add_chunk(device);
	mutex_unlock(&device->chunks_lock);
	device->has_memory = !err;
	return err;
}

/* At module unload: no page is in use, or the module would be in use. */
void dmirror_memory_destroy(struct dmirror_device *device)
{
	while (device->nr_chunks)
		destroy_chunk(device->chunks[--device->nr_chunks]);
	mutex_destroy(&device->chunks_lock);
}
