/* SPDX-License-Identifier: GPL-2.0 */
/* Address spaces: mappings of many kinds, next to each other. */
#ifndef DIFFERENTIAL_LAYOUT_H
#define DIFFERENTIAL_LAYOUT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kinds.h"

extern struct layout {
	struct segment segments[NR_KINDS + 64];
	size_t nr;
	/* For each page of the arena and of what is behind it */
	unsigned char kind_of[ARENA_PAGES];
	pid_t child;
	/* What compaction had moved before any of this was built */
	unsigned long compacted;
} layout;

/* How often a kind could be made, and why the last attempt failed */
extern unsigned long built[NR_KINDS];
extern int not_built[NR_KINDS];

enum kind kind_at(long page);
const struct kind_info *info_at(long page);

/* One past the last page at which anything is mapped. */
long end_of_everything(void);

/* For building a single mapping. */
void build_segment(const struct segment *segment);
void set_kinds(const struct segment *segment, enum kind kind);

/* Finds out what can be made on this kernel; layouts consist of that. */
void probe_kinds(void);

/*
 * Layout @number of those that follow from @seed: small mappings of all kinds, in random
 * order and of random sizes, next to each other, then some blocks of 2 MiB, in some
 * layouts a page of 1 GiB and, far from all of this, a border of tables.
 */
void build_layout(uint64_t seed, uint64_t number);

void destroy_layout(void);

#endif /* DIFFERENTIAL_LAYOUT_H */
