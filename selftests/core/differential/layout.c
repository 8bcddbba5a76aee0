// SPDX-License-Identifier: GPL-2.0
/* Arranges kinds of memory next to each other, and remembers what is where. */
#include <sys/mman.h>

#include "core/range_fault_test/range_fault_test.h"
#include "layout.h"
#include "memory.h"
#include "random.h"

struct layout layout;

int not_built[NR_KINDS];
unsigned long built[NR_KINDS];

/* What is behind the arena in all layouts: 1 GiB of each. */
#define MAX_GIGANTIC	2
static const enum kind gigantic_kinds[MAX_GIGANTIC] = { GIGANTIC, GIGANTIC_HOLE };
static size_t nr_gigantic;

long end_of_everything(void)
{
	return ARENA_PAGES + nr_gigantic * GIGABYTE_PAGES;
}

enum kind kind_at(long page)
{
	if (page >= 0 && page < ARENA_PAGES)
		return layout.kind_of[page];
	if (page >= BORDER_FIRST && page < BORDER_FIRST + BORDER_PAGES)
		return AT_BORDER;
	if (page >= ARENA_PAGES && page < end_of_everything())
		return gigantic_kinds[(page - ARENA_PAGES) / GIGABYTE_PAGES];
	return GAP;
}

const struct kind_info *info_at(long page)
{
	return &kinds[kind_at(page)];
}

void set_kinds(const struct segment *segment, enum kind kind)
{
	long i;

	if (segment->first < 0 || segment->first >= ARENA_PAGES)
		return;
	for (i = 0; i < segment->npages; i++)
		layout.kind_of[segment->first + i] = kind;
	switch (kind) {
	case FILE_END:
		for (i = 0; i < segment->npages / 2; i++)
			layout.kind_of[segment->first + i] = FILE_SHARED;
		break;
	case MIXEDMAP:
		layout.kind_of[segment->first + 1] = SPECIAL;
		layout.kind_of[segment->first + 2] = FILE_END;
		break;
	case THP_PIECES:
		for (i = 9; i < 12; i++)
			layout.kind_of[segment->first + i] = GAP;
		for (i = 100; i < 150; i++)
			layout.kind_of[segment->first + i] = READ_ONLY;
		break;
	default:
		break;
	}
}

void build_segment(const struct segment *segment)
{
	const struct kind_info *info = &kinds[segment->kind];

	errno = 0;
	if (info->build(segment)) {
		/* See share_for_a_moment(). */
		if (!(info->flags & BEFORE_FORK))
			madvise(address_of(segment->first),
				segment->npages * PAGE, MADV_DONTFORK);
		built[segment->kind]++;
		set_kinds(segment, segment->kind);
		return;
	}
	not_built[segment->kind] = errno ?: EINVAL;
	munmap(address_of(segment->first), segment->npages * PAGE);
	set_kinds(segment, GAP);
}

static void add_segment(enum kind kind, long first, long npages)
{
	layout.segments[layout.nr++] = (struct segment){ kind, first, npages };
}

static bool wanted(enum kind kind, uint64_t number)
{
	return built[kind] && kinds[kind].max_pages != GIGABYTE_PAGES &&
	       number % kinds[kind].rare == 0;
}

void destroy_layout(void)
{
	kill_and_wait(layout.child);
	layout.child = 0;
	munmap(address_of(0), ARENA_PAGES * PAGE);
	munmap(address_of(BORDER_FIRST), BORDER_PAGES * PAGE);
	layout.nr = 0;
}

static void swap_kinds(enum kind *one, enum kind *other)
{
	enum kind kind = *one;

	*one = *other;
	*other = kind;
}

static void shuffle(enum kind *order, size_t nr)
{
	for (; nr > 1; nr--)
		swap_kinds(&order[nr - 1], &order[below(nr)]);
}

static size_t index_of(const enum kind *order, size_t nr, enum kind kind)
{
	size_t i;

	for (i = 0; i < nr && order[i] != kind; i++)
		;
	return i;
}

/*
 * A huge page follows the empty block directly: they become one mapping, in which a walk
 * meets an empty entry of a table of PMDs and then one that is not.
 */
static void put_behind_hole(enum kind *order, size_t nr)
{
	size_t hole = index_of(order, nr, THP_HOLE);

	if (hole == nr || index_of(order, nr, THP) == nr)
		return;
	if (hole + 1 == nr) {
		swap_kinds(&order[0], &order[hole]);
		hole = 0;
	}
	swap_kinds(&order[hole + 1], &order[index_of(order, nr, THP)]);
}

void build_layout(uint64_t seed, uint64_t number)
{
	enum kind order[NR_KINDS];
	size_t i, pass, nr = 0;
	long page = 0, blocks = 0;

	destroy_layout();
	layout.compacted = vmstat_value("compact_isolated");
	seed_random(seed * 0x100000001b3ULL + number);

	for (i = 0; i < NR_KINDS; i++) {
		if (!(kinds[i].flags & IS_BLOCK) && i != AT_BORDER &&
		    wanted(i, number))
			order[nr++] = i;
	}
	shuffle(order, nr);
	memset(layout.kind_of, GAP, sizeof(layout.kind_of));
	for (i = 0; i < nr; i++) {
		long npages = 1 + below(kinds[order[i]].max_pages);

		if (order[i] == MIXEDMAP)
			npages = RANGE_FAULT_TEST_MMAP_PAGES;
		else if (order[i] == KSM_PAGE)
			npages = 12;
		if (one_in(6))
			page += below(20);
		if (page + npages > SOUP_PAGES)
			break;
		add_segment(order[i], page, npages);
		page += npages;
	}

	/* As many blocks as there is room for, rare ones first. */
	nr = 0;
	for (i = 0; i < NR_KINDS; i++) {
		if ((kinds[i].flags & IS_BLOCK) &&
		    kinds[i].max_pages == BLOCK && wanted(i, number))
			order[nr++] = i;
	}
	shuffle(order, nr);
	put_behind_hole(order, nr);
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < nr && blocks < NR_BLOCKS; i++) {
			if ((kinds[order[i]].rare > 1) == !pass)
				add_segment(order[i],
					    SOUP_PAGES + blocks++ * BLOCK,
					    BLOCK);
		}
	}

	add_segment(AT_BORDER, BORDER_FIRST, BORDER_PAGES);
	for (i = 0; i < layout.nr; i++) {
		if (kinds[layout.segments[i].kind].flags & BEFORE_FORK)
			build_segment(&layout.segments[i]);
	}
	layout.child = fork_sleeper();
	madvise(address_of(0), ARENA_PAGES * PAGE, MADV_DONTFORK);
	for (i = 0; i < layout.nr; i++) {
		if (!(kinds[layout.segments[i].kind].flags & BEFORE_FORK))
			build_segment(&layout.segments[i]);
	}
	for (i = 0; i < nr_gigantic; i++)
		add_segment(gigantic_kinds[i], ARENA_PAGES + i * GIGABYTE_PAGES,
			    GIGABYTE_PAGES);
}

void probe_kinds(void)
{
	size_t i;

	for (i = 0; i < NR_KINDS; i++) {
		struct segment segment = { i, 0, BLOCK };

		if (!kinds[i].build || kinds[i].max_pages == GIGABYTE_PAGES)
			continue;
		if (i == MIXEDMAP)
			segment.npages = RANGE_FAULT_TEST_MMAP_PAGES;
		else if (!(kinds[i].flags & IS_BLOCK))
			segment.npages = 1;
		if (i == KSM_PAGE || i == FILE_END)
			segment.npages = 2;
		build_segment(&segment);
		munmap(address_of(0), BLOCK * PAGE);
	}
	for (i = 0; i < MAX_GIGANTIC; i++) {
		struct segment segment = {
			gigantic_kinds[i], ARENA_PAGES + i * GIGABYTE_PAGES,
			GIGABYTE_PAGES,
		};

		build_segment(&segment);
		if (!built[gigantic_kinds[i]])
			break;
		nr_gigantic++;
	}
}
