// SPDX-License-Identifier: GPL-2.0
/*
 * Exclusive access of a device to memory that stays where it is: while it lasts the CPU,
 * and everybody else, must ask, and nothing is lost when it ends, however it ends.
 */
#include "harness.h"

#include <pthread.h>

#include "dmirror_test.h"

FIXTURE(exclusive)
{
	int fd;
	size_t page;
	size_t npages;
	char *start;
	char *buffer;
};

FIXTURE_VARIANT(exclusive)
{
	bool huge;
};

FIXTURE_VARIANT_ADD(exclusive, pages)
{
	.huge = false,
};

FIXTURE_VARIANT_ADD(exclusive, huge_page)
{
	.huge = true,
};

static int make_exclusive(int fd, void *start, size_t npages, void *buffer)
{
	return dmirror_call(fd, HMM_DMIRROR_EXCLUSIVE, start, npages, buffer,
			    NULL);
}

/* EPERM while a page is exclusive, 0 when none is. */
static int check_exclusive(int fd, void *start, size_t npages)
{
	return dmirror_call(fd, HMM_DMIRROR_CHECK_EXCLUSIVE, start, npages,
			    NULL, NULL);
}

FIXTURE_SETUP(exclusive)
{
	self->page = page_size();
	self->npages = variant->huge ? pages_per_pmd() : 16;
	self->fd = open_dmirror(0);
	ASSERT_LE(0, self->fd);
	self->buffer = alloc_buffer(self->npages);
	ASSERT_NE(NULL, self->buffer);
	self->start = variant->huge ? map_huge(1) :
				      map_anonymous(self->npages);
	if (variant->huge && !self->start)
		SKIP(return, NO_HUGE_PAGES);
	ASSERT_NE(NULL, self->start);
	mark_pages(self->start, self->npages, 100);
	if (!can_migrate(self->fd))
		SKIP(return, NO_DEVICE_PRIVATE);
}

FIXTURE_TEARDOWN(exclusive)
{
	close(self->fd);
}

/* All pages are exclusive to the device, and it has written 200 ... to them. */
static void take_and_write(struct __test_metadata *_metadata,
			   FIXTURE_DATA(exclusive) *self)
{
	ASSERT_EQ(0, make_exclusive(self->fd, self->start, self->npages,
				    self->buffer));
	ASSERT_TRUE(pages_are_marked(self->buffer, self->npages, 100));
	mark_pages(self->buffer, self->npages, 200);
	ASSERT_EQ(0, device_write(self->fd, self->start, self->npages,
				  self->buffer));
	ASSERT_EQ(EPERM, check_exclusive(self->fd, self->start, self->npages));
}

/* The CPU has nothing mapped, and a snapshot neither shows the pages nor takes them. */
TEST_F(exclusive, is_exclusive)
{
	size_t i;

	take_and_write(_metadata, self);
	EXPECT_TRUE(all_pages_are(self->fd, self->start, self->npages,
				  HMM_DMIRROR_PROT_NONE));
	EXPECT_EQ(0, count_mapped(self->start, self->npages));
	for (i = 0; i < self->npages; i++)
		ASSERT_EQ(EPERM, check_exclusive(self->fd,
						 page_at(self->start, i), 1));
}

/* One page that the CPU reads is shared again, its neighbours are not. */
TEST_F(exclusive, ends_page_by_page)
{
	take_and_write(_metadata, self);
	EXPECT_EQ(205, touch_page(page_at(self->start, 5)));
	EXPECT_EQ(0, check_exclusive(self->fd, page_at(self->start, 5), 1));
	EXPECT_EQ(EPERM, check_exclusive(self->fd, page_at(self->start, 4), 1));
	EXPECT_EQ(EPERM, check_exclusive(self->fd, page_at(self->start, 6), 1));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
}

/* The device writes, the CPU writes, the device has to take it again. */
TEST_F(exclusive, can_be_had_again)
{
	take_and_write(_metadata, self);
	mark_pages(self->start, self->npages, 100);
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
	take_and_write(_metadata, self);
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
}

/* Another mirror has mapped the pages, loses them, and asks for them back. */
TEST_F(exclusive, other_mirrors_must_ask)
{
	int second = open_dmirror(0);
	struct hmm_dmirror_cmd result;

	ASSERT_LE(0, second);
	ASSERT_EQ(0, device_read(second, self->start, self->npages,
				 self->buffer));
	take_and_write(_metadata, self);
	ASSERT_EQ(0, dmirror_call(second, HMM_DMIRROR_READ, self->start,
				  self->npages, self->buffer, &result));
	EXPECT_EQ(1, result.faults);
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
	close(second);
}

/* Two mirrors want the same pages: one of them always has them, and sees all data. */
TEST_F(exclusive, goes_from_mirror_to_mirror)
{
	int fds[2] = { self->fd, open_dmirror(1) };
	unsigned int round;

	ASSERT_LE(0, fds[1]);
	for (round = 0; round < 6; round++) {
		int mine = fds[round % 2], other = fds[!(round % 2)];

		ASSERT_EQ(0, make_exclusive(mine, self->start, self->npages,
					    self->buffer));
		ASSERT_TRUE(pages_are_marked(self->buffer, self->npages,
					     100 + round));
		ASSERT_EQ(EPERM, check_exclusive(mine, self->start, 1));
		ASSERT_EQ(0, check_exclusive(other, self->start,
					     self->npages));
		mark_pages(self->buffer, self->npages, 101 + round);
		ASSERT_EQ(0, device_write(mine, self->start, self->npages,
					  self->buffer));
	}
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 106));
	close(fds[1]);
}

/* fork() gives the pages back, and both sides have the data. */
TEST_F(exclusive, fork)
{
	pid_t child;
	int status;

	take_and_write(_metadata, self);
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(!pages_are_marked(self->start, self->npages, 200));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));

	/* Pages shared for copy-on-write are copied before they become exclusive. */
	child = fork_sleeper();
	ASSERT_LT(0, child);
	ASSERT_EQ(0, make_exclusive(self->fd, self->start, self->npages,
				    self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	EXPECT_EQ(EPERM, check_exclusive(self->fd, self->start, 1));
	kill_and_wait(child);
}

TEST_F(exclusive, mapping_goes_away)
{
	size_t length = self->npages * self->page;

	take_and_write(_metadata, self);
	ASSERT_EQ(0, mprotect(self->start, length, PROT_READ));
	EXPECT_EQ(EPERM, device_write(self->fd, self->start, 1, self->buffer));
	EXPECT_EQ(EPERM, make_exclusive(self->fd, self->start, 1,
					self->buffer));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
	ASSERT_EQ(0, mprotect(self->start, length, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, make_exclusive(self->fd, self->start, self->npages,
				    self->buffer));
	ASSERT_EQ(0, madvise(self->start, length, MADV_DONTNEED));
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
	EXPECT_EQ(0, touch_page(self->start));
	ASSERT_EQ(0, make_exclusive(self->fd, self->start, self->npages,
				    self->buffer));
	ASSERT_EQ(0, munmap(self->start, length));
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
	EXPECT_EQ(EFAULT, make_exclusive(self->fd, self->start, 1,
					 self->buffer));
}

/* For this, pages in the device's own memory come to system memory, and go back. */
TEST_F(exclusive, meets_migration)
{
	ASSERT_EQ(0, move_to_device(self->fd, self->start, self->npages,
				    self->buffer));
	take_and_write(_metadata, self);
	EXPECT_EQ(0, count_mapped(self->start, self->npages));
	ASSERT_EQ(0, device_read(self->fd, self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
	ASSERT_EQ(0, move_to_device(self->fd, self->start, self->npages,
				    self->buffer));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
}

/* Closing the file gives everything back. */
TEST_F(exclusive, close)
{
	take_and_write(_metadata, self);
	ASSERT_EQ(0, close(self->fd));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
	self->fd = open_dmirror(0);
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, check_exclusive(self->fd, self->start, self->npages));
}

/*
 * The CPU keeps incrementing a number in a page while the device takes the page: no
 * increment is lost, and the device never sees more than there were.
 */
struct counting {
	unsigned long *counter;
	unsigned long increments;
	volatile bool stop;
};

static void *count_on_the_cpu(void *argument)
{
	struct counting *counting = argument;

	while (!counting->stop) {
		__atomic_fetch_add(&counting->counter[1], 1, __ATOMIC_SEQ_CST);
		counting->increments++;
		sched_yield();
	}
	return NULL;
}

TEST_F_TIMEOUT(exclusive, cpu_takes_it_back_all_the_time, 300)
{
	struct counting counting = { .counter = (void *)self->start };
	unsigned long taken = 0;
	double end = seconds_now() + 3;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, count_on_the_cpu,
				    &counting));
	while (seconds_now() < end) {
		int error = make_exclusive(self->fd, self->start, self->npages,
					   self->buffer);

		/* The page that came back while the next one was taken. */
		ASSERT_TRUE(!error || error == EBUSY || error == ENOENT);
		if (error)
			continue;
		taken++;
		ASSERT_LE(((unsigned long *)self->buffer)[1],
			  __atomic_load_n(&counting.counter[1],
					  __ATOMIC_SEQ_CST));
	}
	counting.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(counting.increments, counting.counter[1]);
	EXPECT_LT(0, counting.increments);
	TH_LOG("exclusive %lu times, against %lu increments", taken,
	       counting.increments);
}

TEST_HARNESS_MAIN
