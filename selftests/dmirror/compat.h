/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernels that dmirror knows of.
 *
 * DMIRROR_HAVE_* are results of the build probes (probes/, run by Kbuild). The version in
 * a comment is where mainline changed; nothing here asks for a version.
 */
#ifndef DMIRROR_COMPAT_H
#define DMIRROR_COMPAT_H

#include <linux/err.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/rmap.h>

#include "dmirror_probes.h"

#ifndef DMIRROR_HAVE_SANITY
#error "Build probes do not work, see probes/sanity.log in the build directory"
#endif

/*
 * "mm/migrate_device: implement THP migration of zone device pages", v6.19: huge pages
 * are migrated as a whole. Before, migrate_vma_setup() split them.
 */
#ifdef DMIRROR_HAVE_MIGRATE_COMPOUND
#define COMPAT_HUGE_MIGRATION		1
#define COMPAT_SELECT_COMPOUND		MIGRATE_VMA_SELECT_COMPOUND
#define COMPAT_PFN_COMPOUND		MIGRATE_PFN_COMPOUND
#else
#define COMPAT_HUGE_MIGRATION		0
#define COMPAT_SELECT_COMPOUND		0
#define COMPAT_PFN_COMPOUND		0UL
#endif

/* "mm/zone_device: rename page_free callback to folio_free", v6.19 */
#ifdef DMIRROR_HAVE_FOLIO_FREE
#define COMPAT_PAGE_FREE(function)	.folio_free = function
#define COMPAT_FREE_ARG		struct folio

static inline struct page *compat_freed_page(struct folio *folio)
{
	return folio_page(folio, 0);
}

static inline unsigned long compat_freed_pages(struct folio *folio)
{
	return folio_nr_pages(folio);
}
#else
#define COMPAT_PAGE_FREE(function)	.page_free = function
#define COMPAT_FREE_ARG		struct page

static inline struct page *compat_freed_page(struct page *page)
{
	return page;
}

static inline unsigned long compat_freed_pages(struct page *page)
{
	return 1;
}
#endif

#ifdef CONFIG_ZONE_DEVICE
/*
 * Makes 2^@order pages of device memory, which nobody uses, one page with one
 * reference, locked.
 *
 * "mm/zone_device: reinitialize large zone device private folios", v6.19;
 * before it, and "mm/zone_device: support large zone device private folios",
 * there were single pages only.
 */
static inline void compat_zone_device_page_init(struct page *page,
						struct dev_pagemap *pagemap,
						unsigned int order)
{
#ifdef DMIRROR_HAVE_ZONE_DEVICE_PAGE_INIT_ORDER
	zone_device_folio_init((struct folio *)page, pagemap, order);
#else
	zone_device_page_init(page);
#endif
}
#endif /* CONFIG_ZONE_DEVICE */

/* "mm: allow compound zone device pages", v6.15, moved it to the folio. */
static inline struct dev_pagemap *compat_page_pgmap(struct page *page)
{
#ifdef DMIRROR_HAVE_PAGE_PGMAP
	return page_pgmap(page);
#else
	return page->pgmap;
#endif
}

/* A destination for a huge page; only where huge pages migrate as a whole. */
static inline struct page *compat_alloc_huge_page_vma(gfp_t gfp,
						      struct vm_area_struct *vma,
						      unsigned long addr)
{
#ifdef DMIRROR_HAVE_MIGRATE_COMPOUND
	struct folio *folio;

	if (vma)
		folio = vma_alloc_folio(gfp, HPAGE_PMD_ORDER, vma, addr);
	else
		folio = folio_alloc(gfp, HPAGE_PMD_ORDER);
	return folio ? folio_page(folio, 0) : NULL;
#else
	return NULL;
#endif
}

#if IS_ENABLED(CONFIG_DEVICE_PRIVATE)
#ifdef DMIRROR_HAVE_MAKE_DEVICE_EXCLUSIVE
static inline int compat_split_for_exclusive(struct mm_struct *mm,
					     unsigned long addr)
{
	return 0;
}

static inline struct page *compat_make_device_exclusive(struct mm_struct *mm,
							unsigned long addr,
							void *owner)
{
	struct folio *folio;

	return make_device_exclusive(mm, addr, owner, &folio);
}
#else
/*
 * Before "mm/rmap: convert make_device_exclusive_range() to
 * make_device_exclusive()", v6.15, only the first page of a huge page could be
 * had, and it was left mapped page by page, which nothing that a module may
 * call can split any more. migrate_vma_setup() splits a huge page that is still
 * mapped as one; the migration it begins is then called off.
 */
static inline int compat_split_for_exclusive(struct mm_struct *mm,
					     unsigned long addr)
{
	unsigned long src = 0, dst = 0;
	struct migrate_vma migration = {
		.vma = vma_lookup(mm, addr),
		.src = &src,
		.dst = &dst,
		.start = addr,
		.end = addr + PAGE_SIZE,
		.flags = MIGRATE_VMA_SELECT_SYSTEM,
	};
	int err;

	if (!migration.vma)
		return -EFAULT;
	err = migrate_vma_setup(&migration);
	if (err)
		return err;
	migrate_vma_pages(&migration);
	migrate_vma_finalize(&migration);
	return 0;
}

static inline struct page *compat_make_device_exclusive(struct mm_struct *mm,
							unsigned long addr,
							void *owner)
{
	struct page *page = NULL;
	int nr = make_device_exclusive_range(mm, addr, addr + PAGE_SIZE, &page,
					     owner);

	if (nr < 0)
		return ERR_PTR(nr);
	return nr && page ? page : ERR_PTR(-EBUSY);
}
#endif
#else /* !CONFIG_DEVICE_PRIVATE */
static inline int compat_split_for_exclusive(struct mm_struct *mm,
					     unsigned long addr)
{
	return -EOPNOTSUPP;
}

static inline struct page *compat_make_device_exclusive(struct mm_struct *mm,
							unsigned long addr,
							void *owner)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

#endif /* DMIRROR_COMPAT_H */
