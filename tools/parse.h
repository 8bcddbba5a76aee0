/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Strict parsers of what users type: the whole text must be one number, in range. Those
 * of plain numbers return whether it was; those of processes and ranges return NULL, or
 * the reason why not, which the caller frees.
 */
#ifndef HMMCTL_PARSE_H
#define HMMCTL_PARSE_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct address_range {
	__u64 start;
	__u64 end;
	/*
	 * The length as it was typed, if it was decimal and could be read as hexadecimal
	 * too
	 */
	char decimal_length[24];
};

/* What the user asked for; empty: everything */
struct range_list {
	struct address_range *ranges;
	size_t nr;
	size_t allocated;
};

/* Decimal, or hexadecimal after 0x */
bool parse_number(const char *text, __u64 *value);

/* "10", "0.5" */
bool parse_seconds(const char *text, __u64 *nanoseconds);

/* @pid is 0, or the process that was given before: there can be one only. */
char *parse_pid(const char *text, pid_t *pid);

/*
 * START-END as /proc/PID/maps writes it, always hexadecimal, with or without 0x; or
 * START+LENGTH (a blank may replace the plus).
 *
 * An address that stands alone is hexadecimal, and must have the 0x: a parser that
 * guesses would silently take another address for it. A length is decimal, or hexadecimal
 * after 0x, and may have a suffix K, M, G or T (powers of 1024).
 */
char *parse_range(const char *text, struct address_range *range);

/* The same of two texts, START and LENGTH */
char *parse_start_and_length(const char *start, const char *length, struct address_range *range);

/* Adds the range that @text is. */
char *range_list_parse(struct range_list *list, const char *text);

void range_list_add(struct range_list *list, struct address_range range);

/* Sorts the ranges, and merges those that overlap or touch. */
void range_list_normalize(struct range_list *list);

void range_list_free(struct range_list *list);

#endif /* HMMCTL_PARSE_H */
