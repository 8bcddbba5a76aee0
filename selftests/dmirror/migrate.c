// SPDX-License-Identifier: GPL-2.0
/*
 * Moving pages between system and device memory.
 *
 * Nothing here touches a device's page table. The MMU notifier tells all mirrors that a
 * page moves, and where it is then is found, as for all pages, by hmm_mirror_populate().
 * So it does not matter who moves a page: this client, another one of the same device, a
 * CPU fault, or an eviction.
 */
#include <linux/highmem.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "dmirror.h"

/**
 * struct migration - one step of a migration, of DMIRROR_BATCH pages at most
 * @device: to or from whose memory
 * @src: MIGRATE_PFN_* words, from migrate_vma_setup()
 * @dst: MIGRATE_PFN_* words of the pages that take their place
 * @npages: number of pages
 * @vma: where the pages are mapped; NULL if that is unknown
 * @start: at which address
 * @fail_huge: bit 0: make the next allocation of a huge page fail; or NULL
 */
struct migration {
	struct dmirror_device *device;
	const unsigned long *src;
	unsigned long *dst;
	unsigned long npages;
	struct vm_area_struct *vma;
	unsigned long start;
	unsigned long *fail_huge;
};

static unsigned long address_of(const struct migration *migration,
				unsigned long index)
{
	return migration->start + (index << PAGE_SHIFT);
}

/* Number of pages that the word @src stands for. */
static unsigned long pages_of(unsigned long src)
{
	return src & COMPAT_PFN_COMPOUND ? DMIRROR_BATCH : 1;
}

static bool huge_shall_fail(const struct migration *migration)
{
	return migration->fail_huge &&
	       test_and_clear_bit(0, migration->fail_huge);
}

/* Copies @page, or nothing if there was none yet, into device memory. */
static void fill_device_page(struct page *page, struct page *device_page)
{
	struct page *data = dmirror_memory_data(page_to_pfn(device_page));

	if (page)
		copy_highpage(data, page);
	else
		clear_highpage(data);
}

static bool page_to_device(const struct migration *migration,
			   unsigned long index, struct page *page)
{
	struct page *device_page = dmirror_memory_alloc(migration->device, 0,
							migration->vma->vm_mm);

	if (!device_page)
		return false;
	fill_device_page(page, device_page);
	migration->dst[index] = migrate_pfn(page_to_pfn(device_page));
	return true;
}

static bool huge_page_to_device(const struct migration *migration,
				unsigned long index, struct page *page)
{
	struct page *device_page;
	unsigned long i;

	if (huge_shall_fail(migration))
		return false;
	device_page = dmirror_memory_alloc(migration->device,
					   PMD_SHIFT - PAGE_SHIFT,
					   migration->vma->vm_mm);
	if (!device_page)
		return false;
	for (i = 0; i < DMIRROR_BATCH; i++)
		fill_device_page(page ? page + i : NULL, device_page + i);
	migration->dst[index] = migrate_pfn(page_to_pfn(device_page)) |
				COMPAT_PFN_COMPOUND;
	return true;
}

/* Frees destination pages that will not be used. */
static void drop_destinations(unsigned long *dst, unsigned long npages)
{
	unsigned long i;

	for (i = 0; i < npages; i++) {
		struct page *page = migrate_pfn_to_page(dst[i]);

		if (page) {
			unlock_page(page);
			put_page(page);
		}
		dst[i] = 0;
	}
}

/*
 * A huge page goes to single pages. Any part of a page that exists can go: the kernel
 * splits it, and leaves in place what has no destination. A hole must go as a whole.
 */
static void split_to_device(const struct migration *migration,
			    unsigned long index, struct page *page)
{
	unsigned long i;

	for (i = 0; i < DMIRROR_BATCH; i++) {
		if (page_to_device(migration, index + i,
				   page ? page + i : NULL) || page)
			continue;
		drop_destinations(&migration->dst[index], i);
		return;
	}
}

/* Allocates and fills the destinations of a migration to device memory. */
static void copy_to_device(const struct migration *migration)
{
	unsigned long i, nr;

	for (i = 0; i < migration->npages; i += nr) {
		unsigned long src = migration->src[i];
		struct page *page = migrate_pfn_to_page(src);

		nr = 1;
		if (!(src & MIGRATE_PFN_MIGRATE))
			continue;
		/* Peer-to-peer memory, for example: it stays where it is. */
		if (page && is_zone_device_page(page))
			continue;
		nr = pages_of(src);
		if (nr == 1)
			page_to_device(migration, i, page);
		else if (!huge_page_to_device(migration, i, page))
			split_to_device(migration, i, page);
	}
}

static bool page_to_system(const struct migration *migration,
			   unsigned long index, unsigned long pfn)
{
	struct page *page;

	if (migration->vma)
		page = alloc_page_vma(GFP_HIGHUSER_MOVABLE, migration->vma,
				      address_of(migration, index));
	else
		page = alloc_page(GFP_HIGHUSER_MOVABLE);
	if (!page)
		return false;
	lock_page(page);
	copy_highpage(page, dmirror_memory_data(pfn));
	migration->dst[index] = migrate_pfn(page_to_pfn(page));
	return true;
}

static bool huge_page_to_system(const struct migration *migration,
				unsigned long index, unsigned long pfn)
{
	struct page *page;
	unsigned long i;

	if (huge_shall_fail(migration))
		return false;
	page = compat_alloc_huge_page_vma(GFP_TRANSHUGE, migration->vma,
					  address_of(migration, index));
	if (!page)
		return false;
	lock_page(page);
	for (i = 0; i < DMIRROR_BATCH; i++)
		copy_highpage(page + i, dmirror_memory_data(pfn + i));
	migration->dst[index] = migrate_pfn(page_to_pfn(page)) |
				COMPAT_PFN_COMPOUND;
	return true;
}

/* Like split_to_device(). Only a page whose mappings are known can be split. */
static bool split_to_system(const struct migration *migration,
			    unsigned long index, unsigned long pfn)
{
	unsigned long i;
	bool complete = true;

	if (!migration->vma)
		return false;
	for (i = 0; i < DMIRROR_BATCH; i++) {
		if (!page_to_system(migration, index + i, pfn + i))
			complete = false;
	}
	return complete;
}

/*
 * Allocates and fills the destinations of a migration from device memory. Returns whether
 * there was memory for all of them. Pages without a destination stay.
 */
static bool copy_to_system(const struct migration *migration)
{
	unsigned long i, nr;
	bool complete = true;

	for (i = 0; i < migration->npages; i += nr) {
		unsigned long src = migration->src[i];
		struct page *page = migrate_pfn_to_page(src);
		unsigned long pfn;

		nr = 1;
		if (!page || !(src & MIGRATE_PFN_MIGRATE))
			continue;
		pfn = page_to_pfn(page);
		nr = pages_of(src);
		if (nr == 1)
			complete &= page_to_system(migration, i, pfn);
		else if (!huge_page_to_system(migration, i, pfn))
			complete &= split_to_system(migration, i, pfn);
	}
	return complete;
}

static unsigned long count_migrated(const struct migrate_vma *args)
{
	const unsigned long done = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;
	unsigned long i, count = 0;

	for (i = 0; i < args->npages; i++) {
		if ((args->src[i] & done) == done)
			count += pages_of(args->src[i]);
	}
	return count;
}

static unsigned long device_memory(const struct dmirror_device *device)
{
	if (device->type == MEMORY_DEVICE_COHERENT)
		return MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	/* Coherent memory is migrated page by page. */
	return MIGRATE_VMA_SELECT_DEVICE_PRIVATE | COMPAT_SELECT_COMPOUND;
}

/*
 * Migrates [@args->start, @args->end) of @args->vma. Returns 0 even if nothing, or not
 * everything, could be migrated, except for lack of memory.
 */
static int migrate_step(struct dmirror_device *device, struct migrate_vma *args,
			bool to_device, unsigned long *fail_huge,
			unsigned long *migrated)
{
	struct migration migration = {
		.device = device,
		.src = args->src,
		.dst = args->dst,
		.vma = args->vma,
		.start = args->start,
		.fail_huge = fail_huge,
	};
	bool complete = true;
	int err;

	/* The walk clears only what it gets to. */
	memset(args->dst, 0,
	       ((args->end - args->start) >> PAGE_SHIFT) * sizeof(*args->dst));
	err = migrate_vma_setup(args);
	if (err || !args->cpages)
		return err;
	migration.npages = args->npages;
	if (to_device)
		copy_to_device(&migration);
	else
		complete = copy_to_system(&migration);
	migrate_vma_pages(args);
	*migrated += count_migrated(args);
	migrate_vma_finalize(args);
	return complete ? 0 : -ENOMEM;
}

/* Migrates a part of [@start, @end), up to @next. */
static int migrate_part(struct dmirror_client *client,
			struct dmirror_batch *batch, bool to_device,
			unsigned long start, unsigned long end,
			unsigned long *next, unsigned long *migrated)
{
	struct dmirror_device *device = client->device;
	struct migrate_vma args = {
		.src = batch->src,
		.dst = batch->dst,
		.start = start,
		.pgmap_owner = device,
	};
	int err = -EINVAL;

	if (to_device) {
		args.flags = MIGRATE_VMA_SELECT_SYSTEM;
		if (device->type == MEMORY_DEVICE_PRIVATE)
			args.flags |= COMPAT_SELECT_COMPOUND;
		dmirror_memory_reserve(device);
	} else {
		args.flags = device_memory(device);
	}

	if (mmap_read_lock_killable(client->mm))
		return -EINTR;
	args.vma = vma_lookup(client->mm, start);
	if (args.vma && (args.vma->vm_flags & VM_READ)) {
		*next = min3(end, ALIGN(start + 1, PMD_SIZE),
			     args.vma->vm_end);
		args.end = *next;
		err = migrate_step(device, &args, to_device, &client->fail_huge,
				   migrated);
	}
	mmap_read_unlock(client->mm);
	return err;
}

static int migrate_range(struct dmirror_client *client, bool to_device,
			 unsigned long start, unsigned long end,
			 unsigned long *migrated)
{
	struct dmirror_batch *batch;
	int err = 0;

	*migrated = 0;
	if (!client->device->has_memory)
		return -EOPNOTSUPP;
	batch = kmalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return -ENOMEM;
	if (!mmget_not_zero(client->mm)) {
		kfree(batch);
		return -ESRCH;
	}
	while (start < end && !err) {
		if (fatal_signal_pending(current))
			err = -EINTR;
		else
			err = migrate_part(client, batch, to_device, start, end,
					   &start, migrated);
		cond_resched();
	}
	mmput(client->mm);
	kfree(batch);
	return err;
}

/**
 * dmirror_migrate_to_device() - move pages to the client's device
 * @client: client
 * @start: first address
 * @end: end of the range
 *
 * Pages that cannot be moved, or for which the device has no memory, stay.
 *
 * Return: 0, -EINVAL (a part of the range is not mapped, not readable, or not
 * of a kind that can be migrated), -EOPNOTSUPP (no device memory), -ENOMEM,
 * -ESRCH (the address space is gone), -EINTR.
 */
int dmirror_migrate_to_device(struct dmirror_client *client,
			      unsigned long start, unsigned long end)
{
	unsigned long migrated;

	return migrate_range(client, true, start, end, &migrated);
}

/**
 * dmirror_migrate_to_system() - move pages from the client's device back
 * @client: client
 * @start: first address
 * @end: end of the range
 * @migrated: number of pages that have been moved
 *
 * Return: as dmirror_migrate_to_device(); -ENOMEM also if there was no system
 * memory for a page, which then stays.
 */
int dmirror_migrate_to_system(struct dmirror_client *client,
			      unsigned long start, unsigned long end,
			      unsigned long *migrated)
{
	return migrate_range(client, false, start, end, migrated);
}

/**
 * dmirror_migrate_evict() - move pages to system memory, wherever they are mapped
 * @device: device, its chunks_lock held
 * @pfn: first page frame
 * @npages: number of pages, at most DMIRROR_BATCH
 *
 * Does what is possible at the moment.
 */
void dmirror_migrate_evict(struct dmirror_device *device, unsigned long pfn,
			   unsigned long npages)
{
	unsigned long *src = device->batch.src;
	unsigned long *dst = device->batch.dst;
	struct migration migration = {
		.device = device,
		.src = src,
		.dst = dst,
		.npages = npages,
	};

	memset(&device->batch, 0, sizeof(device->batch));
	migrate_device_range(src, pfn, npages);
	copy_to_system(&migration);
	migrate_device_pages(src, dst, npages);
	migrate_device_finalize(src, dst, npages);
}

static bool keep_pages;
module_param(keep_pages, bool, 0600);
MODULE_PARM_DESC(keep_pages,
		 "Private pages that are touched stay where they are");

/**
 * dmirror_migrate_to_ram() - the CPU has touched a page of private memory
 * @fault: the fault
 *
 * A page that is being migrated already, or is busy, is no error: the CPU tries
 * again.
 *
 * Return: 0, VM_FAULT_OOM or VM_FAULT_SIGBUS.
 */
vm_fault_t dmirror_migrate_to_ram(struct vm_fault *fault)
{
	struct dmirror_device *device = dmirror_memory_device(fault->page);
	unsigned long src = 0, dst = 0, migrated = 0;
	struct migrate_vma args = {
		.vma = fault->vma,
		.src = &src,
		.dst = &dst,
		.pgmap_owner = device,
		.fault_page = fault->page,
		.flags = device_memory(device),
	};
	struct dmirror_batch *batch = NULL;
	unsigned long size = PAGE_SIZE;
	int err;

	/* Like amdkfd, if it touches them itself. */
	if (READ_ONCE(keep_pages))
		return 0;

	/* No entry of a page table: the page is mapped by a PMD. */
	if (COMPAT_HUGE_MIGRATION && !fault->pte) {
		batch = kmalloc(sizeof(*batch), GFP_KERNEL);
		if (!batch)
			return VM_FAULT_OOM;
		args.src = batch->src;
		args.dst = batch->dst;
		size = PMD_SIZE;
	}
	args.start = ALIGN_DOWN(fault->address, size);
	args.end = args.start + size;
	err = migrate_step(device, &args, false, NULL, &migrated);
	kfree(batch);
	if (!err || migrated)
		return 0;
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}
