// SPDX-License-Identifier: GPL-2.0
/*
 * A request can be ended, and ends by itself: by SIGKILL, by its deadline, by an error
 * whose address it names. And it waits for what it must wait for: the handler of a
 * userfaultfd, and invalidations by other threads.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "device.h"
#include "range_fault.h"

#define fallthrough	__attribute__((__fallthrough__))

#ifndef __NR_process_mrelease
#define __NR_process_mrelease	448
#endif

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif

/**
 * struct handler - a thread that serves a userfaultfd
 * @uffd: the userfaultfd
 * @first: called when the first event has come, before it is served
 * @argument: for @first
 * @serve_nothing: let the task wait
 * @events: number of events seen
 * @stop: tells the thread to end
 * @thread: the thread
 */
struct handler {
	int uffd;
	void (*first)(struct handler *handler, unsigned long address);
	char *argument;
	bool serve_nothing;
	volatile unsigned int events;
	volatile bool stop;
	pthread_t thread;
};

static void serve(struct handler *handler, const struct uffd_msg *event)
{
	unsigned long page = page_size();
	struct uffdio_range range = {
		.start = event->arg.pagefault.address & -page,
		.len = page,
	};

	if (event->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		uffd_write_protect(handler->uffd, (void *)range.start, 1,
				   false);
	} else if (event->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR) {
		struct uffdio_continue resume = { .range = range };

		ioctl(handler->uffd, UFFDIO_CONTINUE, &resume);
	} else {
		static __thread unsigned long content[4096];
		struct uffdio_copy copy = {
			.dst = range.start,
			.src = (unsigned long)content,
			.len = page,
		};

		content[0] = range.start;
		ioctl(handler->uffd, UFFDIO_COPY, &copy);
	}
}

static void *handle(void *argument)
{
	struct handler *handler = argument;
	struct uffd_msg event;

	while (!handler->stop) {
		struct pollfd poll_fd = { handler->uffd, POLLIN, 0 };

		if (poll(&poll_fd, 1, 20) <= 0 ||
		    read(handler->uffd, &event, sizeof(event)) != sizeof(event))
			continue;
		if (event.event != UFFD_EVENT_PAGEFAULT)
			continue;
		if (!handler->events++ && handler->first)
			handler->first(handler, event.arg.pagefault.address);
		if (!handler->serve_nothing)
			serve(handler, &event);
	}
	return NULL;
}

static void stop_handler(struct handler *handler)
{
	handler->stop = true;
	pthread_join(handler->thread, NULL);
}

FIXTURE(control)
{
	int fd;
	size_t page;
	__u32 call;
	struct request request;
	struct handler handler;
};

FIXTURE_VARIANT(control)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(control, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(control, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(control, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(control, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(control)
{
	self->page = page_size();
	self->call = variant->call;
	self->request.call = variant->call;
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(control)
{
	close(self->fd);
}

static int ask_range(struct __test_metadata *_metadata,
		     FIXTURE_DATA(control) *self, const void *start,
		     size_t npages, __u64 flags)
{
	self->request.start = start;
	self->request.npages = npages;
	self->request.default_flags = flags;
	return ask_request(_metadata, self->fd, &self->request);
}

/*
 * Memory whose pages from @first_missing on are served by the handler; those before it
 * are there.
 */
static char *map_served(struct __test_metadata *_metadata,
			FIXTURE_DATA(control) *self, size_t npages,
			size_t first_missing)
{
	char *start = map_anonymous(npages);

	self->handler.uffd = open_userfaultfd(0);
	if (self->handler.uffd < 0)
		return NULL;
	ASSERT_NE(NULL, start);
	mark_pages(start, first_missing, 500);
	ASSERT_TRUE(uffd_register(self->handler.uffd,
				  page_at(start, first_missing),
				  npages - first_missing,
				  UFFDIO_REGISTER_MODE_MISSING));
	return start;
}

static void start_handler(struct __test_metadata *_metadata,
			  FIXTURE_DATA(control) *self)
{
	ASSERT_EQ(0, pthread_create(&self->handler.thread, NULL, handle,
				    &self->handler));
}

#define NO_USERFAULTFD	"no userfaultfd: %s"

/*
 * 96268163f9: the locked calls never drop the caller's mmap_lock, so they cannot wait for
 * a handler. The unlocked ones do: the page is what the handler gave them.
 */
TEST_F(control, userfaultfd_missing)
{
	char *start = map_served(_metadata, self, 16, 4);
	double begin = seconds_now();
	size_t i;

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	if (!call_is_unlocked(self->call)) {
		/* There is no handler: waiting for one would take forever. */
		EXPECT_EQ(EFAULT, ask_range(_metadata, self, start, 16, READ));
		EXPECT_EQ(4, fault_page(start));
		EXPECT_GT(10, seconds_now() - begin);
		return;
	}
	start_handler(_metadata, self);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 10, READ));
	EXPECT_PAGEMAP(start, 0, 10);
	EXPECT_EQ(6, self->handler.events);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 16, WRITE));
	EXPECT_PAGEMAP(start, 0, 16);
	EXPECT_EQ(12, self->handler.events);
	stop_handler(&self->handler);
	for (i = 4; i < 16; i++)
		EXPECT_EQ((unsigned long)page_at(start, i),
			  touch_page(page_at(start, i)));
	EXPECT_TRUE(pages_are_marked(start, 4, 500));
}

/* A snapshot asks for nothing and wakes nobody. */
TEST_F(control, userfaultfd_snapshot)
{
	char *start = map_served(_metadata, self, 8, 4);

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	start_handler(_metadata, self);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 8, SNAPSHOT));
	EXPECT_PAGES(4, 4, 0, 0, HMM_MIRROR_KIND_NONE);
	sleep_ms(50);
	stop_handler(&self->handler);
	EXPECT_EQ(0, self->handler.events);
}

TEST_F(control, userfaultfd_write_protect)
{
	struct handler *handler = &self->handler;
	char *start = map_anonymous(8);

	handler->uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	if (handler->uffd < 0)
		SKIP(return, "no userfaultfd write protection: %s",
		     strerror(errno));
	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 500);
	ASSERT_TRUE(uffd_register(handler->uffd, start, 8,
				  UFFDIO_REGISTER_MODE_WP));
	ASSERT_TRUE(uffd_write_protect(handler->uffd, start, 8, true));
	EXPECT_TRUE(pagemap_entry(start) & PAGEMAP_UFFD_WP);

	/* Reading them needs nobody. */
	EXPECT_EQ(0, ask_range(_metadata, self, start, 8, READ));
	EXPECT_EQ(0, answer.nr_faults);
	EXPECT_PAGES(0, 8, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	if (!call_is_unlocked(self->call)) {
		EXPECT_EQ(EFAULT, ask_range(_metadata, self, page_at(start, 3),
					    5, WRITE));
		EXPECT_EQ(0, fault_page(page_at(start, 3)));
		return;
	}
	start_handler(_metadata, self);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 8, WRITE));
	EXPECT_PAGES(0, 8, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 8);
	stop_handler(handler);
	EXPECT_EQ(8, handler->events);
	EXPECT_FALSE(pagemap_entry(start) & PAGEMAP_UFFD_WP);
}

/* The page is in the page cache; the handler only allows it to be mapped. */
TEST_F(control, userfaultfd_minor)
{
	struct handler *handler = &self->handler;
	char *start = map_file(make_memfd(8), 8, PROT_READ | PROT_WRITE,
			       MAP_SHARED);

	handler->uffd = open_userfaultfd(UFFD_FEATURE_MINOR_SHMEM);
	if (handler->uffd < 0)
		SKIP(return, "no userfaultfd minor faults of shmem: %s",
		     strerror(errno));
	ASSERT_NE(NULL, start);
	ASSERT_TRUE(uffd_register(handler->uffd, start, 8,
				  UFFDIO_REGISTER_MODE_MINOR));
	if (!call_is_unlocked(self->call)) {
		EXPECT_EQ(EFAULT, ask_range(_metadata, self, start, 8, READ));
		EXPECT_EQ(0, fault_page(start));
		return;
	}
	start_handler(_metadata, self);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 8, READ));
	EXPECT_PAGEMAP(start, 0, 8);
	stop_handler(handler);
	EXPECT_LE(1, handler->events);
	EXPECT_TRUE(pages_are_marked(start, 8, 1000));
}

TEST_F(control, userfaultfd_hugetlb)
{
	struct handler *handler = &self->handler;
	size_t size = 2UL << 20;
	char *start;

	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	handler->uffd = open_userfaultfd(UFFD_FEATURE_MISSING_HUGETLBFS);
	if (handler->uffd < 0)
		SKIP(return, "no userfaultfd of hugetlb: %s", strerror(errno));
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	ASSERT_TRUE(uffd_register(handler->uffd, start, size / self->page,
				  UFFDIO_REGISTER_MODE_MISSING));
	if (!call_is_unlocked(self->call)) {
		EXPECT_EQ(EFAULT, ask_range(_metadata, self, page_at(start, 3),
					    1, READ));
		EXPECT_EQ(0, fault_page(page_at(start, 3)));
	} else {
		self->request.timeout_ms = 300;
		EXPECT_EQ(EBUSY, ask_range(_metadata, self, page_at(start, 3),
					   1, READ));
	}
	munmap(start, size);
}

/* A handler that may only serve faults from user mode gets none of ours. */
TEST_F(control, userfaultfd_user_mode_only)
{
	int uffd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	char *start = map_anonymous(4);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		SKIP(return, "no UFFD_USER_MODE_ONLY: %s", strerror(errno));
	ASSERT_NE(NULL, start);
	ASSERT_TRUE(uffd_register(uffd, start, 4,
				  UFFDIO_REGISTER_MODE_MISSING));
	self->request.timeout_ms = 5000;
	EXPECT_EQ(EFAULT, ask_range(_metadata, self, start, 4, READ));
	EXPECT_EQ(0, fault_page(start));
}

static void discard(struct handler *handler, unsigned long address)
{
	(void)address;
	madvise(handler->argument, page_size(), MADV_DONTNEED);
}

/*
 * 04ec32fbc2, a22dd50640: an invalidation that begins and ends while a request is served
 * is noticed. The handler takes away a page that has already been collected.
 */
TEST_F(control, invalidated_while_waiting)
{
	char *start = map_served(_metadata, self, 8, 4);

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	if (!call_is_unlocked(self->call))
		SKIP(return, "the locked calls do not wait");
	self->handler.first = discard;
	self->handler.argument = page_at(start, 1);
	start_handler(_metadata, self);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 8, WRITE));
	stop_handler(&self->handler);
	EXPECT_EQ(4, self->handler.events);
	EXPECT_LE(1, answer.nr_restarts);
	/* The four faults that the handler served are not counted. */
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, 8, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 8);
	EXPECT_EQ(0, touch_page(page_at(start, 1)));
}

static void unmap_and_wake(struct handler *handler, unsigned long address)
{
	struct uffdio_range range = {
		.start = address & -page_size(),
		.len = page_size(),
	};

	munmap((void *)range.start, page_size());
	handler->serve_nothing = true;
	ioctl(handler->uffd, UFFDIO_WAKE, &range);
}

/* The mapping is gone when the request returns from waiting for it. */
TEST_F(control, unmapped_while_waiting)
{
	char *start = map_served(_metadata, self, 8, 4);

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	if (!call_is_unlocked(self->call))
		SKIP(return, "the locked calls do not wait");
	self->handler.first = unmap_and_wake;
	start_handler(_metadata, self);
	EXPECT_EQ(EFAULT, ask_range(_metadata, self, start, 8, WRITE));
	EXPECT_EQ(4, fault_page(start));
	stop_handler(&self->handler);
}

static void close_userfaultfd(struct handler *handler, unsigned long address)
{
	(void)address;
	handler->serve_nothing = true;
	handler->stop = true;
	close(handler->uffd);
}

/* Without a userfaultfd it is a page like any other. */
TEST_F(control, userfaultfd_closed_while_waiting)
{
	char *start = map_served(_metadata, self, 8, 4);

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	if (!call_is_unlocked(self->call))
		SKIP(return, "the locked calls do not wait");
	self->handler.first = close_userfaultfd;
	start_handler(_metadata, self);
	EXPECT_EQ(0, ask_range(_metadata, self, start, 8, WRITE));
	EXPECT_PAGEMAP(start, 0, 8);
	stop_handler(&self->handler);
}

/*
 * The deadline holds against a handler that does not answer. It is kept to within a tick,
 * which a virtual machine may deliver late: the lower bounds here are loose.
 */
TEST_F(control, deadline_of_userfaultfd)
{
	char *start = map_served(_metadata, self, 8, 4);
	double begin, took;

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	if (!call_is_unlocked(self->call))
		SKIP(return, "the locked calls do not wait");
	ASSERT_EQ(0, madvise(start, 4 * self->page, MADV_DONTNEED));
	self->request.timeout_ms = 300;
	begin = seconds_now();
	EXPECT_EQ(EBUSY, ask_range(_metadata, self, start, 8, WRITE));
	took = seconds_now() - begin;
	EXPECT_LE(0.15, took);
	EXPECT_GT(10, took);
	/* What it had got by then stays. */
	EXPECT_EQ(4, count_mapped(start, 8));
}

static volatile sig_atomic_t signals;

static void count_signal(int signal)
{
	(void)signal;
	signals++;
}

/* Only a fatal signal ends a request; other signals have to wait. */
TEST_F(control, signals_do_not_interrupt)
{
	struct itimerval every_50_ms = { { 0, 50000 }, { 0, 50000 } };
	struct itimerval never = {};
	char *start = map_served(_metadata, self, 2, 1);
	double begin;

	if (!start)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	if (!call_is_unlocked(self->call))
		SKIP(return, "the locked calls do not wait");
	/* Any signal interrupts the first subscription to a process's memory. */
	EXPECT_EQ(0, ask_range(_metadata, self, start, 2, SNAPSHOT));
	signal(SIGALRM, count_signal);
	setitimer(ITIMER_REAL, &every_50_ms, NULL);
	self->request.timeout_ms = 400;
	begin = seconds_now();
	EXPECT_EQ(EBUSY, ask_range(_metadata, self, start, 2, WRITE));
	EXPECT_LE(0.2, seconds_now() - begin);
	setitimer(ITIMER_REAL, &never, NULL);
	EXPECT_LE(1, signals);
}

struct nuisance {
	char *first;
	char *last;
	volatile bool stop;
	volatile unsigned long rounds;
};

/* At any moment at least one of the two pages is there. */
static void *take_turns(void *argument)
{
	struct nuisance *nuisance = argument;

	while (!nuisance->stop) {
		*(volatile char *)nuisance->last = 1;
		madvise(nuisance->first, page_size(), MADV_DONTNEED);
		*(volatile char *)nuisance->first = 1;
		madvise(nuisance->last, page_size(), MADV_DONTNEED);
		nuisance->rounds++;
	}
	return NULL;
}

/*
 * Another thread invalidates the range again and again, faster than it can be looked at.
 * An answer that was collected in the meantime must not be given: both pages could be
 * missing in it. How often the thread gets to run during a call is out of our hands, so
 * the test goes on until calls have failed as they should.
 */
TEST_F_TIMEOUT(control, invalidated_again_and_again, 300)
{
	size_t npages = 250000;
	char *start = map_anonymous(npages);
	double deadline = seconds_now() + 60;
	struct nuisance nuisance = {};
	unsigned long restarts = 0;
	unsigned int calls = 0;
	unsigned int busy = 0;
	pthread_t thread;
	size_t i;

	ASSERT_NE(NULL, start);
	/* Much to look at, without using memory: few entries are like the previous one. */
	for (i = 0; i < npages; i += 8)
		touch_page(page_at(start, i));
	nuisance.first = start;
	nuisance.last = page_at(start, npages - 1);
	self->request.flags = RANGE_FAULT_TEST_NO_RETRY;
	self->request.timeout_ms = 1000;
	EXPECT_EQ(0, ask_range(_metadata, self, start, npages, SNAPSHOT));

	ASSERT_EQ(0, pthread_create(&thread, NULL, take_turns, &nuisance));
	while (nuisance.rounds < 10)
		sleep_ms(1);
	while ((calls < 4 || !busy) && seconds_now() < deadline) {
		double begin = seconds_now();
		int error = ask_range(_metadata, self, start, npages, SNAPSHOT);

		calls++;
		restarts += answer.nr_restarts;
		if (error) {
			EXPECT_EQ(EBUSY, error);
			if (call_is_unlocked(self->call))
				EXPECT_LE(0.5, seconds_now() - begin);
			busy++;
		} else if (!answer.raw.stale) {
			EXPECT_NE(0, (answer.words[0] |
				      answer.words[npages - 1]) & WORD_VALID);
		}
	}
	EXPECT_LE(1, busy);
	if (call_is_unlocked(self->call))
		EXPECT_LE(1, restarts);
	nuisance.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(0, ask_range(_metadata, self, start, npages, SNAPSHOT));
	EXPECT_EQ(0, answer.nr_restarts);
	EXPECT_EQ(0, answer.raw.stale);
	munmap(start, npages * self->page);
}

/*
 * More than the process may have in memory at a time: no answer can ever be complete and
 * true. The request must end nevertheless, and not by the OOM killer.
 */
TEST_F_TIMEOUT(control, more_than_fits, 450)
{
	size_t npages = (16UL << 20) / self->page;
	double begin;
	char *start;

	if (!have_swap())
		SKIP(return, "no swap space is active");
	if (!enter_memory_cgroup("memory.max", 8UL << 20))
		SKIP(return, "no memory controller in cgroup2");
	start = map_anonymous(npages);
	ASSERT_NE(NULL, start);
	self->request.timeout_ms = 1500;
	self->request.max_retries = 3;
	begin = seconds_now();
	EXPECT_EQ(EBUSY, ask_range(_metadata, self, start, npages, WRITE));
	/* Each of the locked calls goes through all of it once. */
	EXPECT_GT(60, seconds_now() - begin);
	leave_memory_cgroup();
}

/* The first failing address is named, and what is below it is kept. */
TEST_F(control, fault_address)
{
	size_t npages = 600;
	char *start = map_anonymous(npages);
	size_t failing;

	ASSERT_NE(NULL, start);
	for (failing = 5; failing < npages; failing += 297) {
		/* A file that ends there: SIGBUS. */
		ASSERT_EQ(page_at(start, failing),
			  mmap(page_at(start, failing), self->page,
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			       make_memfd(0), 0));
		madvise(start, failing * self->page, MADV_DONTNEED);
		EXPECT_EQ(EFAULT, ask_range(_metadata, self, start, npages,
					    WRITE));
		EXPECT_EQ(failing, fault_page(start));
		EXPECT_EQ(failing, count_mapped(start, failing));
		EXPECT_EQ(0, count_mapped(page_at(start, failing + 1),
					  npages - failing - 1));
		/* The failing page once more, alone, if others came before it. */
		EXPECT_LE(failing + 1, answer.nr_faults);
		EXPECT_GE(failing + 2, answer.nr_faults);
		ASSERT_NE(MAP_FAILED,
			  mmap(page_at(start, failing), self->page,
			       PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			       0));
	}
	/* A read-only mapping in the middle. */
	madvise(start, npages * self->page, MADV_DONTNEED);
	ASSERT_EQ(0, mprotect(page_at(start, 300), 5 * self->page, PROT_READ));
	EXPECT_EQ(EPERM, ask_range(_metadata, self, start, npages, WRITE));
	EXPECT_EQ(300, fault_page(start));
	EXPECT_EQ(300, count_mapped(start, npages));
	EXPECT_EQ(0, ask_range(_metadata, self, start, 300, WRITE));
	EXPECT_EQ(0, answer.nr_faults);
}

/*
 * SIGKILL. The process dies in the middle of a request for more memory than there is; its
 * exit must not wait until the request is served.
 */

enum way {
	WAY_RANGE,		/* the range call of the variant */
	WAY_DEVICE,		/* HMM_MIRROR_RANGE */
	WAY_MIRROR,		/* hmm_mirror_populate() */
	WAY_USERFAULTFD,	/* HMM_MIRROR_RANGE, waiting for a handler */
};

/* The page that nobody serves, with WAY_USERFAULTFD. */
#define UNSERVED_PAGE	20000

static unsigned long resident_pages_of(pid_t pid)
{
	unsigned long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages;
}

static void be_killed(__u32 call, enum way way)
{
	size_t npages = (64UL << 30) / page_size();
	char *start = map_anonymous(npages);
	struct hmm_mirror_range_args args =
		range_args(start, npages, HMM_MIRROR_RANGE_FAULT |
			   HMM_MIRROR_RANGE_WRITE, NULL, 0);
	struct range_fault_test_register mirror = {
		.start = (unsigned long)start,
		.length = MAX_PAGES * page_size(),
	};
	struct range_fault_test_populate populate = {
		.start = mirror.start,
		.end = mirror.start + mirror.length,
		.default_flags = WRITE,
	};
	struct range_fault_test_range raw = {
		.call = call,
		.start = (unsigned long)start,
		.default_flags = WRITE,
		.nr_words = MAX_PAGES,
		.words = (unsigned long)answer.argument,
		.extents = (unsigned long)answer.extents,
		.nr_extents = RANGE_FAULT_TEST_MAX_EXTENTS,
	};
	int test = open_range_fault_test();
	int device = open_device();

	switch (way) {
	case WAY_RANGE:
		raw.end = raw.start + MAX_PAGES * page_size();
		while (!ioctl(test, RANGE_FAULT_TEST_RANGE, &raw) &&
		       raw.next < raw.end)
			raw.start = raw.next;
		break;
	case WAY_USERFAULTFD:
		uffd_register(open_userfaultfd(0),
			      page_at(start, UNSERVED_PAGE), 1,
			      UFFDIO_REGISTER_MODE_MISSING);
		fallthrough;
	case WAY_DEVICE:
		ioctl(device, HMM_MIRROR_RANGE, &args);
		break;
	case WAY_MIRROR:
		if (!ioctl(test, RANGE_FAULT_TEST_REGISTER, &mirror))
			ioctl(test, RANGE_FAULT_TEST_POPULATE, &populate);
		break;
	}
	_exit(1); /* Whatever this was, the request was not under way. */
}

static void kill_in_the_middle(struct __test_metadata *_metadata, __u32 call,
			       enum way way)
{
	/* The count is exact to a few hundred pages. */
	unsigned long wanted = way == WAY_USERFAULTFD ? UNSERVED_PAGE - 1000 :
							5000;
	double deadline = seconds_now() + 30;
	struct rusage usage;
	double begin;
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		be_killed(call, way);
	/* Once it has this much memory, the request is under way. */
	while (resident_pages_of(child) < wanted && seconds_now() < deadline)
		sleep_ms(5);
	EXPECT_LE(wanted, resident_pages_of(child));
	if (way == WAY_USERFAULTFD)
		sleep_ms(200);

	begin = seconds_now();
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, wait4(child, &status, 0, &usage));
	EXPECT_TRUE(WIFSIGNALED(status));
	/* It went on neither until it was served nor until it ran out of memory. */
	EXPECT_LT(wanted / 2, (unsigned long)usage.ru_minflt);
	EXPECT_GT(MAX_PAGES, usage.ru_minflt) {
		TH_LOG("killed after %ld faults", usage.ru_minflt);
	}
	EXPECT_GT(20, seconds_now() - begin);
}

TEST_F(control, kill)
{
	kill_in_the_middle(_metadata, self->call, WAY_RANGE);
}

FIXTURE(device)
{
	int fd;
	size_t page;
};

FIXTURE_SETUP(device)
{
	self->page = page_size();
	self->fd = open_device();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(device)
{
	close(self->fd);
}

TEST_F(device, kill)
{
	kill_in_the_middle(_metadata, 0, WAY_DEVICE);
}

TEST_F(device, kill_populate)
{
	kill_in_the_middle(_metadata, 0, WAY_MIRROR);
}

TEST_F(device, kill_while_waiting)
{
	kill_in_the_middle(_metadata, 0, WAY_USERFAULTFD);
}

struct asker {
	int fd;
	struct hmm_mirror_range_args args;
};

static void *ask_device(void *argument)
{
	struct asker *asker = argument;

	call_range(asker->fd, &asker->args);
	return NULL;
}

/* The same for a process that exits while one of its threads waits. */
TEST_F(device, exit_while_waiting)
{
	double begin;
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		char *start = map_anonymous(8);
		struct asker asker = {
			.fd = open_device(),
			.args = range_args(start, 8, HMM_MIRROR_RANGE_FAULT,
					   NULL, 0),
		};
		pthread_t thread;

		uffd_register(open_userfaultfd(0), start, 8,
			      UFFDIO_REGISTER_MODE_MISSING);
		pthread_create(&thread, NULL, ask_device, &asker);
		sleep_ms(200);
		_exit(7);
	}
	sleep_ms(100);
	begin = seconds_now();
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_GT(10, seconds_now() - begin);
	EXPECT_EQ(7, WEXITSTATUS(status));
}

TEST_F(device, deadline_of_userfaultfd)
{
	struct hmm_mirror_extent_info extents[8];
	struct hmm_mirror_range_args args;
	int uffd = open_userfaultfd(0);
	char *start = map_anonymous(8);
	double begin, took;

	if (uffd < 0)
		SKIP(return, NO_USERFAULTFD, strerror(errno));
	ASSERT_NE(NULL, start);
	ASSERT_TRUE(uffd_register(uffd, page_at(start, 4), 4,
				  UFFDIO_REGISTER_MODE_MISSING));
	args = range_args(start, 8, HMM_MIRROR_RANGE_FAULT |
			  HMM_MIRROR_RANGE_WRITE, extents, 8);
	/* Enough time for four faults, wherever this runs. */
	args.timeout_ms = 3000;
	begin = seconds_now();
	EXPECT_EQ(ETIMEDOUT, call_range(self->fd, &args));
	took = seconds_now() - begin;
	EXPECT_LE(1.5, took);
	EXPECT_GT(30, took);
	EXPECT_EQ(0, args.fault_addr);
	EXPECT_LE(4, args.nr_faults);
	EXPECT_GE((unsigned long)page_at(start, 4), args.next);
	EXPECT_LE(1500 * 1000000UL, args.nanoseconds);
	EXPECT_GE(took * 1e9, args.nanoseconds);
	EXPECT_EQ(4, count_mapped(start, 8));
}

/* One deadline for all of a long request, however many steps it takes. */
TEST_F(device, deadline_of_long_request)
{
	size_t npages = (64UL << 30) / self->page;
	struct hmm_mirror_range_args args;
	char *start = map_anonymous(npages);
	double begin, took;

	ASSERT_NE(NULL, start);
	args = range_args(start, npages, HMM_MIRROR_RANGE_FAULT |
			  HMM_MIRROR_RANGE_WRITE, NULL, 0);
	args.timeout_ms = 400;
	begin = seconds_now();
	EXPECT_EQ(ETIMEDOUT, call_range(self->fd, &args));
	took = seconds_now() - begin;
	EXPECT_LE(0.2, took);
	EXPECT_GT(10, took);
	EXPECT_LT(100, args.nr_faults);
	EXPECT_GE((__u64)(unsigned long)start + args.nr_faults * self->page,
		  args.next);
	munmap(start, npages * self->page);
}

/*
 * The memory of a process that has been killed and is not gone yet, after the OOM reaper:
 * process_mrelease() does what it does. What looks like a hole is none.
 */
TEST_F(device, reaped_memory)
{
	struct hmm_mirror_extent_info extents[8];
	char *start = map_anonymous(8);
	struct hmm_mirror_range_args args;
	int pidfd, status;
	pid_t child;

	ASSERT_NE(NULL, start);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		mark_pages(start, 8, 1);
		raise(SIGSTOP);
		_exit(1);
	}
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	pidfd = syscall(__NR_pidfd_open, child, 0);
	ASSERT_LE(0, pidfd);
	ASSERT_EQ(0, call_attach(self->fd, child));
	args = range_args(start, 8, 0, extents, 8);
	EXPECT_EQ(0, call_range(self->fd, &args));
	EXPECT_TRUE(extents[0].flags & HMM_MIRROR_EXTENT_VALID);

	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(PTRACE_EVENT_EXIT, status >> 16);
	if (syscall(__NR_process_mrelease, pidfd, 0)) {
		TH_LOG("process_mrelease: %s", strerror(errno));
		EXPECT_EQ(0, errno);
	} else {
		args = range_args(start, 8, 0, extents, 8);
		EXPECT_EQ(EFAULT, call_range(self->fd, &args));
		EXPECT_EQ(0, args.fault_addr);
		args = range_args(start, 8, HMM_MIRROR_RANGE_FAULT, extents, 8);
		EXPECT_EQ(EFAULT, call_range(self->fd, &args));
		EXPECT_EQ(0, args.nr_faults);
	}
	ptrace(PTRACE_DETACH, child, 0, 0);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	close(pidfd);
}

struct range_thread {
	int fd;
	struct hmm_mirror_range_args args;
	int error;
};

static void *run_range(void *argument)
{
	struct range_thread *range = argument;

	range->error = call_range(range->fd, &range->args);
	return NULL;
}

/*
 * The same while RANGE waits in a fault that has dropped mmap_lock: what it finds when it
 * has the lock again is not the process's memory any more. Where that had pages of its own,
 * a fault would bring in those of the file.
 */
TEST_F(device, reaped_while_it_waits)
{
	struct hmm_mirror_extent_info extents[8];
	size_t length = 4 * self->page;
	char *start = map_anonymous(8);
	char *source = map_anonymous(4);
	struct range_thread range = { .fd = self->fd };
	struct uffdio_copy copy;
	struct pollfd poll_uffd;
	int file = make_memfd(4);
	int pidfd, uffd, status;
	pthread_t thread;
	pid_t child;

	ASSERT_NE(NULL, start);
	ASSERT_NE(NULL, source);
	ASSERT_LE(0, file);
	mark_pages(source, 4, 9);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (mmap(start, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED, file, 0) != start)
			_exit(4);
		mark_pages(start, 4, 1);
		uffd = open_userfaultfd(0);
		if (uffd < 0)
			_exit(2);
		if (!uffd_register(uffd, page_at(start, 4), 4,
				   UFFDIO_REGISTER_MODE_MISSING) || dup2(uffd, 100) < 0)
			_exit(3);
		raise(SIGSTOP);
		_exit(1);
	}
	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACEEXIT));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	if (WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT) {
		ptrace(PTRACE_DETACH, child, 0, 0);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		SKIP(return, NO_USERFAULTFD, "of a child");
	}
	pidfd = syscall(__NR_pidfd_open, child, 0);
	ASSERT_LE(0, pidfd);
	/* The one that serves it is not the one that is killed. */
	uffd = syscall(__NR_pidfd_getfd, pidfd, 100, 0);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, call_attach(self->fd, child));

	range.args = range_args(start, 8, HMM_MIRROR_RANGE_FAULT, extents, 8);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_range, &range));
	poll_uffd = (struct pollfd){ .fd = uffd, .events = POLLIN };
	ASSERT_EQ(1, poll(&poll_uffd, 1, 30000));
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(PTRACE_EVENT_EXIT, status >> 16);
	EXPECT_EQ(0, syscall(__NR_process_mrelease, pidfd, 0));
	copy = (struct uffdio_copy){
		.dst = (unsigned long)page_at(start, 4),
		.src = (unsigned long)source,
		.len = length,
	};
	EXPECT_EQ(0, ioctl(uffd, UFFDIO_COPY, &copy));
	EXPECT_EQ(length, copy.copy);
	pthread_join(thread, NULL);
	EXPECT_EQ(EFAULT, range.error);
	EXPECT_EQ(0, range.args.fault_addr);
	/* Nothing has been faulted in, or reported, where the process had its pages. */
	EXPECT_GE(1, range.args.nr_faults);
	EXPECT_EQ(0, range.args.nr_extents);

	ptrace(PTRACE_DETACH, child, 0, 0);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	close(uffd);
	close(pidfd);
	close(file);
}

TEST_HARNESS_MAIN
