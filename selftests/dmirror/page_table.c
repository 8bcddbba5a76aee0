// SPDX-License-Identifier: GPL-2.0
/*
 * The device's page table, and the mirror's callbacks, which maintain it.
 *
 * Tables are allocated before the mirror is populated, because its map callback must not
 * wait for memory, and are freed only under the mirror's lock, which everybody who looks
 * into them holds.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "dmirror.h"

struct dmirror_leaf {
	unsigned long entries[DMIRROR_BATCH];
};

static unsigned long *entry_of(struct dmirror_page_table *table,
			       unsigned long addr)
{
	struct dmirror_leaf *leaf = xa_load(&table->leaves, addr >> PMD_SHIFT);

	return leaf ? &leaf->entries[(addr & ~PMD_MASK) >> PAGE_SHIFT] : NULL;
}

/* Clears [@start, @end), however long that is: visits only existing tables. */
static void clear_range(struct dmirror_page_table *table, unsigned long start,
			unsigned long end)
{
	struct dmirror_leaf *leaf;
	unsigned long index;

	xa_for_each_range(&table->leaves, index, leaf, start >> PMD_SHIFT,
			  (end - 1) >> PMD_SHIFT) {
		unsigned long base = index << PMD_SHIFT;
		unsigned long first = 0, last = DMIRROR_BATCH;

		if (start > base)
			first = (start - base) >> PAGE_SHIFT;
		if (end - base < PMD_SIZE)
			last = (end - base) >> PAGE_SHIFT;
		memset(&leaf->entries[first], 0,
		       (last - first) * sizeof(leaf->entries[0]));
	}
}

static void free_leaves(struct dmirror_page_table *table)
{
	struct dmirror_leaf *leaf;
	unsigned long index;

	xa_for_each(&table->leaves, index, leaf) {
		xa_erase(&table->leaves, index);
		kfree(leaf);
		atomic_dec(&table->nr_leaves);
	}
}

static int map_extent(struct dmirror_client *client,
		      const struct hmm_mirror_extent *extent)
{
	unsigned long flags = DMIRROR_ENTRY_VALID;
	unsigned long i;

	/*
	 * Pages that cannot be used have no entries: unmap has seen to that. Except pages
	 * that are exclusive to the device, which show up here too.
	 */
	if (!(extent->flags & HMM_MIRROR_PFN_VALID))
		return 0;
	if (extent->flags & HMM_MIRROR_PFN_WRITE)
		flags |= DMIRROR_ENTRY_WRITE;
	for (i = 0; i < extent->npages; i++) {
		unsigned long entry = (extent->pfn + i) << DMIRROR_ENTRY_SHIFT;
		int err;

		err = dmirror_table_set(client,
					extent->addr + (i << PAGE_SHIFT),
					entry | flags);
		if (err)
			return err;
	}
	return 0;
}

static int dmirror_map(struct hmm_mirror *mirror,
		       const struct hmm_mirror_extent *extents, unsigned int nr)
{
	struct dmirror_client *client =
		container_of(mirror, struct dmirror_client, mirror);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		int err = map_extent(client, &extents[i]);

		if (err)
			return err;
	}
	return 0;
}

static void dmirror_unmap(struct hmm_mirror *mirror, unsigned long start,
			  unsigned long end, enum mmu_notifier_event event)
{
	struct dmirror_client *client =
		container_of(mirror, struct dmirror_client, mirror);

	clear_range(&client->table, start, end);
}

const struct hmm_mirror_ops dmirror_mirror_ops = {
	.map = dmirror_map,
	.unmap = dmirror_unmap,
};

void dmirror_table_init(struct dmirror_page_table *table)
{
	xa_init_flags(&table->leaves, XA_FLAGS_ACCOUNT);
	atomic_set(&table->nr_leaves, 0);
}

/* The mirror is no longer registered. */
void dmirror_table_destroy(struct dmirror_page_table *table)
{
	free_leaves(table);
	xa_destroy(&table->leaves);
}

/**
 * dmirror_table_get() - look a page up
 * @client: client, its mirror's lock held
 * @addr: address
 *
 * Return: the entry, which is true for as long as the lock is held, or 0.
 */
unsigned long dmirror_table_get(struct dmirror_client *client,
				unsigned long addr)
{
	unsigned long *entry = entry_of(&client->table, addr);

	return entry ? *entry : 0;
}

/**
 * dmirror_table_next() - skip addresses for which there is no table
 * @client: client, its mirror's lock held
 * @addr: first address
 * @end: end of the range
 *
 * Return: the first address from @addr on that may have an entry, or @end.
 */
unsigned long dmirror_table_next(struct dmirror_client *client,
				 unsigned long addr, unsigned long end)
{
	unsigned long index = addr >> PMD_SHIFT;

	if (!xa_find(&client->table.leaves, &index, (end - 1) >> PMD_SHIFT,
		     XA_PRESENT))
		return end;
	return max(addr, index << PMD_SHIFT);
}

/**
 * dmirror_table_set() - set an entry
 * @client: client, its mirror's lock held
 * @addr: address
 * @entry: the entry
 *
 * Return: 0, or -EAGAIN if the table has been dropped since room was made.
 */
int dmirror_table_set(struct dmirror_client *client, unsigned long addr,
		      unsigned long entry)
{
	unsigned long *slot = entry_of(&client->table, addr);

	if (!slot)
		return -EAGAIN;
	*slot = entry;
	return 0;
}

/*
 * Makes room for entries of [@start, @end), a window at most. If there are too many
 * leaves, all of them go: where the device comes back to, it faults again, and asks again
 * for exclusive access that it had there.
 */
static int make_room(struct dmirror_client *client, unsigned long start,
		     unsigned long end)
{
	struct dmirror_page_table *table = &client->table;
	unsigned long index;

	if (atomic_read(&table->nr_leaves) > DMIRROR_MAX_LEAVES) {
		hmm_mirror_lock(&client->mirror);
		free_leaves(table);
		hmm_mirror_unlock(&client->mirror);
	}
	for (index = start >> PMD_SHIFT; index <= (end - 1) >> PMD_SHIFT;
	     index++) {
		struct dmirror_leaf *leaf;
		int err;

		if (xa_load(&table->leaves, index))
			continue;
		leaf = kzalloc(sizeof(*leaf), GFP_KERNEL_ACCOUNT);
		if (!leaf)
			return -ENOMEM;
		/* Counted first, so that it cannot be dropped uncounted. */
		atomic_inc(&table->nr_leaves);
		err = xa_insert(&table->leaves, index, leaf, GFP_KERNEL);
		if (err) {
			atomic_dec(&table->nr_leaves);
			kfree(leaf);
			if (err != -EBUSY)
				return err;
		}
	}
	return 0;
}

/**
 * dmirror_populate() - have the mirror fill the page table
 * @client: client
 * @start: first address
 * @end: end of the range, at most DMIRROR_WINDOW further
 * @flags: what is asked of the pages, as in struct hmm_mirror_request
 * @timeout: jiffies, 0 for no limit
 *
 * Return: 0 or the errno of hmm_mirror_populate().
 */
int dmirror_populate(struct dmirror_client *client, unsigned long start,
		     unsigned long end, unsigned long flags,
		     unsigned long timeout)
{
	struct hmm_mirror_request request = {
		.start = start,
		.end = end,
		.default_flags = flags,
		.timeout = timeout,
	};
	int err;

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		err = make_room(client, start, end);
		if (!err)
			err = hmm_mirror_populate(&client->mirror, &request);
	} while (err == -EAGAIN);
	return err;
}
