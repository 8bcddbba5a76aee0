// SPDX-License-Identifier: GPL-2.0
/*
 * Extents to DMA addresses, and back before the pages go away.
 *
 * Functions that are not in dma_map.h are described in hmm_mirror.h.
 */
#include <linux/export.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "dma_api.h"
#include "dma_map.h"

/* --- Unmapping --------------------------------------------------------------- */

/*
 * The device may have written what the CPU's entry knows nothing of: it may be clean, and
 * the page dropped instead of written out. Takes no lock of a page, as our caller may hold
 * it. Another device's memory is nobody's to write out.
 */
static void mark_dirty(const struct dma_run *run)
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

/* Takes a run out of its block, once it is unmapped. */
static void forget_run(struct hmm_mirror_dma_tables *tables,
		       struct dma_block *block, struct dma_run *run)
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
static void unmap_in_block(struct hmm_mirror_dma *dma, struct dma_block *block,
			   unsigned int from, unsigned int end)
{
	unsigned int link_at = 0, linked = 0;
	unsigned int at, npages;
	struct dma_run *run;

	for (at = from; (run = next_run(block, &at, end)); at += run->npages) {
		/* The device may be at work on the rest of it: no hmm_mirror_dma_grow()? */
		WARN_ON_ONCE(at < from || at + run->npages > end);
		hmm_mirror_count(dma_unmaps, 1);
		if (linked && (!run->linked || at != link_at + linked)) {
			hmm_mirror_dma_unlink_runs(dma, block, link_at, linked);
			linked = 0;
		}
		if (!run->linked) {
			if (!run->direct)
				hmm_mirror_dma_unmap_run(dma, run);
			continue;
		}
		if (!linked)
			link_at = at;
		linked += run->npages;
	}
	hmm_mirror_dma_unlink_runs(dma, block, link_at, linked);

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
	struct dma_block *block, *next;

	lockdep_assert_held(&dma->mirror->lock);
	if (!tables)
		return;
	for (block = first_block(tables, start, end); block; block = next) {
		next = next_block(block, end);
		unmap_in_block(dma, block, first_page(block, start),
			       last_page(block, end) + 1);
		if (!block->nr_runs)
			hmm_mirror_dma_free_block(dma, block);
		cond_resched();
	}
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_unmap);

bool hmm_mirror_dma_grow(struct hmm_mirror_dma *dma, unsigned long *start,
			 unsigned long *end)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned long first = *start, last = *end;
	struct dma_block *block;
	bool found = false;
	struct dma_run *run;
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

static bool extent_writable(const struct hmm_mirror_extent *extent)
{
	return extent->flags & HMM_MIRROR_PFN_WRITE;
}

/* Whether a run that begins at @addr is what an extent that reaches into it says. */
static bool run_is_current(const struct dma_run *run, unsigned long addr,
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
	struct dma_block *block;
	bool found = false;
	struct dma_run *run;
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

/**
 * hmm_mirror_dma_describe() - say for a driver where a part of a run is
 * @block: the run's block
 * @at: page of the block at which the run begins
 * @run: the run
 * @from: page of the block at which the part begins, or one before the run
 * @end: page at which it ends, or one behind the run
 * @description: out
 */
void hmm_mirror_dma_describe(const struct dma_block *block, unsigned int at,
			     const struct dma_run *run, unsigned int from,
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
static struct dma_run new_run(const struct hmm_mirror_dma_tables *tables,
			      const struct hmm_mirror_extent *extent,
			      unsigned long pos)
{
	u64 word = RUN_ONE(npages) | (extent->pfn + pos) * RUN_ONE(pfn) |
		   extent->order * RUN_ONE(order);

	if (extent_writable(extent))
		word |= RUN_ONE(write) | !tables->tracked * RUN_ONE(written);
	return (struct dma_run){ .word = word };
}

/* How many pages a new run has that begins at page @at of a block. */
static unsigned int new_run_length(struct hmm_mirror_dma_tables *tables,
				   struct dma_block *block, unsigned int at,
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
		     bool with_table, struct dma_block **block)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	int err = 0;

	if (!*block)
		*block = hmm_mirror_dma_add_block(tables, block_index(addr));
	if (!*block)
		err = -EAGAIN;
	else if (!(*block)->table && ((*block)->nr_runs || with_table))
		err = hmm_mirror_dma_add_table(dma, *block);
	if (!err)
		return 0;
	tables->starved = true;
	WRITE_ONCE(dma->mirror->nr_starved, dma->mirror->nr_starved + 1);
	if (*block && !(*block)->nr_runs)
		hmm_mirror_dma_free_block(dma, *block);
	return err;
}

/* Counts new runs, of @npages pages in all; some are for reading only. */
static void count_runs(struct hmm_mirror_dma_tables *tables,
		       struct dma_block *block, unsigned int nr_runs,
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
static int add_run(struct hmm_mirror_dma *dma, struct dma_block **place,
		   unsigned long addr, struct dma_run *new, struct dma_run **run)
{
	unsigned int at = page_in_block(addr);
	int err = make_room(dma, addr, false, place);
	struct dma_block *block = *place;

	if (err)
		return err;
	err = hmm_mirror_dma_map_run(dma, block, at, new);
	if (err) {
		if (!block->nr_runs)
			hmm_mirror_dma_free_block(dma, block);
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
static unsigned int empty_places(const struct dma_block *block, unsigned int at,
				 unsigned int max)
{
	const struct dma_run *place = &block->table->runs[at];
	unsigned int nr;

	if (!block->nr_runs)
		return max;
	for (nr = 0; nr < max && !place[nr].word; nr++)
		;
	return nr;
}

/* Writes @nr runs of a page each, @run and those of the pages behind it. */
static void fill_places(struct dma_run *place, struct dma_run run, unsigned int nr)
{
	const struct dma_run *end = place + nr;

	for (; place < end; place++) {
		*place = run;
		run.word += RUN_ONE(pfn);
		run.dma += PAGE_SIZE;
	}
}

/**
 * hmm_mirror_dma_map_pages() - map pages of one extent together
 * @dma: the device
 * @extent: the extent
 * @pos: the first of its pages to be mapped
 *
 * Pages that have an entry of the CPU's page table each are runs of their own, but found a
 * place for, checked and mapped together, as far as that can be done.
 *
 * Return: how many are mapped. The next one is for hmm_mirror_dma_map_next(), whatever is
 * in the way.
 */
unsigned int hmm_mirror_dma_map_pages(struct hmm_mirror_dma *dma,
				      const struct hmm_mirror_extent *extent,
				      unsigned long pos)
{
	unsigned long addr = extent->addr + (pos << PAGE_SHIFT);
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned int at = page_in_block(addr);
	struct dma_block *block;
	unsigned int nr;
	struct dma_run run;

	if (!maps_pages_together(tables, extent) || pos >= extent->npages ||
	    !is_mappable(extent))
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
		nr = hmm_mirror_dma_map_at_once(dma, block, at, &run, nr);
	}
	if (!nr) {
		if (!block->nr_runs)
			hmm_mirror_dma_free_block(dma, block);
		return 0;
	}
	count_runs(tables, block, nr, nr, run.write ? 0 : nr);
	fill_places(&block->table->runs[at], run, nr);
	return nr;
}

/**
 * hmm_mirror_dma_map_scattered() - map extents of one page each together
 * @dma: the device
 * @extents: the extents
 * @nr: how many
 *
 * For memory of which no two pages are contiguous, as long as it takes no call to map them,
 * and their block has places for them.
 *
 * Return: how many of the extents are mapped.
 */
unsigned int hmm_mirror_dma_map_scattered(struct hmm_mirror_dma *dma,
					  const struct hmm_mirror_extent *extents,
					  unsigned int nr)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned long index = block_index(extents[0].addr);
	unsigned int i, nr_read_only = 0;
	struct dma_block *block;

	block = find_block(tables, index);
	if (!block || !block->table)
		return 0;
	for (i = 0; i < nr; i++) {
		const struct hmm_mirror_extent *extent = &extents[i];
		struct dma_run *place;
		struct dma_run run;

		place = &block->table->runs[page_in_block(extent->addr)];
		if (extent->npages != 1 || extent->order ||
		    !is_mappable(extent) || place->word ||
		    block_index(extent->addr) != index ||
		    is_pci_p2pdma_page(pfn_to_page(extent->pfn)))
			break;
		run = new_run(tables, extent, 0);
		if (!map_directly(dma, &run, 1))
			break;
		*place = run;
		nr_read_only += !extent_writable(extent);
	}
	count_runs(tables, block, i, i, nr_read_only);
	return i;
}

/* --- Mapping, run by run ---------------------------------------------------------- */

/**
 * hmm_mirror_dma_map_next() - hmm_mirror_dma_map(), but unmaps nothing
 * @dma: as there
 * @extent: as there
 * @description: as there
 * @pos: as there
 *
 * The mirror's lock is held, and @dma->tables is there.
 *
 * Return: as there, or -EEXIST where something would have to be unmapped.
 */
int hmm_mirror_dma_map_next(struct hmm_mirror_dma *dma,
			    const struct hmm_mirror_extent *extent,
			    struct hmm_mirror_dma_run *description, unsigned long *pos)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
	unsigned long addr = extent->addr + (*pos << PAGE_SHIFT);
	unsigned int at = page_in_block(addr);
	unsigned int first = at;
	struct dma_run *run = NULL;
	struct dma_block *block;
	struct dma_run new;
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
	hmm_mirror_dma_describe(block, first, run, at,
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
	ret = hmm_mirror_dma_map_next(dma, extent, run, pos);
	if (ret != -EEXIST)
		return ret;
	hmm_mirror_dma_grow(dma, &start, &end);
	hmm_mirror_dma_unmap(dma, start, end);
	return hmm_mirror_dma_map_next(dma, extent, run, pos);
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_map);

bool hmm_mirror_dma_lookup(struct hmm_mirror_dma *dma, unsigned long addr,
			   struct hmm_mirror_dma_run *description)
{
	unsigned int at = page_in_block(addr);
	struct dma_run *run = NULL;
	struct dma_block *block;

	lockdep_assert_held(&dma->mirror->lock);
	if (!dma->tables)
		return false;
	block = find_block(dma->tables, block_index(addr));
	if (block)
		run = find_run(block, &at);
	if (!run)
		return false;
	hmm_mirror_dma_describe(block, at, run, 0, BLOCK_PAGES, description);
	return true;
}
EXPORT_SYMBOL_GPL(hmm_mirror_dma_lookup);

void hmm_mirror_dma_written(struct hmm_mirror_dma *dma, unsigned long start,
			    unsigned long end)
{
	struct dma_block *block;
	struct dma_run *run;
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
