/* SPDX-License-Identifier: GPL-2.0 */
/* Counts invalidation events by kind and by the mappings they hit. */
#ifndef HMMCTL_ACTIVITY_H
#define HMMCTL_ACTIVITY_H

#include <linux/hmm_mirror.h>

#include "maps.h"
#include "names.h"

/* A mapping that was never seen is named by its addresses only. */
extern const char * const short_lived_name;

/*
 * More mappings than this are not counted separately: the watched process decides how
 * many there are.
 */
#define ACTIVITY_MAX_MAPPINGS	4096

struct activity_count {
	__u64 events;
	/* How much was mapped of the ranges that the events name */
	__u64 bytes;
};

/* What happened to one mapping; it may have grown or moved its ends since. */
struct activity_mapping {
	char *name;
	__u64 start;
	__u64 end;
	struct activity_count total;
	struct activity_count kinds[NR_EVENT_KINDS];
};

struct activity {
	struct activity_count total;
	struct activity_count kinds[NR_EVENT_KINDS];
	__u64 lost;

	/* @nr_mappings of them are in use, sorted by name and address in @order. */
	struct activity_mapping mappings[ACTIVITY_MAX_MAPPINGS];
	struct activity_mapping *order[ACTIVITY_MAX_MAPPINGS];
	size_t nr_mappings;
	/* What happened to mappings that had to make room for others */
	struct activity_count others;
	/* Tags of another generation mean nothing any more. */
	__u32 generation;
};

/*
 * Counts @event. @list is what is known about the process's mappings; those in [@first,
 * @end) overlap the event. Returns how many bytes it counts for.
 */
__u64 activity_add(struct activity *activity, const struct hmm_mirror_event *event,
		   struct vma_list *list, size_t first, size_t end);

/*
 * Sorts the mappings with most events to the front of @order; no event may be added after
 * it.
 */
void activity_sort(struct activity *activity);

/* The kind of event that invalidated most of the mapping's bytes */
unsigned int activity_main_kind(const struct activity_mapping *mapping);

void activity_free(struct activity *activity);

#endif /* HMMCTL_ACTIVITY_H */
