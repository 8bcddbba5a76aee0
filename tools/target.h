/* SPDX-License-Identifier: GPL-2.0 */
/* The process that a command works on: the device attached to it, and its /proc. */
#ifndef HMMCTL_TARGET_H
#define HMMCTL_TARGET_H

#include "device.h"
#include "parse.h"
#include "process.h"

struct target {
	struct device device;
	struct process process;
};

/* @pid 0 is this process. Complains and returns false on failure. */
bool target_open(struct target *target, pid_t pid);

/*
 * 0 if the process is still what it was when it was opened; -ESRCH if it may have been
 * killed, exited or called execve(): what was read since may be incomplete.
 */
int target_check(const struct target *target);

/*
 * Whether the range can be asked for at all: it is page aligned and within the address
 * space. Complains.
 */
bool target_check_range(const struct target *target, const struct address_range *range);

/* The same for each range; afterwards they are sorted and do not overlap. */
bool target_check_ranges(const struct target *target, struct range_list *list);

#endif /* HMMCTL_TARGET_H */
