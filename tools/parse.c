// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "memory.h"
#include "parse.h"

static int digit_value(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	if (character >= 'A' && character <= 'F')
		return character - 'A' + 10;
	return INT_MAX;
}

static bool has_hexadecimal_prefix(const char *text)
{
	return text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

/* Reads digits up to the first character that is none, which @rest points to. */
static bool read_digits(const char *text, unsigned int base, __u64 *value, const char **rest)
{
	const char *first = text;

	*value = 0;
	for (; digit_value(*text) < (int)base; text++) {
		if (__builtin_mul_overflow(*value, (__u64)base, value) ||
		    __builtin_add_overflow(*value, (__u64)digit_value(*text), value))
			return false;
	}
	*rest = text;
	return text != first;
}

static bool read_number(const char *text, __u64 *value, const char **rest)
{
	if (has_hexadecimal_prefix(text))
		return read_digits(text + 2, 16, value, rest);
	return read_digits(text, 10, value, rest);
}

bool parse_number(const char *text, __u64 *value)
{
	const char *rest;

	return read_number(text, value, &rest) && !*rest;
}

char *parse_pid(const char *text, pid_t *pid)
{
	const char *rest;
	__u64 value;

	if (*pid)
		return format_string("--pid is given twice: one process at a time");
	if (!read_digits(text, 10, &value, &rest) || *rest || !value || value > INT_MAX)
		return format_string("'%s' is not a process ID, a decimal number", text);
	*pid = (pid_t)value;
	return NULL;
}

bool parse_seconds(const char *text, __u64 *nanoseconds)
{
	__u64 digit = NANOSECONDS_PER_SECOND / 10;
	const char *rest;
	__u64 seconds;

	if (!read_digits(text, 10, &seconds, &rest))
		return false;
	/* A century is enough; sums with the clock cannot overflow. */
	if (seconds > 100ULL * 366 * 24 * 3600)
		return false;
	*nanoseconds = seconds * NANOSECONDS_PER_SECOND;

	if (!*rest)
		return true;
	if (*rest++ != '.' || !*rest)
		return false;
	for (; digit_value(*rest) < 10; rest++) {
		*nanoseconds += (__u64)digit_value(*rest) * digit;
		digit /= 10;
	}
	return !*rest;
}

/* Whether all of @text are digits of that base, and there are some */
static bool has_only_digits(const char *text, unsigned int base)
{
	const char *rest = text;

	while (digit_value(*rest) < (int)base)
		rest++;
	return rest != text && !*rest;
}

/* NULL, or why it is not a length */
static char *parse_length(const char *text, __u64 *length, struct address_range *range)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	const char *rest;
	unsigned int shift = 0;

	range->decimal_length[0] = 0;
	if (!read_number(text, length, &rest))
		goto no_length;
	if (*rest) {
		suffix = strchr(suffixes, toupper((unsigned char)*rest));
		if (!suffix || rest[1])
			goto no_length;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
	} else if (!has_hexadecimal_prefix(text) && *length > 9) {
		snprintf(range->decimal_length, sizeof(range->decimal_length), "%llu", *length);
	}
	if (*length > ULLONG_MAX >> shift)
		goto no_length;
	*length <<= shift;
	if (!*length)
		return format_string("a range of length '%s' holds nothing", text);
	return NULL;

no_length:
	return format_string("'%s' is not a length: that is decimal, or hexadecimal with 0x%s%s%s, and may end in K, M, G or T",
			     text, has_only_digits(text, 16) ? " (0x" : "",
			     has_only_digits(text, 16) ? text : "",
			     has_only_digits(text, 16) ? ")" : "");
}

/* NULL, or why it is not an address */
static char *parse_address(const char *text, __u64 *address)
{
	const char *rest;
	__u64 decimal;

	if (has_hexadecimal_prefix(text)) {
		if (read_digits(text + 2, 16, address, &rest) && !*rest)
			return NULL;
	} else if (read_digits(text, 16, address, &rest) && !*rest) {
		/* A number that is the same either way */
		if (*address <= 9)
			return NULL;
		if (read_digits(text, 10, &decimal, &rest) && !*rest)
			return format_string("the address '%s' can be read in two ways, so addresses are written with 0x: 0x%s if that is hexadecimal, 0x%llx if it is decimal",
					     text, text, decimal);
		return format_string("the address '%s' must be written with 0x: 0x%s", text, text);
	}
	return format_string("'%s' is not an address, hexadecimal with 0x", text);
}

char *parse_start_and_length(const char *start, const char *length, struct address_range *range)
{
	__u64 bytes;
	char *error;

	error = parse_address(start, &range->start);
	if (!error)
		error = parse_length(length, &bytes, range);
	if (!error && __builtin_add_overflow(range->start, bytes, &range->end))
		error = format_string("a range of length %s at %s goes beyond the last address",
				      length, start);
	return error;
}

/* As /proc/PID/maps writes it: always hexadecimal */
static bool parse_bound(const char *text, __u64 *address)
{
	const char *rest;

	return read_digits(has_hexadecimal_prefix(text) ? text + 2 : text, 16, address, &rest) &&
	       !*rest;
}

char *parse_range(const char *text, struct address_range *range)
{
	size_t separator = strcspn(text, "-+ ");
	char *start = duplicate_string(text);
	const char *rest = start + separator;
	char *error = NULL;

	*range = (struct address_range){ 0 };
	if (!text[separator]) {
		error = format_string("'%s' is not a range, START-END (hexadecimal, as in /proc/PID/maps) or START+LENGTH",
				      text);
		goto out_free;
	}
	start[separator] = 0;
	rest++;
	if (text[separator] != '-') {
		error = parse_start_and_length(start, rest, range);
	} else if (!parse_bound(start, &range->start) || !parse_bound(rest, &range->end)) {
		error = format_string("'%s' is not a range START-END, two hexadecimal addresses",
				      text);
	} else if (range->start >= range->end) {
		error = format_string("the range '%s' holds nothing: its end is not above its start",
				      text);
	}
out_free:
	free(start);
	return error;
}

void range_list_add(struct range_list *list, struct address_range range)
{
	list->ranges = grow_array(list->ranges, &list->allocated, list->nr, sizeof(*list->ranges));
	list->ranges[list->nr++] = range;
}

char *range_list_parse(struct range_list *list, const char *text)
{
	struct address_range range;
	char *error = parse_range(text, &range);

	if (!error)
		range_list_add(list, range);
	return error;
}

static int compare_ranges(const void *left, const void *right)
{
	const struct address_range *a = left;
	const struct address_range *b = right;

	return a->start < b->start ? -1 : a->start > b->start;
}

void range_list_normalize(struct range_list *list)
{
	size_t nr = 0;

	if (!list->nr)
		return;
	qsort(list->ranges, list->nr, sizeof(*list->ranges), compare_ranges);
	for (size_t i = 1; i < list->nr; i++) {
		if (list->ranges[i].start > list->ranges[nr].end)
			list->ranges[++nr] = list->ranges[i];
		else if (list->ranges[i].end > list->ranges[nr].end)
			list->ranges[nr].end = list->ranges[i].end;
	}
	list->nr = nr + 1;
}

void range_list_free(struct range_list *list)
{
	free(list->ranges);
	*list = (struct range_list){ 0 };
}
