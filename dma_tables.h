/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What of a mirror is mapped for a device, and where.
 *
 * It is kept in blocks of 512 pages, which is what a PMD maps where pages have 4K. A block
 * with one run has it in itself, so that huge pages cost 64 bytes each; the second run
 * takes a table with a place for each page. Blocks are in an rb-tree, whose nodes they
 * bring along: with a block and a table put by any run finds its place, without a wait for
 * memory.
 *
 * All of it is under the mirror's lock.
 */
#ifndef HMM_MIRROR_DMA_TABLES_H
#define HMM_MIRROR_DMA_TABLES_H

#include <linux/rbtree.h>
#include <linux/types.h>

#include "compat.h"
#include "internal.h"

#define BLOCK_PAGES	512UL
#define BLOCK_BYTES	(BLOCK_PAGES << PAGE_SHIFT)

/**
 * struct dma_run - a place in a table, or the only one of a block
 * @pfn: of the run's first page; for a later page: how many places before it the run begins
 * @npages: pages of the run that begins here; 0 if none does
 * @order: order at which the CPU maps it
 * @kind: enum hmm_mirror_dma_kind
 * @write: mapped for writing
 * @written: to be marked dirty
 * @linked: mapped by a link in I/O virtual addresses that belong to more than this run
 * @direct: mapped without a call, and to be unmapped without one
 * @word: all of these
 * @dma: address for the device
 *
 * All zero where nothing is mapped.
 */
struct dma_run {
	union {
		struct {
			u64 pfn : 41;
			u64 npages : 10;
			u64 order : 5;
			u64 kind : 2;
			u64 write : 1;
			u64 written : 1;
			u64 linked : 1;
			u64 direct : 1;
		};
		u64 word;
	};
	dma_addr_t dma;
};

static_assert(HMM_MIRROR_PFN_PFN_MASK >> 41 == 0);
static_assert(HMM_MIRROR_DMA_SYSTEM == 0);

/* One of a field, to be multiplied: words are made of these where bit fields would be slow. */
#define RUN_ONE(field)	(((struct dma_run){ .field = 1 }).word)

struct dma_table {
	union {
		struct dma_run runs[BLOCK_PAGES];
		struct dma_table *next_spare;
	};
};

/**
 * struct dma_block - 512 pages, or what is mapped of them
 * @node: in hmm_mirror_dma_tables.blocks
 * @next_spare: instead, while it is put by
 * @index: virtual address, in blocks
 * @table: a place for each page; NULL while there is one run
 * @only: without @table: the run
 * @iova: with @table: addresses for all pages
 * @only_at: without @table: at which page of the block the run begins
 * @nr_runs: how many there are
 * @nr_pages: pages of all of them
 * @nr_read_only: runs that are mapped for reading only
 */
struct dma_block {
	union {
		struct rb_node node;
		struct dma_block *next_spare;
	};
	unsigned long index;
	struct dma_table *table;
	union {
		struct dma_run only;
		struct compat_iova iova;
	};
	u16 only_at;
	u16 nr_runs;
	u16 nr_pages;
	u16 nr_read_only;
};

static_assert(sizeof(struct dma_block) <= 64);

/**
 * struct hmm_mirror_dma_tables - what of a mirror is mapped for a device
 * @blocks: struct dma_block, by index
 * @last: that has been looked up last, or NULL
 * @domain: translation of the device's addresses, NULL if there is none
 * @max_pages: of a run
 * @max_p2p_pages: of a run of another device's memory
 * @nr_read_only: runs that are mapped for reading only
 * @tracked: HMM_MIRROR_DMA_TRACKED
 * @use_iova: the mirror, and its blocks, may have I/O virtual addresses of their own
 * @wide: the device reaches so many addresses that each block may have its own
 * @direct: the device takes physical addresses, or these plus a constant, and all that the
 *	DMA API does for it is to say so
 * @max_link_pages: contiguous pages that are linked at a time, few enough that the IOMMU
 *	maps each by an entry of its own: any of them may be unlinked alone
 * @starved: there was no memory for a block or a table
 * @zapped: hmm_mirror_dma_ops_unmap() has zapped something, and is about to unmap it
 * @zapped_start: from here
 * @zapped_end: to here
 * @window: I/O virtual addresses for all of the mirror, if it has them
 * @window_start: virtual address of the first of them
 * @spare_blocks: put by
 * @spare_tables: put by
 * @nr_spare_blocks: how many
 * @nr_spare_tables: how many
 */
struct hmm_mirror_dma_tables {
	struct rb_root blocks;
	struct dma_block *last;
	struct iommu_domain *domain;
	unsigned long max_pages;
	unsigned long max_p2p_pages;
	unsigned long nr_read_only;
	bool tracked;
	bool use_iova;
	bool wide;
	bool direct;
	bool starved;
	bool zapped;
	unsigned long zapped_start;
	unsigned long zapped_end;
	unsigned long max_link_pages;
	struct compat_iova window;
	unsigned long window_start;
	struct dma_block *spare_blocks;
	struct dma_table *spare_tables;
	unsigned int nr_spare_blocks;
	unsigned int nr_spare_tables;
};

/* Numbers of pages and blocks, from virtual addresses */
static inline unsigned long block_index(unsigned long addr)
{
	return addr / BLOCK_BYTES;
}

static inline unsigned int page_in_block(unsigned long addr)
{
	return addr % BLOCK_BYTES >> PAGE_SHIFT;
}

static inline unsigned long block_address(const struct dma_block *block, unsigned int at)
{
	return block->index * BLOCK_BYTES + ((unsigned long)at << PAGE_SHIFT);
}

static inline size_t run_size(const struct dma_run *run)
{
	return (size_t)run->npages << PAGE_SHIFT;
}

static inline struct dma_block *
find_block(struct hmm_mirror_dma_tables *tables, unsigned long index)
{
	struct rb_node *node = tables->blocks.rb_node;

	if (tables->last && tables->last->index == index)
		return tables->last;
	while (node) {
		struct dma_block *block = rb_entry(node, struct dma_block, node);

		if (index == block->index) {
			tables->last = block;
			return block;
		}
		node = index < block->index ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/* The first block of which something is in [@start, @end), virtual addresses. */
static inline struct dma_block *
first_block(struct hmm_mirror_dma_tables *tables, unsigned long start,
	    unsigned long end)
{
	struct rb_node *node = tables->blocks.rb_node;
	unsigned long index = block_index(start);
	struct dma_block *first = NULL;

	if (tables->last && tables->last->index == index)
		return tables->last;
	while (node) {
		struct dma_block *block = rb_entry(node, struct dma_block, node);

		if (block->index < index) {
			node = node->rb_right;
			continue;
		}
		first = block;
		node = node->rb_left;
	}
	if (first && first->index > block_index(end - 1))
		return NULL;
	return first;
}

static inline struct dma_block *next_block(const struct dma_block *block, unsigned long end)
{
	struct dma_block *next = rb_entry_safe(rb_next(&block->node), struct dma_block,
					       node);

	if (next && next->index > block_index(end - 1))
		return NULL;
	return next;
}

/* The run around page @at, which then becomes that of its first page, or NULL. */
static inline struct dma_run *find_run(struct dma_block *block, unsigned int *at)
{
	struct dma_run *run;

	if (!block->table) {
		if (!block->nr_runs || *at < block->only_at ||
		    *at >= block->only_at + block->only.npages)
			return NULL;
		*at = block->only_at;
		return &block->only;
	}
	run = &block->table->runs[*at];
	if (!run->npages) {
		if (!run->pfn)
			return NULL;
		*at -= run->pfn;
		run -= run->pfn;
	}
	return run;
}

/*
 * The first run of which something is in [*@at, @end), pages of the block; *@at becomes
 * that of its first page, which may be before. NULL if there is none.
 */
static inline struct dma_run *
next_run(struct dma_block *block, unsigned int *at, unsigned int end)
{
	if (!block->table) {
		if (!block->nr_runs || block->only_at >= end ||
		    block->only_at + block->only.npages <= *at)
			return NULL;
		*at = block->only_at;
		return &block->only;
	}
	for (; *at < end; ++*at) {
		struct dma_run *run = find_run(block, at);

		if (run)
			return run;
	}
	return NULL;
}

/* Writes a run into a table: all of its pages know where it begins. */
static inline void put_run(struct dma_table *table, unsigned int at,
			   const struct dma_run *run)
{
	unsigned int i;

	table->runs[at] = *run;
	for (i = 1; i < run->npages; i++)
		table->runs[at + i] = (struct dma_run){ .word = i * RUN_ONE(pfn) };
}

/* Which pages of @block are in an interval of virtual addresses that reaches into it. */
static inline unsigned int first_page(const struct dma_block *block, unsigned long start)
{
	return start <= block_address(block, 0) ? 0 : page_in_block(start);
}

static inline unsigned int last_page(const struct dma_block *block, unsigned long end)
{
	return end - 1 >= block_address(block, BLOCK_PAGES - 1) ?
		BLOCK_PAGES - 1 : page_in_block(end - 1);
}

struct dma_block *hmm_mirror_dma_last_block(struct hmm_mirror_dma_tables *tables,
					    unsigned long end);
struct dma_block *hmm_mirror_dma_add_block(struct hmm_mirror_dma_tables *tables,
					   unsigned long index);
void hmm_mirror_dma_free_block(struct hmm_mirror_dma *dma, struct dma_block *block);
int hmm_mirror_dma_add_table(struct hmm_mirror_dma *dma, struct dma_block *block);
int hmm_mirror_dma_feed(struct hmm_mirror *mirror);
void hmm_mirror_dma_free_spares(struct dma_block *blocks, struct dma_table *tables);

#endif /* HMM_MIRROR_DMA_TABLES_H */
