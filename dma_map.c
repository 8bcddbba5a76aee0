// SPDX-License-Identifier: GPL-2.0
/*
 * Extents to DMA addresses, and back before the pages go away.
 *
 * What is mapped is kept in blocks of 512 pages, which is what a PMD maps where pages have
 * 4K. A block with one run has it in itself, so that huge pages cost 64 bytes each; the
 * second run takes a table with a place for each page. Blocks are in an rb-tree, whose
 * nodes they bring along: with a block and a table put by any run finds its place, and
 * nothing here waits for memory.
 *
 * Where there is an IOMMU and the kernel has calls for it, a block with a table has I/O
 * virtual addresses for all its pages, allocated once. Neighbours are then unlinked, and
 * the IOMMU flushed, with one call. A window with fixed addresses has them for all blocks.
 * Where there is none, and the DMA API has nothing to do but to say what the address is, it
 * is asked once, not for each page (@direct).
 *
 * Functions are described in hmm_mirror.h.
 */
#include <linux/dma-mapping.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#include "internal.h"

static bool dma_iova = true;
module_param(dma_iova, bool, 0644);
MODULE_PARM_DESC(dma_iova, "Allocate I/O virtual addresses of many pages at once, where the kernel can do that");

#define BLOCK_PAGES	512UL
#define BLOCK_BYTES	(BLOCK_PAGES << PAGE_SHIFT)

/*
 * Caches need no care: the device is coherent. Nor do bounce buffers, which are refused;
 * to copy one back would undo what the process has written meanwhile.
 */
#define MAP_ATTRS \
	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN | COMPAT_DMA_REQUIRE_COHERENT)
#define P2P_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN)

/* What hmm_mirror_dma_prepare() puts by at most. */
#define MAX_SPARE_BLOCKS	64UL
#define MAX_SPARE_TABLES	4UL

/**
 * struct run - a place in a table, or the only one of a block
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
struct run {
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
#define RUN_ONE(field)	(((struct run){ .field = 1 }).word)

struct table {
	union {
		struct run runs[BLOCK_PAGES];
		struct table *next_spare;
	};
};

/**
 * struct block - 512 pages, or what is mapped of them
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
struct block {
	union {
		struct rb_node node;
		struct block *next_spare;
	};
	unsigned long index;
	struct table *table;
	union {
		struct run only;
		struct compat_iova iova;
	};
	u16 only_at;
	u16 nr_runs;
	u16 nr_pages;
	u16 nr_read_only;
};

static_assert(sizeof(struct block) <= 64);

/**
 * struct hmm_mirror_dma_tables - what of a mirror is mapped for a device
 * @blocks: struct block, by index
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
 * @starved: hmm_mirror_dma_map() has returned -EAGAIN
 * @zapped: hmm_mirror_dma_ops_unmap() has zapped something, and is about to unmap it
 * @zapped_start: from here
 * @zapped_end: to here
 * @window: I/O virtual addresses for all of the mirror, if it has them
 * @window_start: virtual address of the first of them
 * @spare_blocks: put by
 * @spare_tables: put by
 * @nr_spare_blocks: how many
 * @nr_spare_tables: how many
 *
 * All of it is under the mirror's lock.
 */
struct hmm_mirror_dma_tables {
	struct rb_root blocks;
	struct block *last;
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
	struct block *spare_blocks;
	struct table *spare_tables;
	unsigned int nr_spare_blocks;
	unsigned int nr_spare_tables;
};

/* Numbers of pages and blocks, from virtual addresses */
static unsigned long block_index(unsigned long addr)
{
	return addr / BLOCK_BYTES;
}

static unsigned int page_in_block(unsigned long addr)
{
	return addr % BLOCK_BYTES >> PAGE_SHIFT;
}

static unsigned long block_address(const struct block *block, unsigned int at)
{
	return block->index * BLOCK_BYTES + ((unsigned long)at << PAGE_SHIFT);
}

static size_t run_size(const struct run *run)
{
	return (size_t)run->npages << PAGE_SHIFT;
}

/* --- Blocks and runs ------------------------------------------------------- */

static struct block *find_block(struct hmm_mirror_dma_tables *tables,
				unsigned long index)
{
	struct rb_node *node = tables->blocks.rb_node;

	if (tables->last && tables->last->index == index)
		return tables->last;
	while (node) {
		struct block *block = rb_entry(node, struct block, node);

		if (index == block->index) {
			tables->last = block;
			return block;
		}
		node = index < block->index ? node->rb_left : node->rb_right;
	}
	return NULL;
}

/* The first block of which something is in [@start, @end), virtual addresses. */
static struct block *first_block(struct hmm_mirror_dma_tables *tables,
				 unsigned long start, unsigned long end)
{
	struct rb_node *node = tables->blocks.rb_node;
	unsigned long index = block_index(start);
	struct block *first = NULL;

	if (tables->last && tables->last->index == index)
		return tables->last;
	while (node) {
		struct block *block = rb_entry(node, struct block, node);

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

/* The last block that begins before @end, a virtual address. */
static struct block *last_block(struct hmm_mirror_dma_tables *tables,
				unsigned long end)
{
	struct rb_node *node = tables->blocks.rb_node;
	unsigned long index = block_index(end - 1);
	struct block *last = NULL;

	while (node) {
		struct block *block = rb_entry(node, struct block, node);

		if (block->index > index) {
			node = node->rb_left;
			continue;
		}
		last = block;
		node = node->rb_right;
	}
	return last;
}

static struct block *next_block(const struct block *block, unsigned long end)
{
	struct block *next = rb_entry_safe(rb_next(&block->node), struct block,
					   node);

	if (next && next->index > block_index(end - 1))
		return NULL;
	return next;
}

/* The run around page @at, which then becomes that of its first page, or NULL. */
static struct run *find_run(struct block *block, unsigned int *at)
{
	struct run *run;

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
static struct run *next_run(struct block *block, unsigned int *at,
			    unsigned int end)
{
	if (!block->table) {
		if (!block->nr_runs || block->only_at >= end ||
		    block->only_at + block->only.npages <= *at)
			return NULL;
		*at = block->only_at;
		return &block->only;
	}
	for (; *at < end; ++*at) {
		struct run *run = find_run(block, at);

		if (run)
			return run;
	}
	return NULL;
}

/* Which pages of @block are in an interval of virtual addresses that reaches into it. */
static unsigned int first_page(const struct block *block, unsigned long start)
{
	return start <= block_address(block, 0) ? 0 : page_in_block(start);
}

static unsigned int last_page(const struct block *block, unsigned long end)
{
	return end - 1 >= block_address(block, BLOCK_PAGES - 1) ?
		BLOCK_PAGES - 1 : page_in_block(end - 1);
}

static void insert_block(struct hmm_mirror_dma_tables *tables,
			 struct block *block)
{
	struct rb_node **link = &tables->blocks.rb_node;
	struct rb_node *parent = NULL;

	while (*link) {
		parent = *link;
		if (block->index < rb_entry(parent, struct block, node)->index)
			link = &parent->rb_left;
		else
			link = &parent->rb_right;
	}
	rb_link_node(&block->node, parent, link);
	rb_insert_color(&block->node, &tables->blocks);
	tables->last = block;
}

static struct block *get_block(struct hmm_mirror_dma_tables *tables,
			       unsigned long index)
{
	struct block *block = tables->spare_blocks;

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

static struct table *get_table(struct hmm_mirror_dma_tables *tables)
{
	struct table *table = tables->spare_tables;

	if (!table)
		return kzalloc(sizeof(*table), GFP_NOWAIT | __GFP_NOWARN |
					       __GFP_ACCOUNT);
	tables->spare_tables = table->next_spare;
	tables->nr_spare_tables--;
	memset(table, 0, sizeof(*table));
	return table;
}

static void free_block(struct hmm_mirror_dma *dma, struct block *block)
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

/* Writes a run into a table: all of its pages know where it begins. */
static void put_run(struct table *table, unsigned int at, const struct run *run)
{
	unsigned int i;

	table->runs[at] = *run;
	for (i = 1; i < run->npages; i++)
		table->runs[at + i] = (struct run){ .word = i * RUN_ONE(pfn) };
}

/* Has the block take more than one run. */
static int add_table(struct hmm_mirror_dma *dma, struct block *block)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	struct table *table = get_table(tables);

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

/* --- The DMA API ------------------------------------------------------------- */

static enum dma_data_direction direction_of(const struct run *run)
{
	return run->write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

/* The I/O virtual addresses that a page of the block may have, or NULL. */
static struct compat_iova *iova_of(struct hmm_mirror_dma_tables *tables,
				   struct block *block, unsigned int at,
				   size_t *offset)
{
	if (compat_iova_is_allocated(&tables->window)) {
		*offset = block_address(block, at) - tables->window_start;
		return &tables->window;
	}
	if (block->table && compat_iova_is_allocated(&block->iova)) {
		*offset = (size_t)at << PAGE_SHIFT;
		return &block->iova;
	}
	return NULL;
}

/*
 * Memory of another PCI device. Which way it is reached is found out by the call for
 * scatterlists, the only one that a driver has on all kernels.
 */
static int map_p2p(struct hmm_mirror_dma *dma, struct run *run)
{
	struct scatterlist sg;
	struct sg_table table = { .sgl = &sg, .orig_nents = 1 };
	int err;

	sg_init_table(&sg, 1);
	sg_set_page(&sg, pfn_to_page(run->pfn), run_size(run), 0);
	err = dma_map_sgtable(dma->dev, &table, direction_of(run), P2P_ATTRS);
	if (err)
		return err == -ENOMEM ? err : -EOPNOTSUPP;
	run->dma = sg_dma_address(&sg);
	run->kind = compat_sg_is_bus_address(&sg) ? HMM_MIRROR_DMA_P2P_BUS :
						    HMM_MIRROR_DMA_P2P_HOST;
	return 0;
}

static void unmap_p2p(struct hmm_mirror_dma *dma, const struct run *run)
{
	struct scatterlist sg;
	struct sg_table table = { .sgl = &sg, .orig_nents = 1, .nents = 1 };

	sg_init_table(&sg, 1);
	sg_set_page(&sg, pfn_to_page(run->pfn), run_size(run), 0);
	sg_dma_address(&sg) = run->dma;
	sg_dma_len(&sg) = run_size(run);
	if (run->kind == HMM_MIRROR_DMA_P2P_BUS)
		sg_dma_mark_bus_address(&sg);
	dma_unmap_sgtable(dma->dev, &table, direction_of(run), P2P_ATTRS);
}

/* Maps a run of which everything but @dma, @kind and @linked is known. */
static int map_run(struct hmm_mirror_dma *dma, struct block *block,
		   unsigned int at, struct run *run)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	phys_addr_t phys = PFN_PHYS(run->pfn);
	struct compat_iova *iova;
	size_t offset;
	int err;

	if (unlikely(is_pci_p2pdma_page(pfn_to_page(run->pfn))))
		return map_p2p(dma, run);

	run->kind = HMM_MIRROR_DMA_SYSTEM;
	iova = iova_of(tables, block, at, &offset);
	if (iova) {
		err = compat_iova_link(dma->dev, iova, phys, offset,
				       run_size(run), direction_of(run),
				       MAP_ATTRS);
		if (err)
			return err == -ENOMEM ? err : -EOPNOTSUPP;
		run->dma = compat_iova_address(iova, offset);
		run->linked = true;
		return 0;
	}

	/* The DMA API would say this with a WARN, of a bounce buffer out of reach, too. */
	if (!tables->domain &&
	    (is_swiotlb_force_bounce(dma->dev) ||
	     !compat_dma_reaches(dma->dev, phys, run_size(run))))
		return -EOPNOTSUPP;
	if (tables->direct) {
		run->dma = phys_to_dma(dma->dev, phys);
		run->direct = true;
		return 0;
	}
	run->dma = compat_dma_map(dma->dev, run->pfn, run_size(run),
				  direction_of(run), MAP_ATTRS);
	/* Without translation there is nothing that could run out, but bounce buffers. */
	if (dma_mapping_error(dma->dev, run->dma))
		return tables->domain ? -ENOMEM : -EOPNOTSUPP;
	if (compat_dma_bounces(dma->dev, tables->domain, run->dma, phys)) {
		compat_dma_unmap(dma->dev, run->dma, run_size(run),
				 direction_of(run), MAP_ATTRS);
		return -EOPNOTSUPP;
	}
	tables->direct = !tables->domain &&
			 compat_dma_is_direct(dma->dev, run->dma, phys);
	return 0;
}

static void unmap_run(struct hmm_mirror_dma *dma, const struct run *run)
{
	if (unlikely(run->kind != HMM_MIRROR_DMA_SYSTEM))
		unmap_p2p(dma, run);
	else if (!run->direct && compat_dma_needs_unmap(dma->dev))
		compat_dma_unmap(dma->dev, run->dma, run_size(run),
				 direction_of(run), MAP_ATTRS);
}

/* Unlinks neighbours with one call, which flushes the IOMMU once. */
static void unlink_runs(struct hmm_mirror_dma *dma, struct block *block,
			unsigned int at, unsigned int npages)
{
	struct compat_iova *iova;
	size_t offset;

	if (!npages)
		return;
	iova = iova_of(dma->tables, block, at, &offset);
	compat_iova_unlink(dma->dev, iova, offset, (size_t)npages << PAGE_SHIFT,
			   MAP_ATTRS);
}

/*
 * The device may have written what the CPU's entry knows nothing of: it may be clean, and
 * the page dropped instead of written out. Takes no lock of a page, as our caller may hold
 * it. Another device's memory is nobody's to write out.
 */
static void mark_dirty(const struct run *run)
{
	unsigned long pfn = run->pfn;
	unsigned long end = run->pfn + run->npages;

	if (!run->written || run->kind != HMM_MIRROR_DMA_SYSTEM)
		return;
	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		struct folio *folio = page_folio(page);

		folio_mark_dirty(folio);
		pfn += folio_nr_pages(folio) - folio_page_idx(folio, page);
	}
}

/* --- Unmapping --------------------------------------------------------------- */

/* Takes a run out of its block, once it is unmapped. */
static void forget_run(struct hmm_mirror_dma_tables *tables,
		       struct block *block, struct run *run)
{
	if (!run->write) {
		tables->nr_read_only--;
		block->nr_read_only--;
	}
	block->nr_pages -= run->npages;
	block->nr_runs--;
	/* The only one of a block is taken for none by @nr_runs. */
	memset(run, 0, block->table ? run->npages * sizeof(*run) : sizeof(*run));
}

/* Unmaps the runs of which something is in pages [@from, @end) of the block, all of them. */
static void unmap_in_block(struct hmm_mirror_dma *dma, struct block *block,
			   unsigned int from, unsigned int end)
{
	unsigned int link_at = 0, linked = 0;
	unsigned int at, npages;
	struct run *run;

	for (at = from; (run = next_run(block, &at, end)); at += run->npages) {
		/* The device may be at work on the rest of it: no hmm_mirror_dma_grow()? */
		WARN_ON_ONCE(at < from || at + run->npages > end);
		hmm_mirror_count(dma_unmaps, 1);
		if (linked && (!run->linked || at != link_at + linked)) {
			unlink_runs(dma, block, link_at, linked);
			linked = 0;
		}
		if (!run->linked) {
			unmap_run(dma, run);
			continue;
		}
		if (!linked)
			link_at = at;
		linked += run->npages;
	}
	unlink_runs(dma, block, link_at, linked);

	/* Only now the device can write no more. */
	for (at = from; (run = next_run(block, &at, end)); at += npages) {
		npages = run->npages;
		mark_dirty(run);
		forget_run(dma->tables, block, run);
	}
}

void hmm_mirror_dma_unmap(struct hmm_mirror_dma *dma, unsigned long start,
			  unsigned long end)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	struct block *block, *next;

	lockdep_assert_held(&dma->mirror->lock);
	if (!tables)
		return;
	for (block = first_block(tables, start, end); block; block = next) {
		next = next_block(block, end);
		unmap_in_block(dma, block, first_page(block, start),
			       last_page(block, end) + 1);
		if (!block->nr_runs)
			free_block(dma, block);
		cond_resched();
	}
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_unmap);

bool hmm_mirror_dma_grow(struct hmm_mirror_dma *dma, unsigned long *start,
			 unsigned long *end)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned long first = *start, last = *end;
	struct block *block;
	bool found = false;
	struct run *run;
	unsigned int at;

	lockdep_assert_held(&dma->mirror->lock);
	if (!tables)
		return false;
	for (block = first_block(tables, first, last); block;
	     block = next_block(block, last)) {
		unsigned int from = first_page(block, first);
		unsigned int to = last_page(block, last);

		at = from;
		run = next_run(block, &at, to + 1);
		if (!run)
			continue;
		*start = min(*start, block_address(block, at));
		found = true;
		/* Those in the middle of the interval are in it. */
		if (block->index != block_index(last - 1))
			continue;
		at = to;
		run = find_run(block, &at);
		if (run)
			*end = max(*end, block_address(block, at) +
					 run_size(run));
	}
	return found;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_grow);

/* --- Mapping ------------------------------------------------------------------ */

/* Whether an extent is something to map at all. */
static bool is_mappable(const struct hmm_mirror_extent *extent)
{
	return (extent->flags & HMM_MIRROR_PFN_VALID) &&
	       extent->entry != HMM_MIRROR_ENTRY_DEVICE_PRIVATE;
}

static unsigned long extent_end(const struct hmm_mirror_extent *extent)
{
	return extent->addr + (extent->npages << PAGE_SHIFT);
}

static bool extent_writable(const struct hmm_mirror_extent *extent)
{
	return extent->flags & HMM_MIRROR_PFN_WRITE;
}

/* Whether a run that begins at @addr is what an extent that reaches into it says. */
static bool run_is_current(const struct run *run, unsigned long addr,
			   const struct hmm_mirror_extent *extent)
{
	long distance = (long)(addr - extent->addr) >> PAGE_SHIFT;

	return is_mappable(extent) &&
	       run->pfn == extent->pfn + distance &&
	       run->write == extent_writable(extent);
}

bool hmm_mirror_dma_outdated(struct hmm_mirror_dma *dma,
			     const struct hmm_mirror_extent *extent,
			     unsigned long *start, unsigned long *end)
{
	unsigned long first = extent->addr, last = extent_end(extent);
	struct block *block;
	bool found = false;
	struct run *run;
	unsigned int at;

	lockdep_assert_held(&dma->mirror->lock);
	if (!dma->tables)
		return false;
	for (block = first_block(dma->tables, first, last); block;
	     block = next_block(block, last)) {
		unsigned int to = last_page(block, last) + 1;

		at = first_page(block, first);
		for (; (run = next_run(block, &at, to)); at += run->npages) {
			unsigned long addr = block_address(block, at);

			if (run_is_current(run, addr, extent))
				continue;
			if (!found)
				*start = addr;
			*end = addr + run_size(run);
			found = true;
		}
	}
	return found;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_outdated);

/* What of a run that begins at page @at of its block is in pages [@from, @end) of it. */
static void describe_part(const struct block *block, unsigned int at,
			  const struct run *run, unsigned int from,
			  unsigned int end,
			  struct hmm_mirror_dma_run *description)
{
	from = max(from, at);
	end = min_t(unsigned int, end, at + run->npages);
	*description = (struct hmm_mirror_dma_run){
		.addr = block_address(block, from),
		.npages = end - from,
		.dma = run->dma + ((dma_addr_t)(from - at) << PAGE_SHIFT),
		.order = run->order,
		.write = run->write,
		.kind = run->kind,
	};
}

/* A run of one page. */
static struct run new_run(const struct hmm_mirror_dma_tables *tables,
			  const struct hmm_mirror_extent *extent,
			  unsigned long pos)
{
	u64 word = RUN_ONE(npages) | (extent->pfn + pos) * RUN_ONE(pfn) |
		   extent->order * RUN_ONE(order);

	if (extent_writable(extent))
		word |= RUN_ONE(write) | !tables->tracked * RUN_ONE(written);
	return (struct run){ .word = word };
}

/* How many pages a new run has that begins at page @at of a block. */
static unsigned int new_run_length(struct hmm_mirror_dma_tables *tables,
				   struct block *block, unsigned int at,
				   const struct hmm_mirror_extent *extent,
				   unsigned long pos)
{
	unsigned long page = (extent->addr >> PAGE_SHIFT) + pos;
	unsigned long cpu_pages = 1UL << extent->order;
	unsigned long npages = min(extent->npages - pos, BLOCK_PAGES - at);
	unsigned int next = at;

	/* An invalidation of a part must not take what another entry maps. */
	npages = min(npages, cpu_pages - (page & (cpu_pages - 1)));
	npages = min(npages, tables->max_pages);
	if (unlikely(is_pci_p2pdma_page(pfn_to_page(extent->pfn + pos))))
		npages = min(npages, tables->max_p2p_pages);
	/* Parts of it may be mapped already. */
	if (block && npages > 1 && next_run(block, &next, at + npages))
		npages = next - at;
	return npages;
}

/*
 * Sees to it that the block of @addr, which *@block is or else becomes, has room for a run
 * more, and a table if @with_table. -EAGAIN without the memory for it.
 */
static int make_room(struct hmm_mirror_dma *dma, unsigned long addr,
		     bool with_table, struct block **block)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	int err = 0;

	if (!*block)
		*block = get_block(tables, block_index(addr));
	if (!*block)
		err = -EAGAIN;
	else if (!(*block)->table && ((*block)->nr_runs || with_table))
		err = add_table(dma, *block);
	if (!err)
		return 0;
	tables->starved = true;
	WRITE_ONCE(dma->mirror->nr_starved, dma->mirror->nr_starved + 1);
	if (*block && !(*block)->nr_runs)
		free_block(dma, *block);
	return err;
}

/* Counts new runs, of @npages pages in all; some are for reading only. */
static void count_runs(struct hmm_mirror_dma_tables *tables,
		       struct block *block, unsigned int nr_runs,
		       unsigned int npages, unsigned int nr_read_only)
{
	block->nr_runs += nr_runs;
	block->nr_pages += npages;
	block->nr_read_only += nr_read_only;
	tables->nr_read_only += nr_read_only;
	hmm_mirror_count(dma_maps, nr_runs);
	hmm_mirror_count(dma_bytes, (u64)npages << PAGE_SHIFT);
}

/*
 * Maps a new run that begins at @addr, where nothing is mapped. Without memory for its
 * place nothing is mapped.
 */
static int add_run(struct hmm_mirror_dma *dma, struct block **place,
		   unsigned long addr, struct run *new, struct run **run)
{
	unsigned int at = page_in_block(addr);
	int err = make_room(dma, addr, false, place);
	struct block *block = *place;

	if (err)
		return err;
	err = map_run(dma, block, at, new);
	if (err) {
		if (!block->nr_runs)
			free_block(dma, block);
		return err;
	}
	if (block->table) {
		put_run(block->table, at, new);
		*run = &block->table->runs[at];
	} else {
		block->only = *new;
		block->only_at = at;
		*run = &block->only;
	}
	count_runs(dma->tables, block, 1, new->npages, !new->write);
	return 0;
}

/* --- Pages that the CPU maps one by one ----------------------------------------- */

/* How many places from page @at on are empty, up to @max. */
static unsigned int empty_places(const struct block *block, unsigned int at,
				 unsigned int max)
{
	const struct run *place = &block->table->runs[at];
	unsigned int nr;

	if (!block->nr_runs)
		return max;
	for (nr = 0; nr < max && !place[nr].word; nr++)
		;
	return nr;
}

/* Writes @nr runs of a page each, @run and those of the pages behind it. */
static void fill_places(struct run *place, struct run run, unsigned int nr)
{
	const struct run *end = place + nr;

	for (; place < end; place++) {
		*place = run;
		run.word += RUN_ONE(pfn);
		run.dma += PAGE_SIZE;
	}
}

/*
 * Links @nr contiguous pages, or as many as can be. In pieces: the IOMMU must not map them by
 * a larger entry, of which a part cannot be unlinked.
 */
static unsigned int link_pages(struct hmm_mirror_dma *dma,
			       struct compat_iova *iova, size_t offset,
			       const struct run *first, unsigned int nr)
{
	phys_addr_t phys = PFN_PHYS(first->pfn);
	unsigned int linked, piece;

	for (linked = 0; linked < nr; linked += piece) {
		size_t done = (size_t)linked << PAGE_SHIFT;

		piece = min_t(unsigned long, nr - linked,
			      dma->tables->max_link_pages);
		if (compat_iova_link(dma->dev, iova, phys + done, offset + done,
				     (size_t)piece << PAGE_SHIFT,
				     direction_of(first), MAP_ATTRS))
			break;
	}
	return linked;
}

/* Whether any of @nr pages is a device's: such memory begins and ends at borders of 2 MiB. */
static bool has_peer_memory(unsigned long pfn, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i += PHYS_PFN(SZ_2M)) {
		if (is_pci_p2pdma_page(pfn_to_page(pfn + i)))
			return true;
	}
	return is_pci_p2pdma_page(pfn_to_page(pfn + nr - 1));
}

/*
 * Maps @nr contiguous pages, or as many as can be at once. What is known of the first one
 * but for its address is in @first, which gets that.
 */
static unsigned int map_at_once(struct hmm_mirror_dma *dma,
				struct block *block, unsigned int at,
				struct run *first, unsigned int nr)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	phys_addr_t phys = PFN_PHYS(first->pfn);
	struct compat_iova *iova;
	size_t offset;

	if (unlikely(has_peer_memory(first->pfn, nr)))
		return 0;
	iova = iova_of(tables, block, at, &offset);
	if (iova) {
		first->dma = compat_iova_address(iova, offset);
		first->word |= RUN_ONE(linked);
		return link_pages(dma, iova, offset, first, nr);
	}
	if (!tables->direct ||
	    !compat_dma_reaches(dma->dev, phys, (size_t)nr << PAGE_SHIFT))
		return 0;
	first->dma = phys_to_dma(dma->dev, phys);
	first->word |= RUN_ONE(direct);
	return nr;
}

/*
 * Pages of one extent that have an entry of the CPU's page table each are runs of their own,
 * but found a place for, checked and mapped together. As far as that can be done: 0 and the
 * rest is for map_next(), with everything that may be in the way.
 */
static unsigned int map_pages(struct hmm_mirror_dma *dma,
			      const struct hmm_mirror_extent *extent,
			      unsigned long pos)
{
	unsigned long addr = extent->addr + (pos << PAGE_SHIFT);
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned int at = page_in_block(addr);
	struct block *block;
	unsigned int nr;
	struct run run;

	if (extent->order || pos >= extent->npages || !is_mappable(extent))
		return 0;
	/* Each page takes a call: do not get a table for that. */
	if (!tables->direct && !tables->use_iova)
		return 0;
	nr = min(extent->npages - pos, BLOCK_PAGES - at);
	block = find_block(tables, block_index(addr));
	/* The only run of a block needs no table. */
	if (nr == 1 && !(block && block->table))
		return 0;
	if (!(block && block->table) && make_room(dma, addr, true, &block))
		return 0;
	nr = empty_places(block, at, nr);
	if (nr) {
		run = new_run(tables, extent, pos);
		nr = map_at_once(dma, block, at, &run, nr);
	}
	if (!nr) {
		if (!block->nr_runs)
			free_block(dma, block);
		return 0;
	}
	count_runs(tables, block, nr, nr, run.write ? 0 : nr);
	fill_places(&block->table->runs[at], run, nr);
	return nr;
}

/*
 * Extents of one page each, for memory of which no two pages are contiguous, where it takes
 * no call to map them, and their block has places for them. Returns how many of @nr are done.
 */
static unsigned int map_scattered(struct hmm_mirror_dma *dma,
				  const struct hmm_mirror_extent *extents,
				  unsigned int nr)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned long index = block_index(extents[0].addr);
	unsigned int i, nr_read_only = 0;
	struct block *block;

	if (!tables->direct)
		return 0;
	block = find_block(tables, index);
	if (!block || !block->table)
		return 0;
	for (i = 0; i < nr; i++) {
		const struct hmm_mirror_extent *extent = &extents[i];
		phys_addr_t phys = PFN_PHYS(extent->pfn);
		struct run *place;
		struct run run;

		place = &block->table->runs[page_in_block(extent->addr)];
		if (extent->npages != 1 || extent->order ||
		    !is_mappable(extent) || place->word ||
		    block_index(extent->addr) != index ||
		    is_pci_p2pdma_page(pfn_to_page(extent->pfn)) ||
		    !compat_dma_reaches(dma->dev, phys, PAGE_SIZE))
			break;
		run = new_run(tables, extent, 0);
		run.word |= RUN_ONE(direct);
		run.dma = phys_to_dma(dma->dev, phys);
		*place = run;
		nr_read_only += !extent_writable(extent);
	}
	count_runs(tables, block, i, i, nr_read_only);
	return i;
}

/* --- Mapping, run by run ---------------------------------------------------------- */

/* hmm_mirror_dma_map(), but -EEXIST where something would have to be unmapped. */
static int map_next(struct hmm_mirror_dma *dma,
		    const struct hmm_mirror_extent *extent,
		    struct hmm_mirror_dma_run *description, unsigned long *pos)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned long addr = extent->addr + (*pos << PAGE_SHIFT);
	unsigned int at = page_in_block(addr);
	unsigned int first = at;
	struct run *run = NULL;
	struct block *block;
	struct run new;
	int err;

	if (*pos >= extent->npages || !is_mappable(extent))
		return 0;
	block = find_block(tables, block_index(addr));
	if (block)
		run = find_run(block, &first);
	if (!run) {
		new = new_run(tables, extent, *pos);
		new.npages = new_run_length(tables, block, at, extent, *pos);
		err = add_run(dma, &block, addr, &new, &run);
		if (err)
			return err;
	} else if (!run_is_current(run, addr - ((at - first) << PAGE_SHIFT),
				   extent)) {
		return -EEXIST;
	}
	describe_part(block, first, run, at,
		      min(at + extent->npages - *pos, BLOCK_PAGES), description);
	*pos += description->npages;
	return 1;
}

int hmm_mirror_dma_map(struct hmm_mirror_dma *dma,
		       const struct hmm_mirror_extent *extent,
		       struct hmm_mirror_dma_run *run, unsigned long *pos)
{
	unsigned long start = extent->addr + (*pos << PAGE_SHIFT);
	unsigned long end = start + PAGE_SIZE;
	int ret;

	lockdep_assert_held(&dma->mirror->lock);
	if (!dma->tables)
		return -ENODEV;
	ret = map_next(dma, extent, run, pos);
	if (ret != -EEXIST)
		return ret;
	hmm_mirror_dma_grow(dma, &start, &end);
	hmm_mirror_dma_unmap(dma, start, end);
	return map_next(dma, extent, run, pos);
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_map);

bool hmm_mirror_dma_lookup(struct hmm_mirror_dma *dma, unsigned long addr,
			   struct hmm_mirror_dma_run *description)
{
	unsigned int at = page_in_block(addr);
	struct run *run = NULL;
	struct block *block;

	lockdep_assert_held(&dma->mirror->lock);
	if (!dma->tables)
		return false;
	block = find_block(dma->tables, block_index(addr));
	if (block)
		run = find_run(block, &at);
	if (!run)
		return false;
	describe_part(block, at, run, 0, BLOCK_PAGES, description);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_lookup);

void hmm_mirror_dma_written(struct hmm_mirror_dma *dma, unsigned long start,
			    unsigned long end)
{
	struct block *block;
	struct run *run;
	unsigned int at;

	lockdep_assert_held(&dma->mirror->lock);
	if (!dma->tables)
		return;
	for (block = first_block(dma->tables, start, end); block;
	     block = next_block(block, end)) {
		unsigned int to = last_page(block, end) + 1;

		at = first_page(block, start);
		for (; (run = next_run(block, &at, to)); at += run->npages)
			run->written = run->write;
	}
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_written);

/* --- Memory for tables --------------------------------------------------------- */

static void free_spares(struct block *blocks, struct table *tables)
{
	while (blocks) {
		struct block *block = blocks;

		blocks = block->next_spare;
		kfree(block);
	}
	while (tables) {
		struct table *table = tables;

		tables = table->next_spare;
		kfree(table);
	}
}

/* Puts by so many, or fewer if @dma has some; the rest stays in the lists. */
static void put_by(struct hmm_mirror_dma_tables *tables, struct block **blocks,
		   struct table **spare_tables)
{
	while (*blocks && tables->nr_spare_blocks < MAX_SPARE_BLOCKS) {
		struct block *block = *blocks;

		*blocks = block->next_spare;
		block->next_spare = tables->spare_blocks;
		tables->spare_blocks = block;
		tables->nr_spare_blocks++;
	}
	while (*spare_tables && tables->nr_spare_tables < MAX_SPARE_TABLES) {
		struct table *table = *spare_tables;

		*spare_tables = table->next_spare;
		table->next_spare = tables->spare_tables;
		tables->spare_tables = table;
		tables->nr_spare_tables++;
	}
	tables->starved = false;
}

static int allocate_spares(unsigned long nr_blocks, struct block **blocks,
			   struct table **tables)
{
	unsigned long i;

	*blocks = NULL;
	*tables = NULL;
	for (i = 0; i < min(nr_blocks, MAX_SPARE_BLOCKS); i++) {
		struct block *block = kmalloc(sizeof(*block),
					      GFP_KERNEL_ACCOUNT);

		if (!block)
			goto err_free;
		block->next_spare = *blocks;
		*blocks = block;
	}
	for (i = 0; i < min(nr_blocks, MAX_SPARE_TABLES); i++) {
		struct table *table = kmalloc(sizeof(*table),
					      GFP_KERNEL_ACCOUNT);

		if (!table)
			goto err_free;
		table->next_spare = *tables;
		*tables = table;
	}
	return 0;

err_free:
	free_spares(*blocks, *tables);
	return -ENOMEM;
}

int hmm_mirror_dma_prepare(struct hmm_mirror_dma *dma, unsigned long start,
			   unsigned long end)
{
	struct block *blocks;
	struct table *tables;
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
	free_spares(blocks, tables);
	return err;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_prepare);

/* --- The order of things --------------------------------------------------------- */

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
	struct block *first, *last;

	if (*end - *start <= BLOCK_BYTES)
		return;
	first = first_block(tables, *start, *end);
	if (!first)
		return;
	last = last_block(tables, *end);
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
		unsigned int npages = map_pages(dma, extent, pos);

		pos += npages;
		ret = npages ? 1 : map_next(dma, extent, &run, &pos);
		/* Another page without an invalidation in between. */
		if (ret == -EEXIST) {
			remove_outdated(dma, extent, nr);
			ret = map_next(dma, extent, &run, &pos);
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
	struct block *block;
	struct run *run;
	unsigned int at;
	int err;

	for (block = first_block(dma->tables, start, end); block;
	     block = next_block(block, end)) {
		unsigned int from = first_page(block, start);
		unsigned int to = last_page(block, end) + 1;

		at = from;
		for (; (run = next_run(block, &at, to)); at += run->npages) {
			describe_part(block, at, run, from, to, &description);
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
		unsigned int done = map_scattered(dma, &extents[i], nr - i);

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

/* Gives those of the mirror's tables that lack memory some. */
static int feed_mirror(struct hmm_mirror *mirror)
{
	struct hmm_mirror_dma *dma;
	struct block *blocks;
	struct table *tables;
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
	free_spares(blocks, tables);
	return err;
}

/*
 * Whether a device has all of an interval, for writing. What is mapped for reading only may
 * have become writable since.
 */
static bool is_complete(struct hmm_mirror_dma *dma, unsigned long start,
			unsigned long end)
{
	struct block *block;
	unsigned int at, to;
	struct run *run;

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
		err = feed_mirror(mirror);
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

/* --- The beginning and the end ----------------------------------------------------- */

/* So many contiguous pages that no larger entry of the IOMMU's fits them. */
static unsigned long max_link_pages(const struct iommu_domain *domain)
{
	unsigned long larger = compat_iommu_page_sizes(domain) & -(2 * PAGE_SIZE);

	return larger ? (larger & -larger) / 2 >> PAGE_SHIFT : BLOCK_PAGES;
}

/*
 * Whether pages can be linked one by one: where the IOMMU's smallest page is larger, they
 * would overlap.
 */
static bool can_link_pages(const struct iommu_domain *domain)
{
	unsigned long sizes = compat_iommu_page_sizes(domain);

	return sizes & -sizes && (sizes & -sizes) <= PAGE_SIZE;
}

/* Has all of the mirror get I/O virtual addresses, if it is not too large for that. */
static void get_window(struct hmm_mirror_dma *dma,
		       struct hmm_mirror_dma_tables *tables)
{
	const struct interval_tree_node *interval =
		&dma->mirror->notifier.interval_tree;
	u64 last = interval->last | (BLOCK_BYTES - 1);

	/* With it an IOMMU can map by large pages where the CPU does. */
	tables->window_start = round_down(interval->start, BLOCK_BYTES);
	last -= tables->window_start;
	/* The kernel marks its own windows with the highest bit of their size. */
	if (last >= min_t(u64, dma_get_mask(dma->dev), S64_MAX) ||
	    !compat_iova_allocate(dma->dev, &tables->window, last + 1))
		memset(&tables->window, 0, sizeof(tables->window));
}

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
	tables->domain = compat_dma_domain(dev);
	tables->max_pages = clamp(dma_max_mapping_size(dev) >> PAGE_SHIFT,
				  1UL, BLOCK_PAGES);
	tables->max_p2p_pages = clamp(dma_get_max_seg_size(dev) >> PAGE_SHIFT,
				      1UL, BLOCK_PAGES);
	tables->max_link_pages = max_link_pages(tables->domain);
	tables->tracked = flags & HMM_MIRROR_DMA_TRACKED;
	tables->use_iova = compat_iova_exists() && tables->domain &&
			   can_link_pages(tables->domain) &&
			   READ_ONCE(dma_iova);
	/* A block takes 2 MiB of them for two pages: 4 GiB would soon be gone. */
	tables->wide = dma_get_mask(dev) > DMA_BIT_MASK(32);

	dma->mirror = mirror;
	dma->dev = dev;
	if ((flags & HMM_MIRROR_DMA_FIXED) && tables->use_iova)
		get_window(dma, tables);
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

	if (compat_iova_is_allocated(&tables->window))
		compat_iova_free(dma->dev, &tables->window);
	free_spares(tables->spare_blocks, tables->spare_tables);
	kfree(tables);
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_exit);
