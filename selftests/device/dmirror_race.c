// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once: pages are moved back and forth while the CPU and the device use
 * them, files are closed while mappings change, and processes are killed in the middle of
 * it. Each word has one writer, which knows what must be there.
 */
#include "harness.h"

#include <linux/hmm_mirror.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/range_fault_test/range_fault_test.h"
#include "dmirror_test.h"
#include "witness.h"

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

/* The CPU writes to its pages, in random order. */
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

/* Waits for it to end. Returns false if it has found something wrong. */
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
 * What the device reads is never older than what the CPU had written before the request,
 * and never newer than what was written when it is done.
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

/* Two devices want the same pages; each gets some of them. */
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

/* Changes its pages' mapping in every way that causes an invalidation. */
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
 * Files are opened and closed, and mirrors come and go, in the middle of invalidations of
 * pages that they have mapped and moved. Other pages, which stay, keep their data
 * although each close() evicts them.
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
	/* EBUSY as long as a single page is in use. */
	EXPECT_EQ(0, dmirror_call(self->fds[0], HMM_DMIRROR_RELEASE,
				  self->start, 1, NULL, NULL));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 0));
}

/*
 * A huge page of the device is split while its owner looks at one of its parts. After the
 * entry was read, and before its owner is looked up, the page may belong to nobody: 7.x
 * keeps a device page's owner in the field that says of which page it is a part.
 */
FIXTURE(split)
{
	int fds[2];
	int ask_fd;
	char *start;
	char *buffer;
};

FIXTURE_VARIANT(split)
{
	bool by_ptes; /* the page is whole, but is mapped in parts */
	__u64 request;
};

FIXTURE_VARIANT_ADD(split, pmd_snapshot)
{
	.by_ptes = false,
	.request = 0,
};

FIXTURE_VARIANT_ADD(split, pmd_read)
{
	.by_ptes = false,
	.request = RANGE_FAULT_TEST_REQ_FAULT,
};

FIXTURE_VARIANT_ADD(split, ptes_snapshot)
{
	.by_ptes = true,
	.request = 0,
};

FIXTURE_VARIANT_ADD(split, ptes_read)
{
	.by_ptes = true,
	.request = RANGE_FAULT_TEST_REQ_FAULT,
};

#define OWNER_DELAY	"/sys/module/hmm_mirror/parameters/owner_delay_ms"
#define HIDE_OWNERS	"/sys/module/hmm_mirror/parameters/hide_owners"
#define UNKNOWN_OWNERS	"/sys/module/hmm_mirror/parameters/unknown_owners"
#define SPLIT_DELAY	"/sys/module/dmirror/parameters/split_delay_ms"
#define SPLIT_ROUNDS	20
/* The part that is looked at; it is not moved */
#define SPLIT_PART	300

FIXTURE_SETUP(split)
{
	const char *reason = open_devices(self->fds, 0);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	if (!can_migrate_huge(self->fds[0]))
		SKIP(return, NO_HUGE_DEVICE_PAGES);
	self->ask_fd = open(RANGE_FAULT_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->ask_fd);
	self->buffer = alloc_buffer(pages_per_pmd());
	ASSERT_NE(NULL, self->buffer);
	self->start = map_huge(1);
	if (!self->start)
		SKIP(return, NO_HUGE_PAGES);
	ASSERT_TRUE(write_text(SPLIT_DELAY, "20"));
}

FIXTURE_TEARDOWN(split)
{
	if (!access(OWNER_DELAY, F_OK))
		EXPECT_TRUE(write_text(OWNER_DELAY, "0"));
	if (!access(SPLIT_DELAY, F_OK))
		EXPECT_TRUE(write_text(SPLIT_DELAY, "0"));
	close(self->ask_fd);
	close(self->fds[0]);
	close(self->fds[1]);
}

/* One of the device's pages, looked at by its owner again and again. */
struct asker {
	pthread_t thread;
	int fd;
	char *start;
	__u64 request;
	atomic_bool stop;
	atomic_ulong own;
	atomic_ulong absent;
	const char *failed;
	__u64 value;
};

static void ask_for_part(struct asker *asker)
{
	struct range_fault_test_extent extent = {};
	struct range_fault_test_range args = {
		.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
		.flags = RANGE_FAULT_TEST_OWNER,
		.start = (unsigned long)asker->start,
		.end = (unsigned long)asker->start + page_size(),
		.default_flags = asker->request,
		.extents = (unsigned long)&extent,
		.nr_extents = 1,
	};
	bool valid;

	if (ioctl(asker->fd, RANGE_FAULT_TEST_RANGE, &args) || args.error) {
		asker->failed = "the request";
		asker->value = args.error;
		return;
	}
	valid = extent.flags & RANGE_FAULT_TEST_VALID;
	asker->value = extent.entry;
	if (asker->request && !valid)
		asker->failed = "what was asked for is not there";
	else if (valid && extent.entry != HMM_MIRROR_KIND_DEVICE_PRIVATE)
		asker->failed = "the page was taken away from its owner";
	else if (!valid && extent.entry != HMM_MIRROR_KIND_MIGRATION)
		asker->failed = "the page is somebody else's";
	else if (valid)
		asker->own++;
	else
		asker->absent++;
}

static void *ask_repeatedly(void *argument)
{
	struct asker *asker = argument;

	while (!asker->stop && !asker->failed)
		ask_for_part(asker);
	return NULL;
}

static void split_once(struct __test_metadata *_metadata,
		       FIXTURE_DATA(split) *self,
		       const FIXTURE_VARIANT(split) *variant,
		       struct asker *asker, unsigned int round)
{
	size_t npages = pages_per_pmd();
	char *others = page_at(self->start, 1);
	unsigned long own = asker->own;

	mark_pages(self->start, npages, round);
	ASSERT_EQ(0, move_to_device(self->fds[0], self->start, npages,
				    self->buffer));
	if (variant->by_ptes) {
		ASSERT_EQ(0, mprotect(others, page_size(), PROT_READ));
		ASSERT_EQ(0, mprotect(others, page_size(),
				      PROT_READ | PROT_WRITE));
	}
	asker->stop = false;
	/*
	 * Only kernels with KASAN can wait here; the others just race. Not while somebody
	 * looks at all parts, each of which would take this long.
	 */
	if (!access(OWNER_DELAY, F_OK))
		ASSERT_TRUE(write_text(OWNER_DELAY, "10"));
	ASSERT_EQ(0, pthread_create(&asker->thread, NULL, ask_repeatedly,
				    asker));
	while (asker->own < own + 2 && !asker->failed)
		sleep_ms(1);
	/* The first page leaves, for which it must be a page of its own. */
	EXPECT_EQ(0, move_to_system(self->fds[0], self->start, 1, NULL));
	own = asker->own;
	while (asker->own < own + 2 && !asker->failed)
		sleep_ms(1);
	asker->stop = true;
	pthread_join(asker->thread, NULL);
	if (!access(OWNER_DELAY, F_OK))
		EXPECT_TRUE(write_text(OWNER_DELAY, "0"));
	if (asker->failed)
		TH_LOG("%s: %llu", asker->failed, asker->value);
	EXPECT_EQ(NULL, asker->failed);
	EXPECT_TRUE(all_pages_match(self->fds[0], others, npages - 1, 0xf0,
				    HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL));
	EXPECT_TRUE(pages_are_marked(self->start, npages, round));
}

/* A device's own page while nobody can tell its owner; this always ends, but when? */
FIXTURE(unknown)
{
	int fds[2];
	int ask_fd;
	char *start;
};

FIXTURE_VARIANT(unknown)
{
	bool huge;
	__u64 request;
};

FIXTURE_VARIANT_ADD(unknown, snapshot)
{
	.huge = false,
	.request = 0,
};

FIXTURE_VARIANT_ADD(unknown, read)
{
	.huge = false,
	.request = RANGE_FAULT_TEST_REQ_FAULT,
};

FIXTURE_VARIANT_ADD(unknown, read_huge)
{
	.huge = true,
	.request = RANGE_FAULT_TEST_REQ_FAULT,
};

FIXTURE_SETUP(unknown)
{
	size_t npages = variant->huge ? pages_per_pmd() : 1;
	const char *reason = open_devices(self->fds, 0);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	if (access(HIDE_OWNERS, F_OK))
		SKIP(return, "only kernels with KASAN can be made to wait here");
	if (variant->huge && !can_migrate_huge(self->fds[0]))
		SKIP(return, NO_HUGE_DEVICE_PAGES);
	self->ask_fd = open(RANGE_FAULT_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->ask_fd);
	self->start = variant->huge ? map_huge(1) : map_anonymous(npages);
	ASSERT_NE(NULL, self->start);
	mark_pages(self->start, npages, 1);
	ASSERT_EQ(0, move_to_device(self->fds[0], self->start, npages,
				    alloc_buffer(npages)));
	ASSERT_TRUE(write_text(HIDE_OWNERS, "1"));
}

FIXTURE_TEARDOWN(unknown)
{
	if (!access(HIDE_OWNERS, F_OK))
		EXPECT_TRUE(write_text(HIDE_OWNERS, "0"));
	close(self->ask_fd);
	close(self->fds[0]);
	close(self->fds[1]);
}

/* A caller with a deadline is told at the deadline, and the page stays where it is. */
TEST_F_TIMEOUT(unknown, deadline, 60)
{
	struct range_fault_test_extent extent = {};
	struct range_fault_test_range args = {
		.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
		.flags = RANGE_FAULT_TEST_OWNER,
		.start = (unsigned long)self->start,
		.end = (unsigned long)self->start + page_size(),
		.default_flags = variant->request,
		.extents = (unsigned long)&extent,
		.nr_extents = 1,
		.timeout_ms = 300,
	};
	double begin = seconds_now();

	ASSERT_EQ(0, ioctl(self->ask_fd, RANGE_FAULT_TEST_RANGE, &args));
	EXPECT_EQ(EBUSY, args.error);
	/* A deadline in ticks of the kernel may come a tick early. */
	EXPECT_LE(0.28, seconds_now() - begin);
	EXPECT_GT(3, seconds_now() - begin);
	EXPECT_EQ(0, args.nr_faults);
}

/* A caller without a deadline goes on when the owner can be told, or when killed. */
TEST_F_TIMEOUT(unknown, wait, 60)
{
	struct asker asker = {
		.fd = self->ask_fd,
		.start = self->start,
		.request = variant->request,
	};
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		asker.fd = open(RANGE_FAULT_TEST_DEVICE, O_RDWR | O_CLOEXEC);
		ask_for_part(&asker);
		_exit(1);
	}
	ASSERT_EQ(0, pthread_create(&asker.thread, NULL, ask_repeatedly,
				    &asker));
	sleep_ms(500);
	EXPECT_EQ(0, asker.own + asker.absent);
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	kill(child, SIGKILL);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(write_text(HIDE_OWNERS, "0"));
	while (!asker.own && !asker.failed)
		sleep_ms(1);
	asker.stop = true;
	pthread_join(asker.thread, NULL);
	if (asker.failed)
		TH_LOG("%s: %llu", asker.failed, asker.value);
	EXPECT_EQ(NULL, asker.failed);
}

TEST_F_TIMEOUT(split, owner_looks_at_a_part, 300)
{
	struct asker asker = {
		.fd = self->ask_fd,
		.start = page_at(self->start, SPLIT_PART),
		.request = variant->request,
	};
	const bool can_wait = !access(UNKNOWN_OWNERS, F_OK);
	unsigned long unknown = read_number(UNKNOWN_OWNERS, 0);
	unsigned int round;

	for (round = 1; round <= SPLIT_ROUNDS && !asker.failed; round++) {
		split_once(_metadata, self, variant, &asker, round);
		/* All of it is back: one huge page again. */
		munmap(self->start, pmd_size());
		self->start = map_huge(1);
		ASSERT_NE(NULL, self->start);
		asker.start = page_at(self->start, SPLIT_PART);
	}
	unknown = read_number(UNKNOWN_OWNERS, 0) - unknown;
	TH_LOG("%lu times its own, %lu times absent, %lu times nobody's",
	       asker.own, asker.absent, unknown);
	/* A huge entry names its first page, which always has an owner. */
	if (can_wait && variant->by_ptes)
		EXPECT_LT(0, unknown);
}

TEST_HARNESS_MAIN
