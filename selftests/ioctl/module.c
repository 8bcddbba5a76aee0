// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading hmm_mirror.ko: its parameters, who keeps it loaded, what is left
 * behind. What was loaded before the test is loaded again at the end.
 */
#include <dirent.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "harness.h"
#include "device.h"
#include "memory.h"

#define MODULE		"hmm_mirror"
#define DIRECTORY	"/modules"
#define MAX_CLIENTS	8

/* A deadline, in seconds, for what takes no time unless something is broken. */
#define PATIENCE	60

/* The modules that use it, and the parameters with which they were loaded. */
static struct {
	char name[64];
	char parameters[256];
} clients[MAX_CLIENTS];

static size_t nr_clients;
static pid_t first_process;

/* Returns 0 or the errno. */
static int load(const char *name, const char *parameters)
{
	char path[128];
	int error;
	int fd;

	snprintf(path, sizeof(path), DIRECTORY "/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	error = syscall(__NR_finit_module, fd, parameters, 0) ? errno : 0;
	close(fd);
	return error;
}

static int unload(const char *name)
{
	return syscall(__NR_delete_module, name, O_NONBLOCK) ? errno : 0;
}

/* Reads the fields of /proc/modules. Returns whether it is loaded. */
static bool find_module(const char *name, unsigned long *size, char *users,
			size_t users_size)
{
	FILE *modules = fopen("/proc/modules", "r");
	char line[1024], seen_users[512], seen[64];
	unsigned long seen_size;
	bool found = false;

	if (!modules)
		return false;
	while (!found && fgets(line, sizeof(line), modules)) {
		if (sscanf(line, "%63s %lu %*s %511s", seen, &seen_size,
			   seen_users) != 3 || strcmp(seen, name))
			continue;
		found = true;
		if (size)
			*size = seen_size;
		if (users)
			snprintf(users, users_size, "%s", seen_users);
	}
	fclose(modules);
	return found;
}

static bool is_loaded(const char *name)
{
	return find_module(name, NULL, NULL, 0);
}

/* Those that are readable, as "name=value ..." */
static void save_parameters(const char *module, char *text, size_t size)
{
	char path[256], value[64];
	struct dirent *entry;
	size_t length = 0;
	DIR *directory;
	FILE *file;

	text[0] = '\0';
	snprintf(path, sizeof(path), "/sys/module/%s/parameters", module);
	directory = opendir(path);
	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/module/%s/parameters/%.64s",
			 module, entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%63s", value) == 1 && length < size)
			length += snprintf(text + length, size - length,
					   "%s=%s ", entry->d_name, value);
		fclose(file);
	}
	closedir(directory);
}

/* Before the first test: what is loaded now must be loaded at the end. */
static void __attribute__((constructor)) remember_clients(void)
{
	char users[512], *save, *name;

	first_process = getpid();
	if (!find_module(MODULE, NULL, users, sizeof(users)))
		return;
	for (name = strtok_r(users, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		/* "-" stands for none. */
		if (!strcmp(name, "-") || nr_clients == MAX_CLIENTS)
			continue;
		snprintf(clients[nr_clients].name,
			 sizeof(clients[nr_clients].name), "%s", name);
		save_parameters(name, clients[nr_clients].parameters,
				sizeof(clients[nr_clients].parameters));
		nr_clients++;
	}
}

/*
 * After the last test, however it ended: a test that ran out of time was killed, and has
 * left things as they were.
 */
static void __attribute__((destructor)) restore_modules(void)
{
	size_t i;

	if (getpid() != first_process || access(DIRECTORY, F_OK))
		return;
	if (!is_loaded(MODULE) && load(MODULE, ""))
		printf("# " MODULE " could not be loaded again\n");
	for (i = 0; i < nr_clients; i++) {
		if (!is_loaded(clients[i].name) &&
		    load(clients[i].name, clients[i].parameters))
			printf("# %s could not be loaded again\n",
			       clients[i].name);
	}
}

static void load_module(struct __test_metadata *_metadata,
			const char *parameters)
{
	ASSERT_EQ(0, load(MODULE, parameters));
	ASSERT_TRUE(is_loaded(MODULE));
	ASSERT_EQ(0, access(DEVICE, F_OK));
}

static void unload_module(struct __test_metadata *_metadata)
{
	int error = unload(MODULE);

	ASSERT_EQ(0, error) {
		TH_LOG("it cannot be unloaded: %s", strerror(error));
	}
	ASSERT_FALSE(is_loaded(MODULE));
	ASSERT_EQ(-1, access(DEVICE, F_OK));
	ASSERT_EQ(-1, access("/sys/module/" MODULE, F_OK));
}

/* Each test begins and ends with the module unloaded. */
FIXTURE(module)
{
	int kmsg;
};

FIXTURE_SETUP(module)
{
	size_t i;

	if (access(DIRECTORY "/" MODULE ".ko", R_OK))
		SKIP(return, "there is no " DIRECTORY "/" MODULE ".ko to load");
	for (i = 0; i < nr_clients; i++) {
		if (is_loaded(clients[i].name))
			ASSERT_EQ(0, unload(clients[i].name)) {
				TH_LOG("%s cannot be unloaded",
				       clients[i].name);
			}
	}
	if (is_loaded(MODULE))
		unload_module(_metadata);
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->kmsg);
	ASSERT_EQ(0, lseek(self->kmsg, 0, SEEK_END));
}

FIXTURE_TEARDOWN(module)
{
	close(self->kmsg);
	if (is_loaded(MODULE))
		EXPECT_EQ(0, unload(MODULE));
}

/* Whether the kernel has logged this since the last call, in one message. */
static bool kernel_said(int kmsg, const char *text, const char *more)
{
	char record[2048];
	bool found = false;
	ssize_t size;

	for (;;) {
		size = read(kmsg, record, sizeof(record) - 1);
		if (size < 0 && errno == EPIPE)
			continue; /* Some were overwritten. */
		if (size <= 0)
			return found;
		record[size] = '\0';
		if (strstr(record, text) && strstr(record, more))
			found = true;
	}
}

static __u64 counter_of(int fd, size_t offset)
{
	struct hmm_mirror_stats stats;
	__u64 value = -1;

	if (!call_stats(fd, &stats))
		memcpy(&value, (char *)&stats + offset, sizeof(value));
	return value;
}

#define COUNTER(fd, name) counter_of(fd, offsetof(struct hmm_mirror_stats, name))

/* Uses a bit of everything that the device node offers. */
static void use_module(struct __test_metadata *_metadata)
{
	struct hmm_mirror_extent_info extents[4];
	struct hmm_mirror_range_args args;
	struct hmm_mirror_event event;
	char *start = map_anonymous(8);
	int fd = open_device();
	__u32 id;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, call_watch(fd, start, 8, &id));
	ASSERT_EQ(0, call_watch(fd, start, 4, &id));
	args = range_args(start, 8, HMM_MIRROR_RANGE_FAULT |
			  HMM_MIRROR_RANGE_WRITE, extents, 4);
	ASSERT_EQ(0, call_range(fd, &args));
	ASSERT_EQ(8, args.nr_faults);
	ASSERT_EQ(0, munmap(start, 8 * page_size()));
	ASSERT_EQ(sizeof(event), read(fd, &event, sizeof(event)));
	EXPECT_EQ(HMM_MIRROR_EVENT_UNMAP, event.kind);
	ASSERT_EQ(0, close(fd));
}

TEST_F(module, load_and_unload)
{
	struct hmm_mirror_info info;
	int fd;

	EXPECT_EQ(-1, open_device());
	EXPECT_EQ(ENOENT, unload(MODULE));
	load_module(_metadata, "");
	EXPECT_EQ(EEXIST, load(MODULE, ""));
	EXPECT_EQ(64, read_number("/sys/module/" MODULE
				  "/parameters/max_watches", 0));
	EXPECT_EQ(8192, read_number("/sys/module/" MODULE
				    "/parameters/max_events", 0));
	fd = open_device();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, call_info(fd, &info));
	EXPECT_EQ(64, info.max_watches);
	EXPECT_EQ(8192, info.max_events);
	/* Counters start again. */
	EXPECT_EQ(0, COUNTER(fd, range_calls));
	EXPECT_EQ(0, COUNTER(fd, invalidations));
	EXPECT_EQ(1, COUNTER(fd, open_files));
	EXPECT_EQ(0, COUNTER(fd, subscriptions));
	close(fd);
	use_module(_metadata);
	unload_module(_metadata);
	EXPECT_EQ(-1, open_device());
	EXPECT_EQ(ENOENT, errno);

	load_module(_metadata, "");
	use_module(_metadata);
	unload_module(_metadata);
}

TEST_F(module, open_file)
{
	struct hmm_mirror_info info;
	int fd, again;

	load_module(_metadata, "");
	fd = open_device();
	ASSERT_LE(0, fd);
	again = dup(fd);
	EXPECT_EQ(EWOULDBLOCK, unload(MODULE));
	close(fd);
	EXPECT_EQ(EWOULDBLOCK, unload(MODULE));
	/* The attempt has done no harm. */
	EXPECT_EQ(0, call_info(again, &info));
	use_module(_metadata);
	close(again);
	unload_module(_metadata);
}

TEST_F(module, clients)
{
	size_t i;

	if (!nr_clients)
		SKIP(return, "no module was loaded that uses it");
	for (i = 0; i < nr_clients; i++) {
		/* What it needs is missing. */
		EXPECT_EQ(ENOENT, load(clients[i].name,
				       clients[i].parameters));
		EXPECT_TRUE(kernel_said(self->kmsg, clients[i].name,
					"Unknown symbol hmm_mirror_"));
		EXPECT_FALSE(is_loaded(clients[i].name));
	}
	load_module(_metadata, "");
	for (i = 0; i < nr_clients; i++)
		ASSERT_EQ(0, load(clients[i].name, clients[i].parameters));
	for (i = 0; i < nr_clients; i++) {
		EXPECT_EQ(EWOULDBLOCK, unload(MODULE));
		EXPECT_EQ(0, unload(clients[i].name));
	}
	unload_module(_metadata);
}

TEST_F(module, parameters)
{
	struct hmm_mirror_event events[16];
	struct hmm_mirror_info info;
	char *start = map_anonymous(4);
	__u32 ids[4];
	size_t i;
	int fd;

	ASSERT_NE(NULL, start);
	load_module(_metadata, "max_watches=3 max_events=5");
	fd = open_device();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, call_info(fd, &info));
	EXPECT_EQ(3, info.max_watches);
	EXPECT_EQ(5, info.max_events);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, call_watch(fd, page_at(start, i), 1, &ids[i]));
	EXPECT_EQ(ENOSPC, call_watch(fd, start, 1, &ids[3]));
	for (i = 0; i < 7; i++)
		ASSERT_EQ(0, madvise(start, page_size(), MADV_DONTNEED));
	ASSERT_EQ(6 * sizeof(*events), read(fd, events, sizeof(events)));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(HMM_MIRROR_EVENT_CLEAR, events[i].kind);
	EXPECT_EQ(HMM_MIRROR_EVENT_LOST, events[5].kind);
	EXPECT_EQ(2, events[5].lost);
	close(fd);
	unload_module(_metadata);

	/* The smallest values: RANGE needs neither watches nor events. */
	load_module(_metadata, "max_watches=0 max_events=1");
	fd = open_device();
	ASSERT_LE(0, fd);
	EXPECT_EQ(ENOSPC, call_watch(fd, start, 1, &ids[0]));
	close(fd);
	unload_module(_metadata);
	load_module(_metadata, "max_watches=1 max_events=1");
	fd = open_device();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, call_watch(fd, start, 1, &ids[0]));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, madvise(start, page_size(), MADV_DONTNEED));
	ASSERT_EQ(2 * sizeof(*events), read(fd, events, sizeof(events)));
	EXPECT_EQ(HMM_MIRROR_EVENT_CLEAR, events[0].kind);
	EXPECT_EQ(2, events[1].lost);
	close(fd);
	unload_module(_metadata);
}

TEST_F(module, bad_parameters)
{
	char *start = map_anonymous(1);
	__u32 id;
	int fd;

	ASSERT_NE(NULL, start);
	EXPECT_EQ(EINVAL, load(MODULE, "max_events=0"));
	EXPECT_TRUE(kernel_said(self->kmsg, "hmm_mirror: ",
				"max_events must be at least 1"));
	EXPECT_FALSE(is_loaded(MODULE));
	EXPECT_EQ(-1, access(DEVICE, F_OK));
	EXPECT_EQ(EINVAL, load(MODULE, "max_events=-1"));
	EXPECT_EQ(EINVAL, load(MODULE, "max_watches=many"));
	EXPECT_FALSE(is_loaded(MODULE));

	/* More than there can be memory for: an error, but no warning. */
	load_module(_metadata, "max_events=4294967295");
	fd = open_device();
	ASSERT_LE(0, fd);
	EXPECT_EQ(ENOMEM, call_watch(fd, start, 1, &id));
	EXPECT_EQ(0, COUNTER(fd, subscriptions));
	close(fd);
	EXPECT_FALSE(kernel_said(self->kmsg, "WARNING: ", ""));
	unload_module(_metadata);
}

TEST_F(module, missing_symbol)
{
	if (access(DIRECTORY "/missing_symbol.ko", R_OK))
		SKIP(return, "there is no " DIRECTORY "/missing_symbol.ko");
	EXPECT_EQ(ENOENT, load("missing_symbol", ""));
	EXPECT_TRUE(kernel_said(self->kmsg, "hmm_mirror_no_such_function()",
				"this kernel has no such symbol"));
	EXPECT_FALSE(is_loaded("missing_symbol"));
}

/* What a process does before it is killed. */
struct victim {
	int fd;
	char *start;
	int uffd;
};

static void *wait_in_read(void *argument)
{
	struct victim *victim = argument;
	struct hmm_mirror_event event;

	/* Nothing happens to the watched memory. */
	while (read(victim->fd, &event, sizeof(event)) > 0)
		;
	_exit(2);
}

static void *wait_in_range(void *argument)
{
	struct victim *victim = argument;
	struct hmm_mirror_range_args args =
		range_args(page_at(victim->start, 4), 4,
			   HMM_MIRROR_RANGE_FAULT, NULL, 0);

	call_range(victim->fd, &args);
	_exit(3);
}

static void be_victim(void)
{
	struct victim victim = {
		.fd = open_device(),
		.start = map_anonymous(8),
		.uffd = open_userfaultfd(0),
	};
	pthread_t threads[2];
	__u32 id;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < 3; i++)
		call_watch(victim.fd, page_at(victim.start, i), 2, &id);
	if (victim.uffd >= 0)
		uffd_register(victim.uffd, page_at(victim.start, 4), 4,
			      UFFDIO_REGISTER_MODE_MISSING);
	pthread_create(&threads[0], NULL, wait_in_read, &victim);
	pthread_create(&threads[1], NULL, wait_in_range, &victim);
	for (;;)
		pause();
}

TEST_F_TIMEOUT(module, killed_process, 300)
{
	double deadline = seconds_now() + PATIENCE;
	__u64 open_files, subscriptions;
	int uffd = open_userfaultfd(0);
	char *start;
	pid_t child;
	int status;
	__u32 id;
	int fd;

	if (uffd < 0)
		SKIP(return, "no userfaultfd to wait for: %s", strerror(errno));
	close(uffd);
	load_module(_metadata, "");
	fd = open_device();
	start = map_anonymous(2);
	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, call_watch(fd, start, 2, &id));
	open_files = COUNTER(fd, open_files);
	subscriptions = COUNTER(fd, subscriptions);
	EXPECT_EQ(1, open_files);
	EXPECT_EQ(1, subscriptions);

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* The parent closes the inherited file. */
		close(fd);
		be_victim();
	}
	/* Three watches, and a request that waits. */
	while (COUNTER(fd, subscriptions) != subscriptions + 4) {
		ASSERT_GT(deadline, seconds_now());
		sleep_ms(5);
	}
	sleep_ms(100);
	EXPECT_EQ(subscriptions + 4, COUNTER(fd, subscriptions));
	EXPECT_EQ(open_files + 1, COUNTER(fd, open_files));
	EXPECT_EQ(EWOULDBLOCK, unload(MODULE));

	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(deadline, seconds_now());
	EXPECT_EQ(open_files, COUNTER(fd, open_files));
	EXPECT_EQ(subscriptions, COUNTER(fd, subscriptions));

	EXPECT_EQ(0, call_unwatch(fd, id));
	EXPECT_EQ(0, COUNTER(fd, subscriptions));
	close(fd);
	unload_module(_metadata);
}

/* A process that obeys: 'u' use, 'i' invalidate, 'x' exit. */
static void obey(struct __test_metadata *_metadata, int commands, int answers)
{
	char *start = map_anonymous(8);
	char command;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(commands, &command, 1) == 1 && command != 'x') {
		if (command == 'u') {
			use_module(_metadata);
		} else {
			mark_pages(start, 8, 0);
			madvise(start, 8 * page_size(), MADV_DONTNEED);
			mprotect(start, 8 * page_size(), PROT_READ);
			mprotect(start, 8 * page_size(),
				 PROT_READ | PROT_WRITE);
			kill_and_wait(fork_sleeper());
		}
		if (write(answers, &command, 1) != 1)
			break;
	}
	_exit(0);
}

static void command(struct __test_metadata *_metadata, int commands,
		    int answers, char what)
{
	char answer = 0;

	ASSERT_EQ(1, write(commands, &what, 1));
	ASSERT_EQ(1, read(answers, &answer, 1));
	ASSERT_EQ(what, answer);
}

/*
 * The open file keeps the module loaded, not the process: its address space had
 * subscriptions and has none now.
 */
TEST_F(module, used_before)
{
	int commands[2], answers[2];
	pid_t child;
	int status;

	ASSERT_EQ(0, pipe2(commands, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(answers, O_CLOEXEC));
	load_module(_metadata, "");
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(commands[1]);
		close(answers[0]);
		obey(_metadata, commands[0], answers[1]);
	}
	close(commands[0]);
	close(answers[1]);
	command(_metadata, commands[1], answers[0], 'u');
	unload_module(_metadata);
	command(_metadata, commands[1], answers[0], 'i');
	load_module(_metadata, "");
	command(_metadata, commands[1], answers[0], 'i');
	command(_metadata, commands[1], answers[0], 'u');
	unload_module(_metadata);
	command(_metadata, commands[1], answers[0], 'i');
	ASSERT_EQ(1, write(commands[1], "x", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * Whatever a cycle left behind would be there fifty times. A module's memory is released
 * a moment after it is unloaded.
 */
TEST_F_TIMEOUT(module, fifty_cycles, 450)
{
	unsigned long before, size = 0;
	double deadline;
	int i;

	for (i = 0; i < 55; i++) {
		/* Kernels keep some memory for modules; let them. */
		if (i == 5)
			before = meminfo_value("VmallocUsed");
		load_module(_metadata, "");
		ASSERT_TRUE(find_module(MODULE, &size, NULL, 0));
		if (i % 10 == 0)
			use_module(_metadata);
		unload_module(_metadata);
	}
	ASSERT_LT(0, before);
	ASSERT_LT(0, size);
	deadline = seconds_now() + PATIENCE;
	while (meminfo_value("VmallocUsed") > before + 25 * size) {
		ASSERT_GT(deadline, seconds_now()) {
			TH_LOG("VmallocUsed has grown from %lu to %lu", before,
			       meminfo_value("VmallocUsed"));
		}
		sleep_ms(20);
	}
}

TEST_HARNESS_MAIN
