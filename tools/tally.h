/* SPDX-License-Identifier: GPL-2.0 */
/* Adds up extents by what they are. */
#ifndef HMMCTL_TALLY_H
#define HMMCTL_TALLY_H

#include <linux/hmm_mirror.h>
#include <stdbool.h>
#include <stddef.h>

#include "json.h"

struct tally_entry {
	__u16 kind;
	__u8 order;
	bool valid;
	bool error;
	__s32 node;
	__u64 bytes;
	__u64 writable_bytes;
	__u64 extents;
};

/* One entry for every combination of kind, order, flags and node that occurs */
struct tally {
	struct tally_entry *entries;
	size_t nr;
	size_t allocated;
};

void tally_add(struct tally *tally, const struct hmm_mirror_extent_info *extent,
	       unsigned int page_size);
void tally_add_all(struct tally *tally, const struct tally *other);
void tally_sort(struct tally *tally);
void tally_free(struct tally *tally);

__u64 tally_kind(const struct tally *tally, unsigned int kind);
__u64 tally_writable(const struct tally *tally);
/* Memory that is mapped there now, the zero page and hugetlb included */
__u64 tally_mapped(const struct tally *tally);

/* "0-1,3", "-" if there is no memory; for the caller to free */
char *tally_nodes(const struct tally *tally);

/* An array of objects, one for each entry */
void tally_json(const struct tally *tally, struct json *json, const char *name);

#endif /* HMMCTL_TALLY_H */
