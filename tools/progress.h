/* SPDX-License-Identifier: GPL-2.0 */
/* The progress of long work, on standard error. */
#ifndef HMMCTL_PROGRESS_H
#define HMMCTL_PROGRESS_H

#include <linux/types.h>
#include <stdbool.h>

struct progress {
	const char *doing;
	bool enabled;
	bool terminal;
	bool shown;
	__u64 begun;
	__u64 due;
};

/* Shown if standard error is a terminal, or with @force. */
void progress_begin(struct progress *progress, const char *doing, bool force);

/* @done and @total are bytes. Rate limited: call it as often as you like. */
void progress_bytes(struct progress *progress, __u64 done, __u64 total);

/* Removes the line again, before anything else is printed. */
void progress_end(struct progress *progress);

#endif /* HMMCTL_PROGRESS_H */
