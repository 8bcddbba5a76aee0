// SPDX-License-Identifier: GPL-2.0
/* hmmctl watch */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "activity.h"
#include "format.h"
#include "hmmctl.h"
#include "json.h"
#include "maps.h"
#include "memory.h"
#include "message.h"
#include "names.h"
#include "parse.h"
#include "table.h"
#include "target.h"

/* As many as the module queues by default, and what is read is room there. */
#define EVENTS_PER_READ		1024
#define TOP_MAPPINGS		5
/* Column titles of --rates come again after so many lines. */
#define LINES_PER_TITLE		20
/* Reading maps holds up the process that is watched, so not for every event. */
#define MAPS_INTERVAL		(NANOSECONDS_PER_SECOND / 20)

enum ending {
	ENDING_NONE,
	ENDING_DURATION,
	ENDING_SIGNAL,
	ENDING_RELEASE,
	ENDING_ERROR,
};

struct watch {
	struct target target;
	struct address_range range;
	__u64 duration;
	bool rates;
	bool as_json;
	struct json json;
	/* Of the terminal, 0 if there is none */
	unsigned int width;

	__u64 begun;
	enum ending ending;
	struct vma_list list;
	__u64 list_read_at;
	/* Events that would have told about changes were lost. */
	bool list_is_stale;
	struct activity activity;

	/* Of --rates: what the line before ended with */
	__u64 line_begun;
	unsigned int nr_lines;
	struct activity_count previous[NR_EVENT_KINDS];
	__u64 previous_bytes;
	__u64 previous_lost;
};

static void read_maps(struct watch *watch, __u64 now)
{
	struct vma_list newer = { 0 };

	/* Without names the events are still worth seeing. */
	if (watch->list_is_stale)
		vma_list_free(&watch->list);
	if (vma_list_read(&newer, &watch->target.process, false))
		vma_list_free(&newer);
	else
		vma_list_update(&watch->list, &newer);
	watch->list_read_at = now;
	watch->list_is_stale = false;
}

static bool overlaps(const struct vma_list *list, size_t index,
		     const struct hmm_mirror_event *event)
{
	return index < list->nr && list->vmas[index].start < event->end;
}

/* The mappings the event hits: returns the first one, and the first after them. */
static size_t find_mappings(struct watch *watch, const struct hmm_mirror_event *event, __u64 now,
			    size_t *end)
{
	size_t first = vma_list_find(&watch->list, event->start);

	if ((watch->list_is_stale || !overlaps(&watch->list, first, event)) &&
	    now - watch->list_read_at >= MAPS_INTERVAL) {
		read_maps(watch, now);
		first = vma_list_find(&watch->list, event->start);
	}
	*end = first;
	while (overlaps(&watch->list, *end, event))
		(*end)++;
	return first;
}

static void print_event(const struct watch *watch, const struct hmm_mirror_event *event, __u64 now,
			size_t first, size_t end)
{
	unsigned int kind = event_kind_index(event->kind);
	const char *name = short_lived_name;
	unsigned int used = 0;
	char more[48] = "";

	if (kind == HMM_MIRROR_EVENT_RELEASE)
		name = "everything";
	else if (end > first)
		name = watch->list.vmas[first].name;
	if (kind != HMM_MIRROR_EVENT_RELEASE && end - first > 1)
		snprintf(more, sizeof(more), " and %zu more", end - first - 1);

	used += (unsigned int)printf("%11.6f  %-10s  ",
				     (double)(now - watch->begun) / NANOSECONDS_PER_SECOND,
				     event_kind_short_name(kind));
	used += (unsigned int)printf("%12llx-%-12llx  %5s  ", event->start, event->end,
				     format_size_short(event->end - event->start).text);
	used += (unsigned int)strlen(more);
	print_cut(stdout, name, watch->width > used + 12 ? watch->width - used : 0);
	puts(more);
}

static void json_event(struct watch *watch, const struct hmm_mirror_event *event, __u64 now,
		       size_t first, size_t end)
{
	struct json *json = &watch->json;

	json_object_begin(json, NULL);
	json_string(json, "type", "event");
	json_seconds(json, "time", now - watch->begun);
	json_string(json, "kind", event_kind_name(event_kind_index(event->kind)));
	json_address(json, "start", event->start);
	json_address(json, "end", event->end);
	json_unsigned(json, "size", event->end - event->start);
	json_unsigned(json, "sequence", event->sequence);
	if (end > first)
		json_string(json, "mapping", watch->list.vmas[first].name);
	else
		json_null(json, "mapping");
	json_unsigned(json, "nr_mappings", end - first);
	json_object_end(json);
}

static void handle_lost(struct watch *watch, const struct hmm_mirror_event *event, __u64 now)
{
	struct json *json = &watch->json;

	watch->activity.lost += event->lost;
	/* What was unmapped may be among what was lost. */
	watch->list_is_stale = true;

	if (watch->as_json) {
		json_object_begin(json, NULL);
		json_string(json, "type", "lost");
		json_seconds(json, "time", now - watch->begun);
		json_unsigned(json, "lost", event->lost);
		json_object_end(json);
	} else if (!watch->rates) {
		printf("%11.6f  *** LOST %llu events: they came faster than they were read ***\n",
		       (double)(now - watch->begun) / NANOSECONDS_PER_SECOND, event->lost);
	}
}

static void handle_event(struct watch *watch, const struct hmm_mirror_event *event, __u64 now)
{
	size_t first;
	size_t end;

	if (event->kind == HMM_MIRROR_EVENT_LOST) {
		handle_lost(watch, event, now);
		return;
	}

	first = find_mappings(watch, event, now, &end);
	activity_add(&watch->activity, event, &watch->list, first, end);
	if (!watch->rates) {
		if (watch->as_json)
			json_event(watch, event, now, first, end);
		else
			print_event(watch, event, now, first, end);
	}

	if (event->kind == HMM_MIRROR_EVENT_UNMAP)
		vma_list_remove(&watch->list, event->start, event->end);
	else if (event->kind == HMM_MIRROR_EVENT_RELEASE)
		watch->ending = ENDING_RELEASE;
}

/* Returns the number of events read; all of them can be seen then. */
static size_t read_events(struct watch *watch)
{
	static struct hmm_mirror_event events[EVENTS_PER_READ];
	ssize_t nr = device_read_events(&watch->target.device, events, ARRAY_SIZE(events));
	__u64 now = now_nanoseconds();

	if (nr < 0) {
		complain("cannot read events: %s (%s)", strerror((int)-nr), error_name((int)-nr));
		watch->ending = ENDING_ERROR;
		return 0;
	}
	watch->width = terminal_width(stdout);
	for (ssize_t i = 0; i < nr && watch->ending == ENDING_NONE; i++)
		handle_event(watch, &events[i], now);
	fflush(stdout);
	return (size_t)nr;
}

static void print_rates(struct watch *watch, __u64 now)
{
	const struct activity *activity = &watch->activity;
	__u64 elapsed = now - watch->line_begun;
	__u64 lost = activity->lost - watch->previous_lost;
	__u64 other = activity->kinds[HMM_MIRROR_EVENT_OTHER].events -
		      watch->previous[HMM_MIRROR_EVENT_OTHER].events;

	if (watch->nr_lines % LINES_PER_TITLE == 0) {
		printf("%11s", "TIME");
		for (unsigned int i = 0; i < NR_EVENT_KINDS; i++)
			if (i != HMM_MIRROR_EVENT_RELEASE && i != HMM_MIRROR_EVENT_OTHER)
				printf(" %10s", event_kind_short_name(i));
		printf("   BYTES/s\n");
	}

	printf("%11.6f", (double)(now - watch->begun) / NANOSECONDS_PER_SECOND);
	for (unsigned int i = 0; i < NR_EVENT_KINDS; i++)
		if (i != HMM_MIRROR_EVENT_RELEASE && i != HMM_MIRROR_EVENT_OTHER)
			printf(" %10.1f", rate_per_second(activity->kinds[i].events -
							  watch->previous[i].events, elapsed));
	printf(" %9s", format_size_short((__u64)rate_per_second(activity->total.bytes -
								watch->previous_bytes,
								elapsed)).text);
	if (other)
		printf("  other %.1f", rate_per_second(other, elapsed));
	if (lost)
		printf("  *** LOST %llu ***", lost);
	putchar('\n');
}

static void json_rates(struct watch *watch, __u64 now)
{
	const struct activity *activity = &watch->activity;
	__u64 elapsed = now - watch->line_begun;
	struct json *json = &watch->json;

	json_object_begin(json, NULL);
	json_string(json, "type", "rates");
	json_seconds(json, "time", now - watch->begun);
	json_seconds(json, "elapsed", elapsed);
	json_object_begin(json, "events_per_second");
	for (unsigned int i = 0; i < NR_EVENT_KINDS; i++)
		json_rate(json, event_kind_name(i),
			  rate_per_second(activity->kinds[i].events - watch->previous[i].events,
					  elapsed));
	json_object_end(json);
	json_rate(json, "bytes_per_second",
		  rate_per_second(activity->total.bytes - watch->previous_bytes, elapsed));
	json_unsigned(json, "lost", activity->lost - watch->previous_lost);
	json_object_end(json);
}

static void next_rates_line(struct watch *watch, __u64 now)
{
	if (watch->as_json)
		json_rates(watch, now);
	else
		print_rates(watch, now);
	fflush(stdout);
	watch->nr_lines++;
	watch->line_begun = now;
	memcpy(watch->previous, watch->activity.kinds, sizeof(watch->previous));
	watch->previous_bytes = watch->activity.total.bytes;
	watch->previous_lost = watch->activity.lost;
}

static int poll_timeout(const struct watch *watch, __u64 now, __u64 tick)
{
	__u64 until = tick;

	if (watch->duration && watch->begun + watch->duration < until)
		until = watch->begun + watch->duration;
	if (until <= now)
		return 0;
	/* Rounded up, else the last millisecond would be a busy loop. */
	return (int)((until - now + NANOSECONDS_PER_MILLISECOND - 1) / NANOSECONDS_PER_MILLISECOND);
}

static void watch_loop(struct watch *watch, int signal_fd)
{
	struct pollfd files[] = {
		{ .fd = watch->target.device.fd, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};
	__u64 tick = watch->begun + NANOSECONDS_PER_SECOND;

	while (watch->ending == ENDING_NONE) {
		__u64 now = now_nanoseconds();
		bool idle = true;

		if (watch->duration && now - watch->begun >= watch->duration) {
			watch->ending = ENDING_DURATION;
			break;
		}
		if (poll(files, ARRAY_SIZE(files), poll_timeout(watch, now, tick)) < 0 &&
		    errno != EINTR) {
			complain("poll: %s", strerror(errno));
			watch->ending = ENDING_ERROR;
			break;
		}
		if (files[1].revents)
			watch->ending = ENDING_SIGNAL;
		else if (files[0].revents)
			idle = !read_events(watch);
		if (idle && files[0].revents & (POLLERR | POLLHUP | POLLNVAL)) {
			complain("the device does not report events any more");
			watch->ending = ENDING_ERROR;
		}

		now = now_nanoseconds();
		if (now >= tick) {
			if (watch->rates)
				next_rates_line(watch, now);
			/* So that what is unmapped later has a name. */
			if (idle && watch->ending == ENDING_NONE)
				read_maps(watch, now);
			/* In step with the beginning, but never late twice. */
			while (tick <= now)
				tick += NANOSECONDS_PER_SECOND;
		}
		if (ferror(stdout))
			watch->ending = ENDING_ERROR;
	}
}

/* What was queued when the time was over, but not what still comes. */
static void drain(struct watch *watch)
{
	enum ending ending = watch->ending;
	size_t left = watch->target.device.info.max_events;

	if (ending != ENDING_DURATION && ending != ENDING_SIGNAL)
		return;
	watch->ending = ENDING_NONE;
	while (left && watch->ending == ENDING_NONE) {
		size_t nr = read_events(watch);

		if (!nr)
			break;
		left -= nr < left ? nr : left;
	}
	if (watch->ending == ENDING_NONE)
		watch->ending = ending;
}

static void print_kinds(const struct activity *activity, __u64 elapsed)
{
	struct table table = { 0 };

	table_column(&table, "KIND", TABLE_LEFT);
	table_column(&table, "EVENTS", TABLE_RIGHT);
	table_column(&table, "PER SECOND", TABLE_RIGHT);
	table_column(&table, "BYTES", TABLE_RIGHT);
	table_column(&table, "USUALLY CAUSED BY", TABLE_LEFT);
	for (unsigned int i = 0; i < NR_EVENT_KINDS; i++) {
		const struct activity_count *kind = &activity->kinds[i];

		if (!kind->events)
			continue;
		table_cell(&table, "%s", event_kind_name(i));
		table_cell(&table, "%llu", kind->events);
		table_cell(&table, "%.1f", rate_per_second(kind->events, elapsed));
		table_cell(&table, "%s", format_size_short(kind->bytes).text);
		table_cell(&table, "%s", event_kind_cause(i));
	}
	table_print(&table, stdout, 0);
}

static void print_mappings(const struct activity *activity, __u64 elapsed)
{
	struct table table = { 0 };

	puts("\nMappings hit most often:");
	table_column(&table, "EVENTS", TABLE_RIGHT);
	table_column(&table, "PER SECOND", TABLE_RIGHT);
	table_column(&table, "BYTES", TABLE_RIGHT);
	table_column(&table, "MOSTLY", TABLE_LEFT);
	table_column(&table, "ADDRESS", TABLE_RIGHT);
	table_column(&table, "MAPPING", TABLE_LEFT);
	for (size_t i = 0; i < activity->nr_mappings && i < TOP_MAPPINGS; i++) {
		const struct activity_mapping *mapping = &activity->mappings[i];

		table_cell(&table, "%llu", mapping->total.events);
		table_cell(&table, "%.1f", rate_per_second(mapping->total.events, elapsed));
		table_cell(&table, "%s", format_size_short(mapping->total.bytes).text);
		table_cell(&table, "%s", event_kind_name(activity_main_kind(mapping)));
		if (mapping->end)
			table_cell(&table, "%llx-%llx", mapping->start, mapping->end);
		else
			table_cell(&table, "-");
		table_cell(&table, "%s", mapping->name);
	}
	table_print(&table, stdout, terminal_width(stdout));
}

static void print_summary(const struct watch *watch, __u64 elapsed)
{
	const struct activity *activity = &watch->activity;

	printf("\nprocess %d (%s), %s: ", watch->target.process.pid, watch->target.process.name,
	       format_duration(elapsed).text);
	if (!activity->total.events && !activity->lost) {
		puts("no invalidation. A mirror would have stayed valid.");
		return;
	}
	printf("%llu event%s, %.1f/s; ", activity->total.events,
	       activity->total.events == 1 ? "" : "s",
	       rate_per_second(activity->total.events, elapsed));
	printf("%s invalidated, %s/s\n\n", format_size(activity->total.bytes).text,
	       format_size((__u64)rate_per_second(activity->total.bytes, elapsed)).text);

	print_kinds(activity, elapsed);
	if (activity->nr_mappings)
		print_mappings(activity, elapsed);
	if (activity->lost)
		printf("\n*** LOST %llu events: the numbers above are too low. Watch a smaller --range,\n"
		       "    or load the module with a larger max_events (now %u). ***\n",
		       activity->lost, watch->target.device.info.max_events);
	if (watch->ending == ENDING_RELEASE)
		puts("\nThe address space is gone: the process exited or called execve().");
}

static void json_summary(struct watch *watch, __u64 elapsed)
{
	static const char * const endings[] = {
		[ENDING_NONE] = "",
		[ENDING_DURATION] = "duration",
		[ENDING_SIGNAL] = "signal",
		[ENDING_RELEASE] = "release",
		[ENDING_ERROR] = "error",
	};
	const struct activity *activity = &watch->activity;
	struct json *json = &watch->json;

	json_object_begin(json, NULL);
	json_string(json, "type", "summary");
	json_seconds(json, "elapsed", elapsed);
	json_string(json, "ended_by", endings[watch->ending]);
	json_unsigned(json, "events", activity->total.events);
	json_unsigned(json, "bytes", activity->total.bytes);
	json_unsigned(json, "lost", activity->lost);
	json_object_begin(json, "kinds");
	for (unsigned int i = 0; i < NR_EVENT_KINDS; i++) {
		json_object_begin(json, event_kind_name(i));
		json_unsigned(json, "events", activity->kinds[i].events);
		json_unsigned(json, "bytes", activity->kinds[i].bytes);
		json_rate(json, "events_per_second",
			  rate_per_second(activity->kinds[i].events, elapsed));
		json_object_end(json);
	}
	json_object_end(json);
	json_array_begin(json, "top_mappings");
	for (size_t i = 0; i < activity->nr_mappings && i < TOP_MAPPINGS; i++) {
		const struct activity_mapping *mapping = &activity->mappings[i];

		json_object_begin(json, NULL);
		json_string(json, "mapping", mapping->name);
		json_address(json, "start", mapping->start);
		json_address(json, "end", mapping->end);
		json_unsigned(json, "events", mapping->total.events);
		json_unsigned(json, "bytes", mapping->total.bytes);
		json_string(json, "main_kind", event_kind_name(activity_main_kind(mapping)));
		json_object_end(json);
	}
	json_array_end(json);
	json_object_end(json);
}

static void print_start(struct watch *watch)
{
	const struct process *process = &watch->target.process;
	struct json *json = &watch->json;

	if (watch->as_json) {
		json_object_begin(json, NULL);
		json_string(json, "type", "start");
		json_signed(json, "pid", process->pid);
		json_string(json, "name", process->name);
		json_address(json, "start", watch->range.start);
		json_address(json, "end", watch->range.end);
		json_object_end(json);
		return;
	}
	printf("watching process %d (%s), %llx-%llx; ^C for the summary\n\n", process->pid,
	       process->name, watch->range.start, watch->range.end);
	if (watch->rates)
		puts("Events per second by kind:");
	else
		printf("%11s  %-10s  %25s  %5s  %s\n", "TIME", "KIND", "ADDRESS          ",
		       "SIZE", "MAPPING");
}

static void complain_watch(const struct watch *watch, int error)
{
	switch (error) {
	case ENOSPC:
		complain("no more watches in this open file (ENOSPC)");
		break;
	case ESRCH:
		complain("process %d: has exited (ESRCH)", watch->target.process.pid);
		break;
	case EPERM:
		complain("the open file belongs to another process (EPERM)");
		break;
	default:
		complain("cannot watch %llx-%llx: %s (%s)", watch->range.start, watch->range.end,
			 strerror(error), error_name(error));
	}
}

/* Signals that end the watch are read like events, none can be missed then. */
static int open_signals(void)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &signals, NULL)) {
		complain("signalfd: %s", strerror(errno));
		return -1;
	}
	return fd;
}

static int run(struct watch *watch, pid_t pid)
{
	__u64 elapsed;
	int signal_fd;
	int error;

	if (!target_open(&watch->target, pid))
		return EXIT_STATUS_FAILED;
	if (!watch->range.end)
		watch->range.end = watch->target.device.info.task_size;
	if (!target_check_range(&watch->target, &watch->range))
		return EXIT_STATUS_FAILED;
	signal_fd = open_signals();
	if (signal_fd < 0)
		return EXIT_STATUS_FAILED;

	json_init(&watch->json, stdout, 0);

	error = device_watch(&watch->target.device, watch->range.start, watch->range.end);
	if (error) {
		complain_watch(watch, -error);
		return EXIT_STATUS_FAILED;
	}
	watch->begun = now_nanoseconds();
	watch->line_begun = watch->begun;
	read_maps(watch, watch->begun);
	print_start(watch);
	fflush(stdout);

	watch_loop(watch, signal_fd);
	elapsed = now_nanoseconds() - watch->begun;
	drain(watch);
	/* What came since the last line, unless that is too short to be a rate */
	if (watch->rates && watch->begun + elapsed - watch->line_begun > NANOSECONDS_PER_SECOND / 2)
		next_rates_line(watch, watch->begun + elapsed);

	activity_sort(&watch->activity);
	if (watch->as_json)
		json_summary(watch, elapsed);
	else
		print_summary(watch, elapsed);
	return watch->ending == ENDING_ERROR ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

static void print_help(void)
{
	fputs("Usage: hmmctl watch [PID] [--range RANGE] [--duration SECONDS] [--rates] [--json]\n"
	      "Show what invalidates the memory of process PID, or of hmmctl itself: each such\n"
	      "event stops a device that mirrors the memory and makes it ask for the pages again.\n"
	      "Ends with a summary, after the duration, when interrupted, or as the process exits.\n"
	      "\n"
	      "  -r, --range RANGE       watch only START-END (hexadecimal, as in /proc/PID/maps)\n"
	      "                          or START+LENGTH\n"
	      "  -d, --duration SECONDS  stop after so long\n"
	      "      --rates             no single events, but how many of each kind every second\n"
	      "  -j, --json              print a JSON object each line\n"
	      "  -h, --help              this text\n", stdout);
}

int cmd_watch(int argc, char **argv)
{
	enum { OPTION_RATES = CHAR_MAX + 1 };
	static const struct option options[] = {
		{ "range", required_argument, NULL, 'r' },
		{ "duration", required_argument, NULL, 'd' },
		{ "rates", no_argument, NULL, OPTION_RATES },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	struct watch watch = { 0 };
	pid_t pid = 0;
	int status;
	int option;

	while ((option = getopt_long(argc, argv, "r:d:jh", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			if (!parse_range(optarg, &watch.range))
				return usage_error("'%s' is not a range START-END or START+LENGTH",
						   optarg);
			break;
		case 'd':
			if (!parse_seconds(optarg, &watch.duration) || !watch.duration)
				return usage_error("'%s' is not a number of seconds", optarg);
			break;
		case OPTION_RATES:
			watch.rates = true;
			break;
		case 'j':
			watch.as_json = true;
			break;
		case 'h':
			print_help();
			return EXIT_STATUS_OK;
		default:
			return usage_hint();
		}
	}
	if (optind < argc && !parse_pid(argv[optind++], &pid))
		return usage_error("'%s' is not a process ID", argv[optind - 1]);
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);

	status = run(&watch, pid);
	vma_list_free(&watch.list);
	activity_free(&watch.activity);
	return status;
}
