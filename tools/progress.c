// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "progress.h"

/* Work that is over sooner needs no progress report. */
#define FIRST_REPORT		(NANOSECONDS_PER_SECOND / 2)
#define TERMINAL_INTERVAL	(NANOSECONDS_PER_SECOND / 10)
#define LOG_INTERVAL		NANOSECONDS_PER_SECOND

/* A shorter bar tells nothing, a longer one tells no more. */
#define BAR_MIN_WIDTH		10
#define BAR_MAX_WIDTH		30

void progress_begin(struct progress *progress, const char *doing, bool force)
{
	*progress = (struct progress){
		.doing = doing,
		.terminal = isatty(STDERR_FILENO),
		.begun = now_nanoseconds(),
	};
	progress->enabled = progress->terminal || force;
	progress->due = progress->begun + (force ? 0 : FIRST_REPORT);
}

/* "2:07 left", "3:15:00 left" */
static void format_time_left(char *text, size_t size, __u64 done, __u64 total, __u64 elapsed)
{
	double left = done ? (double)(total - done) / (double)done * (double)elapsed : 0;
	__u64 seconds = (__u64)(left / NANOSECONDS_PER_SECOND + 0.5);

	/* Nothing done, or more than a century */
	if (!done || left > 100.0 * 366 * 24 * 3600 * NANOSECONDS_PER_SECOND)
		snprintf(text, size, "?:?? left");
	else if (seconds < 3600)
		snprintf(text, size, "%llu:%02llu left", seconds / 60, seconds % 60);
	else
		snprintf(text, size, "%llu:%02llu:%02llu left", seconds / 3600, seconds / 60 % 60,
			 seconds % 60);
}

/* A bar, if there is room for one beside @used columns */
static void print_bar(__u64 done, __u64 total, unsigned int used)
{
	unsigned int width = terminal_width(stderr);
	unsigned int filled;

	width = width > used + 5 ? width - used - 5 : 0;
	if (width < BAR_MIN_WIDTH)
		return;
	if (width > BAR_MAX_WIDTH)
		width = BAR_MAX_WIDTH;
	filled = total ? (unsigned int)((double)done / (double)total * width) : width;
	fputs(" [", stderr);
	for (unsigned int i = 0; i < width; i++)
		fputc(i < filled ? '#' : '.', stderr);
	fputc(']', stderr);
}

void progress_bytes(struct progress *progress, __u64 done, __u64 total)
{
	char text[192];
	char left[48];
	__u64 now;

	if (!progress->enabled)
		return;
	now = now_nanoseconds();
	if (now < progress->due)
		return;
	progress->due = now + (progress->terminal ? TERMINAL_INTERVAL : LOG_INTERVAL);

	format_time_left(left, sizeof(left), done, total, now - progress->begun);
	snprintf(text, sizeof(text), "%s of %s (%u%%), %s/s, %s", format_size(done).text,
		 format_size(total).text,
		 total ? (unsigned int)((double)done * 100 / (double)total) : 100,
		 format_size((__u64)rate_per_second(done, now - progress->begun)).text, left);
	if (progress->terminal)
		fputc('\r', stderr);
	fputs(progress->doing, stderr);
	if (progress->terminal)
		print_bar(done, total,
			  (unsigned int)(strlen(progress->doing) + strlen(text)));
	fprintf(stderr, "%s%s%s", progress->terminal ? " " : ": ", text,
		progress->terminal ? "\033[K" : "\n");
	progress->shown = true;
}

void progress_end(struct progress *progress)
{
	if (progress->shown && progress->terminal)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
