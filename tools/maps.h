/* SPDX-License-Identifier: GPL-2.0 */
/* The mappings of a process as /proc/PID/maps lists them. */
#ifndef HMMCTL_MAPS_H
#define HMMCTL_MAPS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "process.h"

struct vma {
	__u64 start;
	__u64 end;
	char permissions[5];
	/* Known only after vma_list_read() with details */
	bool hugetlb;
	/* A path, "[heap]" and the like, "anon" where maps gives none */
	char *name;
	/* The caller's; 0 at first */
	size_t tag;
};

/* Sorted by address, without overlaps */
struct vma_list {
	struct vma *vmas;
	size_t nr;
	size_t allocated;
};

/*
 * Fills the empty @list. @details reads smaps, for which the kernel walks all
 * page tables, and falls back to maps where it has none. 0 or a negative errno.
 */
int vma_list_read(struct vma_list *list, const struct process *process, bool details);

/* The first one that ends above @address; list->nr if none does */
size_t vma_list_find(const struct vma_list *list, __u64 address);

/* Takes [start, end) out of the list, as munmap() does. */
void vma_list_remove(struct vma_list *list, __u64 start, __u64 end);

/*
 * Makes @list what @newer says, empties that, and keeps those old ones (and all
 * old tags) that @newer does not contradict.
 */
void vma_list_update(struct vma_list *list, struct vma_list *newer);

void vma_list_free(struct vma_list *list);

#endif /* HMMCTL_MAPS_H */
