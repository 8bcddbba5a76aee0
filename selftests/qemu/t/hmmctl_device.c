// SPDX-License-Identifier: GPL-2.0
/*
 * A stand-in for /dev/hmm_mirror, for hmmctl.t: preloaded, it answers hmmctl's
 * calls as a script says, so that slow, wrong and hostile answers can be played,
 * and what happens to a process just between two calls.
 *
 * HMMCTL_SCRIPT names the script. Its lines, in any order but that of events:
 *
 *	info FIELD VALUE	a field of struct hmm_mirror_info
 *	CALL errno NUMBER	ATTACH, RANGE, WATCH or READ fails
 *	CALL delay SECONDS	and takes so long
 *	CALL run COMMAND	and has the shell do that first, once
 *	RANGE FIELD VALUE	a field of struct hmm_mirror_range_args afterwards
 *	RANGE after N		all of RANGE above is for calls after the first N
 *	RANGE step BYTES	a call does no more than that
 *	event KIND START END [TIMES]
 *				queued when it is watched; the range moves on each time if
 *				TIMES is given
 *	pause SECONDS		between events
 *	forever KIND START END	the same event, again and again
 *	maps MAPPINGS		/proc/PID/maps has so many each time, with new addresses and
 *				names
 *
 * HMMCTL_PROC is a directory that takes the place of /proc, HMMCTL_LOG a file
 * that gets a line for each call and each file of /proc that is opened.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/hmm_mirror.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum call { CALL_ATTACH, CALL_RANGE, CALL_WATCH, CALL_READ, NR_CALLS };

static const char * const call_names[NR_CALLS] = { "ATTACH", "RANGE", "WATCH", "READ" };

static struct {
	struct hmm_mirror_info info;
	struct {
		int error;
		double delay;
		char *command;
		unsigned long nr;
	} calls[NR_CALLS];
	unsigned long range_after;
	unsigned long long step;
	unsigned long maps;
} script;

/* The device: what is written to the other end are the events. */
static int device = -1;
static int events = -1;

#define NEXT(function) ((__typeof__(function) *)dlsym(RTLD_NEXT, #function))

static void write_log(const char *format, ...)
{
	const char *name = getenv("HMMCTL_LOG");
	FILE *log = name ? fopen(name, "ae") : NULL;
	va_list arguments;

	if (!log)
		return;
	va_start(arguments, format);
	vfprintf(log, format, arguments);
	va_end(arguments);
	fputc('\n', log);
	fclose(log);
}

static void wait_seconds(double seconds)
{
	struct timespec left = {
		.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

static void set_info(const char *field, unsigned long long value)
{
	if (!strcmp(field, "abi_version"))
		script.info.abi_version = (__u32)value;
	else if (!strcmp(field, "features"))
		script.info.features = value;
	else if (!strcmp(field, "task_size"))
		script.info.task_size = value;
	else if (!strcmp(field, "max_watches"))
		script.info.max_watches = (__u32)value;
	else if (!strcmp(field, "max_watches_per_user"))
		script.info.max_watches_per_user = (__u32)value;
	else if (!strcmp(field, "max_events"))
		script.info.max_events = (__u32)value;
	else
		abort();
}

static void set_range(struct hmm_mirror_range_args *args, const char *field,
		      unsigned long long value)
{
	if (!strcmp(field, "nr_extents"))
		args->nr_extents = (__u32)value;
	else if (!strcmp(field, "next"))
		args->next = value;
	else if (!strcmp(field, "fault_addr"))
		args->fault_addr = value;
}

/* Calls @line with each line of the script, without its line feed. */
static void read_script(void (*line)(char *text, void *data), void *data)
{
	FILE *file = fopen(getenv("HMMCTL_SCRIPT"), "re");
	char text[1024];

	if (!file)
		abort();
	while (fgets(text, sizeof(text), file)) {
		text[strcspn(text, "\n")] = 0;
		line(text, data);
	}
	fclose(file);
}

static void set_up_line(char *text, void *data)
{
	char word[64];
	char field[64];
	char value[512];

	(void)data;
	if (sscanf(text, "%63s %63s %511[^\n]", word, field, value) < 2)
		return;
	if (!strcmp(word, "info"))
		set_info(field, strtoull(value, NULL, 0));
	if (!strcmp(word, "maps"))
		script.maps = strtoul(field, NULL, 0);
	for (size_t i = 0; i < NR_CALLS; i++) {
		if (strcmp(word, call_names[i]))
			continue;
		if (!strcmp(field, "errno"))
			script.calls[i].error = atoi(value);
		else if (!strcmp(field, "delay"))
			script.calls[i].delay = atof(value);
		else if (!strcmp(field, "run"))
			script.calls[i].command = strdup(value);
		else if (!strcmp(field, "after"))
			script.range_after = strtoul(value, NULL, 0);
		else if (!strcmp(field, "step"))
			script.step = strtoull(value, NULL, 0);
	}
}

static void set_up(void)
{
	script.info = (struct hmm_mirror_info){
		.size = sizeof(script.info),
		.abi_version = HMM_MIRROR_ABI_VERSION,
		.features = HMM_MIRROR_FEATURE_HUGETLB,
		.task_size = 0x7ffffffff000,
		.page_size = 4096,
		.pmd_order = 9,
		.pud_order = 18,
		.max_watches = 64,
		.max_events = 8192,
	};
	read_script(set_up_line, NULL);
}

/* What the script says about each of these calls; 0 or -1 with errno set */
static int play(enum call call)
{
	char *command = script.calls[call].command;

	script.calls[call].nr++;
	if (call == CALL_RANGE && script.calls[call].nr <= script.range_after)
		return 0;
	script.calls[call].command = NULL;
	if (command) {
		char *without = NULL;

		/* Not for hmmctl's children. */
		if (asprintf(&without, "unset LD_PRELOAD; %s", command) < 0 || system(without))
			abort();
		free(without);
	}
	wait_seconds(script.calls[call].delay);
	errno = script.calls[call].error;
	return errno ? -1 : 0;
}

static void range_line(char *text, void *data)
{
	char field[64];
	char value[64];

	if (sscanf(text, "RANGE %63s %63s", field, value) == 2)
		set_range(data, field, strtoull(value, NULL, 0));
}

/* Pages that are present, each range one extent */
static int call_range(struct hmm_mirror_range_args *args)
{
	struct hmm_mirror_extent_info *extents = (void *)(uintptr_t)args->extents;
	int error;

	write_log("RANGE %llx-%llx timeout %u", args->start, args->end, args->timeout_ms);
	error = play(CALL_RANGE) ? errno : 0;
	if (error != ESRCH) {
		args->next = args->end;
		if (script.step && args->end - args->start > script.step)
			args->next = args->start + script.step;
		args->nr_extents = 0;
		args->fault_addr = 0;
		if (error) {
			args->next = args->start;
		} else if (extents) {
			args->nr_extents = 1;
			extents[0] = (struct hmm_mirror_extent_info){
				.addr = args->start,
				.npages = (args->next - args->start) / 4096,
				.flags = HMM_MIRROR_EXTENT_VALID | HMM_MIRROR_EXTENT_WRITE,
				.kind = HMM_MIRROR_KIND_PRESENT,
			};
		}
		if (script.calls[CALL_RANGE].nr > script.range_after)
			read_script(range_line, args);
	}
	errno = error;
	return error ? -1 : 0;
}

static void put_event(unsigned int kind, unsigned long long start, unsigned long long end)
{
	struct hmm_mirror_event event = {
		.watch_id = kind == HMM_MIRROR_EVENT_LOST ? 0 : 1,
		.kind = kind,
		.start = start,
		.end = end,
		.lost = kind == HMM_MIRROR_EVENT_LOST ? 7 : 0,
	};

	if (NEXT(write)(events, &event, sizeof(event)) != sizeof(event))
		_exit(0);
}

/* Tells hmmctl that everything before this is queued. */
static void release_watch(int *watch)
{
	if (*watch >= 0)
		close(*watch);
	*watch = -1;
}

static void event_line(char *text, void *data)
{
	unsigned long long start;
	unsigned long long end;
	unsigned long times = 1;
	unsigned int kind;
	double seconds;

	if (sscanf(text, "pause %lf", &seconds) == 1) {
		release_watch(data);
		wait_seconds(seconds);
	}
	if (sscanf(text, "event %u %llx %llx %lu", &kind, &start, &end, &times) >= 3)
		for (unsigned long i = 0; i < times; i++)
			put_event(kind, start + i * (end - start), end + i * (end - start));
	if (sscanf(text, "forever %u %llx %llx", &kind, &start, &end) != 3)
		return;
	release_watch(data);
	for (;;)
		put_event(kind, start, end);
}

/*
 * A child writes them, as the module would queue them, whatever hmmctl does. WATCH
 * returns when those before the first pause are there.
 */
static void start_events(void)
{
	int watch[2];
	char byte;
	int null;

	if (pipe2(watch, O_CLOEXEC))
		abort();
	if (fork()) {
		close(watch[1]);
		while (NEXT(read)(watch[0], &byte, 1) < 0 && errno == EINTR)
			;
		close(watch[0]);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	/* Not one who still has hmmctl's output open */
	null = NEXT(open)("/dev/null", O_RDWR);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(device);
	read_script(event_line, &watch[1]);
	release_watch(&watch[1]);
	for (;;)
		pause();
}

static int call_watch(const struct hmm_mirror_watch_args *args)
{
	static bool started;

	write_log("WATCH %llx-%llx", args->start, args->end);
	if (play(CALL_WATCH))
		return -1;
	if (!started)
		start_events();
	started = true;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (fd != device || fd < 0)
		return NEXT(ioctl)(fd, request, argument);

	switch (request) {
	case HMM_MIRROR_INFO:
		memcpy(argument, &script.info, sizeof(script.info));
		return 0;
	case HMM_MIRROR_ATTACH:
		write_log("ATTACH %d", ((struct hmm_mirror_attach *)argument)->pid);
		return play(CALL_ATTACH);
	case HMM_MIRROR_RANGE:
		return call_range(argument);
	case HMM_MIRROR_WATCH:
		return call_watch(argument);
	case HMM_MIRROR_STATS:
		memset(argument, 0, sizeof(struct hmm_mirror_stats));
		return 0;
	}
	errno = ENOTTY;
	return -1;
}

ssize_t read(int fd, void *buffer, size_t size)
{
	if (fd == device && fd >= 0 && play(CALL_READ))
		return -1;
	return NEXT(read)(fd, buffer, size);
}

static int open_device(void)
{
	int ends[2];

	set_up();
	if (pipe2(ends, O_CLOEXEC))
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
	device = ends[0];
	events = ends[1];
	return device;
}

/* A list of mappings that was never there before */
static int open_new_maps(void)
{
	static unsigned long round;
	int fd = memfd_create("maps", 0);
	FILE *file = fdopen(fd, "w+");

	round++;
	for (unsigned long i = 0; i < script.maps; i++) {
		unsigned long long start = 0x10000000 + (round * script.maps + i) * 0x3000ULL;

		fprintf(file, "%llx-%llx rw-p 00000000 00:2a 99 /tmp/file-%lu-%lu\n", start,
			start + 0x1000, round, i);
	}
	fflush(file);
	return (int)lseek(fd, 0, SEEK_SET) ? -1 : fd;
}

/* @path, or what replaces it */
static const char *proc_path(const char *path, char *place)
{
	const char *proc = getenv("HMMCTL_PROC");

	if (!proc || strncmp(path, "/proc/", 6))
		return path;
	snprintf(place, PATH_MAX, "%s/%s", proc, path + 6);
	return place;
}

int open(const char *path, int flags, ...)
{
	char place[PATH_MAX];
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	if (!strcmp(path, "/dev/hmm_mirror"))
		return open_device();
	if (!strncmp(path, "/proc/", 6))
		write_log("file %s", path);
	return NEXT(open)(proc_path(path, place), flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
	char place[PATH_MAX];
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	write_log("file %s", path);
	if (script.maps && !strcmp(path, "maps"))
		return open_new_maps();
	return NEXT(openat)(directory, proc_path(path, place), flags, mode);
}

int access(const char *path, int mode)
{
	char place[PATH_MAX];

	return NEXT(access)(proc_path(path, place), mode);
}

ssize_t readlink(const char *path, char *buffer, size_t size)
{
	char place[PATH_MAX];

	return NEXT(readlink)(proc_path(path, place), buffer, size);
}
