// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once: pages are moved back and forth while the CPU and the device
 * use them, files are closed while mappings change, processes are killed in the
 * middle of it. Each word has one writer, who knows what must be there.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>

#include "dmirror_test.h"

#define NPAGES		32
#define SECONDS		2

FIXTURE(race)
{
	int fds[2];
	unsigned int unit;
	size_t page;
	size_t npages;
	char *start;
	char *buffer;
};

FIXTURE_VARIANT(race)
{
	unsigned int unit;
	bool huge;
};

FIXTURE_VARIANT_ADD(race, private)
{
	.unit = 0,
	.huge = false,
};

FIXTURE_VARIANT_ADD(race, private_huge)
{
	.unit = 0,
	.huge = true,
};

FIXTURE_VARIANT_ADD(race, coherent)
{
	.unit = 2,
	.huge = false,
};

FIXTURE_SETUP(race)
{
	const char *reason;

	self->unit = variant->unit;
	self->page = page_size();
	self->npages = variant->huge ? pages_per_pmd() : NPAGES;
	reason = open_devices(self->fds, variant->unit);
	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	ASSERT_LE(0, self->fds[1]);
	self->buffer = alloc_buffer(self->npages);
	ASSERT_NE(NULL, self->buffer);
	self->start = variant->huge ? map_huge(1) :
				      map_anonymous(self->npages);
	if (variant->huge && !self->start)
		SKIP(return, NO_HUGE_PAGES);
	ASSERT_NE(NULL, self->start);
	mark_pages(self->start, self->npages, 0);
	if (variant->huge && !can_migrate_huge(self->fds[0]))
		SKIP(return, NO_HUGE_DEVICE_PAGES);
}

FIXTURE_TEARDOWN(race)
{
	close(self->fds[0]);
	close(self->fds[1]);
}

/* The first and the last word of a page have its number of writes. */
static atomic_ulong *first_word(char *start, size_t page)
{
	return (atomic_ulong *)page_at(start, page);
}

static atomic_ulong *last_word(char *start, size_t page)
{
	return (atomic_ulong *)page_at(start, page + 1) - 1;
}

/**
 * struct worker - a thread that does something until it is told to stop
 * @thread: it
 * @fd: the mirror that it uses
 * @start: the pages that it uses
 * @npages: how many
 * @stride: it uses every so many-th of them
 * @writes: how often each page has been written to; a page has one writer
 * @stop: it is told to stop
 * @done: how often it did what it does
 * @failed: what it found wrong, or NULL
 * @value: what it found instead
 */
struct worker {
	pthread_t thread;
	int fd;
	char *start;
	size_t npages;
	size_t stride;
	atomic_ulong *writes;
	atomic_bool stop;
	unsigned long done;
	const char *failed;
	long value;
};

static bool fail(struct worker *worker, const char *what, long value)
{
	worker->failed = what;
	worker->value = value;
	return false;
}

static bool cpu_use_page(struct worker *worker, size_t page)
{
	unsigned long writes = worker->writes[page];

	if (*first_word(worker->start, page) != writes)
		return fail(worker, "the CPU lost a first word", page);
	if (*last_word(worker->start, page) != writes)
		return fail(worker, "the CPU lost a last word", page);
	*first_word(worker->start, page) = writes + 1;
	*last_word(worker->start, page) = writes + 1;
	worker->writes[page] = writes + 1;
	return true;
}

/* The CPU writes to its pages, in no order. */
static void *cpu_writer(void *argument)
{
	struct worker *worker = argument;
	unsigned long nr = worker->npages / worker->stride;
	unsigned long random = 1;

	while (!worker->stop) {
		random = random * 6364136223846793005UL + 1442695040888963407UL;
		if (!cpu_use_page(worker, (random >> 33) % nr * worker->stride))
			break;
		worker->done++;
	}
	return NULL;
}

/* Pages go to the device's memory and back. Not all of them have to. */
static void *mover(void *argument)
{
	struct worker *worker = argument;
	char *buffer = alloc_buffer(worker->npages);

	while (!worker->stop && !worker->failed) {
		int error = dmirror_call(worker->fd, HMM_DMIRROR_MIGRATE_TO_DEV,
					 worker->start, worker->npages, buffer,
					 NULL);

		if (error && error != ENOENT)
			fail(worker, "migration to the device", error);
		worker->done += !error;
		error = move_to_system(worker->fd, worker->start,
				       worker->npages, NULL);
		if (error)
			fail(worker, "migration to the system", error);
	}
	munmap(buffer, worker->npages * page_size());
	return NULL;
}

static bool start_worker(struct worker *worker, void *(*function)(void *))
{
	return !pthread_create(&worker->thread, NULL, function, worker);
}

/* Waits for its end. Returns false if it has found something wrong. */
static bool stop_worker(struct worker *worker)
{
	worker->stop = true;
	pthread_join(worker->thread, NULL);
	if (worker->failed)
		printf("# %s: %ld\n", worker->failed, worker->value);
	return !worker->failed;
}

static bool all_writes_arrived(char *start, size_t npages,
			       atomic_ulong *writes)
{
	size_t page;

	for (page = 0; page < npages; page++) {
		if (*first_word(start, page) == writes[page] &&
		    *last_word(start, page) == writes[page])
			continue;
		printf("# page %zu has %lu and %lu, not %lu\n", page,
		       *first_word(start, page), *last_word(start, page),
		       writes[page]);
		return false;
	}
	return true;
}

static void start_at_zero(char *start, size_t npages, atomic_ulong *writes)
{
	size_t page;

	for (page = 0; page < npages; page++) {
		writes[page] = 0;
		*first_word(start, page) = 0;
		*last_word(start, page) = 0;
	}
}

/*
 * What the device reads is never older than what the CPU had written before it
 * was asked, and never newer than what was written when it is done.
 */
static bool device_sees_writes(int fd, char *start, size_t npages, char *buffer,
			       atomic_ulong *writes)
{
	unsigned long before[npages];
	size_t page;
	int error;

	for (page = 0; page < npages; page++)
		before[page] = writes[page];
	error = device_read(fd, start, npages, buffer);
	if (error) {
		printf("# the device reads: %s\n", strerror(error));
		return false;
	}
	for (page = 0; page < npages; page++) {
		unsigned long seen = *first_word(buffer, page);

		/* One may have been written, but not yet counted. */
		if (seen >= before[page] && seen <= writes[page] + 1)
			continue;
		printf("# the device reads %lu in page %zu, of %lu to %lu\n",
		       seen, page, before[page], writes[page] + 1);
		return false;
	}
	return true;
}

TEST_F_TIMEOUT(race, migration_against_cpu_faults, 300)
{
	atomic_ulong writes[self->npages];
	struct worker writer = {
		.start = self->start,
		.npages = self->npages,
		.stride = 1,
		.writes = writes,
	};
	struct worker moves = {
		.fd = self->fds[0],
		.start = self->start,
		.npages = self->npages,
	};
	double end = seconds_now() + SECONDS;
	unsigned long reads = 0;

	start_at_zero(self->start, self->npages, writes);
	ASSERT_TRUE(start_worker(&writer, cpu_writer));
	ASSERT_TRUE(start_worker(&moves, mover));
	while (seconds_now() < end && !writer.failed && !moves.failed) {
		if (!device_sees_writes(self->fds[0], self->start, self->npages,
					self->buffer, writes))
			break;
		reads++;
	}
	EXPECT_LE(end, seconds_now());
	EXPECT_TRUE(stop_worker(&writer));
	EXPECT_TRUE(stop_worker(&moves));
	EXPECT_TRUE(all_writes_arrived(self->start, self->npages, writes));
	EXPECT_LT(0, writer.done);
	EXPECT_LT(0, reads);
	TH_LOG("%lu writes by the CPU, %lu complete moves, %lu reads by the device",
	       writer.done, moves.done, reads);
}

/* The same pages are wanted by two devices, each of which gets some of them. */
TEST_F_TIMEOUT(race, two_devices_and_the_cpu, 300)
{
	atomic_ulong writes[self->npages];
	struct worker writer = {
		.start = self->start,
		.npages = self->npages,
		.stride = 1,
		.writes = writes,
	};
	struct worker moves[2] = {
		{ .fd = self->fds[0] },
		{ .fd = self->fds[1] },
	};
	int i;

	start_at_zero(self->start, self->npages, writes);
	ASSERT_TRUE(start_worker(&writer, cpu_writer));
	for (i = 0; i < 2; i++) {
		moves[i].start = self->start;
		moves[i].npages = self->npages;
		ASSERT_TRUE(start_worker(&moves[i], mover));
	}
	sleep_ms(SECONDS * 1000);
	EXPECT_TRUE(stop_worker(&writer));
	EXPECT_TRUE(stop_worker(&moves[0]));
	EXPECT_TRUE(stop_worker(&moves[1]));
	EXPECT_TRUE(all_writes_arrived(self->start, self->npages, writes));
	EXPECT_LT(0, writer.done);
}

/* The CPU reads what the device writes: never an older value than before. */
static void *cpu_reader(void *argument)
{
	struct worker *worker = argument;
	unsigned long *seen = calloc(worker->npages, sizeof(*seen));
	size_t page;

	while (!worker->stop && !worker->failed) {
		for (page = 0; page < worker->npages; page++) {
			unsigned long now = *first_word(worker->start, page);

			if (now < seen[page])
				fail(worker, "the CPU reads an old word", page);
			seen[page] = now;
		}
		worker->done++;
	}
	free(seen);
	return NULL;
}

TEST_F_TIMEOUT(race, migration_against_device_writes, 300)
{
	atomic_ulong writes[self->npages];
	struct worker reader = {
		.start = self->start,
		.npages = self->npages,
	};
	/* Another mirror of the same device. */
	struct worker moves = {
		.fd = open_dmirror(self->unit),
		.start = self->start,
		.npages = self->npages,
	};
	double end = seconds_now() + SECONDS;
	unsigned long round = 0;
	int error = 0;

	start_at_zero(self->start, self->npages, writes);
	start_at_zero(self->buffer, self->npages, writes);
	ASSERT_TRUE(start_worker(&reader, cpu_reader));
	ASSERT_TRUE(start_worker(&moves, mover));
	while (seconds_now() < end && !error) {
		size_t page;

		round++;
		for (page = 0; page < self->npages; page++) {
			*first_word(self->buffer, page) = round;
			*last_word(self->buffer, page) = round;
			writes[page] = round;
		}
		error = device_write(self->fds[0], self->start, self->npages,
				     self->buffer);
		if (round % 4 == 0 && !all_writes_arrived(self->start,
							  self->npages, writes))
			break;
	}
	EXPECT_EQ(0, error);
	EXPECT_LE(end, seconds_now());
	EXPECT_TRUE(stop_worker(&reader));
	EXPECT_TRUE(stop_worker(&moves));
	EXPECT_TRUE(all_writes_arrived(self->start, self->npages, writes));
	EXPECT_LT(0, reader.done);
	TH_LOG("%lu writes by the device, %lu complete moves, %lu reads by the CPU",
	       round, moves.done, reader.done);
	close(moves.fd);
}

/* Changes its pages' mapping in every way that makes an invalidation. */
static void *mapping_changer(void *argument)
{
	struct worker *worker = argument;
	size_t length = worker->npages * page_size();

	while (!worker->stop) {
		mark_pages(worker->start, worker->npages, 1);
		mprotect(worker->start, length, PROT_READ);
		mprotect(worker->start, length, PROT_READ | PROT_WRITE);
		madvise(worker->start, length, MADV_DONTNEED);
		mark_pages(worker->start, worker->npages, 2);
		if (mmap(worker->start, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			 0) == MAP_FAILED) {
			fail(worker, "mmap", errno);
			break;
		}
		worker->done++;
	}
	return NULL;
}

/*
 * Files are opened and closed, mirrors come and go, in the middle of the
 * invalidations of pages that they have mapped and moved. Other pages, which
 * stay, keep their data although each close() evicts them.
 */
TEST_F_TIMEOUT(race, close_during_invalidation, 300)
{
	char *changing = map_anonymous(NPAGES);
	struct worker changes = {
		.start = changing,
		.npages = NPAGES,
	};
	double end = seconds_now() + SECONDS;
	unsigned long rounds = 0;
	char *buffer;
	bool ok = true;

	ASSERT_NE(NULL, changing);
	buffer = alloc_buffer(NPAGES);
	ASSERT_NE(NULL, buffer);
	mark_pages(self->start, self->npages, 100);
	ASSERT_TRUE(start_worker(&changes, mapping_changer));
	while (seconds_now() < end && ok) {
		int fd = open_dmirror(self->unit);

		/* A page may just be gone, and be back a moment later. */
		device_read(fd, changing, NPAGES, buffer);
		dmirror_call(fd, HMM_DMIRROR_MIGRATE_TO_DEV, changing, NPAGES,
			     buffer, NULL);
		ok = fd >= 0 &&
		     !move_to_device(self->fds[0], self->start, self->npages,
				     self->buffer) &&
		     pages_are_marked(self->buffer, self->npages, 100);
		ok &= !close(fd);
		rounds++;
	}
	EXPECT_TRUE(ok);
	EXPECT_TRUE(stop_worker(&changes));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 100));
	EXPECT_LT(0, rounds);
	EXPECT_LT(0, changes.done);
	TH_LOG("%lu files, %lu rounds of changes", rounds, changes.done);
}

static void be_busy_until_killed(unsigned int unit, char *start, size_t npages)
{
	atomic_ulong *writes = calloc(npages, sizeof(*writes));
	struct worker writer = {
		.start = start,
		.npages = npages,
		.stride = 1,
		.writes = writes,
	};
	struct worker moves = {
		.fd = open_dmirror(unit),
		.start = start,
		.npages = npages,
	};

	start_at_zero(start, npages, writes);
	start_worker(&writer, cpu_writer);
	start_worker(&moves, mover);
	while (!writer.failed && !moves.failed)
		sleep_ms(10);
	_exit(1);
}

/* Wherever a process is killed, none of its pages is left in the device. */
TEST_F_TIMEOUT(race, killed_while_pages_move, 300)
{
	unsigned int round;

	for (round = 0; round < 12; round++) {
		pid_t child = fork();
		int status;

		ASSERT_LE(0, child);
		if (!child)
			be_busy_until_killed(self->unit, self->start,
					     self->npages);
		sleep_ms(20 + round * 17);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	/* Busy (EBUSY) as long as a single page is in use. */
	EXPECT_EQ(0, dmirror_call(self->fds[0], HMM_DMIRROR_RELEASE,
				  self->start, 1, NULL, NULL));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 0));
}

TEST_HARNESS_MAIN
