// SPDX-License-Identifier: GPL-2.0
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "format.h"
#include "memory.h"
#include "parse.h"
#include "unicode.h"

static const char unit_letters[] = "BKMGTPE";

struct scaled {
	__u64 tenths;
	unsigned int unit;
};

/* The largest unit that leaves at least 1, rounded to what will be shown. */
static struct scaled scale(__u64 bytes)
{
	struct scaled scaled = { .unit = 0 };
	__u64 divisor = 1;
	double fraction;

	while (scaled.unit + 2 < sizeof(unit_letters) && bytes / divisor >= 1024) {
		divisor *= 1024;
		scaled.unit++;
	}

	/* In two steps: bytes * 10 could overflow. */
	fraction = (double)(bytes % divisor) / (double)divisor;
	scaled.tenths = bytes / divisor * 10 + (__u64)(fraction * 10 + 0.5);
	if (scaled.tenths >= 1000)
		scaled.tenths = (scaled.tenths + 5) / 10 * 10;
	if (scaled.tenths >= 10240 && scaled.unit + 2 < sizeof(unit_letters)) {
		scaled.tenths = 10;
		scaled.unit++;
	}
	return scaled;
}

static struct text print_scaled(struct scaled scaled, const char *suffix)
{
	unsigned long long whole = scaled.tenths / 10;
	unsigned int tenth = (unsigned int)(scaled.tenths % 10);
	struct text result;

	if (tenth)
		snprintf(result.text, sizeof(result.text), "%llu.%u%s", whole, tenth, suffix);
	else
		snprintf(result.text, sizeof(result.text), "%llu%s", whole, suffix);
	return result;
}

struct text format_size_short(__u64 bytes)
{
	struct scaled scaled = scale(bytes);
	const char suffix[2] = { unit_letters[scaled.unit], 0 };

	if (!bytes)
		return (struct text){ "-" };
	return print_scaled(scaled, suffix);
}

struct text format_size(__u64 bytes)
{
	static const char * const suffixes[] = {
		" bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB",
	};
	struct scaled scaled = scale(bytes);

	return print_scaled(scaled, suffixes[scaled.unit]);
}

struct text format_order(unsigned int page_size, unsigned int order)
{
	/* No machine has such an order, but the shift must stay defined. */
	if (order >= 48)
		return (struct text){ "?" };
	return format_size_short((__u64)page_size << order);
}

struct text format_duration(__u64 nanoseconds)
{
	double seconds = (double)nanoseconds / NANOSECONDS_PER_SECOND;
	struct text result;

	if (seconds < 0.001)
		snprintf(result.text, sizeof(result.text), "%.1f us", seconds * 1e6);
	else if (seconds < 1)
		snprintf(result.text, sizeof(result.text), "%.1f ms", seconds * 1e3);
	else
		snprintf(result.text, sizeof(result.text), "%.3f s", seconds);
	return result;
}

double rate_per_second(__u64 count, __u64 nanoseconds)
{
	return nanoseconds ? (double)count * NANOSECONDS_PER_SECOND / (double)nanoseconds : 0;
}

void make_printable(char *text)
{
	char *to = text;

	while (*text) {
		__u32 character;
		unsigned int length = utf8_read(text, &character);

		if (!length || is_control(character)) {
			*to++ = '?';
			text += length ? length : 1;
			continue;
		}
		while (length--)
			*to++ = *text++;
	}
	*to = 0;
}

static bool continues_character(char character)
{
	return ((unsigned char)character & 0xc0) == 0x80;
}

unsigned int display_width(const char *text)
{
	unsigned int width = 0;

	for (; *text; text++)
		width += !continues_character(*text);
	return width;
}

/* The first character after @nr characters, with all the bytes that each has */
static const char *skip_characters(const char *text, unsigned int nr)
{
	while (nr-- && *text)
		do
			text++;
		while (continues_character(*text));
	return text;
}

static void print_cut_printable(FILE *out, const char *text, unsigned int width)
{
	static const char ellipsis[] = "...";
	unsigned int ellipsis_width = display_width(ellipsis);
	unsigned int text_width = display_width(text);

	if (width && text_width > width) {
		unsigned int kept = width > ellipsis_width ? width - ellipsis_width : 0;
		const char *gap = skip_characters(text, kept / 3);

		fwrite(text, (size_t)(gap - text), 1, out);
		fputs(ellipsis, out);
		text = skip_characters(text, text_width - (kept - kept / 3));
	}
	fputs(text, out);
}

void print_cut(FILE *out, const char *text, unsigned int width)
{
	char *printable = duplicate_string(text);

	make_printable(printable);
	print_cut_printable(out, printable, width);
	free(printable);
}

void print_printable(FILE *out, const char *text)
{
	print_cut(out, text, 0);
}

/* 0 if it is not set, or makes no sense */
static unsigned int columns_variable(void)
{
	const char *text = getenv("COLUMNS");
	__u64 columns;

	if (!text || !parse_number(text, &columns) || columns > 100000)
		return 0;
	return (unsigned int)columns;
}

unsigned int terminal_width(FILE *out)
{
	struct winsize size;

	/* Whoever pipes it to a terminal says so with COLUMNS. */
	if (!isatty(fileno(out)))
		return columns_variable();
	if (ioctl(fileno(out), TIOCGWINSZ, &size) || !size.ws_col)
		return 80;
	return size.ws_col;
}

__u64 now_nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (__u64)now.tv_sec * NANOSECONDS_PER_SECOND + (__u64)now.tv_nsec;
}
