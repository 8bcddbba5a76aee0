// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "format.h"
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

static bool read_hexadecimal(const char *text, __u64 *value, const char **rest)
{
	return read_digits(has_hexadecimal_prefix(text) ? text + 2 : text, 16, value, rest);
}

bool parse_number(const char *text, __u64 *value)
{
	const char *rest;

	return read_number(text, value, &rest) && !*rest;
}

bool parse_size(const char *text, __u64 *value)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	const char *rest;
	unsigned int shift;

	if (!read_number(text, value, &rest))
		return false;
	if (!*rest)
		return true;

	suffix = strchr(suffixes, toupper((unsigned char)*rest));
	if (!suffix || rest[1])
		return false;

	shift = 10 * (unsigned int)(suffix - suffixes + 1);
	if (*value > ULLONG_MAX >> shift)
		return false;
	*value <<= shift;
	return true;
}

bool parse_pid(const char *text, pid_t *pid)
{
	const char *rest;
	__u64 value;

	if (!read_digits(text, 10, &value, &rest) || *rest || !value || value > INT_MAX)
		return false;
	*pid = (pid_t)value;
	return true;
}

bool parse_seconds(const char *text, __u64 *nanoseconds)
{
	__u64 digit = NANOSECONDS_PER_SECOND / 10;
	const char *rest;
	__u64 seconds;

	if (!read_digits(text, 10, &seconds, &rest))
		return false;
	/* A century is enough, and sums with the clock cannot overflow. */
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

static bool parse_start_and_length(const char *text, struct address_range *range)
{
	const char *rest;
	__u64 length;

	return read_number(text, &range->start, &rest) && (*rest == '+' || *rest == ' ') &&
	       parse_size(rest + 1, &length) && length &&
	       !__builtin_add_overflow(range->start, length, &range->end);
}

bool parse_range(const char *text, struct address_range *range)
{
	const char *rest;

	if (!strchr(text, '-'))
		return parse_start_and_length(text, range);

	return read_hexadecimal(text, &range->start, &rest) && *rest == '-' &&
	       read_hexadecimal(rest + 1, &range->end, &rest) && !*rest &&
	       range->start < range->end;
}
