/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kinds of memory of which an address space is built: how each is made, and what is
 * known about it in advance.
 */
#ifndef DIFFERENTIAL_KINDS_H
#define DIFFERENTIAL_KINDS_H

#include <linux/hmm_mirror.h>
#include <stdbool.h>

#define PAGE		4096UL
#define BLOCK		512L	/* pages of a PMD */
#define SOUP_PAGES	(3 * BLOCK)	/* of mappings that are small */
#define NR_BLOCKS	5		/* of 2 MiB, behind them */
#define ARENA_PAGES	(SOUP_PAGES + NR_BLOCKS * BLOCK)
#define GIGABYTE	(1UL << 30)
#define GIGABYTE_PAGES	((long)(GIGABYTE / PAGE))
/* The arena ends, and a 1G page begins, at a border of page tables of every level. */
#define ARENA_END	((1UL << 40) + GIGABYTE)
#define ARENA		(ARENA_END - ARENA_PAGES * PAGE)
/* One mapping, far before the arena, in which a table of each level ends. */
#define BORDER_PAGES	96L
#define BORDER_FIRST	(-(long)((ARENA - (1UL << 40)) / PAGE) - BORDER_PAGES / 2)

enum kind {
	GAP,
	HOLE,
	ANON,
	ANON_MIX,
	READ_ONLY,
	NO_ACCESS,
	WRITE_ONLY,
	EXEC_ONLY,
	ZERO_PAGE,
	SWAPPED,
	FORKED,
	AT_BORDER,
	MLOCKED,
	KSM_PAGE,
	FILE_PRIVATE,
	FILE_SHARED,
	FILE_READ_ONLY,
	FILE_END,
	TMPFS_PRIVATE,
	TMPFS_SHARED,
	UFFD_WP,
	UFFD_WP_MARKER,
	UFFD_MISSING,
	UFFD_POISON,
	GUARD,
	HWPOISON,
	SECRETMEM,
	SHADOW_STACK,
	MIXEDMAP,
	SPECIAL,
	PFNMAP,
	DEVICE_OWN,
	DEVICE_OTHER,
	DEVICE_FORKED,
	EXCLUSIVE,
	THP,
	THP_ZERO,
	THP_HOLE,
	THP_FORKED,
	THP_CHILD_GONE,
	THP_READ_ONLY,
	THP_PIECES,
	THP_SHMEM,
	THP_DEVICE_OWN,
	THP_DEVICE_OTHER,
	HUGETLB,
	HUGETLB_HOLE,
	HUGETLB_READ,
	HUGETLB_READ_ONLY,
	HUGETLB_FORKED,
	HUGETLB_SHARED,
	HUGETLB_HWPOISON,
	GIGANTIC,
	GIGANTIC_HOLE,
	NR_KINDS,
};

/* kind_info.flags */
#define IS_BLOCK	0x01	/* of 2 MiB, or more */
#define BEFORE_FORK	0x02	/* shared with a child */
#define NO_READ		0x04	/* to ask for it is an error */
#define NO_WRITE	0x08	/* to ask for it for writing is one */
#define SPREADS		0x10	/* one fault can map other pages too */
#define WAITS		0x20	/* a fault may wait for a userfaultfd handler */
#define IS_HUGETLB	0x40
#define KEEP		0x80	/* not rebuilt between cases */
#define GROWS		0x100	/* one entry: there, or writable, after one fault */

/* kind_info.counts: when a page of that kind counts as covered */
enum counts {
	ALWAYS,
	WHEN_VALID,
	WHEN_WRITABLE,
	WHEN_READ_ONLY,
	WHEN_NOT_VALID,
	WHEN_ENTRY,
};

struct segment {
	enum kind kind;
	long first; /* page of the arena */
	long npages;
};

struct kind_info {
	const char *name;
	bool (*build)(const struct segment *segment);
	unsigned int flags;
	unsigned int rare; /* one layout in so many has it */
	long max_pages;
	enum counts counts;
	unsigned int entry; /* HMM_MIRROR_KIND_* for WHEN_ENTRY */
};

extern const struct kind_info kinds[NR_KINDS];

/* A page in the memory of the device for which requests are made, 0 if there is none */
extern unsigned long own_device_page;

char *address_of(long page);

/* A mapping no part of which becomes a huge page. */
bool map_small(const struct segment *segment);
void write_pages(const struct segment *segment);

/*
 * Shares it with a child, which exits: what was writable no longer is, although nobody
 * else has it. A write notices this, and makes a whole entry writable at once, without an
 * invalidation.
 */
bool share_for_a_moment(const struct segment *segment);

/* Opens everything that is needed to make memory. False if required files are missing. */
bool open_resources(void);

#endif /* DIFFERENTIAL_KINDS_H */
