// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>

#include "memory.h"
#include "names.h"
#include "tally.h"

static bool is_alike(const struct tally_entry *a, const struct tally_entry *b)
{
	return a->kind == b->kind && a->order == b->order && a->node == b->node &&
	       a->valid == b->valid && a->error == b->error;
}

static void add_entry(struct tally *tally, const struct tally_entry *entry)
{
	for (size_t i = 0; i < tally->nr; i++) {
		struct tally_entry *sum = &tally->entries[i];

		if (is_alike(sum, entry)) {
			sum->bytes += entry->bytes;
			sum->writable_bytes += entry->writable_bytes;
			sum->extents += entry->extents;
			return;
		}
	}
	tally->entries = grow_array(tally->entries, &tally->allocated, tally->nr,
				    sizeof(*tally->entries));
	tally->entries[tally->nr++] = *entry;
}

void tally_add(struct tally *tally, const struct hmm_mirror_extent_info *extent,
	       unsigned int page_size)
{
	struct tally_entry entry = {
		.kind = extent->kind,
		.order = extent->order,
		.node = extent->node,
		.valid = extent->flags & HMM_MIRROR_EXTENT_VALID,
		.error = extent->flags & HMM_MIRROR_EXTENT_ERROR,
		.bytes = extent->npages * page_size,
		.extents = 1,
	};

	if (extent->flags & HMM_MIRROR_EXTENT_WRITE)
		entry.writable_bytes = entry.bytes;
	add_entry(tally, &entry);
}

void tally_add_all(struct tally *tally, const struct tally *other)
{
	for (size_t i = 0; i < other->nr; i++)
		add_entry(tally, &other->entries[i]);
}

static int compare_entries(const void *left, const void *right)
{
	const struct tally_entry *a = left;
	const struct tally_entry *b = right;

	/* What is mapped comes first. */
	if (a->valid != b->valid)
		return a->valid ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	if (a->node != b->node)
		return a->node < b->node ? -1 : 1;
	return 0;
}

void tally_sort(struct tally *tally)
{
	if (tally->nr)
		qsort(tally->entries, tally->nr, sizeof(*tally->entries), compare_entries);
}

void tally_free(struct tally *tally)
{
	free(tally->entries);
	*tally = (struct tally){ 0 };
}

__u64 tally_kind(const struct tally *tally, unsigned int kind)
{
	__u64 bytes = 0;

	for (size_t i = 0; i < tally->nr; i++)
		if (tally->entries[i].kind == kind)
			bytes += tally->entries[i].bytes;
	return bytes;
}

__u64 tally_writable(const struct tally *tally)
{
	__u64 bytes = 0;

	for (size_t i = 0; i < tally->nr; i++)
		bytes += tally->entries[i].writable_bytes;
	return bytes;
}

__u64 tally_mapped(const struct tally *tally)
{
	__u64 bytes = 0;

	for (size_t i = 0; i < tally->nr; i++)
		if (tally->entries[i].valid)
			bytes += tally->entries[i].bytes;
	return bytes;
}

static bool is_on_node(const struct tally *tally, __s32 node)
{
	for (size_t i = 0; i < tally->nr; i++)
		if (tally->entries[i].node == node)
			return true;
	return false;
}

static __s32 next_node(const struct tally *tally, __s32 node)
{
	__s32 next = -1;

	for (size_t i = 0; i < tally->nr; i++) {
		__s32 candidate = tally->entries[i].node;

		if (candidate > node && (next < 0 || candidate < next))
			next = candidate;
	}
	return next;
}

char *tally_nodes(const struct tally *tally)
{
	char *text = duplicate_string("");
	__s32 first;

	for (first = next_node(tally, -1); first >= 0; ) {
		const char *comma = *text ? "," : "";
		__s32 last = first;
		char *longer;

		while (is_on_node(tally, last + 1))
			last++;
		if (first == last)
			longer = format_string("%s%s%d", text, comma, first);
		else
			longer = format_string("%s%s%d-%d", text, comma, first, last);
		free(text);
		text = longer;
		first = next_node(tally, last);
	}
	if (!*text) {
		free(text);
		text = duplicate_string("-");
	}
	return text;
}

void tally_json(const struct tally *tally, struct json *json, const char *name)
{
	json_array_begin(json, name);
	for (size_t i = 0; i < tally->nr; i++) {
		const struct tally_entry *entry = &tally->entries[i];

		json_object_begin(json, NULL);
		json_string(json, "kind", kind_name(entry->kind));
		json_unsigned(json, "order", entry->order);
		json_signed(json, "node", entry->node);
		json_boolean(json, "valid", entry->valid);
		json_boolean(json, "error", entry->error);
		json_unsigned(json, "bytes", entry->bytes);
		json_unsigned(json, "writable_bytes", entry->writable_bytes);
		json_unsigned(json, "extents", entry->extents);
		json_object_end(json);
	}
	json_array_end(json);
}
