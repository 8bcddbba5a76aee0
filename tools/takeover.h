/* SPDX-License-Identifier: GPL-2.0 */
/* hmm_takeover.ko, as seen from outside. */
#ifndef HMMCTL_TAKEOVER_H
#define HMMCTL_TAKEOVER_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

/* "active", "in transition", "disabled" or "not loaded" */
const char *takeover_state(void);

/* What one module has asked for. */
struct takeover_caller {
	char module[64];
	__u64 calls;
	__u64 pages;
	__u64 faults;
	__u64 retries;
	__u64 errors;
};

#define TAKEOVER_MAX_CALLERS	64

/* Returns how many there are; also 0 if that cannot be read. */
size_t takeover_callers(struct takeover_caller callers[TAKEOVER_MAX_CALLERS]);

#endif /* HMMCTL_TAKEOVER_H */
