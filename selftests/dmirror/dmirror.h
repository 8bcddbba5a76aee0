/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dmirror: a dummy device that mirrors address spaces and has memory of its
 * own. What its files know of each other.
 *
 *   main.c        the module, its devices, opening and closing them
 *   commands.c    the ioctls; the only file that touches user pointers
 *   page_table.c  the device's page table: what the mirror's callbacks maintain
 *   memory.c      the device's memory
 *   migrate.c     moving pages between system and device memory
 *   exclusive.c   pages that the CPU has to ask for
 *
 * Nothing is pinned. A page is reached only through the device's page table,
 * under the mirror's lock.
 */
#ifndef DMIRROR_H
#define DMIRROR_H

#include <linux/bits.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "hmm_mirror.h"

/* Pages that are migrated, or looked up, at a time: those of one PMD. */
#define DMIRROR_BATCH		(PMD_SIZE >> PAGE_SHIFT)

/* Chunks of device memory that a device can have at most. */
#define DMIRROR_MAX_CHUNKS	4

struct dmirror_chunk;
struct migrate_vma;

/**
 * struct dmirror_batch - the arrays of one step of a migration
 * @src: MIGRATE_PFN_* words of the pages as they are
 * @dst: MIGRATE_PFN_* words of the pages that take their place
 */
struct dmirror_batch {
	unsigned long src[DMIRROR_BATCH];
	unsigned long dst[DMIRROR_BATCH];
};

/**
 * struct dmirror_device - one device
 * @misc: /dev/hmm_dmirror*
 * @name: its name
 * @type: MEMORY_DEVICE_PRIVATE or MEMORY_DEVICE_COHERENT
 * @address: coherent: physical address of the memory
 * @has_memory: there is device memory: pages can be migrated
 * @chunks_lock: held while chunks come and go, and while pages are evicted
 * @batch: for evictions, which must not depend on an allocation
 * @lock: protects what follows. Pages are freed in any context
 * @chunks: the device's memory
 * @nr_chunks: number of chunks
 * @nr_used: pages of all chunks that are in use
 */
struct dmirror_device {
	struct miscdevice misc;
	char name[16];
	enum memory_type type;
	phys_addr_t address;
	bool has_memory;

	struct mutex chunks_lock; /* chunks come and go, evictions */
	struct dmirror_batch batch;

	spinlock_t lock; /* the allocator */
	struct dmirror_chunk *chunks[DMIRROR_MAX_CHUNKS];
	unsigned int nr_chunks;
	unsigned long nr_used;
};

/**
 * struct dmirror_page_table - a device page table
 * @leaves: the tables of DMIRROR_BATCH entries each, by address >> PMD_SHIFT
 * @nr_leaves: number of them, at most DMIRROR_MAX_LEAVES
 */
struct dmirror_page_table {
	struct xarray leaves;
	atomic_t nr_leaves;
};

/**
 * struct dmirror_client - an open file: the mirror of one address space
 * @mirror: its mirror
 * @mm: the address space; kept alive, as a struct, by @mirror
 * @device: the device that was opened
 * @table: what the device may use at the moment
 * @fail_huge: bit 0: the next allocation of a huge page fails
 */
struct dmirror_client {
	struct hmm_mirror mirror;
	struct mm_struct *mm;
	struct dmirror_device *device;
	struct dmirror_page_table table;
	unsigned long fail_huge;
};

/* commands.c */
long dmirror_ioctl(struct file *file, unsigned int command, unsigned long arg);

/*
 * page_table.c: an entry is a page frame number, shifted, and flags. 0 is no
 * entry.
 */
#define DMIRROR_ENTRY_VALID	BIT(0)
#define DMIRROR_ENTRY_WRITE	BIT(1)
#define DMIRROR_ENTRY_EXCLUSIVE	BIT(2)
#define DMIRROR_ENTRY_SHIFT	3

/*
 * How much room is made at a time. Page tables are dropped when there are too many, so
 * that a process cannot use any amount of them.
 */
#define DMIRROR_WINDOW		(32 * PMD_SIZE)
#define DMIRROR_MAX_LEAVES	1024

extern const struct hmm_mirror_ops dmirror_mirror_ops;

void dmirror_table_init(struct dmirror_page_table *table);
void dmirror_table_destroy(struct dmirror_page_table *table);
unsigned long dmirror_table_get(struct dmirror_client *client,
				unsigned long addr);
unsigned long dmirror_table_next(struct dmirror_client *client,
				 unsigned long addr, unsigned long end);
int dmirror_table_set(struct dmirror_client *client, unsigned long addr,
		      unsigned long entry);
int dmirror_populate(struct dmirror_client *client, unsigned long start,
		     unsigned long end, unsigned long flags,
		     unsigned long timeout);

/* exclusive.c */
int dmirror_make_exclusive(struct dmirror_client *client, unsigned long start,
			   unsigned long end);

#if IS_ENABLED(CONFIG_DEVICE_MIGRATION)

/* memory.c */
int dmirror_memory_init(struct dmirror_device *device);
void dmirror_memory_destroy(struct dmirror_device *device);
void dmirror_memory_reserve(struct dmirror_device *device);
struct page *dmirror_memory_alloc(struct dmirror_device *device,
				  unsigned int order, struct mm_struct *mm);
bool dmirror_memory_owns(struct dmirror_device *device, unsigned long pfn);
struct page *dmirror_memory_data(unsigned long pfn);
struct dmirror_device *dmirror_memory_device(struct page *page);
void dmirror_memory_evict(struct dmirror_device *device);
int dmirror_memory_release(struct dmirror_device *device);

/* migrate.c */
int dmirror_migrate_to_device(struct dmirror_client *client,
			      unsigned long start, unsigned long end);
int dmirror_migrate_to_system(struct dmirror_client *client,
			      unsigned long start, unsigned long end,
			      unsigned long *migrated);
void dmirror_migrate_evict(struct dmirror_device *device, unsigned long pfn,
			   unsigned long npages);
vm_fault_t dmirror_migrate_to_ram(struct vm_fault *fault);

#else /* !CONFIG_DEVICE_MIGRATION */

static inline int dmirror_memory_init(struct dmirror_device *device)
{
	return 0;
}

static inline void dmirror_memory_destroy(struct dmirror_device *device)
{
}

static inline bool dmirror_memory_owns(struct dmirror_device *device,
				       unsigned long pfn)
{
	return false;
}

static inline struct page *dmirror_memory_data(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

static inline void dmirror_memory_evict(struct dmirror_device *device)
{
}

static inline int dmirror_memory_release(struct dmirror_device *device)
{
	return -EOPNOTSUPP;
}

static inline int dmirror_migrate_to_device(struct dmirror_client *client,
					    unsigned long start,
					    unsigned long end)
{
	return -EOPNOTSUPP;
}

static inline int dmirror_migrate_to_system(struct dmirror_client *client,
					    unsigned long start,
					    unsigned long end,
					    unsigned long *migrated)
{
	return -EOPNOTSUPP;
}

#endif /* !CONFIG_DEVICE_MIGRATION */

#endif /* DMIRROR_H */
