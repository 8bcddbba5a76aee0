/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/hmm_mirror for the tests: argument structs are filled in, but nothing is checked,
 * since wrong arguments are much of what is tested.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <errno.h>
#include <linux/hmm_mirror.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "witness.h"

#define DEVICE	"/dev/hmm_mirror"

static inline int open_device(void)
{
	return open(DEVICE, O_RDWR | O_CLOEXEC);
}

static inline struct hmm_mirror_range_args
range_args(const void *start, size_t npages, __u32 flags,
	   struct hmm_mirror_extent_info *extents, __u32 nr_extents)
{
	return (struct hmm_mirror_range_args){
		.size = sizeof(struct hmm_mirror_range_args),
		.flags = flags,
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
		.extents = (unsigned long)extents,
		.nr_extents = nr_extents,
	};
}

/* Returns 0 or the errno. */
static inline int call_range(int fd, struct hmm_mirror_range_args *args)
{
	return ioctl(fd, HMM_MIRROR_RANGE, args) ? errno : 0;
}

static inline int call_info(int fd, struct hmm_mirror_info *info)
{
	*info = (struct hmm_mirror_info){ .size = sizeof(*info) };
	return ioctl(fd, HMM_MIRROR_INFO, info) ? errno : 0;
}

static inline int call_stats(int fd, struct hmm_mirror_stats *stats)
{
	*stats = (struct hmm_mirror_stats){ .size = sizeof(*stats) };
	return ioctl(fd, HMM_MIRROR_STATS, stats) ? errno : 0;
}

static inline int call_attach(int fd, pid_t pid)
{
	struct hmm_mirror_attach args = {
		.size = sizeof(args),
		.pid = pid,
	};

	return ioctl(fd, HMM_MIRROR_ATTACH, &args) ? errno : 0;
}

/* Returns 0 and sets *@id, or returns the errno. */
static inline int call_watch(int fd, const void *start, size_t npages,
			     __u32 *id)
{
	struct hmm_mirror_watch_args args = {
		.size = sizeof(args),
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
	};
	int error = ioctl(fd, HMM_MIRROR_WATCH, &args) ? errno : 0;

	*id = args.watch_id;
	return error;
}

static inline int call_unwatch(int fd, __u32 id)
{
	struct hmm_mirror_unwatch_args args = {
		.size = sizeof(args),
		.watch_id = id,
	};

	return ioctl(fd, HMM_MIRROR_UNWATCH, &args) ? errno : 0;
}

#endif /* DEVICE_H */
