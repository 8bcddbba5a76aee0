// SPDX-License-Identifier: GPL-2.0
/*
 * The commands of dmirror on system memory, on every kernel; and their limits.
 */
#include "harness.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>

#include "dmirror_test.h"

#define NPAGES	64

FIXTURE(command)
{
	int fd;
	size_t page;
	char *start;
	char *buffer;
};

FIXTURE_SETUP(command)
{
	self->page = page_size();
	self->fd = open_dmirror(0);
	ASSERT_LE(0, self->fd);
	self->start = map_anonymous(NPAGES);
	ASSERT_NE(NULL, self->start);
	self->buffer = alloc_buffer(NPAGES);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(command)
{
	close(self->fd);
}

TEST_F(command, device_reads_what_the_cpu_wrote)
{
	struct hmm_dmirror_cmd result;

	mark_pages(self->start, NPAGES, 100);
	ASSERT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_READ, self->start,
				  NPAGES, self->buffer, &result));
	EXPECT_EQ(NPAGES, result.cpages);
	EXPECT_EQ(1, result.faults);
	EXPECT_TRUE(pages_are_marked(self->buffer, NPAGES, 100));

	/* What the CPU writes later is visible without another fault. */
	mark_pages(self->start, NPAGES, 200);
	ASSERT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_READ, self->start,
				  NPAGES, self->buffer, &result));
	EXPECT_EQ(0, result.faults);
	EXPECT_TRUE(pages_are_marked(self->buffer, NPAGES, 200));
}

TEST_F(command, cpu_reads_what_the_device_wrote)
{
	struct hmm_dmirror_cmd result;

	mark_pages(self->buffer, NPAGES, 300);
	ASSERT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_WRITE, self->start,
				  NPAGES, self->buffer, &result));
	EXPECT_EQ(NPAGES, result.cpages);
	EXPECT_EQ(1, result.faults);
	EXPECT_TRUE(pages_are_marked(self->start, NPAGES, 300));
}

TEST_F(command, device_loses_access_when_mappings_change)
{
	mark_pages(self->start, NPAGES, 100);
	ASSERT_EQ(0, device_write(self->fd, self->start, NPAGES, self->start));
	ASSERT_EQ(0, mprotect(self->start, NPAGES * self->page, PROT_READ));
	EXPECT_EQ(EPERM, device_write(self->fd, self->start, 1, self->buffer));
	EXPECT_EQ(0, device_read(self->fd, self->start, 1, self->buffer));
	ASSERT_EQ(0, mprotect(self->start, NPAGES * self->page, PROT_NONE));
	EXPECT_EQ(EFAULT, device_read(self->fd, self->start, 1, self->buffer));
	ASSERT_EQ(0, munmap(self->start, NPAGES * self->page));
	EXPECT_EQ(EFAULT, device_read(self->fd, self->start, 1, self->buffer));
}

/* The pages that are gone must not be found in the device's page table. */
TEST_F(command, device_sees_new_pages_after_madv_dontneed)
{
	size_t i;

	mark_pages(self->start, NPAGES, 100);
	ASSERT_EQ(0, device_read(self->fd, self->start, NPAGES, self->buffer));
	ASSERT_EQ(0, madvise(self->start, NPAGES * self->page, MADV_DONTNEED));
	ASSERT_EQ(0, device_read(self->fd, self->start, NPAGES, self->buffer));
	for (i = 0; i < NPAGES; i++)
		ASSERT_EQ(0, touch_page(page_at(self->buffer, i)));
}

/*
 * After MADV_FREE the CPU's entries are writable and clean. A device that writes through
 * them must say so, or the pages are dropped as if nobody had written.
 */
TEST_F(command, device_writes_are_not_dropped)
{
	const size_t length = NPAGES * self->page;
	char *dropped = map_anonymous(NPAGES);
	int attempt;

	if (!have_swap())
		SKIP(return, "without swap no page is written out");
	ASSERT_NE(NULL, dropped);
	mark_pages(self->start, NPAGES, 100);
	mark_pages(dropped, NPAGES, 100);
	ASSERT_EQ(0, madvise(self->start, length, MADV_FREE));
	ASSERT_EQ(0, madvise(dropped, length, MADV_FREE));
	mark_pages(self->buffer, NPAGES, 400);
	ASSERT_EQ(0, device_write(self->fd, self->start, NPAGES, self->buffer));

	/* Proof that it works: pages to which nobody wrote are dropped. */
	for (attempt = 0; attempt < 20 && count_mapped(dropped, NPAGES);
	     attempt++) {
		madvise(dropped, length, MADV_PAGEOUT);
		sleep_ms(50);
	}
	if (touch_page(dropped))
		SKIP(return, "the kernel has kept pages after MADV_FREE");
	swap_out(self->start, NPAGES);
	EXPECT_EQ(0, count_mapped(self->start, NPAGES));
	EXPECT_TRUE(pages_are_marked(self->start, NPAGES, 400));
}

/* It waits for missing pages, with mmap_lock released. */
static void *serve_userfaultfd(void *argument)
{
	int *uffd = argument;
	char *page = aligned_alloc(page_size(), page_size());
	struct uffd_msg message;
	struct pollfd events = { .fd = *uffd, .events = POLLIN };

	memset(page, 0xab, page_size());
	while (poll(&events, 1, 5000) == 1 &&
	       read(*uffd, &message, sizeof(message)) == sizeof(message)) {
		struct uffdio_copy copy = {
			.dst = message.arg.pagefault.address &
			       ~(page_size() - 1),
			.src = (unsigned long)page,
			.len = page_size(),
		};

		if (ioctl(*uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
			break;
	}
	free(page);
	return NULL;
}

TEST_F(command, read_unlocked_serves_userfaultfd)
{
	struct hmm_dmirror_cmd result;
	pthread_t thread;
	size_t i;
	int uffd;

	uffd = open_userfaultfd(0);
	if (uffd < 0)
		SKIP(return, "this kernel has no userfaultfd");
	ASSERT_TRUE(uffd_register(uffd, self->start, NPAGES,
				  UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, pthread_create(&thread, NULL, serve_userfaultfd, &uffd));
	ASSERT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_READ_UNLOCKED,
				  self->start, NPAGES, self->buffer, &result));
	EXPECT_EQ(NPAGES, result.cpages);
	for (i = 0; i < NPAGES * self->page; i++)
		ASSERT_EQ((char)0xab, self->buffer[i]);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	close(uffd);
}

/* Nobody answers: the process can still be killed. */
TEST_F(command, waiting_for_userfaultfd_is_killable)
{
	double deadline;
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd = open_dmirror(0);
		int uffd = open_userfaultfd(0);

		if (uffd < 0 ||
		    !uffd_register(uffd, self->start, NPAGES,
				   UFFDIO_REGISTER_MODE_MISSING))
			_exit(2);
		dmirror_call(fd, HMM_DMIRROR_READ_UNLOCKED, self->start, NPAGES,
			     self->buffer, NULL);
		_exit(1);
	}
	sleep_ms(500);
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
	ASSERT_EQ(0, kill(child, SIGKILL));
	deadline = seconds_now() + 20;
	while (waitpid(child, &status, WNOHANG) == 0) {
		ASSERT_LT(seconds_now(), deadline);
		sleep_ms(20);
	}
	EXPECT_TRUE(WIFSIGNALED(status));
}

TEST_F(command, refuses_what_makes_no_sense)
{
	static const unsigned long commands[] = {
		HMM_DMIRROR_READ, HMM_DMIRROR_WRITE,
		HMM_DMIRROR_MIGRATE_TO_DEV, HMM_DMIRROR_MIGRATE_TO_SYS,
		HMM_DMIRROR_SNAPSHOT, HMM_DMIRROR_EXCLUSIVE,
		HMM_DMIRROR_CHECK_EXCLUSIVE, HMM_DMIRROR_RELEASE,
		HMM_DMIRROR_READ_UNLOCKED,
	};
	const size_t all = ULONG_MAX / self->page;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		unsigned long command = commands[i];

		EXPECT_EQ(EINVAL, dmirror_call(self->fd, command,
					       self->start + 1, 1,
					       self->buffer, NULL));
		EXPECT_EQ(EINVAL, dmirror_call(self->fd, command, self->start,
					       0, self->buffer, NULL));
		EXPECT_EQ(EINVAL, dmirror_call(self->fd, command, self->start,
					       all, self->buffer, NULL));
		/* Wraps to a small number of bytes. */
		EXPECT_EQ(EINVAL, dmirror_call(self->fd, command, self->start,
					       all + 2, self->buffer, NULL));
		EXPECT_EQ(EINVAL, dmirror_call(self->fd, command, self->start,
					       ULONG_MAX, self->buffer, NULL));
	}
	EXPECT_EQ(EINVAL, dmirror_call(self->fd, HMM_DMIRROR_FLAGS, NULL,
				       ~HMM_DMIRROR_FLAG_FAIL_ALLOC, NULL,
				       NULL));
	EXPECT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_FLAGS, NULL, 0, NULL,
				  NULL));
	EXPECT_EQ(EINVAL, dmirror_call(self->fd, _IOWR('H', 0x0a,
						       struct hmm_dmirror_cmd),
				       self->start, 1, self->buffer, NULL));
	EXPECT_EQ(EFAULT, dmirror_call(self->fd, HMM_DMIRROR_READ, self->start,
				       1, NULL, NULL));
	EXPECT_EQ(EFAULT, dmirror_call(self->fd, HMM_DMIRROR_WRITE, self->start,
				       1, NULL, NULL));
	EXPECT_EQ(EFAULT, dmirror_call(self->fd, HMM_DMIRROR_SNAPSHOT,
				       self->start, 1, NULL, NULL));
}

/*
 * However much is asked for, kernel memory is used chunk by chunk. An array for all of it
 * would be more than there is: the error would be ENOMEM.
 */
TEST_F(command, memory_does_not_grow_with_the_request)
{
	const size_t huge = 1UL << 34; /* 64 TiB */

	/* The buffer ends after NPAGES pages: the command ends there, too. */
	EXPECT_EQ(EFAULT, dmirror_call(self->fd, HMM_DMIRROR_SNAPSHOT, NULL,
				       huge, self->buffer, NULL));
	EXPECT_EQ(EFAULT, device_read(self->fd, self->start, huge,
				      self->buffer));
	EXPECT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_CHECK_EXCLUSIVE, NULL,
				  huge, NULL, NULL));
}

/* Where the next multiple of anything is 0. */
TEST_F(command, top_of_the_address_space)
{
	char *last = (char *)(ULONG_MAX & ~(self->page - 1)) - self->page;

	EXPECT_EQ(EFAULT, device_read(self->fd, last, 1, self->buffer));
	EXPECT_EQ(EFAULT, device_write(self->fd, last, 1, self->buffer));
	EXPECT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_CHECK_EXCLUSIVE, last,
				  1, NULL, NULL));
	EXPECT_TRUE(all_pages_are(self->fd, last, 1, HMM_DMIRROR_PROT_ERROR));
}

TEST_F(command, mapping_of_the_device_is_bounded)
{
	void *mapping;

	mapping = mmap(NULL, 2 << 20, PROT_READ, MAP_SHARED, self->fd, 0);
	EXPECT_EQ(MAP_FAILED, mapping);
	mapping = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, mapping);
	EXPECT_TRUE(all_pages_are(self->fd, mapping, (1 << 20) / self->page,
				  HMM_DMIRROR_PROT_READ));
}

TEST_F(command, snapshot_has_no_side_effects)
{
	struct hmm_dmirror_cmd result;

	mark_pages(self->start, NPAGES / 2, 1);
	EXPECT_TRUE(all_pages_are(self->fd, self->start, NPAGES / 2,
				  HMM_DMIRROR_PROT_WRITE));
	EXPECT_TRUE(all_pages_are(self->fd, page_at(self->start, NPAGES / 2),
				  NPAGES / 2, HMM_DMIRROR_PROT_NONE));
	EXPECT_EQ(NPAGES / 2, count_mapped(self->start, NPAGES));
	/* And it has mapped nothing on the device. */
	ASSERT_EQ(0, dmirror_call(self->fd, HMM_DMIRROR_READ, self->start, 1,
				  self->buffer, &result));
	EXPECT_EQ(1, result.faults);
}

/* Without device memory, everything else works. */
TEST_F(command, refuses_migration_without_device_private)
{
	if (can_migrate(self->fd))
		SKIP(return, "this kernel has CONFIG_DEVICE_PRIVATE");
	mark_pages(self->start, NPAGES, 1);
	EXPECT_EQ(EOPNOTSUPP, dmirror_call(self->fd, HMM_DMIRROR_MIGRATE_TO_DEV,
					   self->start, 1, self->buffer, NULL));
	EXPECT_EQ(EOPNOTSUPP, dmirror_call(self->fd, HMM_DMIRROR_MIGRATE_TO_SYS,
					   self->start, 1, self->buffer, NULL));
	EXPECT_EQ(EOPNOTSUPP, dmirror_call(self->fd, HMM_DMIRROR_EXCLUSIVE,
					   self->start, 1, self->buffer, NULL));
	EXPECT_EQ(EOPNOTSUPP, dmirror_call(self->fd, HMM_DMIRROR_RELEASE,
					   self->start, 1, self->buffer, NULL));
	EXPECT_TRUE(pages_are_marked(self->start, NPAGES, 1));
	EXPECT_EQ(0, device_read(self->fd, self->start, NPAGES, self->buffer));
}

TEST_HARNESS_MAIN
