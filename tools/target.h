/* SPDX-License-Identifier: GPL-2.0 */
/* The process a command works on: the device attached to it, and its /proc. */
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
 * Whether the range can be asked for at all: page aligned and within the
 * address space. Complains.
 */
bool target_check_range(const struct target *target, const struct address_range *range);

#endif /* HMMCTL_TARGET_H */
