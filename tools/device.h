/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ioctls of /dev/hmm_mirror. Functions marked "Complains" print the error themselves
 * and return false on failure; the others return 0 or a negative errno, since what to say
 * depends on the command.
 */
#ifndef HMMCTL_DEVICE_H
#define HMMCTL_DEVICE_H

#include <linux/hmm_mirror.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define DEVICE_PATH	"/dev/hmm_mirror"

struct device {
	int fd;
	struct hmm_mirror_info info;
};

/* Opens the device for this process and fills @info. Complains. */
bool device_open(struct device *device);

/* Mirrors @pid instead; @info is then about that process. Complains. */
bool device_attach(struct device *device, pid_t pid);

/* @arguments->size is set here, as in all of these. */
int device_range(const struct device *device, struct hmm_mirror_range_args *arguments);

/* Snapshots the page at @address; false if even that cannot be read. */
bool device_read_page(const struct device *device, __u64 address,
		      struct hmm_mirror_extent_info *extent);

int device_watch(const struct device *device, __u64 start, __u64 end);

/* Returns the number of events read, 0 if there are none now. */
ssize_t device_read_events(const struct device *device, struct hmm_mirror_event *events,
			   size_t nr);

int device_stats(const struct device *device, struct hmm_mirror_stats *stats);

#endif /* HMMCTL_DEVICE_H */
