// SPDX-License-Identifier: GPL-2.0
/*
 * How the kernel's DMA API is called.
 *
 * Where there is an IOMMU and the kernel has calls for it, a block with a table has I/O
 * virtual addresses for all its pages, allocated once. Neighbours are then unlinked, and
 * the IOMMU flushed, with one call. A window with fixed addresses has them for all blocks.
 * Where there is none, and the DMA API has nothing to do but to say what the address is, it
 * is asked once, not for each page (hmm_mirror_dma_tables.direct).
 */
#include <linux/dma-mapping.h>
#include <linux/memremap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/swiotlb.h>

#include "dma_api.h"

static bool dma_iova = true;
module_param(dma_iova, bool, 0644);
MODULE_PARM_DESC(dma_iova, "Allocate I/O virtual addresses of many pages at once, where the kernel can do that");

/*
 * Caches need no care: the device is coherent. Nor do bounce buffers, which are refused;
 * to copy one back would undo what the process has written meanwhile.
 */
#define MAP_ATTRS \
	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN | COMPAT_DMA_REQUIRE_COHERENT)
#define P2P_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_NO_WARN)

static enum dma_data_direction direction_of(const struct dma_run *run)
{
	return run->write ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

/* The I/O virtual addresses that a page of the block may have, or NULL. */
static struct compat_iova *iova_of(struct hmm_mirror_dma_tables *tables,
				   struct dma_block *block, unsigned int at,
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
static int map_p2p(struct hmm_mirror_dma *dma, struct dma_run *run)
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

static void unmap_p2p(struct hmm_mirror_dma *dma, const struct dma_run *run)
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

/**
 * hmm_mirror_dma_map_run() - map a run
 * @dma: the device
 * @block: its block
 * @at: page of the block at which it begins
 * @run: of which everything but the address, @kind, @linked and @direct is known; gets
 *	these
 *
 * Does not sleep.
 *
 * Return: 0; -ENOMEM without I/O virtual addresses, or memory for the IOMMU's tables;
 * -EOPNOTSUPP if the device cannot reach the memory, or only through a bounce buffer.
 */
int hmm_mirror_dma_map_run(struct hmm_mirror_dma *dma, struct dma_block *block,
			   unsigned int at, struct dma_run *run)
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

/*
 * Links @nr contiguous pages, or as many as can be. In pieces: the IOMMU must not map them by
 * a larger entry, of which a part cannot be unlinked.
 */
static unsigned int link_pages(struct hmm_mirror_dma *dma,
			       struct compat_iova *iova, size_t offset,
			       const struct dma_run *first, unsigned int nr)
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

/**
 * hmm_mirror_dma_map_at_once() - map contiguous pages as runs of a page each
 * @dma: the device
 * @block: their block
 * @at: page of the block at which they begin
 * @first: what is known of the first one but for its address; gets that
 * @nr: how many
 *
 * Does not sleep.
 *
 * Return: how many were mapped; the next one is for hmm_mirror_dma_map_run().
 */
unsigned int hmm_mirror_dma_map_at_once(struct hmm_mirror_dma *dma,
					struct dma_block *block, unsigned int at,
					struct dma_run *first, unsigned int nr)
{
	struct hmm_mirror_dma_tables *tables = dma->tables;
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
	return map_directly(dma, first, nr) ? nr : 0;
}

/**
 * hmm_mirror_dma_unmap_run() - unmap a run that is neither linked nor direct
 * @dma: the device
 * @run: the run
 */
void hmm_mirror_dma_unmap_run(struct hmm_mirror_dma *dma, const struct dma_run *run)
{
	if (unlikely(run->kind != HMM_MIRROR_DMA_SYSTEM))
		unmap_p2p(dma, run);
	else if (compat_dma_needs_unmap(dma->dev))
		compat_dma_unmap(dma->dev, run->dma, run_size(run),
				 direction_of(run), MAP_ATTRS);
}

/**
 * hmm_mirror_dma_unlink_runs() - unmap neighbours that are linked
 * @dma: the device
 * @block: their block
 * @at: page of the block at which they begin
 * @npages: of all of them; may be 0
 *
 * One call, which flushes the IOMMU once.
 */
void hmm_mirror_dma_unlink_runs(struct hmm_mirror_dma *dma, struct dma_block *block,
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

/**
 * hmm_mirror_dma_begin_api() - find out how a device reaches memory
 * @dma: of which @dev and @mirror are set
 * @tables: gets it
 * @flags: HMM_MIRROR_DMA_*
 *
 * With HMM_MIRROR_DMA_FIXED it allocates I/O virtual addresses for the mirror, where that
 * can be done. Sleeps.
 */
void hmm_mirror_dma_begin_api(struct hmm_mirror_dma *dma,
			      struct hmm_mirror_dma_tables *tables,
			      unsigned int flags)
{
	struct device *dev = dma->dev;

	tables->domain = compat_dma_domain(dev);
	tables->max_pages = clamp(dma_max_mapping_size(dev) >> PAGE_SHIFT,
				  1UL, BLOCK_PAGES);
	tables->max_p2p_pages = clamp(dma_get_max_seg_size(dev) >> PAGE_SHIFT,
				      1UL, BLOCK_PAGES);
	tables->max_link_pages = max_link_pages(tables->domain);
	tables->use_iova = compat_iova_exists() && tables->domain &&
			   can_link_pages(tables->domain) &&
			   READ_ONCE(dma_iova);
	/* A block takes 2 MiB of them for two pages: 4 GiB would soon be gone. */
	tables->wide = dma_get_mask(dev) > DMA_BIT_MASK(32);
	if ((flags & HMM_MIRROR_DMA_FIXED) && tables->use_iova)
		get_window(dma, tables);
}

/**
 * hmm_mirror_dma_end_api() - give back what hmm_mirror_dma_begin_api() has got
 * @dma: the device
 * @tables: in which nothing is mapped any more
 */
void hmm_mirror_dma_end_api(struct hmm_mirror_dma *dma,
			    struct hmm_mirror_dma_tables *tables)
{
	if (compat_iova_is_allocated(&tables->window))
		compat_iova_free(dma->dev, &tables->window);
}
