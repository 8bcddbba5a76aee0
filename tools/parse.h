/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Strict readers of what users type: the whole text must be one number that
 * fits. All return whether it was.
 */
#ifndef HMMCTL_PARSE_H
#define HMMCTL_PARSE_H

#include <linux/types.h>
#include <stdbool.h>
#include <sys/types.h>

struct address_range {
	__u64 start;
	__u64 end;
};

/* Decimal, or hexadecimal after 0x */
bool parse_number(const char *text, __u64 *value);

/* The same with a suffix K, M, G or T (powers of 1024) */
bool parse_size(const char *text, __u64 *value);

bool parse_pid(const char *text, pid_t *pid);

/* "10", "0.5" */
bool parse_seconds(const char *text, __u64 *nanoseconds);

/*
 * START-END as /proc/PID/maps writes it, always hexadecimal, with or without
 * 0x; or START+LENGTH (a blank does for the plus), which are a number and a
 * size as above.
 */
bool parse_range(const char *text, struct address_range *range);

#endif /* HMMCTL_PARSE_H */
