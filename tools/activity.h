/* SPDX-License-Identifier: GPL-2.0 */
/* Counts invalidation events by kind and by the mappings they hit. */
#ifndef HMMCTL_ACTIVITY_H
#define HMMCTL_ACTIVITY_H

#include <linux/hmm_mirror.h>

#include "maps.h"
#include "names.h"

/* What nobody saw while it was mapped is one mapping to us. */
extern const char * const short_lived_name;

struct activity_count {
	__u64 events;
	/* What was mapped of the ranges that the events name */
	__u64 bytes;
};

/* What happened to one mapping; it may have grown or moved its ends since. */
struct activity_mapping {
	char *name;
	__u64 start;
	__u64 end;
	struct activity_count total;
	__u64 events_by_kind[NR_EVENT_KINDS];
};

struct activity {
	struct activity_count total;
	struct activity_count kinds[NR_EVENT_KINDS];
	__u64 lost;
	struct activity_mapping *mappings;
	size_t nr_mappings;
	size_t allocated_mappings;
};

/*
 * Counts @event. @list is what is known of the process's mappings, [@first,
 * @end) in it are those the event overlaps.
 */
void activity_add(struct activity *activity, const struct hmm_mirror_event *event,
		  struct vma_list *list, size_t first, size_t end);

/* The mappings with most events come first then; no event may be added after. */
void activity_sort(struct activity *activity);

/* The kind of most of the mapping's events */
unsigned int activity_main_kind(const struct activity_mapping *mapping);

void activity_free(struct activity *activity);

#endif /* HMMCTL_ACTIVITY_H */
