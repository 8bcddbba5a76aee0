// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <unistd.h>

#include "format.h"
#include "progress.h"

/* Work that is over sooner needs no progress report. */
#define FIRST_REPORT		(NANOSECONDS_PER_SECOND / 2)
#define TERMINAL_INTERVAL	(NANOSECONDS_PER_SECOND / 10)
#define LOG_INTERVAL		NANOSECONDS_PER_SECOND

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

void progress_bytes(struct progress *progress, __u64 done, __u64 total)
{
	__u64 now;

	if (!progress->enabled)
		return;
	now = now_nanoseconds();
	if (now < progress->due)
		return;
	progress->due = now + (progress->terminal ? TERMINAL_INTERVAL : LOG_INTERVAL);

	fprintf(stderr, "%s%s: %s of %s (%u%%), %s/s%s",
		progress->terminal ? "\r" : "", progress->doing,
		format_size(done).text, format_size(total).text,
		total ? (unsigned int)((double)done * 100 / (double)total) : 100,
		format_size((__u64)rate_per_second(done, now - progress->begun)).text,
		progress->terminal ? "\033[K" : "\n");
	progress->shown = true;
}

void progress_end(struct progress *progress)
{
	if (progress->shown && progress->terminal)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
