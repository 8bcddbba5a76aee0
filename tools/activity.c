// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "activity.h"
#include "interruption.h"
#include "memory.h"

const char * const short_lived_name = "(short-lived)";

static void count(struct activity_count *sum, __u64 events, __u64 bytes)
{
	sum->events += events;
	sum->bytes += bytes;
}

static int compare_by_events(const void *left, const void *right)
{
	const struct activity_mapping *a = *(struct activity_mapping * const *)left;
	const struct activity_mapping *b = *(struct activity_mapping * const *)right;

	if (a->total.events != b->total.events)
		return a->total.events > b->total.events ? -1 : 1;
	if (a->total.bytes != b->total.bytes)
		return a->total.bytes > b->total.bytes ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static int compare_names(const char *a_name, __u64 a_start, const char *b_name, __u64 b_start)
{
	int order = strcmp(a_name, b_name);

	if (order)
		return order;
	return a_start < b_start ? -1 : a_start > b_start;
}

static int compare_by_name(const void *left, const void *right)
{
	const struct activity_mapping *a = *(struct activity_mapping * const *)left;
	const struct activity_mapping *b = *(struct activity_mapping * const *)right;

	return compare_names(a->name, a->start, b->name, b->start);
}

/* The half that was hit least is no longer counted separately. */
static void make_room(struct activity *activity)
{
	size_t kept = activity->nr_mappings / 2;
	struct activity_mapping *copies = allocate(kept * sizeof(*copies));

	qsort(activity->order, activity->nr_mappings, sizeof(*activity->order), compare_by_events);
	for (size_t i = 0; i < activity->nr_mappings; i++) {
		struct activity_mapping *mapping = activity->order[i];

		if (i < kept) {
			copies[i] = *mapping;
			continue;
		}
		count(&activity->others, mapping->total.events, mapping->total.bytes);
		free(mapping->name);
	}
	memcpy(activity->mappings, copies, kept * sizeof(*copies));
	free(copies);

	for (size_t i = 0; i < kept; i++)
		activity->order[i] = &activity->mappings[i];
	qsort(activity->order, kept, sizeof(*activity->order), compare_by_name);
	activity->nr_mappings = kept;
	activity->generation++;
}

/* The first one in activity.order that does not come before that name and address */
static size_t find_place(const struct activity *activity, const char *name, __u64 start)
{
	size_t low = 0;
	size_t high = activity->nr_mappings;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_names(activity->order[middle]->name, activity->order[middle]->start,
				  name, start) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether the one at that place in activity.order has the name and touches the addresses */
static bool touches(const struct activity *activity, size_t place, const char *name, __u64 start,
		    __u64 end)
{
	const struct activity_mapping *mapping;

	if (place >= activity->nr_mappings)
		return false;
	mapping = activity->order[place];
	return mapping->start <= end && mapping->end >= start && !strcmp(mapping->name, name);
}

/* Takes it out of the order, and fills its place with the last one of the array. */
static void remove_mapping(struct activity *activity, size_t place)
{
	struct activity_mapping *mapping = activity->order[place];
	struct activity_mapping *last = &activity->mappings[activity->nr_mappings - 1];

	if (last != mapping)
		activity->order[find_place(activity, last->name, last->start)] = mapping;
	free(mapping->name);
	*mapping = *last;
	activity->nr_mappings--;
	memmove(activity->order + place, activity->order + place + 1,
		(activity->nr_mappings - place) * sizeof(*activity->order));
	activity->generation++;
}

/* The one at @place has grown until it touches the next one: merges them. */
static void absorb_next(struct activity *activity, size_t place)
{
	struct activity_mapping *mapping = activity->order[place];
	const struct activity_mapping *next = activity->order[place + 1];

	if (mapping->end < next->end)
		mapping->end = next->end;
	count(&mapping->total, next->total.events, next->total.bytes);
	for (size_t i = 0; i < NR_EVENT_KINDS; i++)
		count(&mapping->kinds[i], next->kinds[i].events, next->kinds[i].bytes);
	remove_mapping(activity, place + 1);
}

static struct activity_mapping *insert(struct activity *activity, size_t place, const char *name,
				       __u64 start, __u64 end)
{
	struct activity_mapping *mapping;

	if (activity->nr_mappings == ACTIVITY_MAX_MAPPINGS) {
		make_room(activity);
		place = find_place(activity, name, start);
	}
	mapping = &activity->mappings[activity->nr_mappings];
	*mapping = (struct activity_mapping){
		.name = duplicate_string(name),
		.start = start,
		.end = end,
	};
	memmove(activity->order + place + 1, activity->order + place,
		(activity->nr_mappings - place) * sizeof(*activity->order));
	activity->order[place] = mapping;
	activity->nr_mappings++;
	return mapping;
}

/*
 * The one for a mapping. If the name is the same and they touch, the mapping has grown,
 * or has been merged with another. Those of one name neither overlap nor touch, so only
 * the neighbours of its place can be it.
 */
static struct activity_mapping *find_mapping(struct activity *activity, const char *name,
					     __u64 start, __u64 end)
{
	size_t place = find_place(activity, name, start);
	struct activity_mapping *mapping;

	if (place && touches(activity, place - 1, name, start, end))
		place--;
	else if (!touches(activity, place, name, start, end))
		return insert(activity, place, name, start, end);

	mapping = activity->order[place];
	/* What comes before it is even lower: the order stays. */
	if (mapping->start > start)
		mapping->start = start;
	if (mapping->end < end)
		mapping->end = end;
	while (touches(activity, place + 1, name, mapping->start, mapping->end)) {
		absorb_next(activity, place);
		mapping = activity->order[place];
	}
	return mapping;
}

static void count_mapping(struct activity_mapping *mapping, unsigned int kind, __u64 bytes)
{
	count(&mapping->total, 1, bytes);
	count(&mapping->kinds[kind], 1, bytes);
}

/* The tag remembers which one it was, so that most events need no search. */
static struct activity_mapping *find_tagged(struct activity *activity, struct vma *vma)
{
	struct activity_mapping *mapping;

	if (vma->tag && vma->tag >> 32 == activity->generation)
		return &activity->mappings[(__u32)vma->tag - 1];
	mapping = find_mapping(activity, vma_name(vma), vma->start, vma->end);
	vma->tag = (__u64)activity->generation << 32 |
		   (__u64)(mapping - activity->mappings + 1);
	return mapping;
}

__u64 activity_add(struct activity *activity, const struct hmm_mirror_event *event,
		   struct vma_list *list, size_t first, size_t end)
{
	unsigned int kind = event_kind_index(event->kind);
	__u64 bytes = 0;
	bool any = false;

	for (size_t i = first; i < end; i++) {
		struct vma *vma = &list->vmas[i];
		__u64 from = vma->start > event->start ? vma->start : event->start;
		__u64 to = vma->end < event->end ? vma->end : event->end;

		/* There may be very many. */
		if (i % 1024 == 0)
			interruption_alive();
		if (from >= to)
			continue;
		any = true;
		bytes += to - from;
		/* The whole address space goes away: no single mapping is the cause. */
		if (kind != HMM_MIRROR_EVENT_RELEASE)
			count_mapping(find_tagged(activity, vma), kind, to - from);
	}
	if (!any && kind != HMM_MIRROR_EVENT_RELEASE) {
		bytes = event->end - event->start;
		count_mapping(find_mapping(activity, short_lived_name, event->start, event->end),
			      kind, bytes);
	}
	count(&activity->kinds[kind], 1, bytes);
	count(&activity->total, 1, bytes);
	return bytes;
}

void activity_sort(struct activity *activity)
{
	if (activity->nr_mappings)
		qsort(activity->order, activity->nr_mappings, sizeof(*activity->order),
		      compare_by_events);
}

unsigned int activity_main_kind(const struct activity_mapping *mapping)
{
	unsigned int main_kind = 0;

	for (unsigned int kind = 1; kind < NR_EVENT_KINDS; kind++)
		if (mapping->kinds[kind].bytes > mapping->kinds[main_kind].bytes)
			main_kind = kind;
	return main_kind;
}

void activity_free(struct activity *activity)
{
	for (size_t i = 0; i < activity->nr_mappings; i++)
		free(activity->mappings[i].name);
	activity->nr_mappings = 0;
}
