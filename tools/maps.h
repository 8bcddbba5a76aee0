/* SPDX-License-Identifier: GPL-2.0 */
/* The mappings of a process as /proc/PID/maps lists them. */
#ifndef HMMCTL_MAPS_H
#define HMMCTL_MAPS_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "parse.h"
#include "process.h"

struct shared_name;

struct vma {
	__u64 start;
	/* If equal to @start, it has been removed and must be skipped */
	__u64 end;
	/* Device number of the file system, 0 if there is none; packed as in the kernel */
	__u32 device;
	char permissions[5];
	/* Known only after vma_list_find_hugetlb() */
	bool hugetlb;
	/* A newer list does not have it; that was at the caller's time @gone_at. */
	bool gone;
	__u64 gone_at;
	/* A path, "[heap]" and the like, "anon" if maps gives none */
	struct shared_name *name;
	/* For the caller; 0 at first */
	__u64 tag;
};

const char *vma_name(const struct vma *vma);

/* Sorted by address, without overlaps */
struct vma_list {
	struct vma *vmas;
	size_t nr;
	size_t allocated;
	/* How many of them have been removed */
	size_t nr_removed;
};

/*
 * Fills the empty @list with the mappings that @ranges, sorted and disjoint, touch; all
 * if there are none. Mappings are not clipped. What lies behind the last range is not
 * read. 0 or a negative errno; also -ESRCH if the process has no mappings at all, since
 * it has exited then.
 */
int vma_list_read(struct vma_list *list, const struct process *process,
		  const struct range_list *ranges);

/*
 * Finds out which ones belong to hugetlbfs. For each device number one mapping's file
 * system is looked at, for which the caller must be privileged; otherwise, if such a
 * mapping is possible at all, smaps is read, for which the kernel walks all page tables.
 * Only for a list that is not clipped.
 */
int vma_list_find_hugetlb(struct vma_list *list, const struct process *process,
			  const struct range_list *ranges);

/* Removes what lies outside @ranges, sorted and disjoint. */
void vma_list_cut(struct vma_list *list, const struct range_list *ranges);

/* The first one that ends above @address; list->nr if none does */
size_t vma_list_find(const struct vma_list *list, __u64 address);

/* Removes [start, end) from the list, as munmap() does. */
void vma_list_remove(struct vma_list *list, __u64 start, __u64 end);

/* Number of bytes in all of them */
__u64 vma_list_size(const struct vma_list *list);

/*
 * Replaces @list by what @newer says and empties @newer. Old tags are kept, as are old
 * mappings that @newer does not contradict: they have been gone since @now, and are
 * dropped if they have been since @forgotten.
 */
void vma_list_update(struct vma_list *list, struct vma_list *newer, __u64 now, __u64 forgotten);

void vma_list_free(struct vma_list *list);

#endif /* HMMCTL_MAPS_H */
