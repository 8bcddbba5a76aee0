// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks and tables: where they come from, and where they go.
 *
 * Functions that are not in dma_tables.h are described in hmm_mirror.h.
 */
#include <linux/export.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "dma_tables.h"

/* What hmm_mirror_dma_prepare() puts by at most. */
#define MAX_SPARE_BLOCKS	64UL
#define MAX_SPARE_TABLES	4UL

/**
 * hmm_mirror_dma_last_block() - the last block that begins before an address
 * @tables: where to look
 * @end: virtual address
 *
 * Return: the block, or NULL.
 */
struct dma_block *hmm_mirror_dma_last_block(struct hmm_mirror_dma_tables *tables,
					    unsigned long end)
{
	struct rb_node *node = tables->blocks.rb_node;
	unsigned long index = block_index(end - 1);
	struct dma_block *last = NULL;

	while (node) {
		struct dma_block *block = rb_entry(node, struct dma_block, node);

		if (block->index > index) {
			node = node->rb_left;
			continue;
		}
		last = block;
		node = node->rb_right;
	}
	return last;
}

static void insert_block(struct hmm_mirror_dma_tables *tables,
			 struct dma_block *block)
{
	struct rb_node **link = &tables->blocks.rb_node;
	struct rb_node *parent = NULL;

	while (*link) {
		parent = *link;
		if (block->index < rb_entry(parent, struct dma_block, node)->index)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&block->node, parent, link);
	rb_insert_color(&block->node, &tables->blocks);
	tables->last = block;
}

/**
 * hmm_mirror_dma_add_block() - add a block
 * @tables: where, which has no such block
 * @index: of the block
 *
 * Does not sleep.
 *
 * Return: the block, empty; NULL without memory.
 */
struct dma_block *hmm_mirror_dma_add_block(struct hmm_mirror_dma_tables *tables,
					   unsigned long index)
{
	struct dma_block *block = tables->spare_blocks;

	if (block) {
		tables->spare_blocks = block->next_spare;
		tables->nr_spare_blocks--;
		memset(block, 0, sizeof(*block));
	} else {
		block = kzalloc(sizeof(*block), GFP_NOWAIT | __GFP_NOWARN |
						__GFP_ACCOUNT);
		if (!block)
			return NULL;
	}
	block->index = index;
	insert_block(tables, block);
	return block;
}

static struct dma_table *get_table(struct hmm_mirror_dma_tables *tables)
{
	struct dma_table *table = tables->spare_tables;

	if (!table)
		return kzalloc(sizeof(*table), GFP_NOWAIT | __GFP_NOWARN |
					       __GFP_ACCOUNT);
	tables->spare_tables = table->next_spare;
	tables->nr_spare_tables--;
	memset(table, 0, sizeof(*table));
	return table;
}

/**
 * hmm_mirror_dma_free_block() - remove a block in which nothing is mapped
 * @dma: the mirror's device
 * @block: the block
 */
void hmm_mirror_dma_free_block(struct hmm_mirror_dma *dma, struct dma_block *block)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;

	if (block->table && compat_iova_is_allocated(&block->iova))
		compat_iova_free(dma->dev, &block->iova);
	if (tables->last == block)
		tables->last = NULL;
	rb_erase(&block->node, &tables->blocks);
	kfree(block->table);
	kfree(block);
}

/**
 * hmm_mirror_dma_add_table() - have a block take more than one run
 * @dma: the mirror's device
 * @block: a block without a table
 *
 * Does not sleep.
 *
 * Return: 0, or -EAGAIN without memory for a table.
 */
int hmm_mirror_dma_add_table(struct hmm_mirror_dma *dma, struct dma_block *block)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	struct dma_table *table = get_table(tables);

	if (!table)
		return -EAGAIN;
	if (block->nr_runs)
		put_run(table, block->only_at, &block->only);
	block->table = table;
	/* They share their memory. */
	memset(&block->only, 0, sizeof(block->only));
	memset(&block->iova, 0, sizeof(block->iova));
	if (tables->use_iova && tables->wide &&
	    !compat_iova_is_allocated(&tables->window) &&
	    !compat_iova_allocate(dma->dev, &block->iova, BLOCK_BYTES))
		memset(&block->iova, 0, sizeof(block->iova));
	return 0;
}

/**
 * hmm_mirror_dma_free_spares() - free what was put by
 * @blocks: list of blocks
 * @tables: list of tables
 */
void hmm_mirror_dma_free_spares(struct dma_block *blocks, struct dma_table *tables)
{
	while (blocks) {
		struct dma_block *block = blocks;

		blocks = block->next_spare;
		kfree(block);
	}
	while (tables) {
		struct dma_table *table = tables;

		tables = table->next_spare;
		kfree(table);
	}
}

/* Puts by so many, or fewer if some are there; the rest stays in the lists. */
static void put_by(struct hmm_mirror_dma_tables *tables, struct dma_block **blocks,
		   struct dma_table **spare_tables)
{
	while (*blocks && tables->nr_spare_blocks < MAX_SPARE_BLOCKS) {
		struct dma_block *block = *blocks;

		*blocks = block->next_spare;
		block->next_spare = tables->spare_blocks;
		tables->spare_blocks = block;
		tables->nr_spare_blocks++;
	}
	while (*spare_tables && tables->nr_spare_tables < MAX_SPARE_TABLES) {
		struct dma_table *table = *spare_tables;

		*spare_tables = table->next_spare;
		table->next_spare = tables->spare_tables;
		tables->spare_tables = table;
		tables->nr_spare_tables++;
	}
	tables->starved = false;
}

static int allocate_spares(unsigned long nr_blocks, struct dma_block **blocks,
			   struct dma_table **tables)
{
	unsigned long i;

	*blocks = NULL;
	*tables = NULL;
	for (i = 0; i < min(nr_blocks, MAX_SPARE_BLOCKS); i++) {
		struct dma_block *block = kmalloc(sizeof(*block),
						  GFP_KERNEL_ACCOUNT);

		if (!block)
			goto err_free;
		block->next_spare = *blocks;
		*blocks = block;
	}
	for (i = 0; i < min(nr_blocks, MAX_SPARE_TABLES); i++) {
		struct dma_table *table = kmalloc(sizeof(*table),
						  GFP_KERNEL_ACCOUNT);

		if (!table)
			goto err_free;
		table->next_spare = *tables;
		*tables = table;
	}
	return 0;

err_free:
	hmm_mirror_dma_free_spares(*blocks, *tables);
	return -ENOMEM;
}

int hmm_mirror_dma_prepare(struct hmm_mirror_dma *dma, unsigned long start,
			   unsigned long end)
{
	struct dma_block *blocks;
	struct dma_table *tables;
	int err;

	if (start >= end)
		return -EINVAL;
	err = allocate_spares(block_index(end - 1) - block_index(start) + 1,
			      &blocks, &tables);
	if (err)
		return err;
	if (mutex_lock_killable(&dma->mirror->lock)) {
		err = -EINTR;
	} else {
		if (dma->tables)
			put_by(dma->tables, &blocks, &tables);
		else
			err = -ENODEV;
		mutex_unlock(&dma->mirror->lock);
	}
	hmm_mirror_dma_free_spares(blocks, tables);
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_prepare);

/**
 * hmm_mirror_dma_feed() - get memory for the first of a mirror's devices that had none
 * @mirror: the mirror
 *
 * Sleeps, and takes the mirror's lock.
 *
 * Return: 0, -ENOMEM, or -EINTR if a signal is about to kill the caller.
 */
int hmm_mirror_dma_feed(struct hmm_mirror *mirror)
{
	struct hmm_mirror_dma *dma;
	struct dma_block *blocks;
	struct dma_table *tables;
	int err;

	err = allocate_spares(MAX_SPARE_TABLES, &blocks, &tables);
	if (err)
		return err;
	if (mutex_lock_killable(&mirror->lock)) {
		err = -EINTR;
	} else {
		list_for_each_entry(dma, &mirror->dmas, node) {
			if (dma->tables->starved) {
				put_by(dma->tables, &blocks, &tables);
				break;
			}
		}
		mutex_unlock(&mirror->lock);
	}
	hmm_mirror_dma_free_spares(blocks, tables);
	return err;
}
