// SPDX-License-Identifier: GPL-2.0
/*
 * struct hmm_mirror: what its callbacks are told, when they are called and when not, and
 * that a device never has what the process does not have.
 *
 * The device is an xarray in hmm_mirror_test.ko; /proc/self/pagemap is the witness of
 * what it should have.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "harness.h"
#include "device.h"
#include "memory.h"
#include "mirror/mirror_test/mirror_test.h"

#define WORD_VALID	MIRROR_TEST_VALID
#define WORD_WRITE	MIRROR_TEST_WRITE
#define WORD_PFN	MIRROR_TEST_PFN_MASK

/* What populate() is asked for. */
#define SNAPSHOT	0ULL
#define READ		MIRROR_TEST_REQ_FAULT
#define WRITE		(MIRROR_TEST_REQ_FAULT | MIRROR_TEST_REQ_WRITE)

#define MAX_PAGES	4096

static int open_mirror_test(void)
{
	return open(MIRROR_TEST_DEVICE, O_RDWR | O_CLOEXEC);
}

/* Each returns 0 or the errno of what it is named after. */
static int register_flags(int fd, unsigned long start, unsigned long length,
			  __u32 flags)
{
	struct mirror_test_register args = {
		.start = start,
		.length = length,
		.flags = flags,
	};

	if (ioctl(fd, MIRROR_TEST_REGISTER, &args))
		return -errno;
	return args.error;
}

static int register_mirror(int fd, const void *start, size_t npages)
{
	return register_flags(fd, (unsigned long)start, npages * page_size(),
			      0);
}

static int unregister_mirror(int fd)
{
	return ioctl(fd, MIRROR_TEST_UNREGISTER) ? errno : 0;
}

/* The outputs of the last populate(). */
static __thread struct mirror_test_populate populated;

static int populate_for(int fd, const void *start, size_t npages, __u64 flags,
			unsigned int timeout_ms)
{
	populated = (struct mirror_test_populate){
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
		.default_flags = flags,
		.timeout_ms = timeout_ms,
	};
	if (ioctl(fd, MIRROR_TEST_POPULATE, &populated))
		return -errno;
	return populated.error;
}

static int populate(int fd, const void *start, size_t npages, __u64 flags)
{
	return populate_for(fd, start, npages, flags, 0);
}

static struct mirror_test_record get_record(int fd)
{
	struct mirror_test_record record;

	/* Count it as a violation, so that it does not go unnoticed. */
	memset(&record, 0xff, sizeof(record));
	ioctl(fd, MIRROR_TEST_RECORD, &record);
	return record;
}

static bool set_knobs(int fd, const struct mirror_test_knobs *knobs)
{
	return !ioctl(fd, MIRROR_TEST_KNOBS, knobs);
}

static struct mirror_test_entry entries[MIRROR_TEST_LOG_MAX];

/* The callbacks since the last call. */
static size_t take_log(struct __test_metadata *_metadata, int fd)
{
	struct mirror_test_log args = { .entries = (unsigned long)entries };

	ASSERT_EQ(0, ioctl(fd, MIRROR_TEST_LOG, &args));
	EXPECT_EQ(0, args.lost);
	return args.nr;
}

/* Counts the calls of @callback among the first @nr entries; returns the last of them. */
static const struct mirror_test_entry *last_call(size_t nr, __u32 callback)
{
	while (nr--) {
		if (entries[nr].callback == callback)
			return &entries[nr];
	}
	return NULL;
}

static bool read_shadow(int fd, const void *start, size_t npages, __u64 *words)
{
	struct mirror_test_read args = {
		.start = (unsigned long)start,
		.npages = npages,
		.words = (unsigned long)words,
	};

	return !ioctl(fd, MIRROR_TEST_READ, &args);
}

static size_t count_shadow(int fd, const void *start, size_t npages)
{
	static __u64 words[MAX_PAGES];
	size_t valid = 0;
	size_t i;

	if (npages > MAX_PAGES || !read_shadow(fd, start, npages, words))
		return SIZE_MAX;
	for (i = 0; i < npages; i++)
		valid += !!(words[i] & WORD_VALID);
	return valid;
}

/* What the comparison below has found. */
struct comparison {
	size_t valid;	/* pages that the device has */
	size_t stale;	/* of those, pages that the process does not have */
	size_t writable; /* of those, where the device alone may write */
};

/*
 * Compares what the device has with what the process has. Nobody may populate in the
 * meantime, so pages only leave the device: a page that is still there after the
 * process's page tables have been read must have been in them.
 */
static bool compare(int fd, int device, char *start, size_t npages,
		    struct comparison *found)
{
	static struct hmm_mirror_extent_info extents[MAX_PAGES];
	static uint64_t pagemap[MAX_PAGES];
	static bool writable[MAX_PAGES];
	static __u64 words[MAX_PAGES];
	struct hmm_mirror_range_args args =
		range_args(start, npages, 0, extents, MAX_PAGES);
	size_t i, j, page = 0;

	memset(found, 0, sizeof(*found));
	if (npages > MAX_PAGES || !read_pagemap(start, npages, pagemap) ||
	    call_range(device, &args) || args.next != args.end)
		return false;
	for (i = 0; i < args.nr_extents; i++) {
		for (j = 0; j < extents[i].npages; j++)
			writable[page++] = extents[i].flags &
					   HMM_MIRROR_EXTENT_WRITE;
	}
	if (page != npages || !read_shadow(fd, start, npages, words))
		return false;
	for (i = 0; i < npages; i++) {
		if (!(words[i] & WORD_VALID))
			continue;
		found->valid++;
		if (!(pagemap[i] & PAGEMAP_PRESENT) ||
		    (pagemap[i] & PAGEMAP_PFN_MASK) != (words[i] & WORD_PFN))
			found->stale++;
		else if ((words[i] & WORD_WRITE) && !writable[i])
			found->writable++;
	}
	return true;
}

#define EXPECT_TRUE_COPY(fd, start, npages) \
	expect_true_copy(_metadata, __LINE__, fd, start, npages)

/* Returns how many pages the device has. */
static size_t expect_true_copy(struct __test_metadata *_metadata, int line,
			       int fd, char *start, size_t npages)
{
	struct comparison found = {};
	int device = open_device();

	EXPECT_TRUE(compare(fd, device, start, npages, &found));
	EXPECT_EQ(0, found.stale + found.writable) {
		TH_LOG("line %d: of %zu pages %zu are stale, %zu wrongly writable",
		       line, found.valid, found.stale, found.writable);
	}
	close(device);
	return found.valid;
}

#define EXPECT_NO_VIOLATION(fd) \
	EXPECT_EQ(MIRROR_TEST_NO_VIOLATION, get_record(fd).violation)

/* The module's own count of mirrors must return to @expected. */
static bool subscriptions_get_to(__u64 expected)
{
	struct hmm_mirror_stats stats;
	int fd = open_device();
	int attempt;

	for (attempt = 0; attempt < 1000; attempt++) {
		if (!call_stats(fd, &stats) && stats.subscriptions == expected)
			break;
		sleep_ms(10);
	}
	close(fd);
	return attempt < 1000;
}

static __u64 subscriptions_now(void)
{
	struct hmm_mirror_stats stats = {};
	int fd = open_device();

	call_stats(fd, &stats);
	close(fd);
	return stats.subscriptions;
}

FIXTURE(mirror)
{
	int fd;
	size_t page;
	char *start; /* 64 pages, none there yet */
	__u64 subscriptions;
};

FIXTURE_SETUP(mirror)
{
	self->page = page_size();
	self->subscriptions = subscriptions_now();
	self->fd = open_mirror_test();
	ASSERT_LE(0, self->fd) {
		TH_LOG("%s: %s", MIRROR_TEST_DEVICE, strerror(errno));
	}
	self->start = map_anonymous(64);
	ASSERT_NE(NULL, self->start);
}

FIXTURE_TEARDOWN(mirror)
{
	EXPECT_NO_VIOLATION(self->fd);
	close(self->fd);
	EXPECT_TRUE(subscriptions_get_to(self->subscriptions));
}

/* --- Registering --------------------------------------------------------- */

TEST_F(mirror, register_errors)
{
	unsigned long start = (unsigned long)self->start;
	unsigned long page = self->page;
	const unsigned long bad[][2] = {
		{ start + 1, page }, { start + 8, page }, { start - 1, page },
		{ start, 1 }, { start, page - 1 }, { start, page + 1 },
		{ start, 0 }, { 0, 0 },
		{ -page, 2 * page }, { start, -page }, { -page, -page },
		{ 1UL << 63, 1UL << 63 | page },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(EINVAL, register_flags(self->fd, bad[i][0], bad[i][1],
						 0)) {
			TH_LOG("%#lx, %#lx", bad[i][0], bad[i][1]);
		}
	}
	EXPECT_EQ(EINVAL, register_flags(self->fd, start, page,
					 MIRROR_TEST_NO_UNMAP));

	/* It does not wrap, but the address past it does not exist. */
	EXPECT_EQ(EOVERFLOW, register_flags(self->fd, page, -page, 0));
	EXPECT_EQ(EOVERFLOW, register_flags(self->fd, -page, page, 0));
	EXPECT_EQ(EOVERFLOW, register_flags(self->fd, 1UL << 63, 1UL << 63,
					    0));
	EXPECT_EQ(self->subscriptions, subscriptions_now());
	EXPECT_EQ(ENOENT, unregister_mirror(self->fd));
	/* The longest there is. */
	EXPECT_EQ(0, register_flags(self->fd, 0, -page, 0));
	EXPECT_EQ(self->subscriptions + 1, subscriptions_now());
	EXPECT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	EXPECT_EQ(64, EXPECT_TRUE_COPY(self->fd, self->start, 64));
	EXPECT_EQ(0, unregister_mirror(self->fd));
}

/* A mirror of everything: what release takes back ends at page borders, too. */
TEST_F(mirror, release_of_longest)
{
	pid_t child = fork();
	size_t nr;

	ASSERT_LE(0, child);
	if (!child)
		_exit(register_flags(self->fd, 0, -self->page, 0));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_EQ(1, get_record(self->fd).nr_release);
	nr = take_log(_metadata, self->fd);
	ASSERT_LE(2, nr);
	EXPECT_EQ(HMM_MIRROR_EVENT_RELEASE, entries[nr - 2].event);
	EXPECT_EQ(0, entries[nr - 2].start);
	EXPECT_EQ(-self->page, entries[nr - 2].end);
}

TEST_F(mirror, register_again)
{
	size_t i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
		ASSERT_EQ(0, populate(self->fd, self->start, 64, READ));
		EXPECT_EQ(64, count_shadow(self->fd, self->start, 64));
		EXPECT_EQ(self->subscriptions + 1, subscriptions_now());
		ASSERT_EQ(0, unregister_mirror(self->fd));
		EXPECT_EQ(self->subscriptions, subscriptions_now());
	}
}

/* --- map ----------------------------------------------------------------- */

/*
 * What map was given since the last call covers [start, end), in order and without gaps.
 * Returns the number of calls.
 */
static size_t expect_mapped(struct __test_metadata *_metadata, int fd,
			    unsigned long start, unsigned long end)
{
	size_t nr = take_log(_metadata, fd);
	size_t calls = 0;
	size_t i;
	__u32 call = ~0U;

	for (i = 0; i < nr; i++) {
		if (entries[i].callback != MIRROR_TEST_CALLED_MAP)
			continue;
		EXPECT_EQ(start, entries[i].start);
		EXPECT_LT(entries[i].start, entries[i].end);
		start = entries[i].end;
		calls += entries[i].call != call;
		call = entries[i].call;
	}
	EXPECT_EQ(end, start);
	return calls;
}

TEST_F(mirror, map_covers_the_request)
{
	static const size_t ranges[][2] = {
		{ 0, 2000 }, { 0, 1 }, { 1999, 1 }, { 1, 63 }, { 3, 64 },
		{ 5, 65 }, { 100, 128 }, { 899, 500 },
	};
	static const __u64 flags[] = { SNAPSHOT, READ, WRITE };
	size_t npages = 2000;
	char *start = map_anonymous(npages);
	size_t i, j, calls;
	char *from;

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, register_mirror(self->fd, start, npages));
	for (j = 0; j < ARRAY_SIZE(flags); j++) {
		/* Every other page, so that each is an extent. */
		madvise(start, npages * self->page, MADV_DONTNEED);
		for (i = 0; i < npages; i += 2)
			mark_pages(page_at(start, i), 1, i);
		take_log(_metadata, self->fd);
		for (i = 0; i < ARRAY_SIZE(ranges); i++) {
			from = page_at(start, ranges[i][0]);
			ASSERT_EQ(0, populate(self->fd, from, ranges[i][1],
					      flags[j]));
			EXPECT_EQ(populated.end, populated.next);
			EXPECT_EQ(0, populated.fault_addr);
			calls = expect_mapped(_metadata, self->fd,
					      populated.start, populated.end);
			/* In chunks: the memory that it needs is bounded. */
			if (flags[j] == SNAPSHOT && ranges[i][1] == npages)
				EXPECT_LT(5, calls);
			if (flags[j] == READ && !i)
				EXPECT_EQ(npages / 2, populated.nr_faults);
		}
		EXPECT_EQ(flags[j] == SNAPSHOT ? npages / 2 : npages,
			  EXPECT_TRUE_COPY(self->fd, start, npages));
	}
}

/* Holes, and what cannot be mirrored, are included, and clear what was there. */
TEST_F(mirror, map_tells_of_holes)
{
	struct mirror_test_knobs knobs = { .skip_unmaps = 1 };
	size_t nr;

	mark_pages(self->start, 8, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	ASSERT_EQ(0, populate(self->fd, self->start, 64, SNAPSHOT));
	EXPECT_EQ(8, count_shadow(self->fd, self->start, 64));
	/* A driver that leaves the clearing to the next populate. */
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	ASSERT_EQ(0, munmap(page_at(self->start, 4), 2 * self->page));
	EXPECT_EQ(1, get_record(self->fd).skipped_unmaps);
	EXPECT_EQ(8, count_shadow(self->fd, self->start, 64));
	take_log(_metadata, self->fd);
	ASSERT_EQ(0, populate(self->fd, self->start, 64, SNAPSHOT));
	EXPECT_EQ(6, count_shadow(self->fd, self->start, 64));
	nr = take_log(_metadata, self->fd);
	ASSERT_LE(4, nr);
	EXPECT_EQ(HMM_MIRROR_KIND_PRESENT, entries[0].entry);
	EXPECT_EQ((unsigned long)page_at(self->start, 64), entries[nr - 1].end);
	EXPECT_EQ(HMM_MIRROR_KIND_NONE, entries[nr - 1].entry);
	EXPECT_EQ(6, EXPECT_TRUE_COPY(self->fd, self->start, 64));
}

/* The comparison that all of this relies on does detect a driver's mistake. */
TEST_F(mirror, comparison_can_fail)
{
	struct mirror_test_knobs knobs = { .skip_unmaps = 1 };
	struct comparison found;
	int device = open_device();
	char *others = map_anonymous(3);
	pid_t child;

	ASSERT_NE(NULL, others);
	mark_pages(others, 3, 1);
	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	ASSERT_TRUE(compare(self->fd, device, self->start, 64, &found));
	EXPECT_EQ(64, found.valid);
	EXPECT_EQ(0, found.stale + found.writable);

	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	ASSERT_EQ(0, madvise(page_at(self->start, 7), 3 * self->page,
			     MADV_DONTNEED));
	ASSERT_TRUE(compare(self->fd, device, self->start, 64, &found));
	EXPECT_EQ(64, found.valid);
	EXPECT_EQ(3, found.stale);
	/*
	 * Another page in its place is no better. A page that is allocated now might be
	 * the very page that was there before.
	 */
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	ASSERT_EQ(page_at(self->start, 7),
		  mremap(others, 3 * self->page, 3 * self->page,
			 MREMAP_MAYMOVE | MREMAP_FIXED,
			 page_at(self->start, 7)));
	ASSERT_TRUE(compare(self->fd, device, self->start, 64, &found));
	EXPECT_EQ(64, found.valid);
	EXPECT_EQ(3, found.stale);

	/*
	 * After fork() the CPU may not write, but the device may. The other pages are a
	 * VMA of their own, so there are three.
	 */
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	knobs.skip_unmaps = 3;
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	child = fork_sleeper();
	ASSERT_LT(0, child);
	ASSERT_TRUE(compare(self->fd, device, self->start, 64, &found));
	EXPECT_EQ(0, found.stale);
	EXPECT_EQ(64, found.writable);
	EXPECT_EQ(5, get_record(self->fd).skipped_unmaps);
	kill_and_wait(child);
	close(device);
}

TEST_F(mirror, map_error_is_passed_on)
{
	struct mirror_test_knobs knobs = {
		.map_error = ENOSPC,
		.map_error_after = 2,
	};
	const struct mirror_test_entry *last;
	size_t npages = 1000;
	char *start = map_anonymous(npages);
	size_t i, nr;

	ASSERT_NE(NULL, start);
	for (i = 0; i < npages; i += 2)
		mark_pages(page_at(start, i), 1, i);
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	ASSERT_EQ(0, register_mirror(self->fd, start, npages));
	EXPECT_EQ(ENOSPC, populate(self->fd, start, npages, SNAPSHOT));
	nr = take_log(_metadata, self->fd);
	last = last_call(nr, MIRROR_TEST_CALLED_MAP);
	ASSERT_NE(NULL, last);
	EXPECT_EQ(2, get_record(self->fd).nr_map);
	EXPECT_EQ(last->end, populated.next);
	EXPECT_LT(populated.next, populated.end);
	EXPECT_EQ(0, populated.fault_addr);
	/* What was mapped stays mapped, and nothing else is. */
	EXPECT_EQ((nr + 1) / 2, EXPECT_TRUE_COPY(self->fd, start, npages));

	/* On from there. */
	knobs.map_error = 0;
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	nr = (populated.next - (unsigned long)start) / self->page;
	EXPECT_EQ(0, populate(self->fd, page_at(start, nr), npages - nr,
			      SNAPSHOT));
	EXPECT_EQ(npages / 2, EXPECT_TRUE_COPY(self->fd, start, npages));
}

/* --- populate: errors ---------------------------------------------------- */

TEST_F(mirror, populate_bad_requests)
{
	unsigned long start = (unsigned long)self->start;
	unsigned long page = self->page;
	const unsigned long bad[][2] = {
		{ start + 1, start + page }, { start, start + page - 1 },
		{ start, start }, { start + page, start },
		{ start - page, start + page }, { start, start + 65 * page },
		{ start + 64 * page, start + 65 * page }, { 0, -page },
		{ start, 0 },
	};
	struct mirror_test_populate args;
	size_t i;

	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		args = (struct mirror_test_populate){
			.start = bad[i][0],
			.end = bad[i][1],
			.default_flags = WRITE,
		};
		ASSERT_EQ(0, ioctl(self->fd, MIRROR_TEST_POPULATE, &args));
		EXPECT_EQ(EINVAL, args.error) {
			TH_LOG("%#lx-%#lx", bad[i][0], bad[i][1]);
		}
		EXPECT_EQ(bad[i][0], args.next);
		EXPECT_EQ(0, args.fault_addr);
		EXPECT_EQ(0, args.nr_faults);
	}
	/* An output bit is not a request. */
	EXPECT_EQ(EINVAL, populate(self->fd, self->start, 64, WORD_VALID));
	EXPECT_EQ(0, get_record(self->fd).nr_map);
	EXPECT_EQ(0, count_mapped(self->start, 64));
}

TEST_F(mirror, populate_without_map)
{
	ASSERT_EQ(0, register_flags(self->fd, (unsigned long)self->start,
				    64 * self->page, MIRROR_TEST_NO_MAP));
	EXPECT_EQ(EOPNOTSUPP, populate(self->fd, self->start, 64, WRITE));
	EXPECT_EQ(populated.start, populated.next);
	EXPECT_EQ(0, count_mapped(self->start, 64));
	/* Invalidations are still reported. */
	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, munmap(self->start, self->page));
	EXPECT_LE(1, get_record(self->fd).nr_unmap);
}

/* In the middle of much memory that is fine, in many chunks. */
TEST_F(mirror, populate_fault_addr)
{
	size_t npages = 1000, failing = 601;
	char *start = map_anonymous(npages);
	size_t i, done;
	int round;

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, register_mirror(self->fd, start, npages));
	ASSERT_EQ(0, mprotect(page_at(start, failing), self->page, PROT_READ));
	for (round = 0; round < 3; round++) {
		int expected = round ? EFAULT : EPERM;

		madvise(start, npages * self->page, MADV_DONTNEED);
		/* In random order: each page is an extent. */
		for (i = 0; i < failing; i++)
			mark_pages(page_at(start, i * 7 % failing), 1, i);
		take_log(_metadata, self->fd);
		EXPECT_EQ(expected, populate(self->fd, start, npages, WRITE));
		EXPECT_EQ((unsigned long)page_at(start, failing),
			  populated.fault_addr);
		EXPECT_GE(populated.fault_addr, populated.next);
		expect_mapped(_metadata, self->fd, populated.start,
			      populated.next);
		done = (populated.next - populated.start) / self->page;
		EXPECT_LT(0, done);
		EXPECT_EQ(done, EXPECT_TRUE_COPY(self->fd, start, npages));
		EXPECT_EQ(done, count_shadow(self->fd, start, done));

		/* First without write permission, then without any, then gone. */
		if (!round) {
			ASSERT_EQ(0, mprotect(page_at(start, failing),
					      self->page, PROT_NONE));
		} else {
			munmap(page_at(start, failing), self->page);
		}
	}
	/* If nobody asks for it, it is reported as it is. */
	EXPECT_EQ(0, populate(self->fd, start, npages, SNAPSHOT));
	EXPECT_EQ(failing, EXPECT_TRUE_COPY(self->fd, start, npages));
}

/* A userfaultfd handler that does not answer. */
TEST_F(mirror, populate_timeout)
{
	int uffd = open_userfaultfd(0);
	double begin, took;

	if (uffd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	mark_pages(self->start, 10, 1);
	ASSERT_TRUE(uffd_register(uffd, self->start, 64,
				  UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	begin = seconds_now();
	EXPECT_EQ(EBUSY, populate_for(self->fd, self->start, 64, WRITE, 300));
	took = seconds_now() - begin;
	EXPECT_LE(0.25, took);
	EXPECT_GT(20, took);
	EXPECT_EQ(0, populated.fault_addr);
	EXPECT_GE((unsigned long)page_at(self->start, 10), populated.next);
	expect_mapped(_metadata, self->fd, populated.start, populated.next);
	EXPECT_EQ(0, populate_for(self->fd, self->start, 10, WRITE, 10000));
	EXPECT_EQ(10, EXPECT_TRUE_COPY(self->fd, self->start, 64));
	close(uffd);
}

/* A slow driver: the one deadline covers all chunks together. */
TEST_F(mirror, populate_timeout_between_chunks)
{
	struct mirror_test_knobs knobs = { .map_delay_us = 30000 };
	size_t npages = 4000;
	char *start = map_anonymous(npages);
	double begin;
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < npages; i += 2)
		mark_pages(page_at(start, i), 1, i);
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	ASSERT_EQ(0, register_mirror(self->fd, start, npages));
	begin = seconds_now();
	EXPECT_EQ(EBUSY, populate_for(self->fd, start, npages, SNAPSHOT, 200));
	EXPECT_LE(0.15, seconds_now() - begin);
	EXPECT_LT(populated.start, populated.next);
	EXPECT_GT(populated.end, populated.next);
	expect_mapped(_metadata, self->fd, populated.start, populated.next);
}

/*
 * SIGKILL ends a populate that would take long. There is nothing to fault in, so it is
 * not a fault that notices.
 */
TEST_F(mirror, populate_killed)
{
	struct mirror_test_knobs knobs = { .map_delay_us = 50000 };
	struct mirror_test_record record;
	size_t npages = 16000;
	pid_t child;
	int attempt;
	size_t i;

	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char *start = map_anonymous(npages);

		/* Each page is an extent: at least 12 seconds of work. */
		for (i = 0; start && i < npages; i += 2)
			mark_pages(page_at(start, i), 1, i);
		if (!start || register_mirror(self->fd, start, npages))
			_exit(1);
		populate(self->fd, start, npages, SNAPSHOT);
		_exit(2);
	}
	for (attempt = 0; attempt < 1000; attempt++) {
		if (get_record(self->fd).nr_map >= 3)
			break;
		sleep_ms(10);
	}
	EXPECT_EQ(0, get_record(self->fd).nr_populates);
	kill_and_wait(child);
	record = get_record(self->fd);
	EXPECT_EQ(1, record.nr_populates);
	EXPECT_EQ(EINTR, (int)record.populate_error);
	EXPECT_LE(3, record.nr_map);
	EXPECT_GT(150, record.nr_map);
	EXPECT_EQ(1, record.nr_release);
	EXPECT_EQ(0, record.nr_shadow);
	/* By another process that has the file. */
	EXPECT_EQ(ESRCH, populate(self->fd, self->start, 64, SNAPSHOT));
	EXPECT_EQ(populated.start, populated.next);
	EXPECT_EQ(0, populated.fault_addr);
}

/* --- unmap --------------------------------------------------------------- */

struct expected_unmap {
	__u32 event;
	size_t first;
	size_t last;
};

/* All of [first, last) has been reported with @event, and nothing else. */
static void expect_unmap(struct __test_metadata *_metadata, int fd, int line,
			 char *start, const struct expected_unmap *expected)
{
	unsigned long from = (unsigned long)page_at(start, expected->first);
	unsigned long to = (unsigned long)page_at(start, expected->last);
	unsigned long lowest = ~0UL, highest = 0;
	__u64 sequence = 0;
	size_t nr = take_log(_metadata, fd);
	size_t i;

	for (i = 0; i < nr; i++) {
		if (entries[i].callback != MIRROR_TEST_CALLED_UNMAP)
			continue;
		EXPECT_LT(sequence, entries[i].sequence);
		sequence = entries[i].sequence;
		EXPECT_LE(from, entries[i].start);
		EXPECT_GE(to, entries[i].end);
		if (entries[i].event != expected->event)
			continue;
		if (entries[i].start < lowest)
			lowest = entries[i].start;
		if (entries[i].end > highest)
			highest = entries[i].end;
	}
	EXPECT_EQ(from, lowest) {
		TH_LOG("line %d: event %u", line, expected->event);
	}
	EXPECT_EQ(to, highest);
}

#define EXPECT_UNMAP(...) \
	expect_unmap(_metadata, self->fd, __LINE__, self->start, \
		     &(struct expected_unmap){ __VA_ARGS__ })

TEST_F(mirror, unmap_events)
{
	char *elsewhere = map_anonymous(2);
	char *start = self->start;
	int status = 0;
	void *address;
	pid_t child;
	int node;

	ASSERT_NE(NULL, elsewhere);
	/* The mirror is [8, 56): the rest is clipped. */
	mark_pages(start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, page_at(start, 8), 48));
	ASSERT_EQ(0, populate(self->fd, page_at(start, 8), 48, WRITE));

	ASSERT_EQ(0, madvise(page_at(start, 10), 2 * self->page,
			     MADV_DONTNEED));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_CLEAR, 10, 12);
	EXPECT_EQ(46, EXPECT_TRUE_COPY(self->fd, page_at(start, 8), 48));
	ASSERT_EQ(0, madvise(start, 12 * self->page, MADV_DONTNEED));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_CLEAR, 8, 12);
	ASSERT_EQ(0, mprotect(page_at(start, 50), 14 * self->page, PROT_READ));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_PROTECTION_VMA, 50, 56);
	ASSERT_EQ(0, munmap(page_at(start, 54), 4 * self->page));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_UNMAP, 54, 56);
	EXPECT_EQ(38, EXPECT_TRUE_COPY(self->fd, page_at(start, 8), 48));

	child = fork_sleeper();
	ASSERT_LT(0, child);
	EXPECT_UNMAP(HMM_MIRROR_EVENT_PROTECTION_PAGE, 8, 54);
	ASSERT_EQ(0, populate(self->fd, page_at(start, 20), 1, READ));
	take_log(_metadata, self->fd);
	mark_pages(page_at(start, 20), 1, 1); /* copies it */
	EXPECT_UNMAP(HMM_MIRROR_EVENT_CLEAR, 20, 21);
	kill_and_wait(child);

	address = mremap(page_at(start, 30), 2 * self->page, 2 * self->page,
			 MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
	ASSERT_NE(MAP_FAILED, address);
	EXPECT_UNMAP(HMM_MIRROR_EVENT_UNMAP, 30, 32);

	/* A page moves to the other node. */
	ASSERT_EQ(0, populate(self->fd, page_at(start, 40), 1, WRITE));
	take_log(_metadata, self->fd);
	address = page_at(start, 40);
	ASSERT_EQ(0, syscall(__NR_move_pages, 0, 1UL, &address, NULL, &node,
			     0)) {
		TH_LOG("%s", strerror(errno));
	}
	node = node == 0;
	if (!access("/sys/devices/system/node/node1", F_OK)) {
		ASSERT_EQ(0, syscall(__NR_move_pages, 0, 1UL, &address,
				     &node, &status, 2 /* MPOL_MF_MOVE */));
		EXPECT_EQ(node, status);
		EXPECT_UNMAP(HMM_MIRROR_EVENT_CLEAR, 40, 41);
	}
	EXPECT_TRUE_COPY(self->fd, page_at(start, 8), 48);

	/* Nothing in the mirror. */
	mark_pages(start, 4, 1);
	take_log(_metadata, self->fd);
	ASSERT_EQ(0, munmap(start, 4 * self->page));
	EXPECT_EQ(0, take_log(_metadata, self->fd));
}

/*
 * A page is collected, then invalidated, and both wait for the mirror's lock: the
 * invalidation first, which the populate has not seen coming.
 *
 * As soon as the invalidation waits, it holds mmap_lock for reading. Whoever then wants
 * it for writing waits too, ahead of all who want to read. So the threads are started
 * before, and nothing may map or unmap memory.
 */
struct lock_waiter {
	int fd;
	char *start;
	void (*act)(struct lock_waiter *self);
	pid_t tid;
	bool go;
	int error;
	struct mirror_test_populate populated;
	pthread_t thread;
};

static void *lock_waiter_thread(void *argument)
{
	struct lock_waiter *self = argument;

	__atomic_store_n(&self->tid, gettid(), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&self->go, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	self->act(self);
	return NULL;
}

static void act_hold(struct lock_waiter *self)
{
	self->error = ioctl(self->fd, MIRROR_TEST_HOLD) ? errno : 0;
}

static void act_discard(struct lock_waiter *self)
{
	self->error = madvise(self->start, page_size(), MADV_DONTNEED) ? errno :
									 0;
}

static void act_populate(struct lock_waiter *self)
{
	self->error = populate(self->fd, self->start, 64, SNAPSHOT);
	self->populated = populated;
}

static bool start_waiter(struct lock_waiter *self)
{
	if (pthread_create(&self->thread, NULL, lock_waiter_thread, self))
		return false;
	while (!__atomic_load_n(&self->tid, __ATOMIC_ACQUIRE))
		sleep_ms(1);
	return true;
}

/* Lets it act. Returns false if it does not begin to wait for a lock. */
static bool let_wait(struct lock_waiter *self)
{
	char path[64], line[512];
	const char *rest;
	bool asleep = false;
	int attempt;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", self->tid);
	__atomic_store_n(&self->go, true, __ATOMIC_RELEASE);
	for (attempt = 0; attempt < 1000 && !asleep; attempt++) {
		int fd = open(path, O_RDONLY);
		ssize_t length;

		if (fd < 0)
			return false;
		length = read(fd, line, sizeof(line) - 1);
		close(fd);
		if (length <= 0)
			return false;
		line[length] = '\0';
		rest = strrchr(line, ')');
		/* Uninterruptible: none of its sleeps above is. */
		asleep = rest && rest[2] == 'D';
		if (!asleep)
			sleep_ms(2);
	}
	return asleep;
}

TEST_F(mirror, collected_before_invalidation)
{
	struct lock_waiter holder = { .act = act_hold };
	struct lock_waiter discarder = { .act = act_discard };
	struct lock_waiter populator = { .act = act_populate };
	struct lock_waiter *waiters[] = { &holder, &discarder, &populator };
	size_t i;

	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	for (i = 0; i < ARRAY_SIZE(waiters); i++) {
		waiters[i]->fd = self->fd;
		waiters[i]->start = self->start;
		ASSERT_TRUE(start_waiter(waiters[i]));
	}
	for (i = 0; i < ARRAY_SIZE(waiters); i++)
		EXPECT_TRUE(let_wait(waiters[i]));
	EXPECT_EQ(1, get_record(self->fd).holders);
	EXPECT_EQ(0, ioctl(self->fd, MIRROR_TEST_LET_GO));
	for (i = 0; i < ARRAY_SIZE(waiters); i++) {
		EXPECT_EQ(0, pthread_join(waiters[i]->thread, NULL));
		EXPECT_EQ(0, waiters[i]->error);
	}
	/* It has noticed, and the page is not mapped. */
	EXPECT_LE(1, populator.populated.nr_restarts);
	EXPECT_EQ(63, EXPECT_TRUE_COPY(self->fd, self->start, 64));
}

/* --- What only the kernel does, done for it ------------------------------ */

static bool invalidate(int fd, char *start, size_t npages, __u32 event,
		       __u32 owner, __u32 flags, bool *refused)
{
	struct mirror_test_invalidate args = {
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
		.event = event,
		.owner = owner,
		.flags = flags,
	};

	if (ioctl(fd, MIRROR_TEST_INVALIDATE, &args))
		return false;
	*refused = args.refused;
	return true;
}

/* The OOM reaper does not wait: if the lock is held it is turned away. */
TEST_F(mirror, non_blockable_invalidation)
{
	const __u32 clear = HMM_MIRROR_EVENT_CLEAR;
	struct mirror_test_record before;
	bool refused;

	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	before = get_record(self->fd);
	ASSERT_TRUE(invalidate(self->fd, self->start, 8, clear, 0,
			       MIRROR_TEST_LOCKED, &refused));
	EXPECT_TRUE(refused);
	EXPECT_EQ(before.nr_unmap, get_record(self->fd).nr_unmap);
	EXPECT_EQ(64, count_shadow(self->fd, self->start, 64));
	ASSERT_TRUE(invalidate(self->fd, self->start, 8, clear, 0, 0,
			       &refused));
	EXPECT_FALSE(refused);
	EXPECT_EQ(before.nr_unmap + 1, get_record(self->fd).nr_unmap);
	EXPECT_EQ(56, count_shadow(self->fd, self->start, 64));
	ASSERT_TRUE(invalidate(self->fd, self->start, 16, clear, 0,
			       MIRROR_TEST_BLOCKABLE, &refused));
	EXPECT_FALSE(refused);
	EXPECT_EQ(48, count_shadow(self->fd, self->start, 64));
}

/* A mirror is not told of its own make_device_exclusive(), but of that of others. */
TEST_F(mirror, exclusive_of_own)
{
	const __u32 exclusive = HMM_MIRROR_EVENT_EXCLUSIVE;
	bool refused;

	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	take_log(_metadata, self->fd);
	ASSERT_TRUE(invalidate(self->fd, self->start, 8, exclusive,
			       MIRROR_TEST_OWNER_MIRROR, MIRROR_TEST_BLOCKABLE,
			       &refused));
	EXPECT_FALSE(refused);
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	/* Not even if its lock is taken. */
	ASSERT_TRUE(invalidate(self->fd, self->start, 8, exclusive,
			       MIRROR_TEST_OWNER_MIRROR, MIRROR_TEST_LOCKED,
			       &refused));
	EXPECT_FALSE(refused);
	EXPECT_EQ(64, count_shadow(self->fd, self->start, 64));
	ASSERT_TRUE(invalidate(self->fd, self->start, 8, exclusive,
			       MIRROR_TEST_OWNER_OTHER, MIRROR_TEST_BLOCKABLE,
			       &refused));
	EXPECT_UNMAP(exclusive, 0, 8);
	EXPECT_EQ(56, count_shadow(self->fd, self->start, 64));
}

/* Moves pages as a driver with memory of its own does; false with errno. */
static bool move_pages(int fd, char *start, size_t npages, __u32 owner,
		       __u32 *nr_isolated)
{
	struct mirror_test_move args = {
		.start = (unsigned long)start,
		.npages = npages,
		.owner = owner,
	};

	if (ioctl(fd, MIRROR_TEST_MOVE, &args))
		return false;
	*nr_isolated = args.nr_isolated;
	return true;
}

TEST_F(mirror, migrate_of_own)
{
	int without = open_mirror_test();
	__u64 sequence;
	__u32 isolated;
	size_t nr;

	ASSERT_LE(0, without);
	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_flags(self->fd, (unsigned long)self->start,
				    64 * self->page, MIRROR_TEST_MIGRATE));
	ASSERT_EQ(0, register_mirror(without, self->start, 64));
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	ASSERT_EQ(0, populate(without, self->start, 64, WRITE));
	if (!move_pages(self->fd, page_at(self->start, 4), 8,
			MIRROR_TEST_OWNER_SELF, &isolated)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		SKIP(return, "a kernel without CONFIG_DEVICE_MIGRATION");
	}
	EXPECT_EQ(8, isolated);
	EXPECT_EQ(1, get_record(self->fd).nr_migrate);
	EXPECT_EQ(0, get_record(self->fd).nr_unmap);
	EXPECT_EQ(64, count_shadow(self->fd, self->start, 64));
	nr = take_log(_metadata, self->fd);
	ASSERT_LT(1, nr);
	EXPECT_EQ(MIRROR_TEST_CALLED_MIGRATE, entries[nr - 1].callback);
	EXPECT_EQ((unsigned long)page_at(self->start, 4),
		  entries[nr - 1].start);
	EXPECT_EQ((unsigned long)page_at(self->start, 12), entries[nr - 1].end);
	/* It invalidates what somebody is just collecting. */
	sequence = entries[0].sequence;
	EXPECT_NE(sequence, entries[nr - 1].sequence);
	/* Without the callback it is an invalidation for everybody. */
	EXPECT_EQ(1, get_record(without).nr_unmap);
	EXPECT_EQ(56, count_shadow(without, self->start, 64));

	/* Another driver's, and nobody's. */
	ASSERT_TRUE(move_pages(self->fd, page_at(self->start, 4), 8,
			       MIRROR_TEST_OWNER_OTHER, &isolated));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_MIGRATE, 4, 12);
	EXPECT_EQ(56, count_shadow(self->fd, self->start, 64));
	ASSERT_TRUE(move_pages(self->fd, page_at(self->start, 20), 1,
			       MIRROR_TEST_OWNER_NONE, &isolated));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_MIGRATE, 20, 21);
	EXPECT_EQ(1, get_record(self->fd).nr_migrate);
	EXPECT_NO_VIOLATION(without);
	close(without);
}

/* --- More than one ------------------------------------------------------- */

TEST_F(mirror, two_mirrors_of_one_process)
{
	char *start = self->start;
	int other = open_mirror_test();
	size_t nr;

	ASSERT_LE(0, other);
	mark_pages(start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, start, 40));
	ASSERT_EQ(0, register_mirror(other, page_at(start, 20), 44));
	ASSERT_EQ(0, populate(self->fd, start, 40, WRITE));
	ASSERT_EQ(0, populate(other, page_at(start, 20), 44, WRITE));
	EXPECT_EQ(EINVAL, populate(other, start, 40, WRITE));
	take_log(_metadata, other);

	ASSERT_EQ(0, madvise(page_at(start, 30), 20 * self->page,
			     MADV_DONTNEED));
	EXPECT_UNMAP(HMM_MIRROR_EVENT_CLEAR, 30, 40);
	nr = take_log(_metadata, other);
	ASSERT_EQ(1, nr);
	EXPECT_EQ((unsigned long)page_at(start, 30), entries[0].start);
	EXPECT_EQ((unsigned long)page_at(start, 50), entries[0].end);
	EXPECT_EQ(30, EXPECT_TRUE_COPY(self->fd, start, 40));
	EXPECT_EQ(24, EXPECT_TRUE_COPY(other, page_at(start, 20), 44));

	/* One ends, the other goes on. */
	ASSERT_EQ(0, unregister_mirror(self->fd));
	ASSERT_EQ(0, madvise(start, 64 * self->page, MADV_DONTNEED));
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	EXPECT_EQ(0, EXPECT_TRUE_COPY(other, page_at(start, 20), 44));
	EXPECT_NO_VIOLATION(other);
	close(other);
}

/* A child that mirrors itself and then waits for a byte before it exits. */
static pid_t fork_mirrored(struct __test_metadata *_metadata, int fd,
			   char *start, size_t npages, int *go)
{
	int ready[2], ends[2];
	char byte = 1;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(ends));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(ends[1]);
		mark_pages(start, npages, 5);
		if (register_mirror(fd, start, npages) ||
		    populate(fd, start, npages, WRITE))
			byte = 0;
		if (write(ready[1], &byte, 1) != 1 ||
		    read(ends[0], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(ends[0]);
	close(ready[1]);
	*go = ends[1];
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	close(ready[0]);
	EXPECT_EQ(1, byte);
	return child;
}

/* One module, mirrors of two address spaces at the same addresses. */
TEST_F(mirror, mirrors_of_two_processes)
{
	static __u64 words[64];
	int other = open_mirror_test();
	uint64_t pagemap[64];
	pid_t child;
	size_t i;
	int go;

	ASSERT_LE(0, other);
	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	child = fork_mirrored(_metadata, other, self->start, 64, &go);
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	EXPECT_EQ(64, EXPECT_TRUE_COPY(self->fd, self->start, 64));
	ASSERT_TRUE(read_pagemap_of(child, (unsigned long)self->start, 64,
				    pagemap));
	ASSERT_TRUE(read_shadow(other, self->start, 64, words));
	for (i = 0; i < 64; i++) {
		EXPECT_EQ(pagemap[i] & PAGEMAP_PFN_MASK, words[i] & WORD_PFN);
		EXPECT_NE(pfn_at(page_at(self->start, i)),
			  words[i] & WORD_PFN);
	}
	/* Neither is told what the other does. */
	take_log(_metadata, other);
	ASSERT_EQ(0, madvise(self->start, 64 * self->page, MADV_DONTNEED));
	EXPECT_EQ(0, take_log(_metadata, other));
	EXPECT_EQ(64, count_shadow(other, self->start, 64));
	take_log(_metadata, self->fd);
	ASSERT_EQ(1, write(go, "", 1));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	EXPECT_EQ(1, get_record(other).nr_release);
	EXPECT_EQ(0, get_record(self->fd).nr_release);
	EXPECT_NO_VIOLATION(other);
	close(other);
	close(go);
}

/* --- The end of the process ---------------------------------------------- */

/* Everything is taken back, then comes release, and nothing after it. */
static void expect_released(struct __test_metadata *_metadata, int fd,
			    char *start, size_t npages)
{
	struct mirror_test_record record;
	size_t nr, i, release = 0;
	int attempt;

	for (attempt = 0; attempt < 1000; attempt++) {
		if (get_record(fd).nr_release)
			break;
		sleep_ms(10);
	}
	/* Anything that came later would come now. */
	sleep_ms(100);
	record = get_record(fd);
	EXPECT_EQ(1, record.nr_release);
	EXPECT_EQ(0, record.nr_shadow);
	EXPECT_EQ(MIRROR_TEST_NO_VIOLATION, record.violation);
	nr = take_log(_metadata, fd);
	ASSERT_LE(2, nr);
	for (i = 0; i < nr; i++)
		release += entries[i].callback == MIRROR_TEST_CALLED_RELEASE;
	EXPECT_EQ(1, release);
	EXPECT_EQ(MIRROR_TEST_CALLED_RELEASE, entries[nr - 1].callback);
	EXPECT_EQ(MIRROR_TEST_CALLED_UNMAP, entries[nr - 2].callback);
	EXPECT_EQ(HMM_MIRROR_EVENT_RELEASE, entries[nr - 2].event);
	EXPECT_EQ((unsigned long)start, entries[nr - 2].start);
	EXPECT_EQ((unsigned long)page_at(start, npages), entries[nr - 2].end);
	EXPECT_EQ(ESRCH, populate(fd, start, npages, SNAPSHOT));
	EXPECT_EQ(0, unregister_mirror(fd));
}

TEST_F(mirror, exit)
{
	pid_t child;
	int status;
	int go;

	child = fork_mirrored(_metadata, self->fd, self->start, 64, &go);
	EXPECT_EQ(64, count_shadow(self->fd, self->start, 64));
	EXPECT_EQ(0, get_record(self->fd).nr_release);
	ASSERT_EQ(1, write(go, "", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	expect_released(_metadata, self->fd, self->start, 64);
	close(go);
}

TEST_F(mirror, killed)
{
	pid_t child;
	int go;

	child = fork_mirrored(_metadata, self->fd, self->start, 64, &go);
	EXPECT_EQ(64, count_shadow(self->fd, self->start, 64));
	kill_and_wait(child);
	expect_released(_metadata, self->fd, self->start, 64);
	close(go);
}

#define EXEC_VARIABLE	"HMM_MIRROR_TEST_WAIT"

/* When executed by the test below, this program begins and ends here. */
static void __attribute__((constructor)) after_execve(void)
{
	if (getenv(EXEC_VARIABLE)) {
		for (;;)
			pause();
	}
}

TEST_F(mirror, execve)
{
	char *const arguments[] = { "mirror", NULL };
	char *const environment[] = { EXEC_VARIABLE "=1", NULL };
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		mark_pages(self->start, 64, 5);
		if (!register_mirror(self->fd, self->start, 64) &&
		    !populate(self->fd, self->start, 64, WRITE))
			execve("/proc/self/exe", arguments, environment);
		_exit(1);
	}
	/* It goes on as another program, which is not mirrored. */
	expect_released(_metadata, self->fd, self->start, 64);
	EXPECT_EQ(0, waitpid(child, NULL, WNOHANG));
	kill_and_wait(child);
}

/* The child of a mirrored process is not mirrored. */
TEST_F(mirror, fork)
{
	struct mirror_test_record record;
	size_t nr, i;
	pid_t child;
	int status;

	mark_pages(self->start, 64, 1);
	ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	take_log(_metadata, self->fd);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* The parent must not be told of this. */
		mark_pages(self->start, 32, 99);
		madvise(page_at(self->start, 32), 8 * self->page,
			MADV_DONTNEED);
		munmap(page_at(self->start, 40), 8 * self->page);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	record = get_record(self->fd);
	EXPECT_EQ(0, record.nr_release);
	/* fork() itself made the parent's pages read-only, nothing else. */
	nr = take_log(_metadata, self->fd);
	EXPECT_LE(1, nr);
	for (i = 0; i < nr; i++)
		EXPECT_EQ(HMM_MIRROR_EVENT_PROTECTION_PAGE, entries[i].event);
	ASSERT_EQ(0, populate(self->fd, self->start, 64, WRITE));
	EXPECT_EQ(64, EXPECT_TRUE_COPY(self->fd, self->start, 64));
	EXPECT_TRUE(pages_are_marked(self->start, 64, 1));
}

/* --- Races --------------------------------------------------------------- */

struct invalidator {
	char *start;
	size_t npages;
	bool stop;
	unsigned long rounds;
};

static void *invalidate_thread(void *argument)
{
	struct invalidator *invalidator = argument;

	while (!__atomic_load_n(&invalidator->stop, __ATOMIC_RELAXED)) {
		mark_pages(invalidator->start, invalidator->npages, 1);
		madvise(invalidator->start, invalidator->npages * page_size(),
			MADV_DONTNEED);
		__atomic_add_fetch(&invalidator->rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* When unregister returns no callback runs, and none will. */
TEST_F(mirror, unregister_during_invalidations)
{
	struct mirror_test_knobs knobs = { .unmap_delay_us = 1000 };
	struct invalidator invalidator = {
		.start = self->start,
		.npages = 64,
	};
	unsigned long nr_unmap = 0;
	pthread_t thread;
	double end;

	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	ASSERT_EQ(0, pthread_create(&thread, NULL, invalidate_thread,
				    &invalidator));
	for (end = seconds_now() + 3; seconds_now() < end;) {
		ASSERT_EQ(0, register_mirror(self->fd, self->start, 64));
		populate_for(self->fd, self->start, 64, SNAPSHOT, 2);
		sleep_ms(3);
		ASSERT_EQ(0, unregister_mirror(self->fd));
		nr_unmap += get_record(self->fd).nr_unmap;
		EXPECT_NO_VIOLATION(self->fd);
	}
	__atomic_store_n(&invalidator.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_NO_VIOLATION(self->fd);
	EXPECT_LT(10, nr_unmap);
	EXPECT_LT(10, invalidator.rounds);
}

/*
 * The storm: threads change everything that can be changed about a range, while others
 * have it populated. Every now and then all of them pause, and the device must have
 * exactly what the process has.
 */

#define STORM_PAGES	1024
#define STORM_CHANGERS	3
#define STORM_POPULATORS 2

struct storm {
	int fd;
	int zero;
	char *start;
	char *scratch; /* STORM_PAGES reserved addresses */
	pthread_rwlock_t rest;
	pthread_mutex_t scratch_lock;
	bool stop;
	unsigned long changes;
	unsigned long populated;
	unsigned long restarts;
	unsigned long unexpected; /* errno of populate */
};

struct storm_thread {
	struct storm *storm;
	pthread_t thread;
	uint64_t random;
};

static unsigned int pick(struct storm_thread *self, unsigned int below)
{
	/* xorshift64 */
	self->random ^= self->random << 13;
	self->random ^= self->random >> 7;
	self->random ^= self->random << 17;
	return (self->random >> 16) % below;
}

/* A write for which a missing mapping means an error, not a signal. */
static void storm_touch(struct storm *storm, char *start, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i++) {
		if (read(storm->zero, page_at(start, i), 8) != 8)
			return;
	}
}

static void storm_map(char *start, size_t npages)
{
	mmap(start, npages * page_size(), PROT_READ | PROT_WRITE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static void storm_move_pages(struct storm_thread *self, char *start,
			     size_t npages)
{
	void *addresses[64];
	int nodes[64];
	int status[64];
	size_t i;

	for (i = 0; i < npages; i++) {
		addresses[i] = page_at(start, i);
		nodes[i] = pick(self, 2);
	}
	syscall(__NR_move_pages, 0, npages, addresses, nodes, status,
		2 /* MPOL_MF_MOVE */);
}

/* Moved to the scratch area, which is then a reservation again. */
static void storm_mremap(struct storm *storm, char *start, size_t npages)
{
	char *to = storm->scratch + (start - storm->start);

	pthread_mutex_lock(&storm->scratch_lock);
	if (mremap(start, npages * page_size(), npages * page_size(),
		   MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED) {
		mmap(to, npages * page_size(), PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		     -1, 0);
		storm_map(start, npages);
	}
	pthread_mutex_unlock(&storm->scratch_lock);
}

static void storm_fork(struct storm *storm, char *start, size_t npages)
{
	pid_t child = fork();

	if (!child) {
		storm_touch(storm, start, npages);
		_exit(0);
	}
	storm_touch(storm, start, npages);
	if (child > 0)
		waitpid(child, NULL, 0);
}

static void storm_change(struct storm_thread *self)
{
	struct storm *storm = self->storm;
	size_t npages = 1 + pick(self, 64);
	size_t first = pick(self, STORM_PAGES - npages);
	char *start = page_at(storm->start, first);
	size_t length = npages * page_size();

	switch (pick(self, 14)) {
	case 0:
		munmap(start, length);
		storm_map(start, npages);
		break;
	case 1:
		storm_map(start, npages);
		break;
	case 2:
	case 3:
		madvise(start, length, MADV_DONTNEED);
		break;
	case 4:
		mprotect(start, length, PROT_READ);
		break;
	case 5:
		mprotect(start, length, PROT_READ | PROT_WRITE);
		break;
	case 6:
		storm_fork(storm, start, npages);
		break;
	case 7:
		storm_move_pages(self, start, npages);
		break;
	case 8:
		madvise(start, length, MADV_PAGEOUT);
		break;
	case 9:
		madvise(storm->start, STORM_PAGES * page_size(),
			pick(self, 2) ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case 10:
		madvise(storm->start, STORM_PAGES * page_size(),
			MADV_COLLAPSE);
		break;
	case 11:
		storm_mremap(storm, start, npages);
		break;
	default:
		storm_touch(storm, start, npages);
	}
	__atomic_add_fetch(&storm->changes, 1, __ATOMIC_RELAXED);
}

static void storm_populate(struct storm_thread *self)
{
	static const __u64 requests[] = { SNAPSHOT, READ, WRITE };
	struct storm *storm = self->storm;
	size_t npages = 1 + pick(self, pick(self, 4) ? 64 : STORM_PAGES - 1);
	size_t first = pick(self, STORM_PAGES - npages);
	int error = populate_for(storm->fd, page_at(storm->start, first),
				 npages, requests[pick(self, 3)], 100);

	__atomic_add_fetch(&storm->restarts, populated.nr_restarts,
			   __ATOMIC_RELAXED);
	switch (error) {
	case 0:
		__atomic_add_fetch(&storm->populated, 1, __ATOMIC_RELAXED);
		break;
	case EFAULT: /* munmap() */
	case EPERM: /* mprotect() */
	case EBUSY: /* timeout */
	case ENOMEM: /* of the device, whose memory must not be waited for */
		break;
	default:
		__atomic_store_n(&storm->unexpected, error, __ATOMIC_RELAXED);
	}
}

static void *storm_loop(struct storm_thread *self,
			void (*step)(struct storm_thread *self))
{
	struct storm *storm = self->storm;

	while (!__atomic_load_n(&storm->stop, __ATOMIC_RELAXED)) {
		pthread_rwlock_rdlock(&storm->rest);
		step(self);
		pthread_rwlock_unlock(&storm->rest);
	}
	return NULL;
}

static void *storm_changer(void *argument)
{
	return storm_loop(argument, storm_change);
}

static void *storm_populator(void *argument)
{
	return storm_loop(argument, storm_populate);
}

static bool storm_begin(struct storm *storm, struct storm_thread *threads)
{
	pthread_rwlockattr_t attributes;
	size_t i;

	storm->start = map_anonymous_aligned(STORM_PAGES, pmd_size());
	storm->scratch = mmap(NULL, STORM_PAGES * page_size(), PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);
	storm->zero = open("/dev/zero", O_RDONLY);
	if (!storm->start || storm->scratch == MAP_FAILED || storm->zero < 0)
		return false;
	/* The thread that wants all of them to pause must get a turn. */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes,
				      PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&storm->rest, &attributes);
	pthread_mutex_init(&storm->scratch_lock, NULL);
	if (register_mirror(storm->fd, storm->start, STORM_PAGES))
		return false;
	for (i = 0; i < STORM_CHANGERS + STORM_POPULATORS; i++) {
		threads[i].storm = storm;
		threads[i].random = 0x9e3779b97f4a7c15ULL * (i + 1);
		if (pthread_create(&threads[i].thread, NULL,
				   i < STORM_CHANGERS ? storm_changer :
							storm_populator,
				   &threads[i]))
			return false;
	}
	return true;
}

static unsigned long storm_populated(struct storm *storm)
{
	return __atomic_load_n(&storm->populated, __ATOMIC_RELAXED);
}

TEST_F_TIMEOUT(mirror, storm, 450)
{
	/*
	 * While one populate is in map, an invalidation and then another populate queue
	 * up for the lock: what the latter has collected is stale when its turn comes.
	 */
	const struct mirror_test_knobs knobs = {
		.map_delay_us = 500,
		.unmap_delay_us = 50,
	};
	static struct storm_thread threads[STORM_CHANGERS + STORM_POPULATORS];
	static struct storm storm;
	size_t compared = 0;
	int device = open_device();
	double end;
	size_t i;

	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	storm.fd = self->fd;
	ASSERT_TRUE(storm_begin(&storm, threads));
	/* For this long, and then until enough has happened on a slow machine. */
	for (end = seconds_now() + 5; seconds_now() < end ||
	     (storm_populated(&storm) <= 20 && seconds_now() < end + 90);) {
		struct comparison found;

		sleep_ms(30);
		pthread_rwlock_wrlock(&storm.rest);
		ASSERT_TRUE(compare(self->fd, device, storm.start, STORM_PAGES,
				    &found));
		EXPECT_EQ(0, found.stale);
		EXPECT_EQ(0, found.writable);
		EXPECT_NO_VIOLATION(self->fd);
		compared += found.valid;
		pthread_rwlock_unlock(&storm.rest);
	}
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < STORM_CHANGERS + STORM_POPULATORS; i++)
		ASSERT_EQ(0, pthread_join(threads[i].thread, NULL));
	EXPECT_EQ(0, storm.unexpected);
	TH_LOG("%lu changes, %lu populates, %lu restarts, %zu pages compared",
	       storm.changes, storm.populated, storm.restarts, compared);
	EXPECT_LT(20, storm.changes);
	EXPECT_LT(20, storm.populated);
	EXPECT_LT(20, compared);
	close(device);
}

static bool unload_module(const char *name)
{
	int attempt;

	/* The last reference may not have been put yet. */
	for (attempt = 0; attempt < 100; attempt++) {
		if (!syscall(__NR_delete_module, name, O_NONBLOCK))
			return true;
		sleep_ms(20);
	}
	return false;
}

static bool load_module(const char *name)
{
	char path[128];
	bool loaded;
	int fd;

	snprintf(path, sizeof(path), "/modules/%s.ko", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	loaded = !syscall(__NR_finit_module, fd, "", 0);
	close(fd);
	return loaded;
}

/* SIGKILL in the middle of a storm: nothing is left of any mirror. */
TEST_F_TIMEOUT(mirror, killed_in_storm, 450)
{
	unsigned int round;

	close(self->fd);
	for (round = 0; round < 12; round++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			static struct storm_thread threads[STORM_CHANGERS +
							   STORM_POPULATORS];
			static struct storm storm;

			storm.fd = open_mirror_test();
			if (storm.fd < 0 || !storm_begin(&storm, threads))
				_exit(1);
			for (;;)
				pause();
		}
		sleep_ms(20 + round * 30);
		EXPECT_EQ(0, waitpid(child, NULL, WNOHANG));
		kill_and_wait(child);
	}
	EXPECT_TRUE(subscriptions_get_to(self->subscriptions));
	EXPECT_TRUE(unload_module(MIRROR_TEST_MODULE)) {
		TH_LOG("%s", strerror(errno));
	}
	ASSERT_TRUE(load_module(MIRROR_TEST_MODULE));
	self->fd = open_mirror_test();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, register_mirror(self->fd, self->start, 64));
}

/* --- Memory -------------------------------------------------------------- */

#define CGROUP		"/tmp/hmm_mirror_test_cgroup"
/* A name that no other test can have left behind. */
#define CGROUP_CHILD	CGROUP "/mirror"

static bool enter_cgroup(void)
{
	mkdir(CGROUP, 0700);
	if (mount("cgroup2", CGROUP, "cgroup2", 0, NULL))
		return false;
	return write_text(CGROUP "/cgroup.subtree_control", "+memory") &&
	       !mkdir(CGROUP_CHILD, 0700) &&
	       !access(CGROUP_CHILD "/memory.peak", F_OK) &&
	       write_number(CGROUP_CHILD "/cgroup.procs", getpid());
}

static void leave_cgroup(void)
{
	write_number(CGROUP "/cgroup.procs", getpid());
	rmdir(CGROUP_CHILD);
	umount(CGROUP);
	rmdir(CGROUP);
}

/*
 * A page here and there in a terabyte. The memory that populate uses is charged to the
 * caller: a word for each page would take 2 GiB.
 */
TEST_F(mirror, populate_memory)
{
	const unsigned long pages = (1UL << 40) / self->page;
	const unsigned long step = pages / 100;
	struct mirror_test_record record;
	unsigned long before, peak;
	char *start;
	size_t i;

	start = mmap(NULL, pages * self->page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, start);
	ASSERT_EQ(0, madvise(start, pages * self->page, MADV_NOHUGEPAGE));
	if (!enter_cgroup()) {
		leave_cgroup();
		SKIP(return, "no memory cgroup with memory.peak");
	}
	/* Let it be charged now, not during the measurement. */
	for (i = 0; i < 100; i++)
		mark_pages(page_at(start, i * step), 1, i);
	EXPECT_EQ(0, register_mirror(self->fd, start, pages));
	before = read_number(CGROUP_CHILD "/memory.peak", 0);
	EXPECT_EQ(0, populate(self->fd, start, pages, SNAPSHOT));
	EXPECT_EQ(populated.end, populated.next);
	peak = read_number(CGROUP_CHILD "/memory.peak", 0);
	leave_cgroup();
	EXPECT_LT(0, before);
	EXPECT_GT(before + (2UL << 20), peak);
	record = get_record(self->fd);
	EXPECT_EQ(100, record.nr_shadow);
	expect_mapped(_metadata, self->fd, (unsigned long)start,
		      (unsigned long)page_at(start, pages));
	for (i = 0; i < 100; i++)
		EXPECT_EQ(1, EXPECT_TRUE_COPY(self->fd,
					      page_at(start, i * step), 1));
	ASSERT_EQ(0, munmap(start, pages * self->page));
	EXPECT_EQ(0, get_record(self->fd).nr_shadow);
}

TEST_HARNESS_MAIN
