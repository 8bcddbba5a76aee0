// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "activity.h"
#include "memory.h"

const char * const short_lived_name = "(short-lived)";

static size_t add_mapping(struct activity *activity, const char *name, __u64 start, __u64 end)
{
	activity->mappings = grow_array(activity->mappings, &activity->allocated_mappings,
					activity->nr_mappings, sizeof(*activity->mappings));
	activity->mappings[activity->nr_mappings++] = (struct activity_mapping){
		.name = duplicate_string(name),
		.start = start,
		.end = end,
	};
	return activity->nr_mappings - 1;
}

/* Same name and touching: a mapping that has grown, or grew together with another */
static size_t find_mapping(struct activity *activity, const struct vma *vma)
{
	for (size_t i = 0; i < activity->nr_mappings; i++) {
		struct activity_mapping *mapping = &activity->mappings[i];

		if (mapping->start > vma->end || mapping->end < vma->start ||
		    strcmp(mapping->name, vma->name))
			continue;
		if (mapping->start > vma->start)
			mapping->start = vma->start;
		if (mapping->end < vma->end)
			mapping->end = vma->end;
		return i;
	}
	return add_mapping(activity, vma->name, vma->start, vma->end);
}

static size_t find_short_lived(struct activity *activity)
{
	for (size_t i = 0; i < activity->nr_mappings; i++)
		if (!strcmp(activity->mappings[i].name, short_lived_name))
			return i;
	return add_mapping(activity, short_lived_name, 0, 0);
}

static void count(struct activity_count *sum, __u64 bytes)
{
	sum->events++;
	sum->bytes += bytes;
}

static void count_mapping(struct activity *activity, size_t index, unsigned int kind, __u64 bytes)
{
	struct activity_mapping *mapping = &activity->mappings[index];

	count(&mapping->total, bytes);
	mapping->events_by_kind[kind]++;
}

void activity_add(struct activity *activity, const struct hmm_mirror_event *event,
		  struct vma_list *list, size_t first, size_t end)
{
	unsigned int kind = event_kind_index(event->kind);
	__u64 bytes = 0;

	/* The whole address space goes: that is no mapping's doing. */
	if (kind == HMM_MIRROR_EVENT_RELEASE) {
		count(&activity->kinds[kind], 0);
		count(&activity->total, 0);
		return;
	}

	for (size_t i = first; i < end; i++) {
		struct vma *vma = &list->vmas[i];
		__u64 from = vma->start > event->start ? vma->start : event->start;
		__u64 to = vma->end < event->end ? vma->end : event->end;

		/* The tag remembers the index, plus one, so that most events need no search. */
		if (!vma->tag)
			vma->tag = find_mapping(activity, vma) + 1;
		count_mapping(activity, vma->tag - 1, kind, to - from);
		bytes += to - from;
	}
	if (first == end) {
		bytes = event->end - event->start;
		count_mapping(activity, find_short_lived(activity), kind, bytes);
	}
	count(&activity->kinds[kind], bytes);
	count(&activity->total, bytes);
}

static int compare_mappings(const void *left, const void *right)
{
	const struct activity_mapping *a = left;
	const struct activity_mapping *b = right;

	if (a->total.events != b->total.events)
		return a->total.events > b->total.events ? -1 : 1;
	if (a->total.bytes != b->total.bytes)
		return a->total.bytes > b->total.bytes ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

void activity_sort(struct activity *activity)
{
	if (activity->nr_mappings)
		qsort(activity->mappings, activity->nr_mappings, sizeof(*activity->mappings),
		      compare_mappings);
}

unsigned int activity_main_kind(const struct activity_mapping *mapping)
{
	unsigned int main_kind = 0;

	for (unsigned int kind = 1; kind < NR_EVENT_KINDS; kind++)
		if (mapping->events_by_kind[kind] > mapping->events_by_kind[main_kind])
			main_kind = kind;
	return main_kind;
}

void activity_free(struct activity *activity)
{
	for (size_t i = 0; i < activity->nr_mappings; i++)
		free(activity->mappings[i].name);
	free(activity->mappings);
	*activity = (struct activity){ 0 };
}
