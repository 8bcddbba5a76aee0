/* SPDX-License-Identifier: GPL-2.0 */
/* Quantities and names as people read them. */
#ifndef HMMCTL_FORMAT_H
#define HMMCTL_FORMAT_H

#include <linux/types.h>
#include <stdio.h>

struct text {
	char text[24];
};

/* "132K", "1.5M", "-" for nothing: for columns */
struct text format_size_short(__u64 bytes);
/* "132 KiB", "1.5 MiB", "0 bytes": for sentences */
struct text format_size(__u64 bytes);

/* What one mapping of @order covers: "4K", "2M", "1G" */
struct text format_order(unsigned int page_size, unsigned int order);

/* "12.345 ms" */
struct text format_duration(__u64 nanoseconds);

/* Events per second; 0 if no time has passed */
double rate_per_second(__u64 count, __u64 nanoseconds);

/*
 * Replaces control characters and what is not UTF-8 by question marks: the names
 * of files and processes must not be able to steer a terminal.
 */
void make_printable(char *text);

/* Prints in the same way, and leaves @text alone. */
void print_printable(FILE *out, const char *text);

/* How many columns of a terminal @text takes: UTF-8 without wide characters */
unsigned int display_width(const char *text);

/*
 * Prints @text in at most @width columns, 0 for no limit. It is shortened in the middle:
 * paths say most at their end, and something at their beginning.
 */
void print_cut(FILE *out, const char *text, unsigned int width);

/* The width of the terminal @out; if it is none, $COLUMNS, or 0 */
unsigned int terminal_width(FILE *out);

__u64 now_nanoseconds(void);

#define NANOSECONDS_PER_SECOND		1000000000ULL
#define NANOSECONDS_PER_MILLISECOND	1000000ULL

#endif /* HMMCTL_FORMAT_H */
