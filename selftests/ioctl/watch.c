// SPDX-License-Identifier: GPL-2.0
/*
 * WATCH, UNWATCH, read() and poll() of /dev/hmm_mirror: whatever changes watched memory
 * is reported, to those who watch it, in order, before it happens, and nothing is lost
 * silently.
 */
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include "harness.h"
#include "device.h"
#include "dmirror/uapi.h"
#include "memory.h"

#define NR_PAGES	16
#define MAX_READ	10000
#define MAX_IDS		256

/* A deadline, in seconds, for what takes no time unless something is broken. */
#define PATIENCE	100

/* What was read last. */
static struct {
	size_t nr;
	struct hmm_mirror_event events[MAX_READ];
	/* Sequence number of the last event of each watch. */
	__u64 sequences[MAX_IDS];
} stream;

/* Starts a test with a new file. */
static void forget_stream(void)
{
	memset(&stream, 0, sizeof(stream));
}

static bool set_nonblocking(int fd, bool nonblocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (nonblocking)
		flags |= O_NONBLOCK;
	else
		flags &= ~O_NONBLOCK;
	return !fcntl(fd, F_SETFL, flags);
}

/*
 * What must hold for each event, and for successive events of a watch: their sequence
 * numbers never decrease. (They are equal if one invalidation began before the other
 * ended.)
 */
static void check_event(struct __test_metadata *_metadata,
			const struct hmm_mirror_event *event)
{
	if (event->kind == HMM_MIRROR_EVENT_LOST) {
		EXPECT_EQ(0, event->watch_id);
		EXPECT_EQ(0, event->start);
		EXPECT_EQ(0, event->end);
		EXPECT_EQ(0, event->sequence);
		EXPECT_NE(0, event->lost);
		return;
	}
	EXPECT_GE(HMM_MIRROR_EVENT_OTHER, event->kind);
	EXPECT_EQ(0, event->lost);
	EXPECT_LT(event->start, event->end);
	EXPECT_EQ(0, event->start % page_size());
	EXPECT_EQ(0, event->end % page_size());
	ASSERT_NE(0, event->watch_id);
	ASSERT_GT(MAX_IDS, event->watch_id);
	EXPECT_LE(stream.sequences[event->watch_id], event->sequence);
	stream.sequences[event->watch_id] = event->sequence;
}

/* Reads all queued events; the file is O_NONBLOCK. */
static void read_stream(struct __test_metadata *_metadata, int fd)
{
	ssize_t size = read(fd, stream.events, sizeof(stream.events));
	size_t i;

	stream.nr = 0;
	if (size < 0) {
		ASSERT_EQ(EAGAIN, errno);
		return;
	}
	ASSERT_NE(0, size);
	ASSERT_EQ(0, size % sizeof(*stream.events));
	/* Otherwise there might be more. */
	ASSERT_GT((ssize_t)sizeof(stream.events), size);
	stream.nr = size / sizeof(*stream.events);
	for (i = 0; i < stream.nr; i++)
		check_event(_metadata, &stream.events[i]);
}

static void print_stream(struct __test_metadata *_metadata)
{
	size_t i;

	for (i = 0; i < stream.nr && i < 20; i++) {
		const struct hmm_mirror_event *event = &stream.events[i];

		TH_LOG("event %zu: watch %u kind %u %#llx-%#llx sequence %llu",
		       i, event->watch_id, event->kind, event->start,
		       event->end, event->sequence);
	}
}

/* Whether one of the events says that something of that kind has happened to these pages. */
static bool stream_has(__u32 id, __u32 kind, const void *start,
		       const void *end)
{
	size_t i;

	for (i = 0; i < stream.nr; i++) {
		const struct hmm_mirror_event *event = &stream.events[i];

		if (event->watch_id == id && event->kind == kind &&
		    event->start <= (unsigned long)start &&
		    event->end >= (unsigned long)end)
			return true;
	}
	return false;
}

/* Expects event @index to be this one: pages @first to @last of @base. */
#define EXPECT_EVENT(index, id, kind, base, first, last) \
	expect_event(_metadata, __LINE__, index, id, kind, base, first, last)

static void expect_event(struct __test_metadata *_metadata, int line,
			 size_t index, __u32 id, __u32 kind, void *base,
			 size_t first, size_t last)
{
	const struct hmm_mirror_event *event = &stream.events[index];
	unsigned long start = (unsigned long)page_at(base, first);
	unsigned long end = (unsigned long)page_at(base, last + 1);

	if (index < stream.nr && event->watch_id == id &&
	    event->kind == kind && event->start == start && event->end == end)
		return;
	print_stream(_metadata);
	TH_LOG("line %d: event %zu should be: watch %u kind %u %#lx-%#lx",
	       line, index, id, kind, start, end);
	ASSERT_LT(index, stream.nr);
	EXPECT_EQ(id, event->watch_id);
	EXPECT_EQ(kind, event->kind);
	EXPECT_EQ(start, event->start);
	EXPECT_EQ(end, event->end);
}

#define EXPECT_NR_EVENTS(number) \
	expect_nr_events(_metadata, __LINE__, number)

static void expect_nr_events(struct __test_metadata *_metadata, int line,
			     size_t number)
{
	if (stream.nr == number)
		return;
	print_stream(_metadata);
	TH_LOG("line %d", line);
	EXPECT_EQ(number, stream.nr);
}

/*
 * Expects events of this kind only, each inside the pages @first to @last, and all of
 * them together covering these.
 */
#define EXPECT_COVERED(id, kind, base, first, last) \
	expect_covered(_metadata, __LINE__, id, kind, base, first, last)

static void expect_covered(struct __test_metadata *_metadata, int line,
			   __u32 id, __u32 kind, void *base, size_t first,
			   size_t last)
{
	unsigned long start = (unsigned long)page_at(base, first);
	unsigned long end = (unsigned long)page_at(base, last + 1);
	unsigned long covered = start;
	bool more = true;
	size_t i;

	for (i = 0; i < stream.nr; i++) {
		const struct hmm_mirror_event *event = &stream.events[i];

		if (event->watch_id == id && event->kind == kind &&
		    event->start >= start &&
		    event->end <= end)
			continue;
		print_stream(_metadata);
		TH_LOG("line %d: event %zu should not be", line, i);
		EXPECT_EQ(i, stream.nr);
		return;
	}
	while (more) {
		more = false;
		for (i = 0; i < stream.nr; i++) {
			if (stream.events[i].start <= covered &&
			    stream.events[i].end > covered) {
				covered = stream.events[i].end;
				more = true;
			}
		}
	}
	if (covered == end)
		return;
	print_stream(_metadata);
	TH_LOG("line %d: nothing covers page %zu", line,
	       (covered - (unsigned long)base) / page_size());
	EXPECT_EQ(end, covered);
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

/* One invalidation: each call makes exactly one event, whatever is there. */
static int invalidate(void *start, size_t first, size_t count)
{
	return madvise(page_at(start, first), count * page_size(),
		       MADV_DONTNEED);
}

FIXTURE(watch)
{
	int fd;
	size_t page;
	size_t length;
	char *start;	/* NR_PAGES, marked, in the middle of mapped memory */
	__u32 id;	/* watches pages 4 to 11 of them */
};

FIXTURE_SETUP(watch)
{
	forget_stream();
	self->page = page_size();
	self->length = NR_PAGES * self->page;
	self->fd = open_device();
	ASSERT_LE(0, self->fd);
	ASSERT_TRUE(set_nonblocking(self->fd, true));
	/* All pages are in one page table: what is done to them is one invalidation. */
	self->start = map_anonymous_aligned(NR_PAGES, pmd_size());
	ASSERT_NE(NULL, self->start);
	mark_pages(self->start, NR_PAGES, 100);
	ASSERT_EQ(0, call_watch(self->fd, page_at(self->start, 4), 8,
				&self->id));
	ASSERT_NE(0, self->id);
}

FIXTURE_TEARDOWN(watch)
{
	close(self->fd);
	munmap(self->start, self->length);
}

/* The test is about other memory than that of the fixture. */
static __u32 watch_instead(struct __test_metadata *_metadata,
			   FIXTURE_DATA(watch) *self, const void *start,
			   size_t npages)
{
	__u32 id;

	ASSERT_EQ(0, call_unwatch(self->fd, self->id));
	ASSERT_EQ(0, call_watch(self->fd, start, npages, &id));
	read_stream(_metadata, self->fd);
	ASSERT_EQ(0, stream.nr)
		print_stream(_metadata);
	return id;
}

/*
 * What changes memory
 */

TEST_F(watch, nothing_happens)
{
	mark_pages(self->start, NR_PAGES, 100);
	EXPECT_TRUE(pages_are_marked(self->start, NR_PAGES, 100));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
}

TEST_F(watch, clipped)
{
	__u64 sequence;

	ASSERT_EQ(0, invalidate(self->start, 0, NR_PAGES));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 4, 11);
	sequence = stream.events[0].sequence;

	ASSERT_EQ(0, invalidate(self->start, 0, 5));
	ASSERT_EQ(0, invalidate(self->start, 11, 5));
	ASSERT_EQ(0, invalidate(self->start, 6, 2));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(3);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 4, 4);
	EXPECT_EVENT(1, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 11, 11);
	EXPECT_EVENT(2, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 7);
	EXPECT_LT(sequence, stream.events[0].sequence);
	EXPECT_LT(stream.events[0].sequence, stream.events[1].sequence);
	EXPECT_LT(stream.events[1].sequence, stream.events[2].sequence);
}

TEST_F(watch, outside)
{
	ASSERT_EQ(0, invalidate(self->start, 0, 4));
	ASSERT_EQ(0, invalidate(self->start, 12, 4));
	ASSERT_EQ(0, mprotect(self->start, 4 * self->page, PROT_READ));
	ASSERT_EQ(0, munmap(self->start, self->page));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
}

TEST_F(watch, unmap)
{
	ASSERT_EQ(0, munmap(page_at(self->start, 2), 4 * self->page));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_UNMAP, self->start, 4, 5);

	/* Mapping something is not an event, removing it is. */
	ASSERT_EQ(page_at(self->start, 2),
		  mmap(page_at(self->start, 2), 4 * self->page,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		       0));
	mark_pages(page_at(self->start, 2), 4, 0);
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);

	/* One mapping in place of another. */
	ASSERT_EQ(page_at(self->start, 8),
		  mmap(page_at(self->start, 8), 2 * self->page, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_UNMAP, self->start, 8, 9);
}

TEST_F(watch, mremap)
{
	char *target = map_anonymous(2);
	__u32 target_id;

	ASSERT_NE(NULL, target);
	mark_pages(target, 2, 0);
	ASSERT_EQ(0, call_watch(self->fd, target, 2, &target_id));
	/* The source goes away. */
	ASSERT_EQ(target, mremap(page_at(self->start, 6), 2 * self->page,
				 2 * self->page, MREMAP_MAYMOVE | MREMAP_FIXED,
				 target));
	EXPECT_TRUE(pages_are_marked(target, 2, 106));
	read_stream(_metadata, self->fd);
	/* The target existed before, too. */
	ASSERT_LE(2, stream.nr);
	EXPECT_EVENT(0, target_id, HMM_MIRROR_EVENT_UNMAP, target, 0, 1);
	while (stream.nr && stream.events[0].watch_id == target_id)
		memmove(stream.events, stream.events + 1,
			--stream.nr * sizeof(*stream.events));
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_UNMAP, self->start, 6, 7);

	/* In place: what is cut off at the end. */
	ASSERT_EQ(target, mremap(target, 2 * self->page, self->page, 0));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(target_id, HMM_MIRROR_EVENT_UNMAP, target, 1, 1);
	munmap(target, self->page);
}

TEST_F(watch, madvise)
{
	ASSERT_EQ(0, madvise(page_at(self->start, 5), 3 * self->page,
			     MADV_FREE));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 5, 7);
	/* Mere hints. */
	ASSERT_EQ(0, madvise(self->start, self->length, MADV_RANDOM));
	ASSERT_EQ(0, madvise(self->start, self->length, MADV_WILLNEED));
	ASSERT_EQ(0, madvise(self->start, self->length, MADV_DONTFORK));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
}

TEST_F(watch, protect)
{
	ASSERT_EQ(0, mprotect(page_at(self->start, 2), 6 * self->page,
			      PROT_READ));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_PROTECTION_VMA, self->start,
		     4, 7);
	ASSERT_EQ(0, mprotect(page_at(self->start, 6), 2 * self->page,
			      PROT_NONE));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_PROTECTION_VMA, self->start,
		     6, 7);
}

TEST_F(watch, fork_and_copy_on_write)
{
	pid_t child = fork_sleeper();

	ASSERT_LT(0, child);
	/* What was writable no longer is. */
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_PROTECTION_PAGE, self->start,
		       4, 11);
	/* A page of its own instead of the shared one. */
	mark_pages(page_at(self->start, 7), 1, 0);
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 7, 7);
	kill_and_wait(child);
	/* The child's end is not ours. */
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
}

TEST_F(watch, copy_on_write_of_child)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		mark_pages(self->start, NR_PAGES, 0);
		munmap(self->start, self->length);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* Only fork() itself: the child changes its own pages only. */
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_PROTECTION_PAGE, self->start,
		       4, 11);
}

TEST_F(watch, zero_page_is_written)
{
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	touch_page(page_at(self->start, 5));
	ASSERT_TRUE(is_zero_page(page_at(self->start, 5)));
	read_stream(_metadata, self->fd);
	mark_pages(page_at(self->start, 5), 1, 0);
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 5, 5);
}

TEST_F(watch, soft_dirty)
{
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_SOFT_DIRTY, self->start, 4,
		     11);
}

/* -1 if the page is nowhere */
static int node_of(void *page)
{
	int status = -1;

	if (syscall(__NR_move_pages, 0, 1UL, &page, NULL, &status, 0))
		return -1;
	return status;
}

#define NO_SECOND_NODE	"pages cannot be moved to another node: %s"

static bool have_two_nodes(void)
{
	return !access("/sys/devices/system/node/node1", F_OK);
}

TEST_F(watch, move_pages)
{
	size_t i;

	if (!have_two_nodes())
		SKIP(return, "there is one node only");
	/* Pages on a per-CPU list do not move: there may be several attempts. */
	for (i = 3; i < 6; i++) {
		void *page = page_at(self->start, i);
		int source = node_of(page);
		double deadline = seconds_now() + PATIENCE;

		ASSERT_LE(0, source);
		while (node_of(page) == source && seconds_now() < deadline) {
			int target = !source;
			int status;

			ASSERT_EQ(0, syscall(__NR_move_pages, 0, 1UL, &page,
					     &target, &status,
					     MPOL_MF_MOVE));
		}
		EXPECT_EQ(!source, node_of(page));
	}
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 4, 5);
	EXPECT_TRUE(pages_are_marked(self->start, NR_PAGES, 100));
}

TEST_F(watch, mbind)
{
	double deadline = seconds_now() + PATIENCE;
	unsigned long nodes;
	int source;

	if (!have_two_nodes())
		SKIP(return, "there is one node only");
	source = node_of(page_at(self->start, 6));
	ASSERT_LE(0, source);
	nodes = 1UL << !source;
	while (node_of(page_at(self->start, 6)) == source &&
	       seconds_now() < deadline)
		syscall(__NR_mbind, page_at(self->start, 6), self->page,
			MPOL_BIND, &nodes, 8 * sizeof(nodes), MPOL_MF_MOVE);
	EXPECT_EQ(!source, node_of(page_at(self->start, 6)));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 6);
}

TEST_F(watch, reclaim)
{
	if (!have_swap())
		SKIP(return, "no swap space is active");
	ASSERT_TRUE(swap_out(page_at(self->start, 6), 4));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 9);
	/* Coming back is not an event. */
	EXPECT_TRUE(pages_are_marked(self->start, NR_PAGES, 100));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
}

TEST_F(watch, file)
{
	int fd = make_memfd(8);
	char *start = map_file(fd, 8, PROT_READ | PROT_WRITE, MAP_SHARED);
	unsigned long mark = 1;
	__u32 id;

	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 0);
	id = watch_instead(_metadata, self, page_at(start, 1), 6);

	/* Writing to the file changes the page, not what is mapped. */
	ASSERT_EQ(sizeof(mark), pwrite(fd, &mark, sizeof(mark),
				       2 * self->page));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);

	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       2 * self->page, 2 * self->page));
	EXPECT_EQ(6, count_mapped(start, 8));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(id, HMM_MIRROR_EVENT_CLEAR, start, 2, 3);

	ASSERT_EQ(0, madvise(page_at(start, 4), self->page, MADV_REMOVE));
	EXPECT_EQ(5, count_mapped(start, 8));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(id, HMM_MIRROR_EVENT_CLEAR, start, 4, 4);

	ASSERT_EQ(0, ftruncate(fd, 5 * self->page));
	EXPECT_EQ(2, count_mapped(start, 8));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(id, HMM_MIRROR_EVENT_CLEAR, start, 5, 6);
	close(fd);
	munmap(start, 8 * self->page);
}

/* A private page of a file: the copy replaces the file's page. */
TEST_F(watch, file_private)
{
	int fd = make_memfd(4);
	char *start = map_file(fd, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	__u32 id;

	ASSERT_NE(NULL, start);
	touch_page(page_at(start, 1));
	id = watch_instead(_metadata, self, start, 4);
	mark_pages(page_at(start, 1), 1, 0);
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, id, HMM_MIRROR_EVENT_CLEAR, start, 1, 1);
	close(fd);
	munmap(start, 4 * self->page);
}

/* What is done to a part of a huge page is done to all of it. */
TEST_F(watch, split)
{
	size_t last = pages_per_pmd() - 1;
	char *start;
	__u32 id;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	start = map_huge(1);
	ASSERT_NE(NULL, start);
	id = watch_instead(_metadata, self, page_at(start, 100), 10);
	ASSERT_EQ(0, invalidate(start, last, 1));
	EXPECT_EQ(0, pmd_mapped_pages(start));
	EXPECT_EQ(last, count_mapped(start, last + 1));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(id, HMM_MIRROR_EVENT_CLEAR, start, 100, 109);
	munmap(start, pmd_size());
}

TEST_F(watch, collapse)
{
	double deadline = seconds_now() + PATIENCE;
	bool reported = false;
	char *start;
	__u32 id;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	start = map_anonymous_aligned(pages_per_pmd(), pmd_size());
	ASSERT_NE(NULL, start);
	mark_pages(start, pages_per_pmd(), 0);
	ASSERT_EQ(0, madvise(start, pmd_size(), MADV_HUGEPAGE));
	id = watch_instead(_metadata, self, page_at(start, 100), 10);
	/*
	 * It gives up if a page is busy for a moment, or if there is no huge page left on
	 * the small ones' node. Pages that compaction moves are reported, too, one by one.
	 */
	for (;;) {
		int error = 0;

		if (madvise(start, pmd_size(), MADV_COLLAPSE))
			error = errno;
		read_stream(_metadata, self->fd);
		reported |= stream_has(id, HMM_MIRROR_EVENT_CLEAR,
				       page_at(start, 100),
				       page_at(start, 110));
		if (!error)
			break;
		if (error == EINVAL)
			SKIP(return, "no MADV_COLLAPSE");
		ASSERT_GT(deadline, seconds_now())
			TH_LOG("MADV_COLLAPSE: %s", strerror(error));
		make_room_for_huge_pages();
		sleep_ms(10);
	}
	EXPECT_EQ(pages_per_pmd(), pmd_mapped_pages(start));
	EXPECT_TRUE(pages_are_marked(start, pages_per_pmd(), 0));
	EXPECT_TRUE(reported)
		print_stream(_metadata);
	munmap(start, pmd_size());
}

TEST_F(watch, hugetlb)
{
	size_t size = 2UL << 20;
	char *start;
	__u32 id;

	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	start = map_hugetlb(2 * size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	touch_page(start);
	touch_page(start + size);
	id = watch_instead(_metadata, self, page_at(start, 3), 7);
	ASSERT_EQ(0, munmap(start + size, size));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
	ASSERT_EQ(0, munmap(start, size));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(id, HMM_MIRROR_EVENT_UNMAP, start, 3, 9);
}

TEST_F(watch, userfaultfd_write_protect)
{
	int uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);

	if (uffd < 0)
		SKIP(return, "no userfaultfd write protection: %s",
		     strerror(errno));
	ASSERT_TRUE(uffd_register(uffd, self->start, NR_PAGES,
				  UFFDIO_REGISTER_MODE_WP));
	read_stream(_metadata, self->fd);
	ASSERT_TRUE(uffd_write_protect(uffd, page_at(self->start, 5), 2, true));
	read_stream(_metadata, self->fd);
	EXPECT_COVERED(self->id, HMM_MIRROR_EVENT_PROTECTION_VMA, self->start,
		       5, 6);
	close(uffd);
}

/* Pages that move to a device and back. */
TEST_F(watch, device_memory)
{
	unsigned long buffer[2 * self->page / sizeof(unsigned long)];
	struct hmm_dmirror_cmd command = {
		.addr = (unsigned long)page_at(self->start, 6),
		.ptr = (unsigned long)buffer,
		.npages = 2,
	};
	int dmirror = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);

	if (dmirror < 0)
		SKIP(return, "no device with memory: %s", strerror(errno));
	if (ioctl(dmirror, HMM_DMIRROR_MIGRATE_TO_DEV, &command)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		close(dmirror);
		SKIP(return, "this kernel has no device memory");
	}
	ASSERT_EQ(2, command.cpages);
	read_stream(_metadata, self->fd);
	EXPECT_TRUE(stream_has(self->id, HMM_MIRROR_EVENT_MIGRATE,
			       page_at(self->start, 6),
			       page_at(self->start, 8)))
		print_stream(_metadata);
	/* The CPU wants them back. */
	EXPECT_TRUE(pages_are_marked(self->start, NR_PAGES, 100));
	read_stream(_metadata, self->fd);
	EXPECT_TRUE(stream_has(self->id, HMM_MIRROR_EVENT_MIGRATE,
			       page_at(self->start, 6),
			       page_at(self->start, 7)))
		print_stream(_metadata);
	close(dmirror);
}

TEST_F(watch, device_exclusive)
{
	unsigned long buffer[2 * self->page / sizeof(unsigned long)];
	struct hmm_dmirror_cmd command = {
		.addr = (unsigned long)page_at(self->start, 6),
		.ptr = (unsigned long)buffer,
		.npages = 2,
	};
	int dmirror = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);

	if (dmirror < 0)
		SKIP(return, "no dmirror device: %s", strerror(errno));
	if (ioctl(dmirror, HMM_DMIRROR_EXCLUSIVE, &command)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		close(dmirror);
		SKIP(return, "this kernel has no device-exclusive entries");
	}
	/* Kernels differ in how many pages an event is about. */
	read_stream(_metadata, self->fd);
	EXPECT_TRUE(stream_has(self->id, HMM_MIRROR_EVENT_EXCLUSIVE,
			       page_at(self->start, 6),
			       page_at(self->start, 7)))
		print_stream(_metadata);
	EXPECT_TRUE(stream_has(self->id, HMM_MIRROR_EVENT_EXCLUSIVE,
			       page_at(self->start, 7),
			       page_at(self->start, 8)))
		print_stream(_metadata);
	/* The CPU wants them back. */
	mark_pages(page_at(self->start, 6), 2, 106);
	read_stream(_metadata, self->fd);
	EXPECT_LE(1, stream.nr);
	close(dmirror);
}

/* A watch of the whole address space sees what happens anywhere. */
TEST_F(watch, whole_address_space)
{
	struct hmm_mirror_info info;
	__u32 id;
	size_t i;

	ASSERT_EQ(0, call_info(self->fd, &info));
	ASSERT_EQ(0, call_unwatch(self->fd, self->id));
	ASSERT_EQ(0, call_watch(self->fd, NULL, info.task_size / self->page,
				&id));
	ASSERT_EQ(0, invalidate(self->start, 3, 4));
	ASSERT_TRUE(write_text("/proc/self/clear_refs", "4"));
	read_stream(_metadata, self->fd);
	ASSERT_LE(2, stream.nr);
	for (i = 0; stream.events[i].kind != HMM_MIRROR_EVENT_CLEAR; i++)
		ASSERT_GT(stream.nr, i + 1);
	EXPECT_EVENT(i, id, HMM_MIRROR_EVENT_CLEAR, self->start, 3, 6);
	while (stream.events[i].kind != HMM_MIRROR_EVENT_SOFT_DIRTY)
		ASSERT_GT(stream.nr, ++i);
	EXPECT_EQ(0, stream.events[i].start);
	EXPECT_EQ(info.task_size, stream.events[i].end);
}

/* A page, and how often it is to be invalidated */
struct sneak {
	char *page;
	volatile unsigned int wanted;
	volatile unsigned int done;
};

static void *invalidate_on_demand(void *argument)
{
	struct sneak *sneak = argument;

	while (sneak->done < 200) {
		if (sneak->wanted == sneak->done)
			continue;
		invalidate(sneak->page, 0, 1);
		sneak->done++;
	}
	return NULL;
}

/*
 * As soon as anything can see that the page is gone, the event is there: whoever reads
 * events after using an answer knows whether it was true.
 */
TEST_F(watch, event_before_staleness)
{
	struct sneak sneak = { .page = page_at(self->start, 8) };
	struct hmm_mirror_extent_info extent;
	struct hmm_mirror_range_args args;
	double deadline = seconds_now() + PATIENCE;
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, invalidate_on_demand,
				    &sneak));
	for (i = 0; i < 200; i++) {
		mark_pages(sneak.page, 1, i);
		args = range_args(sneak.page, 1, 0, &extent, 1);
		ASSERT_EQ(0, call_range(self->fd, &args));
		ASSERT_EQ(HMM_MIRROR_KIND_PRESENT, extent.kind);
		read_stream(_metadata, self->fd);
		ASSERT_EQ(0, stream.nr);

		sneak.wanted = i + 1;
		do {
			args = range_args(sneak.page, 1, 0, &extent, 1);
			ASSERT_EQ(0, call_range(self->fd, &args));
			ASSERT_GT(deadline, seconds_now());
		} while (extent.kind == HMM_MIRROR_KIND_PRESENT);
		read_stream(_metadata, self->fd);
		EXPECT_NR_EVENTS(1);
		EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, sneak.page,
			     0, 0);
		while (sneak.done != i + 1)
			ASSERT_GT(deadline, seconds_now());
	}
	pthread_join(thread, NULL);
}

/*
 * Watches
 */

TEST_F(watch, overlapping)
{
	__u32 all, middle, same, beyond;

	ASSERT_EQ(0, call_watch(self->fd, self->start, NR_PAGES, &all));
	ASSERT_EQ(0, call_watch(self->fd, page_at(self->start, 8), 2,
				&middle));
	ASSERT_EQ(0, call_watch(self->fd, page_at(self->start, 8), 2, &same));
	ASSERT_EQ(0, call_watch(self->fd, page_at(self->start, 14), 50,
				&beyond));
	ASSERT_EQ(0, invalidate(self->start, 9, 5));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(4);
	/* Which of them is told first is unspecified. */
	for (size_t i = 0; i < stream.nr; i++) {
		const struct hmm_mirror_event *event = &stream.events[i];

		EXPECT_EQ(stream.events[0].sequence, event->sequence);
		if (event->watch_id == self->id)
			EXPECT_EVENT(i, self->id, HMM_MIRROR_EVENT_CLEAR,
				     self->start, 9, 11);
		else if (event->watch_id == all)
			EXPECT_EVENT(i, all, HMM_MIRROR_EVENT_CLEAR,
				     self->start, 9, 13);
		else if (event->watch_id == middle)
			EXPECT_EVENT(i, middle, HMM_MIRROR_EVENT_CLEAR,
				     self->start, 9, 9);
		else
			EXPECT_EVENT(i, same, HMM_MIRROR_EVENT_CLEAR,
				     self->start, 9, 9);
	}
	EXPECT_NE(stream.events[0].watch_id, stream.events[1].watch_id);
	EXPECT_NE(stream.events[0].watch_id, stream.events[2].watch_id);
	EXPECT_NE(stream.events[0].watch_id, stream.events[3].watch_id);
	EXPECT_NE(stream.events[1].watch_id, stream.events[2].watch_id);
	EXPECT_NE(stream.events[1].watch_id, stream.events[3].watch_id);
	EXPECT_NE(stream.events[2].watch_id, stream.events[3].watch_id);

	ASSERT_EQ(0, call_unwatch(self->fd, all));
	ASSERT_EQ(0, call_unwatch(self->fd, same));
	ASSERT_EQ(0, invalidate(self->start, 9, 5));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(2);
	EXPECT_EQ(self->id + middle, stream.events[0].watch_id +
				     stream.events[1].watch_id);
}

TEST_F(watch, unwatch)
{
	__u32 id;
	int other = open_device();

	ASSERT_LE(0, other);
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, 0));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, self->id + 1));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, ~0U));
	/* Another file's watches do not belong to this one. */
	EXPECT_EQ(ENOENT, call_unwatch(other, self->id));
	ASSERT_EQ(0, call_watch(self->fd, self->start, 1, &id));
	EXPECT_NE(self->id, id);
	EXPECT_EQ(ENOENT, call_unwatch(other, id));
	close(other);

	ASSERT_EQ(0, invalidate(self->start, 6, 1));
	EXPECT_EQ(0, call_unwatch(self->fd, self->id));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, self->id));
	ASSERT_EQ(0, invalidate(self->start, 7, 1));
	ASSERT_EQ(0, invalidate(self->start, 0, 1));
	/* What was queued is still there; no more of that watch. */
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(2);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 6);
	EXPECT_EVENT(1, id, HMM_MIRROR_EVENT_CLEAR, self->start, 0, 0);
}

TEST_F(watch, max_watches)
{
	__u64 subscriptions = COUNTER(self->fd, subscriptions);
	int other = open_device();
	struct hmm_mirror_info info;
	__u32 ids[MAX_IDS];
	__u32 i, j;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, call_info(self->fd, &info));
	ASSERT_LT(2, info.max_watches);
	ASSERT_GT(MAX_IDS, info.max_watches);
	ids[0] = self->id;
	for (i = 1; i < info.max_watches; i++) {
		ASSERT_EQ(0, call_watch(self->fd, self->start, 8, &ids[i]));
		EXPECT_NE(0, ids[i]);
		for (j = 0; j < i; j++)
			EXPECT_NE(ids[j], ids[i]);
	}
	EXPECT_EQ(subscriptions + info.max_watches - 1,
		  COUNTER(self->fd, subscriptions));
	EXPECT_EQ(ENOSPC, call_watch(self->fd, self->start, 8, &j));
	EXPECT_EQ(ENOSPC, call_watch(self->fd, self->start, 8, &j));
	/* Each file has a limit of its own. */
	EXPECT_EQ(0, call_watch(other, self->start, 8, &j));
	close(other);

	EXPECT_EQ(0, call_unwatch(self->fd, ids[1]));
	EXPECT_EQ(0, call_watch(self->fd, self->start, 8, &ids[1]));
	for (j = 2; j < info.max_watches; j++)
		EXPECT_NE(ids[j], ids[1]);
	EXPECT_EQ(ENOSPC, call_watch(self->fd, self->start, 8, &j));

	/* All of them get the event. */
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(info.max_watches);
	for (i = 0; i < info.max_watches; i++)
		EXPECT_EQ(0, call_unwatch(self->fd, ids[i]));
	EXPECT_EQ(subscriptions - 1, COUNTER(self->fd, subscriptions));
}

static int watch_range(int fd, unsigned long start, unsigned long end)
{
	struct hmm_mirror_watch_args args = {
		.size = sizeof(args),
		.start = start,
		.end = end,
	};

	return ioctl(fd, HMM_MIRROR_WATCH, &args) ? errno : 0;
}

TEST_F(watch, bad_ranges)
{
	__u64 subscriptions = COUNTER(self->fd, subscriptions);
	unsigned long start = (unsigned long)self->start;
	unsigned long page = self->page;
	struct hmm_mirror_info info;

	ASSERT_EQ(0, call_info(self->fd, &info));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start + 1, start + page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start + page / 2, start + page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start, start + page - 1));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start, start + page + 1));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start, start));
	EXPECT_EQ(EINVAL, watch_range(self->fd, 0, 0));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start + page, start));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start, 0));
	EXPECT_EQ(EINVAL, watch_range(self->fd, -page, 0));
	EXPECT_EQ(EINVAL, watch_range(self->fd, -page, page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, 0, -page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, start, info.task_size + page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, info.task_size,
				      info.task_size + page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, 1UL << 63,
				      (1UL << 63) + page));
	EXPECT_EQ(EINVAL, watch_range(self->fd, 0xffffffff81000000,
				      0xffffffff81001000));
	EXPECT_EQ(subscriptions, COUNTER(self->fd, subscriptions));

	/* The last page is like any other. */
	EXPECT_EQ(0, watch_range(self->fd, info.task_size - page,
				 info.task_size));
	EXPECT_EQ(0, watch_range(self->fd, 0, page));
}

TEST_F(watch, bad_arguments)
{
	__u64 subscriptions = COUNTER(self->fd, subscriptions);
	const struct hmm_mirror_watch_args good = {
		.size = sizeof(good),
		.start = (unsigned long)self->start,
		.end = (unsigned long)self->start + self->page,
	};
	struct hmm_mirror_unwatch_args unwatch = {
		.size = sizeof(unwatch),
		.watch_id = self->id,
	};
	struct {
		struct hmm_mirror_watch_args args;
		char more[16];
	} longer = { .args = good };
	struct hmm_mirror_watch_args *args = &longer.args;
	struct hmm_mirror_watch_args *read_only;
	unsigned int i;

	for (i = 0; i < 32; i++) {
		*args = good;
		args->flags = 1U << i;
		EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, args));
		EXPECT_EQ(EINVAL, errno);
		*args = good;
		args->reserved = 1U << i;
		EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, args));
		EXPECT_EQ(EINVAL, errno);
		unwatch.flags = 1U << i;
		EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_UNWATCH, &unwatch));
		EXPECT_EQ(EINVAL, errno);
		unwatch.flags = 0;
		unwatch.reserved = 1U << i;
		EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_UNWATCH, &unwatch));
		EXPECT_EQ(EINVAL, errno);
		unwatch.reserved = 0;
	}
	*args = good;
	args->size = 0;
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, args));
	EXPECT_EQ(EINVAL, errno);
	args->size = sizeof(*args) - 1;
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, args));
	EXPECT_EQ(EINVAL, errno);
	args->size = 1U << 30;
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, args));
	EXPECT_EQ(E2BIG, errno);
	args->size = sizeof(longer);
	longer.more[15] = 1;
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, args));
	EXPECT_EQ(E2BIG, errno);
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_UNWATCH, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(subscriptions, COUNTER(self->fd, subscriptions));

	/* A watch whose id cannot be returned does not exist. */
	read_only = (void *)self->start;
	*read_only = good;
	ASSERT_EQ(0, mprotect(self->start, self->page, PROT_READ));
	EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, read_only));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(subscriptions, COUNTER(self->fd, subscriptions));

	/* A newer program's struct: only what is known is used. */
	longer.more[15] = 0;
	EXPECT_EQ(0, ioctl(self->fd, HMM_MIRROR_WATCH, args));
	EXPECT_NE(0, args->watch_id);
	EXPECT_EQ(0, call_unwatch(self->fd, args->watch_id));
}

/*
 * Too many events
 */

TEST_F(watch, overflow)
{
	__u64 events = COUNTER(self->fd, events);
	__u64 lost = COUNTER(self->fd, events_lost);
	struct hmm_mirror_info info;
	__u32 i;

	ASSERT_EQ(0, call_info(self->fd, &info));
	ASSERT_GT(MAX_READ - 1, info.max_events);
	/* Each has a page of its own, by which it is recognised. */
	for (i = 0; i < info.max_events + 37; i++)
		ASSERT_EQ(0, invalidate(self->start, 4 + i % 7, 1));
	EXPECT_EQ(events + info.max_events, COUNTER(self->fd, events));
	EXPECT_EQ(lost + 37, COUNTER(self->fd, events_lost));

	/* The oldest ones were kept, then comes the loss. */
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(info.max_events + 1);
	for (i = 0; i < info.max_events; i++)
		EXPECT_EVENT(i, self->id, HMM_MIRROR_EVENT_CLEAR, self->start,
			     4 + i % 7, 4 + i % 7);
	EXPECT_EQ(HMM_MIRROR_EVENT_LOST, stream.events[i].kind);
	EXPECT_EQ(37, stream.events[i].lost);
	EXPECT_EQ(lost + 37, COUNTER(self->fd, events_lost));

	/* The loss was reported; now it goes on. */
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
	for (i = 0; i < info.max_events; i++)
		ASSERT_EQ(0, invalidate(self->start, 4 + i % 7, 1));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(info.max_events);
	for (i = 0; i < info.max_events; i++)
		EXPECT_EVENT(i, self->id, HMM_MIRROR_EVENT_CLEAR, self->start,
			     4 + i % 7, 4 + i % 7);
	EXPECT_EQ(lost + 37, COUNTER(self->fd, events_lost));
}

static ssize_t read_some(struct __test_metadata *_metadata, int fd, size_t nr)
{
	ssize_t size = read(fd, stream.events, nr * sizeof(*stream.events));
	ssize_t i;

	stream.nr = 0;
	if (size < 0)
		return -errno;
	ASSERT_EQ(0, size % sizeof(*stream.events));
	stream.nr = size / sizeof(*stream.events);
	for (i = 0; i < (ssize_t)stream.nr; i++)
		check_event(_metadata, &stream.events[i]);
	return stream.nr;
}

/*
 * Once something was lost, the place of the loss stays where it is, even if there is room
 * again before it has been read.
 */
TEST_F(watch, place_of_the_loss)
{
	__u64 lost = COUNTER(self->fd, events_lost);
	struct hmm_mirror_info info;
	__u32 i;

	ASSERT_EQ(0, call_info(self->fd, &info));
	ASSERT_LT(20, info.max_events);
	for (i = 0; i < info.max_events + 5; i++)
		ASSERT_EQ(0, invalidate(self->start, 4 + i % 7, 1));
	EXPECT_EQ(10, read_some(_metadata, self->fd, 10));
	EXPECT_EVENT(9, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 6);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, invalidate(self->start, 11, 1));
	EXPECT_EQ(lost + 8, COUNTER(self->fd, events_lost));

	/* All but the loss itself, which is next. */
	EXPECT_EQ(info.max_events - 10,
		  read_some(_metadata, self->fd, info.max_events - 10));
	for (i = 10; i < info.max_events; i++)
		EXPECT_EVENT(i - 10, self->id, HMM_MIRROR_EVENT_CLEAR,
			     self->start, 4 + i % 7, 4 + i % 7);
	ASSERT_EQ(0, invalidate(self->start, 11, 1));
	EXPECT_EQ(1, read_some(_metadata, self->fd, 1));
	EXPECT_EQ(HMM_MIRROR_EVENT_LOST, stream.events[0].kind);
	EXPECT_EQ(9, stream.events[0].lost);

	ASSERT_EQ(0, invalidate(self->start, 10, 1));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 10, 10);
	EXPECT_EQ(lost + 9, COUNTER(self->fd, events_lost));
}

/*
 * read() and poll()
 */

TEST_F(watch, read_nothing)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	EXPECT_EQ(-EAGAIN, read_some(_metadata, self->fd, 1));
	/* Even if nothing is watched. */
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EAGAIN, read_some(_metadata, fd, 1));
	close(fd);
}

TEST_F(watch, read_sizes)
{
	size_t event = sizeof(struct hmm_mirror_event);
	char buffer[4 * event];
	size_t sizes[] = { 0, 1, event - 1 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-1, read(self->fd, buffer, sizes[i]));
		EXPECT_EQ(EINVAL, errno);
	}
	for (i = 4; i < 10; i++)
		ASSERT_EQ(0, invalidate(self->start, i, 1));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-1, read(self->fd, buffer, sizes[i]));
		EXPECT_EQ(EINVAL, errno);
	}
	/* Whole events, and no byte behind them. */
	memset(buffer, 0x5a, sizeof(buffer));
	EXPECT_EQ(2 * event, read(self->fd, buffer, 3 * event - 1));
	for (i = 2 * event; i < sizeof(buffer); i++)
		EXPECT_EQ(0x5a, buffer[i]);
	EXPECT_EQ(event, read(self->fd, buffer, event + 1));
	memcpy(&stream.events[0], buffer, event);
	stream.nr = 1;
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 6);
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(3);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 7, 7);
}

TEST_F(watch, read_to_bad_memory)
{
	size_t event = sizeof(struct hmm_mirror_event);
	/* volatile: the compiler would warn. */
	volatile unsigned long nowhere[] = { 0, 64, -4096UL };
	size_t total = 0;
	char *buffer;
	ssize_t size;
	size_t i;

	for (i = 0; i < 60; i++)
		ASSERT_EQ(0, invalidate(self->start, 4 + i % 7, 1));
	for (i = 0; i < ARRAY_SIZE(nowhere); i++) {
		EXPECT_EQ(-1, read(self->fd, (void *)nowhere[i], 60 * event));
		EXPECT_EQ(EFAULT, errno);
	}

	/* The memory ends in the middle of an event. */
	buffer = map_anonymous(1);
	ASSERT_NE(NULL, buffer);
	buffer += self->page - 10 * event - 7;
	EXPECT_EQ(-1, read(self->fd, buffer, 11 * event));
	EXPECT_EQ(EFAULT, errno);
	buffer -= 40 * event;
	size = read(self->fd, buffer, 60 * event);
	ASSERT_LT(0, size);
	ASSERT_EQ(0, size % event);
	EXPECT_GE(50, size / event);
	memcpy(stream.events, buffer, size);
	total = size / event;

	/* Those that did not get through are still to come. */
	ASSERT_EQ((ssize_t)((60 - total) * event),
		  read(self->fd, stream.events + total,
		       (MAX_READ - total) * event));
	stream.nr = 60;
	for (i = 0; i < 60; i++) {
		check_event(_metadata, &stream.events[i]);
		EXPECT_EVENT(i, self->id, HMM_MIRROR_EVENT_CLEAR, self->start,
			     4 + i % 7, 4 + i % 7);
	}
}

TEST_F(watch, no_write_and_no_seek)
{
	EXPECT_EQ(-1, write(self->fd, "x", 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, ioctl(self->fd, _IO(HMM_MIRROR_IOCTL_TYPE, 0x7f), 0));
	EXPECT_EQ(ENOTTY, errno);
}

/* A thread that makes one call that waits. */
struct waiter {
	int fd;
	volatile pid_t tid;
	ssize_t result;
	int error;
	struct hmm_mirror_event event;
	struct epoll_event epoll_event;
	pthread_t thread;
};

static void *wait_in_read(void *argument)
{
	struct waiter *waiter = argument;

	waiter->tid = gettid();
	waiter->result = read(waiter->fd, &waiter->event,
			      sizeof(waiter->event));
	waiter->error = errno;
	return NULL;
}

static void *wait_in_poll(void *argument)
{
	struct waiter *waiter = argument;
	struct pollfd poll_fd = { waiter->fd, POLLIN, 0 };

	waiter->tid = gettid();
	waiter->result = poll(&poll_fd, 1, PATIENCE * 1000);
	waiter->error = errno;
	if (waiter->result == 1)
		waiter->result = poll_fd.revents;
	return NULL;
}

static void *wait_in_epoll(void *argument)
{
	struct waiter *waiter = argument;

	waiter->tid = gettid();
	waiter->result = epoll_wait(waiter->fd, &waiter->epoll_event, 1,
				    PATIENCE * 1000);
	waiter->error = errno;
	return NULL;
}

/* The state of a thread as ps(1) shows it. */
static char state_of(pid_t tid)
{
	char path[64], line[512];
	char state = '?';
	FILE *file;
	char *rest;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = fopen(path, "r");
	if (!file)
		return state;
	if (fgets(line, sizeof(line), file)) {
		rest = strrchr(line, ')');
		if (rest && strlen(rest) > 2)
			state = rest[2];
	}
	fclose(file);
	return state;
}

/* Starts the thread and returns when it waits. */
static void start_waiter(struct __test_metadata *_metadata,
			 struct waiter *waiter, void *(*wait)(void *))
{
	double deadline = seconds_now() + PATIENCE;
	unsigned int asleep = 0;

	ASSERT_EQ(0, pthread_create(&waiter->thread, NULL, wait, waiter));
	/* It may sleep for a moment on the way. */
	while (asleep < 5) {
		ASSERT_GT(deadline, seconds_now());
		sleep_ms(5);
		if (waiter->tid && state_of(waiter->tid) == 'S')
			asleep++;
		else
			asleep = 0;
	}
}

TEST_F(watch, read_waits)
{
	struct waiter waiter = { .fd = self->fd };

	ASSERT_TRUE(set_nonblocking(self->fd, false));
	start_waiter(_metadata, &waiter, wait_in_read);
	ASSERT_EQ(0, invalidate(self->start, 0, 4));
	sleep_ms(20);
	EXPECT_EQ('S', state_of(waiter.tid));
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	ASSERT_EQ(0, pthread_join(waiter.thread, NULL));
	ASSERT_EQ(sizeof(waiter.event), waiter.result);
	stream.events[0] = waiter.event;
	stream.nr = 1;
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 5, 5);

	/* A watch that comes while a reader waits counts as well. */
	ASSERT_EQ(0, call_unwatch(self->fd, self->id));
	start_waiter(_metadata, &waiter, wait_in_read);
	ASSERT_EQ(0, call_watch(self->fd, self->start, 2, &self->id));
	ASSERT_EQ(0, invalidate(self->start, 1, 1));
	ASSERT_EQ(0, pthread_join(waiter.thread, NULL));
	ASSERT_EQ(sizeof(waiter.event), waiter.result);
	EXPECT_EQ(self->id, waiter.event.watch_id);
}

static volatile sig_atomic_t signals;

static void count_signal(int signal)
{
	(void)signal;
	signals++;
}

TEST_F(watch, signal)
{
	struct sigaction action = { .sa_handler = count_signal };
	struct waiter waiter = { .fd = self->fd };

	ASSERT_TRUE(set_nonblocking(self->fd, false));
	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	start_waiter(_metadata, &waiter, wait_in_read);
	ASSERT_EQ(0, pthread_kill(waiter.thread, SIGUSR1));
	ASSERT_EQ(0, pthread_join(waiter.thread, NULL));
	EXPECT_EQ(-1, waiter.result);
	EXPECT_EQ(EINTR, waiter.error);
	EXPECT_EQ(1, signals);

	/* And restarts if the program wants that. */
	action.sa_flags = SA_RESTART;
	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	start_waiter(_metadata, &waiter, wait_in_read);
	ASSERT_EQ(0, pthread_kill(waiter.thread, SIGUSR1));
	while (signals < 2)
		sleep_ms(1);
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	ASSERT_EQ(0, pthread_join(waiter.thread, NULL));
	EXPECT_EQ(sizeof(waiter.event), waiter.result);
}

static int poll_now(int fd, short events)
{
	struct pollfd poll_fd = { fd, events, 0 };
	int nr = poll(&poll_fd, 1, 0);

	return nr == 1 ? poll_fd.revents : nr;
}

TEST_F(watch, poll)
{
	struct waiter waiter = { .fd = self->fd };

	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, invalidate(self->start, 0, 1));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	EXPECT_EQ(POLLIN | POLLRDNORM,
		  poll_now(self->fd, POLLIN | POLLRDNORM | POLLOUT));
	EXPECT_EQ(1, read_some(_metadata, self->fd, 1));
	EXPECT_EQ(POLLIN, poll_now(self->fd, POLLIN));
	EXPECT_EQ(1, read_some(_metadata, self->fd, 1));
	EXPECT_EQ(0, poll_now(self->fd, POLLIN));

	start_waiter(_metadata, &waiter, wait_in_poll);
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	ASSERT_EQ(0, pthread_join(waiter.thread, NULL));
	EXPECT_EQ(POLLIN, waiter.result);
	EXPECT_EQ(1, read_some(_metadata, self->fd, 1));
}

TEST_F(watch, epoll)
{
	struct epoll_event interest = { .events = EPOLLIN | EPOLLET };
	struct waiter waiter = { .fd = epoll_create1(EPOLL_CLOEXEC) };

	ASSERT_LE(0, waiter.fd);
	interest.data.u64 = 12345;
	ASSERT_EQ(0, epoll_ctl(waiter.fd, EPOLL_CTL_ADD, self->fd, &interest));
	EXPECT_EQ(0, epoll_wait(waiter.fd, &waiter.epoll_event, 1, 0));
	start_waiter(_metadata, &waiter, wait_in_epoll);
	ASSERT_EQ(0, invalidate(self->start, 5, 1));
	ASSERT_EQ(0, pthread_join(waiter.thread, NULL));
	ASSERT_EQ(1, waiter.result);
	EXPECT_EQ(EPOLLIN, waiter.epoll_event.events);
	EXPECT_EQ(12345, waiter.epoll_event.data.u64);
	/* Edge-triggered: nothing new, then something new. */
	EXPECT_EQ(0, epoll_wait(waiter.fd, &waiter.epoll_event, 1, 0));
	ASSERT_EQ(0, invalidate(self->start, 6, 1));
	EXPECT_EQ(1, epoll_wait(waiter.fd, &waiter.epoll_event, 1, 0));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(2);
	close(waiter.fd);
}

/* Readers of one file, which share its events, and what each of them got. */
struct sharer {
	int fd;
	size_t wanted;
	size_t got;
	__u64 lost;
	unsigned int disorder;
	unsigned int errors;
	pthread_t thread;
};

#define LAST_EVENT_PAGE	11

/* Reads until there is an event about the last page. */
static void *read_until_the_end(void *argument)
{
	struct sharer *sharer = argument;
	struct hmm_mirror_event events[7];
	__u64 sequence = 0;
	bool end = false;

	while (!end) {
		ssize_t size = read(sharer->fd, events, sizeof(events));
		ssize_t i;

		if (size <= 0 || size % sizeof(*events)) {
			sharer->errors++;
			return NULL;
		}
		for (i = 0; i < size / (ssize_t)sizeof(*events); i++) {
			if (events[i].kind == HMM_MIRROR_EVENT_LOST) {
				sharer->lost += events[i].lost;
				continue;
			}
			/* Overlapping invalidations, of anything, share one. */
			if (events[i].sequence < sequence)
				sharer->disorder++;
			sequence = events[i].sequence;
			sharer->got++;
			if (events[i].end % pmd_size() ==
			    (LAST_EVENT_PAGE + 1) * page_size())
				end = true;
		}
	}
	return NULL;
}

/*
 * Each invalidation is either reported or counted as lost, however fast they
 * come while somebody reads.
 */
TEST_F_TIMEOUT(watch, read_while_invalidating, 300)
{
	__u64 events = COUNTER(self->fd, events);
	__u64 lost = COUNTER(self->fd, events_lost);
	struct sharer sharer = { .fd = self->fd };
	double deadline = seconds_now() + PATIENCE;
	size_t total = 2000;
	size_t i;

	ASSERT_TRUE(set_nonblocking(self->fd, false));
	ASSERT_EQ(0, pthread_create(&sharer.thread, NULL, read_until_the_end,
				    &sharer));
	for (i = 0; i < total; i++)
		ASSERT_EQ(0, invalidate(self->start, 4 + i % 7, 1));
	/* The last event must not be lost. */
	while (poll_now(self->fd, POLLIN)) {
		ASSERT_GT(deadline, seconds_now());
		sleep_ms(1);
	}
	ASSERT_EQ(0, invalidate(self->start, LAST_EVENT_PAGE, 1));
	ASSERT_EQ(0, pthread_join(sharer.thread, NULL));
	EXPECT_EQ(0, sharer.errors);
	EXPECT_EQ(0, sharer.disorder);
	EXPECT_EQ(total + 1, sharer.got + sharer.lost);
	EXPECT_EQ(sharer.got, COUNTER(self->fd, events) - events);
	EXPECT_EQ(sharer.lost, COUNTER(self->fd, events_lost) - lost);
}

/* Two readers: neither gets what the other has got. */
TEST_F_TIMEOUT(watch, two_readers, 300)
{
	struct sharer sharers[2] = { { .fd = self->fd }, { .fd = self->fd } };
	double deadline = seconds_now() + PATIENCE;
	size_t total = 1500;
	size_t i;

	ASSERT_TRUE(set_nonblocking(self->fd, false));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&sharers[i].thread, NULL,
					    read_until_the_end, &sharers[i]));
	for (i = 0; i < total; i++)
		ASSERT_EQ(0, invalidate(self->start, 4 + i % 7, 1));
	/* One last event for each of them. */
	for (i = 0; i < 2; i++) {
		while (poll_now(self->fd, POLLIN)) {
			ASSERT_GT(deadline, seconds_now());
			sleep_ms(1);
		}
		ASSERT_EQ(0, invalidate(self->start, LAST_EVENT_PAGE, 1));
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(sharers[i].thread, NULL));
		EXPECT_EQ(0, sharers[i].errors);
		EXPECT_EQ(0, sharers[i].disorder);
	}
	EXPECT_EQ(total + 2, sharers[0].got + sharers[0].lost +
			     sharers[1].got + sharers[1].lost);
}

TEST_F(watch, close_with_events)
{
	__u64 subscriptions, open_files;
	int fd = open_device();
	__u32 id;

	ASSERT_LE(0, fd);
	subscriptions = COUNTER(self->fd, subscriptions);
	open_files = COUNTER(self->fd, open_files);
	ASSERT_EQ(0, call_watch(fd, self->start, 8, &id));
	ASSERT_EQ(0, call_watch(fd, self->start, 9, &id));
	EXPECT_EQ(subscriptions + 2, COUNTER(self->fd, subscriptions));
	ASSERT_EQ(0, invalidate(self->start, 0, 8));
	EXPECT_EQ(POLLIN, poll_now(fd, POLLIN));
	ASSERT_EQ(0, close(fd));
	EXPECT_EQ(subscriptions, COUNTER(self->fd, subscriptions));
	EXPECT_EQ(open_files - 1, COUNTER(self->fd, open_files));
	/* Nobody is told any longer. */
	ASSERT_EQ(0, invalidate(self->start, 0, 4));
}

/*
 * Whose file it is
 */

/* What a child can do with an inherited file: bits of what went wrong. */
static int misuse(int fd, void *start, __u32 watch)
{
	struct hmm_mirror_event event;
	struct hmm_mirror_info info;
	int wrong = 0;
	__u32 id;

	if (read(fd, &event, sizeof(event)) != -1 || errno != EPERM)
		wrong |= 1;
	if (call_watch(fd, start, 1, &id) != EPERM)
		wrong |= 2;
	if (call_unwatch(fd, watch) != EPERM)
		wrong |= 4;
	if (call_info(fd, &info) != EPERM)
		wrong |= 8;
	if (call_attach(fd, getpid()) != EPERM)
		wrong |= 16;
	if (poll_now(fd, POLLIN) != POLLERR)
		wrong |= 32;
	return wrong;
}

TEST_F(watch, inherited)
{
	pid_t child;
	int status;

	ASSERT_EQ(0, invalidate(self->start, 6, 1));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(misuse(self->fd, self->start, self->id));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* It has not even consumed the event. */
	read_stream(_metadata, self->fd);
	ASSERT_LE(1, stream.nr);
	EXPECT_EVENT(0, self->id, HMM_MIRROR_EVENT_CLEAR, self->start, 6, 6);
}

TEST_F(watch, attach_with_watches)
{
	pid_t child = fork_sleeper();
	__u32 id;

	ASSERT_LT(0, child);
	EXPECT_EQ(EBUSY, call_attach(self->fd, child));
	EXPECT_EQ(EBUSY, call_attach(self->fd, getpid()));
	ASSERT_EQ(0, call_unwatch(self->fd, self->id));
	EXPECT_EQ(0, call_attach(self->fd, child));
	/* Its memory, not ours. */
	ASSERT_EQ(0, call_watch(self->fd, self->start, NR_PAGES, &id));
	read_stream(_metadata, self->fd);
	ASSERT_EQ(0, invalidate(self->start, 0, NR_PAGES));
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(0);
	EXPECT_EQ(EBUSY, call_attach(self->fd, getpid()));
	kill_and_wait(child);
}

enum way_out {
	EXIT,
	KILLED,
	EXEC,
};

static void leave(int pipe_fd, char *start, enum way_out way)
{
	char command;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(pipe_fd, &command, 1) == 1) {
		if (command == 'u')
			munmap(page_at(start, 2), page_size());
		else if (command == 'x')
			break;
	}
	switch (way) {
	case EXIT:
		_exit(0);
	case KILLED:
		kill(getpid(), SIGKILL);
		break;
	case EXEC:
		execl("/bin/sleep", "sleep", "1000", NULL);
		break;
	}
	_exit(1);
}

/* Returns when the address space has been torn down. */
static void wait_until_gone(struct __test_metadata *_metadata, int fd, pid_t child,
			    enum way_out way)
{
	double deadline = seconds_now() + PATIENCE;
	char path[64], name[32] = "";
	FILE *file;

	if (way == EXEC) {
		/* The name is set after the old address space was released. */
		snprintf(path, sizeof(path), "/proc/%d/comm", child);
		while (strcmp(name, "sleep\n")) {
			ASSERT_GT(deadline, seconds_now());
			sleep_ms(5);
			file = fopen(path, "r");
			ASSERT_NE(NULL, file);
			if (!fgets(name, sizeof(name), file))
				name[0] = '\0';
			fclose(file);
		}
		/* Unless somebody still looks at it: the last one tears it down. */
		while (!poll_now(fd, POLLIN)) {
			ASSERT_GT(deadline, seconds_now());
			sleep_ms(5);
		}
		sleep_ms(300);
	} else {
		ASSERT_EQ(child, waitpid(child, NULL, 0));
	}
}

static void watch_it_leave(struct __test_metadata *_metadata,
			   FIXTURE_DATA(watch) *self, enum way_out way)
{
	struct hmm_mirror_extent_info extent;
	struct hmm_mirror_range_args args;
	double deadline = seconds_now() + PATIENCE;
	__u32 ids[2], id;
	int pipe_fds[2];
	pid_t child;
	size_t i;

	ASSERT_EQ(0, pipe2(pipe_fds, O_CLOEXEC));
	ASSERT_EQ(0, call_unwatch(self->fd, self->id));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		leave(pipe_fds[0], self->start, way);
	ASSERT_EQ(0, call_attach(self->fd, child));
	ASSERT_EQ(0, call_watch(self->fd, self->start, NR_PAGES, &ids[0]));
	ASSERT_EQ(0, call_watch(self->fd, page_at(self->start, 4), 2,
				&ids[1]));
	read_stream(_metadata, self->fd);

	/* While it lives */
	ASSERT_EQ(1, write(pipe_fds[1], "u", 1));
	while (!poll_now(self->fd, POLLIN))
		ASSERT_GT(deadline, seconds_now());
	read_stream(_metadata, self->fd);
	EXPECT_NR_EVENTS(1);
	EXPECT_EVENT(0, ids[0], HMM_MIRROR_EVENT_UNMAP, self->start, 2, 2);
	args = range_args(self->start, 1, 0, &extent, 1);
	EXPECT_EQ(0, call_range(self->fd, &args));

	ASSERT_EQ(1, write(pipe_fds[1], "x", 1));
	wait_until_gone(_metadata, self->fd, child, way);
	read_stream(_metadata, self->fd);
	/* Each watch is told of the release, and before anything else. */
	ASSERT_LE(2, stream.nr);
	if (stream.events[0].watch_id == ids[0]) {
		EXPECT_EVENT(0, ids[0], HMM_MIRROR_EVENT_RELEASE, self->start,
			     0, NR_PAGES - 1);
		EXPECT_EVENT(1, ids[1], HMM_MIRROR_EVENT_RELEASE, self->start,
			     4, 5);
	} else {
		EXPECT_EVENT(0, ids[1], HMM_MIRROR_EVENT_RELEASE, self->start,
			     4, 5);
		EXPECT_EVENT(1, ids[0], HMM_MIRROR_EVENT_RELEASE, self->start,
			     0, NR_PAGES - 1);
	}
	/* Then everything is unmapped. */
	for (i = 2; i < stream.nr; i++)
		EXPECT_EQ(HMM_MIRROR_EVENT_UNMAP, stream.events[i].kind);

	EXPECT_EQ(ESRCH, call_range(self->fd, &args));
	EXPECT_EQ(ESRCH, call_watch(self->fd, self->start, 1, &id));
	EXPECT_EQ(EBUSY, call_attach(self->fd, getpid()));
	EXPECT_EQ(-EAGAIN, read_some(_metadata, self->fd, 1));
	/* The file serves another process from now on. */
	EXPECT_EQ(0, call_unwatch(self->fd, ids[0]));
	EXPECT_EQ(0, call_unwatch(self->fd, ids[1]));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, ids[1]));
	EXPECT_EQ(0, call_attach(self->fd, getpid()));
	EXPECT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(0, call_watch(self->fd, self->start, 1, &id));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	if (way == EXEC)
		kill_and_wait(child);
}

TEST_F(watch, attached_exits)
{
	watch_it_leave(_metadata, self, EXIT);
}

TEST_F(watch, attached_is_killed)
{
	watch_it_leave(_metadata, self, KILLED);
}

/* A new program has a new address space: the one that was mirrored is gone. */
TEST_F(watch, attached_executes)
{
	if (access("/bin/sleep", X_OK))
		SKIP(return, "no /bin/sleep to execute");
	watch_it_leave(_metadata, self, EXEC);
}

TEST_HARNESS_MAIN
