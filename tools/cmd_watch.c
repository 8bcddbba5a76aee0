// SPDX-License-Identifier: GPL-2.0
/* hmmctl watch */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "activity.h"
#include "format.h"
#include "hmmctl.h"
#include "interruption.h"
#include "json.h"
#include "maps.h"
#include "memory.h"
#include "message.h"
#include "names.h"
#include "parse.h"
#include "style.h"
#include "table.h"
#include "target.h"

/* As many as the module queues by default; reading events makes room there. */
#define EVENTS_PER_READ		1024
#define TOP_MAPPINGS		5
/* The column titles of --rates are repeated after this many lines. */
#define LINES_PER_TITLE		20
/*
 * Reading maps holds up the process that is watched, so it is not done for every event,
 * nor for more than a tenth of the time.
 */
#define MAPS_INTERVAL		(NANOSECONDS_PER_SECOND / 20)
#define MAPS_SHARE		10
/* How much time there is at the end for what is still queued */
#define DRAIN_TIME		NANOSECONDS_PER_SECOND

enum ending {
	ENDING_NONE,
	ENDING_DURATION,
	ENDING_SIGNAL,
	ENDING_RELEASE,
	ENDING_READER,
	ENDING_ERROR,
};

struct watch {
	struct target target;
	struct range_list ranges;
	__u64 duration;
	bool rates;
	bool as_json;
	struct json json;
	/* The terminal's width, 0 if there is none */
	unsigned int width;

	__u64 begun;
	enum ending ending;
	/*
	 * Once set: events are not handled after this time, those that were read are only
	 * counted.
	 */
	__u64 drained_by;
	__u64 uncounted;
	struct vma_list list;
	__u64 list_read_at;
	/* Not to be read again before */
	__u64 list_due;
	/* Events that would have told about changes were lost. */
	bool list_is_stale;
	/* How many events have been read; and how many when the queue was last empty */
	__u64 nr_read;
	__u64 drained_at;
	struct activity activity;

	/* For --rates: the totals at the end of the previous line */
	__u64 line_begun;
	unsigned int nr_lines;
	struct activity_count previous[NR_EVENT_KINDS];
	__u64 previous_bytes;
	__u64 previous_lost;
};

/*
 * Events for mappings that are gone may still be queued, so a mapping is kept in the list
 * for its name. Once the queue has been empty, or as many events as it holds have been
 * read, there are none left.
 */
static __u64 forgotten(const struct watch *watch)
{
	__u64 queued = watch->target.device.info.max_events;
	__u64 read = watch->nr_read > queued ? watch->nr_read - queued : 0;

	return watch->drained_at > read ? watch->drained_at : read;
}

static void read_maps(struct watch *watch)
{
	__u64 begun = now_nanoseconds();
	struct vma_list newer = { 0 };

	/* Even without names the events are worth seeing. */
	if (watch->list_is_stale)
		vma_list_free(&watch->list);
	if (vma_list_read(&newer, &watch->target.process, &watch->ranges)) {
		vma_list_free(&newer);
	} else {
		vma_list_cut(&newer, &watch->ranges);
		vma_list_update(&watch->list, &newer, ++watch->nr_read, forgotten(watch));
	}
	watch->list_read_at = now_nanoseconds();
	watch->list_due = watch->list_read_at + MAPS_INTERVAL +
			  (watch->list_read_at - begun) * MAPS_SHARE;
	watch->list_is_stale = false;
}

static bool overlaps(const struct vma_list *list, size_t index,
		     const struct hmm_mirror_event *event)
{
	return index < list->nr && list->vmas[index].start < event->end;
}

/* The mappings the event hits: returns the first one, and the first after them. */
static size_t find_mappings(struct watch *watch, const struct hmm_mirror_event *event, size_t *end)
{
	size_t first = vma_list_find(&watch->list, event->start);

	if ((watch->list_is_stale || !overlaps(&watch->list, first, event)) &&
	    now_nanoseconds() >= watch->list_due) {
		read_maps(watch);
		first = vma_list_find(&watch->list, event->start);
	}
	*end = first;
	while (overlaps(&watch->list, *end, event))
		(*end)++;
	return first;
}

/* Without those that have been removed */
static size_t count_mappings(const struct watch *watch, size_t first, size_t end)
{
	size_t nr = 0;

	for (size_t i = first; i < end; i++)
		nr += watch->list.vmas[i].start < watch->list.vmas[i].end;
	return nr;
}

static void print_event(const struct watch *watch, const struct hmm_mirror_event *event, __u64 now,
			size_t first, size_t nr, __u64 bytes)
{
	unsigned int kind = event_kind_index(event->kind);
	const char *name = short_lived_name;
	unsigned int used = 0;
	char more[48] = "";

	if (kind == HMM_MIRROR_EVENT_RELEASE)
		name = "everything";
	else if (nr)
		name = vma_name(&watch->list.vmas[first]);
	if (kind != HMM_MIRROR_EVENT_RELEASE && nr > 1)
		snprintf(more, sizeof(more), " and %zu more", nr - 1);

	used += (unsigned int)printf("%11.6f  %-10s  ",
				     (double)(now - watch->begun) / NANOSECONDS_PER_SECOND,
				     event_kind_short_name(kind));
	used += (unsigned int)printf("%12llx-%-12llx  %5s  ", event->start, event->end,
				     format_size_short(bytes).text);
	used += (unsigned int)strlen(more);
	print_cut(stdout, name, watch->width > used + 12 ? watch->width - used : 0);
	puts(more);
}

static void json_event(struct watch *watch, const struct hmm_mirror_event *event, __u64 now,
		       size_t first, size_t nr, __u64 bytes)
{
	struct json *json = &watch->json;

	json_object_begin(json, NULL);
	json_string(json, "type", "event");
	json_seconds(json, "time", now - watch->begun);
	json_string(json, "kind", event_kind_name(event_kind_index(event->kind)));
	json_address(json, "start", event->start);
	json_address(json, "end", event->end);
	json_unsigned(json, "size", event->end - event->start);
	json_unsigned(json, "bytes", bytes);
	json_unsigned(json, "sequence", event->sequence);
	if (nr)
		json_string(json, "mapping", vma_name(&watch->list.vmas[first]));
	else
		json_null(json, "mapping");
	json_unsigned(json, "nr_mappings", nr);
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
		style_begin(stdout, STYLE_WARNING);
		printf("%11.6f  *** LOST %llu events: they came faster than they were read ***",
		       (double)(now - watch->begun) / NANOSECONDS_PER_SECOND, event->lost);
		style_end(stdout);
		putchar('\n');
	}
}

static void handle_event(struct watch *watch, const struct hmm_mirror_event *event, __u64 now)
{
	size_t first;
	size_t end;
	size_t nr;
	__u64 bytes;

	watch->nr_read++;
	if (event->kind == HMM_MIRROR_EVENT_LOST) {
		handle_lost(watch, event, now);
		return;
	}
	/* The module does not send this. */
	if (event->start >= event->end)
		return;

	first = find_mappings(watch, event, &end);
	while (first < end && watch->list.vmas[first].start == watch->list.vmas[first].end)
		first++;
	bytes = activity_add(&watch->activity, event, &watch->list, first, end);
	if (!watch->rates) {
		nr = count_mappings(watch, first, end);
		if (watch->as_json)
			json_event(watch, event, now, first, nr, bytes);
		else
			print_event(watch, event, now, first, nr, bytes);
	}

	if (event->kind == HMM_MIRROR_EVENT_UNMAP)
		vma_list_remove(&watch->list, event->start, event->end);
	else if (event->kind == HMM_MIRROR_EVENT_RELEASE)
		watch->ending = ENDING_RELEASE;
}

/* Whether there is time for one more event: an event of many mappings takes long. */
static bool has_time(struct watch *watch)
{
	__u64 now = now_nanoseconds();

	if (!watch->drained_by &&
	    (interruption() || (watch->duration && now - watch->begun >= watch->duration)))
		watch->drained_by = now + DRAIN_TIME;
	return !watch->drained_by || now < watch->drained_by;
}

/* Returns the number of events read; they have all been shown then. */
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
	for (ssize_t i = 0; i < nr && watch->ending == ENDING_NONE; i++) {
		if (!has_time(watch)) {
			watch->uncounted += (__u64)(nr - i);
			break;
		}
		handle_event(watch, &events[i], now);
		interruption_alive();
	}
	/* It returns all that there is, as far as there is room. */
	if (nr < EVENTS_PER_READ)
		watch->drained_at = ++watch->nr_read;
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
	/* Rounded up, or the last millisecond would be a busy loop. */
	return (int)((until - now + NANOSECONDS_PER_MILLISECOND - 1) / NANOSECONDS_PER_MILLISECOND);
}

static void watch_loop(struct watch *watch)
{
	struct pollfd files[] = {
		{ .fd = watch->target.device.fd, .events = POLLIN },
		{ .fd = interruption_fd(), .events = POLLIN },
		/*
		 * Nobody reads the output any more: POLLERR is reported without being
		 * asked for.
		 */
		{ .fd = STDOUT_FILENO },
	};
	__u64 tick = watch->begun + NANOSECONDS_PER_SECOND;

	while (watch->ending == ENDING_NONE) {
		__u64 now = now_nanoseconds();
		bool idle = true;

		if (watch->duration && now - watch->begun >= watch->duration) {
			watch->ending = ENDING_DURATION;
			break;
		}
		if (poll(files, ARRAY_SIZE(files), poll_timeout(watch, now, tick)) < 0) {
			if (errno == EINTR)
				continue;
			complain("poll: %s", strerror(errno));
			watch->ending = ENDING_ERROR;
			break;
		}
		if (files[1].revents)
			watch->ending = ENDING_SIGNAL;
		else if (files[2].revents & (POLLERR | POLLHUP | POLLNVAL))
			watch->ending = ENDING_READER;
		else if (files[0].revents)
			idle = !read_events(watch);
		if (idle && files[0].revents & (POLLERR | POLLHUP | POLLNVAL)) {
			complain("the device does not report events any more");
			watch->ending = ENDING_ERROR;
		}

		now = now_nanoseconds();
		if (now >= tick) {
			if (watch->rates && watch->ending != ENDING_READER)
				next_rates_line(watch, now);
			if (!files[0].revents)
				watch->drained_at = ++watch->nr_read;
			/* So that mappings that are unmapped later have a name. */
			if (idle && watch->ending == ENDING_NONE && now >= watch->list_due)
				read_maps(watch);
			/*
			 * In step with the beginning, but without catching up on lines
			 * that were missed.
			 */
			now = now_nanoseconds();
			while (tick <= now)
				tick += NANOSECONDS_PER_SECOND;
		}
		if (ferror(stdout))
			watch->ending = ENDING_ERROR;
	}
}

/* What was queued when the time was up, but not what still arrives. */
static void drain(struct watch *watch)
{
	enum ending ending = watch->ending;
	size_t left = watch->target.device.info.max_events;

	if (ending != ENDING_DURATION && ending != ENDING_SIGNAL)
		return;
	watch->ending = ENDING_NONE;
	while (left && watch->ending == ENDING_NONE && has_time(watch)) {
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
	table_print(&table, stdout, terminal_width(stdout));
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
		const struct activity_mapping *mapping = activity->order[i];

		table_cell(&table, "%llu", mapping->total.events);
		table_cell(&table, "%.1f", rate_per_second(mapping->total.events, elapsed));
		table_cell(&table, "%s", format_size_short(mapping->total.bytes).text);
		table_cell(&table, "%s", event_kind_name(activity_main_kind(mapping)));
		table_cell(&table, "%llx-%llx", mapping->start, mapping->end);
		table_cell(&table, "%s", mapping->name);
	}
	table_print(&table, stdout, terminal_width(stdout));
	if (activity->others.events)
		printf("Mappings that were too many to be told apart: %llu events, %s\n",
		       activity->others.events, format_size(activity->others.bytes).text);
}

static void print_summary(const struct watch *watch, __u64 elapsed)
{
	const struct activity *activity = &watch->activity;

	printf("\nprocess %d (%s), %s: ", watch->target.process.pid,
	       watch->target.process.printable_name,
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
	if (activity->lost) {
		style_begin(stdout, STYLE_WARNING);
		printf("\n*** LOST %llu events: the numbers above are too low. Watch a smaller --range,\n"
		       "    or load the module with a larger max_events (now %u). ***\n",
		       activity->lost, watch->target.device.info.max_events);
		style_end(stdout);
	}
	if (watch->uncounted) {
		style_begin(stdout, STYLE_WARNING);
		printf("\n*** There was no time for the last %llu events that were read. ***\n",
		       watch->uncounted);
		style_end(stdout);
	}
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
		[ENDING_READER] = "",
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
	json_unsigned(json, "uncounted", watch->uncounted);
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
		const struct activity_mapping *mapping = activity->order[i];

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
	json_object_begin(json, "other_mappings");
	json_unsigned(json, "events", activity->others.events);
	json_unsigned(json, "bytes", activity->others.bytes);
	json_object_end(json);
	json_object_end(json);
}

static void json_start(struct watch *watch)
{
	const struct range_list *ranges = &watch->ranges;
	struct json *json = &watch->json;

	json_object_begin(json, NULL);
	json_string(json, "type", "start");
	json_signed(json, "pid", watch->target.process.pid);
	json_string(json, "name", watch->target.process.name);
	json_address(json, "start", ranges->ranges[0].start);
	json_address(json, "end", ranges->ranges[ranges->nr - 1].end);
	json_array_begin(json, "ranges");
	for (size_t i = 0; i < ranges->nr; i++) {
		json_object_begin(json, NULL);
		json_address(json, "start", ranges->ranges[i].start);
		json_address(json, "end", ranges->ranges[i].end);
		json_object_end(json);
	}
	json_array_end(json);
	json_object_end(json);
}

static void print_start(const struct watch *watch)
{
	const struct process *process = &watch->target.process;

	printf("watching process %d (%s)", process->pid, process->printable_name);
	for (size_t i = 0; i < watch->ranges.nr; i++)
		printf(", %llx-%llx", watch->ranges.ranges[i].start, watch->ranges.ranges[i].end);
	puts("; ^C for the summary\n");
	if (watch->rates) {
		puts("Events per second by kind:");
		return;
	}
	style_begin(stdout, STYLE_TITLE);
	printf("%11s  %-10s  %25s  %5s  %s", "TIME", "KIND", "ADDRESS          ", "SIZE", "MAPPING");
	style_end(stdout);
	putchar('\n');
}

static void complain_watch(const struct watch *watch, const struct address_range *range, int error)
{
	switch (error) {
	case ENOSPC:
		complain("no more than %u ranges can be watched (ENOSPC)",
			 watch->target.device.info.max_watches);
		break;
	case EDQUOT:
		complain("all files of this user together can have no more than %u watches and %u events queued (EDQUOT)",
			 watch->target.device.info.max_watches_per_user,
			 watch->target.device.info.max_events_per_user);
		break;
	case ESRCH:
		complain("process %d: has exited or called execve() (ESRCH)",
			 watch->target.process.pid);
		break;
	case EPERM:
		complain("the open file belongs to another process (EPERM)");
		break;
	default:
		complain("cannot watch %llx-%llx: %s (%s)", range->start, range->end,
			 strerror(error), error_name(error));
	}
}

static bool watch_ranges(struct watch *watch)
{
	struct target *target = &watch->target;
	int error = 0;

	for (size_t i = 0; i < watch->ranges.nr; i++) {
		const struct address_range *range = &watch->ranges.ranges[i];

		error = device_watch(&target->device, range->start, range->end);
		if (error) {
			complain_watch(watch, range, -error);
			return false;
		}
	}
	/* The process that is watched must be the one whose names are read. */
	error = target_check(target);
	if (error)
		complain_watch(watch, NULL, -error);
	return !error;
}

static int report(struct watch *watch, __u64 elapsed)
{
	activity_sort(&watch->activity);
	if (watch->as_json)
		json_summary(watch, elapsed);
	else
		print_summary(watch, elapsed);
	return watch->ending == ENDING_ERROR ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

/* A call waits in the kernel for the process's mmap_lock. */
static int finish(void *data, int error)
{
	struct watch *watch = data;

	(void)error;
	watch->ending = ENDING_SIGNAL;
	if (watch->begun)
		return report(watch, now_nanoseconds() - watch->begun);
	complain("interrupted while it waited for process %d", watch->target.process.pid);
	return EXIT_STATUS_FAILED;
}

/* As if it had been written to */
static int end_without_reader(void)
{
	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
	return EXIT_STATUS_FAILED;
}

static int run(struct watch *watch, pid_t pid)
{
	__u64 elapsed;

	if (!target_open(&watch->target, pid))
		return EXIT_STATUS_FAILED;
	if (!watch->ranges.nr)
		range_list_add(&watch->ranges, (struct address_range){
			.end = watch->target.device.info.task_size,
		});
	if (!target_check_ranges(&watch->target, &watch->ranges))
		return EXIT_STATUS_FAILED;
	if (!interruption_begin(true, 0, finish, watch))
		return EXIT_STATUS_FAILED;

	json_init(&watch->json, stdout, 0);
	if (!watch_ranges(watch))
		return EXIT_STATUS_FAILED;
	watch->begun = now_nanoseconds();
	watch->line_begun = watch->begun;
	read_maps(watch);
	if (watch->as_json)
		json_start(watch);
	else
		print_start(watch);
	fflush(stdout);

	watch_loop(watch);
	if (watch->ending == ENDING_READER)
		return end_without_reader();
	elapsed = now_nanoseconds() - watch->begun;
	drain(watch);
	/* What came since the last line, unless that time is too short for a rate */
	if (watch->rates && watch->begun + elapsed - watch->line_begun > NANOSECONDS_PER_SECOND / 2)
		next_rates_line(watch, watch->begun + elapsed);
	return report(watch, elapsed);
}

static void print_help(void)
{
	fputs("Usage: hmmctl watch PID [--range RANGE]... [--duration SECONDS] [--rates] [--json]\n"
	      "Show what invalidates the memory of process PID: each such event stops a device\n"
	      "that mirrors the memory, and makes it ask for the pages again.\n"
	      "Ends with a summary: after the duration, when interrupted, or if the process exits.\n"
	      "\n"
	      "  -p, --pid PID           the same as PID alone\n"
	      "  -r, --range RANGE       watch only START-END (hexadecimal, as in /proc/PID/maps)\n"
	      "                          or 0xSTART+LENGTH; may be given several times\n"
	      "  -d, --duration SECONDS  stop after SECONDS\n"
	      "      --rates             instead of events, how many of each kind every second\n"
	      "  -j, --json              print a JSON object on each line\n"
	      "  -h, --help              this text\n", stdout);
}

int cmd_watch(int argc, char **argv)
{
	enum { OPTION_RATES = CHAR_MAX + 1 };
	static const struct option options[] = {
		{ "pid", required_argument, NULL, 'p' },
		{ "range", required_argument, NULL, 'r' },
		{ "duration", required_argument, NULL, 'd' },
		{ "rates", no_argument, NULL, OPTION_RATES },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	/* Too large for a stack */
	static struct watch watch;
	char *error;
	pid_t pid = 0;
	int status;
	int option;

	while ((option = getopt_long(argc, argv, "p:r:d:jh", options, NULL)) != -1) {
		switch (option) {
		case 'r':
			error = range_list_parse(&watch.ranges, optarg);
			if (error)
				return usage_error_free(error);
			break;
		case 'p':
			error = parse_pid(optarg, &pid);
			if (error)
				return usage_error_free(error);
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
	if (optind < argc && !pid) {
		error = parse_pid(argv[optind++], &pid);
		if (error)
			return usage_error_free(error);
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);
	if (!pid)
		return usage_error("a process is needed: PID");
	if (pid == getpid())
		return usage_error("hmmctl cannot watch itself: to tell of an event makes the next one");

	status = run(&watch, pid);
	vma_list_free(&watch.list);
	range_list_free(&watch.ranges);
	activity_free(&watch.activity);
	return status;
}
