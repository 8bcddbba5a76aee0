// SPDX-License-Identifier: GPL-2.0
/* hmmctl stats */
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "format.h"
#include "hmmctl.h"
#include "json.h"
#include "memory.h"
#include "message.h"
#include "parse.h"
#include "table.h"
#include "takeover.h"

/* The column titles are repeated after this many lines. */
#define LINES_PER_TITLE	20

static const struct counter {
	const char *name;
	/* NULL for those that the lines of --interval are too narrow for. */
	const char *title;
	const char *meaning;
	size_t offset;
	/* Says how many there are now; not a running total */
	bool gauge;
} counters[] = {
#define COUNTER(member, title, meaning, gauge) \
	{ #member, title, meaning, offsetof(struct hmm_mirror_stats, member), gauge }
	COUNTER(range_calls, "CALLS", "range requests served", false),
	COUNTER(range_errors, "FAILED", "of those, failed", false),
	COUNTER(faults, "FAULTS", "page faults taken", false),
	COUNTER(walks, "WALKS", "page-table walks", false),
	COUNTER(restarts, "RESTARTS", "requests started over because of an invalidation", false),
	COUNTER(invalidations, "INVALID", "invalidations of subscribed ranges", false),
	COUNTER(events, "EVENTS", "events queued to readers", false),
	COUNTER(events_lost, "LOST", "events dropped because a queue was full", false),
	COUNTER(dma_maps, NULL, "runs of pages mapped for DMA", false),
	COUNTER(dma_unmaps, NULL, "of those, unmapped", false),
	COUNTER(dma_bytes, NULL, "memory in them, in bytes", false),
	COUNTER(open_files, "FILES", "open files of the device, now", true),
	COUNTER(subscriptions, "SUBSCR", "subscribed ranges, now", true),
#undef COUNTER
};

static __u64 counter_value(const struct hmm_mirror_stats *stats, const struct counter *counter)
{
	__u64 value;

	memcpy(&value, (const char *)stats + counter->offset, sizeof(value));
	return value;
}

static __u64 counter_change(const struct hmm_mirror_stats *stats,
			    const struct hmm_mirror_stats *previous, const struct counter *counter)
{
	return counter_value(stats, counter) - counter_value(previous, counter);
}

static void json_counters(struct json *json, const struct hmm_mirror_stats *stats)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		json_unsigned(json, counters[i].name, counter_value(stats, &counters[i]));
}

static void json_callers(struct json *json)
{
	struct takeover_caller callers[TAKEOVER_MAX_CALLERS];
	size_t nr = takeover_callers(callers);

	json_array_begin(json, "takeover_callers");
	for (size_t i = 0; i < nr; i++) {
		json_object_begin(json, NULL);
		json_string(json, "module", callers[i].module);
		json_unsigned(json, "calls", callers[i].calls);
		json_unsigned(json, "pages", callers[i].pages);
		json_unsigned(json, "faults", callers[i].faults);
		json_unsigned(json, "retries", callers[i].retries);
		json_unsigned(json, "errors", callers[i].errors);
		json_object_end(json);
	}
	json_array_end(json);
}

/* Prints nothing if nothing is taken over. */
static void print_callers(void)
{
	struct takeover_caller callers[TAKEOVER_MAX_CALLERS];
	size_t nr = takeover_callers(callers);
	struct table table = { 0 };

	if (!nr)
		return;
	printf("\nCalls of hmm_range_fault() that were taken over:\n");
	table_column(&table, "MODULE", TABLE_LEFT);
	table_column(&table, "CALLS", TABLE_RIGHT);
	table_column(&table, "PAGES", TABLE_RIGHT);
	table_column(&table, "FAULTS", TABLE_RIGHT);
	table_column(&table, "RETRIES", TABLE_RIGHT);
	table_column(&table, "ERRORS", TABLE_RIGHT);
	for (size_t i = 0; i < nr; i++) {
		table_cell(&table, "%s", callers[i].module);
		table_cell(&table, "%llu", callers[i].calls);
		table_cell(&table, "%llu", callers[i].pages);
		table_cell(&table, "%llu", callers[i].faults);
		table_cell(&table, "%llu", callers[i].retries);
		table_cell(&table, "%llu", callers[i].errors);
	}
	table_print(&table, stdout, 0);
}

static void print_once(const struct hmm_mirror_stats *stats, bool as_json)
{
	struct json json;

	if (as_json) {
		json_init(&json, stdout, 1);
		json_object_begin(&json, NULL);
		json_counters(&json, stats);
		json_callers(&json);
		json_object_end(&json);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		printf("%-13s  %12llu  %s\n", counters[i].name, counter_value(stats, &counters[i]),
		       counters[i].meaning);
	print_callers();
}

/* One JSON object per line; @previous is NULL the first time. */
static void print_json_line(const struct hmm_mirror_stats *stats,
			    const struct hmm_mirror_stats *previous, __u64 elapsed)
{
	struct json json;

	json_init(&json, stdout, 0);
	json_object_begin(&json, NULL);
	json_seconds(&json, "elapsed", elapsed);
	json_object_begin(&json, "total");
	json_counters(&json, stats);
	json_object_end(&json);
	if (previous) {
		json_object_begin(&json, "change");
		for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
			json_signed(&json, counters[i].name,
				    (__s64)counter_change(stats, previous, &counters[i]));
		json_object_end(&json);
	}
	json_object_end(&json);
}

static void print_line(const struct hmm_mirror_stats *stats,
		       const struct hmm_mirror_stats *previous, unsigned int line)
{
	if (line % LINES_PER_TITLE == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
			if (counters[i].title)
				printf("%*s", counters[i].gauge ? 7 : 10, counters[i].title);
		putchar('\n');
	}
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (counters[i].title)
			printf("%*llu", counters[i].gauge ? 7 : 10,
			       previous && !counters[i].gauge ?
			       counter_change(stats, previous, &counters[i]) :
			       counter_value(stats, &counters[i]));
	putchar('\n');
}

/* If nobody reads the output any more, ends as if it had written. */
static void sleep_until(__u64 until)
{
	/* POLLERR is reported without being asked for. */
	struct pollfd output = { .fd = STDOUT_FILENO };
	__u64 now;

	while ((now = now_nanoseconds()) < until) {
		__u64 left = (until - now + NANOSECONDS_PER_MILLISECOND - 1) /
			     NANOSECONDS_PER_MILLISECOND;

		if (poll(&output, 1, left < INT_MAX ? (int)left : INT_MAX) > 0) {
			signal(SIGPIPE, SIG_DFL);
			raise(SIGPIPE);
		}
	}
}

static bool read_stats(const struct device *device, struct hmm_mirror_stats *stats)
{
	int error = device_stats(device, stats);

	if (error)
		complain("cannot read the counters: %s (%s)", strerror(-error), error_name(-error));
	return !error;
}

/* @count 0: until interrupted */
static int repeat(const struct device *device, __u64 interval, __u64 count, bool as_json)
{
	struct hmm_mirror_stats previous;
	struct hmm_mirror_stats stats;
	__u64 begun = now_nanoseconds();

	for (__u64 i = 0; !count || i <= count; i++) {
		if (i)
			sleep_until(begun + i * interval);
		if (!read_stats(device, &stats))
			return EXIT_STATUS_FAILED;
		if (as_json)
			print_json_line(&stats, i ? &previous : NULL, now_nanoseconds() - begun);
		else
			print_line(&stats, i ? &previous : NULL, (unsigned int)i);
		if (fflush(stdout))
			return EXIT_STATUS_FAILED;
		previous = stats;
	}
	return EXIT_STATUS_OK;
}

static void print_help(void)
{
	fputs("Usage: hmmctl stats [--interval SECONDS [--count N]] [--json]\n"
	      "Show the module's counters, of all its users since it was loaded.\n"
	      "\n"
	      "  -i, --interval SECONDS  print a line with the totals, then after each interval\n"
	      "                          a line with what was added (but FILES and SUBSCR always\n"
	      "                          say how many there are now)\n"
	      "  -c, --count N           stop after N intervals\n"
	      "  -j, --json              print a JSON document, with --interval one on each line\n"
	      "  -h, --help              this text\n", stdout);
}

int cmd_stats(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct hmm_mirror_stats stats;
	struct device device;
	bool as_json = false;
	__u64 interval = 0;
	__u64 count = 0;
	int option;

	while ((option = getopt_long(argc, argv, "i:c:jh", options, NULL)) != -1) {
		switch (option) {
		case 'i':
			if (!parse_seconds(optarg, &interval) || !interval)
				return usage_error("'%s' is not a number of seconds", optarg);
			break;
		case 'c':
			if (!parse_number(optarg, &count) || !count)
				return usage_error("'%s' is not a number of intervals", optarg);
			break;
		case 'j':
			as_json = true;
			break;
		case 'h':
			print_help();
			return EXIT_STATUS_OK;
		default:
			return usage_hint();
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);
	if (count && !interval)
		return usage_error("--count needs --interval");

	if (!device_open(&device))
		return EXIT_STATUS_FAILED;
	if (interval)
		return repeat(&device, interval, count, as_json);
	if (!read_stats(&device, &stats))
		return EXIT_STATUS_FAILED;
	print_once(&stats, as_json);
	return EXIT_STATUS_OK;
}
