// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory: who owns it, who may see it, and that everybody is told when a page
 * moves. hmm-tests do not test these. With one page each, and with huge pages where the
 * kernel moves them as a whole.
 */
#include "harness.h"

#include "dmirror_test.h"

FIXTURE(device_memory)
{
	int fds[2];
	unsigned int unit;
	size_t page;
	size_t npages;
	char *start;
	char *buffer;
	/* What snapshots say about the mapping's size. */
	unsigned char size;
};

FIXTURE_VARIANT(device_memory)
{
	unsigned int unit;
	bool huge;
};

FIXTURE_VARIANT_ADD(device_memory, private)
{
	.unit = 0,
	.huge = false,
};

FIXTURE_VARIANT_ADD(device_memory, private_huge)
{
	.unit = 0,
	.huge = true,
};

FIXTURE_VARIANT_ADD(device_memory, coherent)
{
	.unit = 2,
	.huge = false,
};

FIXTURE_SETUP(device_memory)
{
	const char *reason;

	self->unit = variant->unit;
	self->page = page_size();
	self->npages = variant->huge ? pages_per_pmd() : 16;
	self->size = variant->huge ? HMM_DMIRROR_PROT_PMD : 0;
	reason = open_devices(self->fds, variant->unit);
	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	ASSERT_LE(0, self->fds[1]);
	self->buffer = alloc_buffer(self->npages);
	ASSERT_NE(NULL, self->buffer);
	if (!variant->huge) {
		self->start = map_anonymous(self->npages);
		ASSERT_NE(NULL, self->start);
		return;
	}
	self->start = map_huge(1);
	if (!self->start)
		SKIP(return, NO_HUGE_PAGES);
	if (!can_migrate_huge(self->fds[0]))
		SKIP(return, NO_HUGE_DEVICE_PAGES);
}

FIXTURE_TEARDOWN(device_memory)
{
	close(self->fds[0]);
	close(self->fds[1]);
}

/* The pages are marked @mark and moved to the memory of the first device. */
static void move_marked_pages(struct __test_metadata *_metadata,
			      FIXTURE_DATA(device_memory) *self,
			      unsigned long mark)
{
	mark_pages(self->start, self->npages, mark);
	ASSERT_EQ(0, move_to_device(self->fds[0], self->start, self->npages,
				    self->buffer));
	ASSERT_TRUE(pages_are_marked(self->buffer, self->npages, mark));
	ASSERT_TRUE(all_pages_are(self->fds[0], self->start, self->npages,
				  local_page(self->unit) | self->size |
				  HMM_DMIRROR_PROT_WRITE));
}

/* A child that looks at the memory when told to, and exits 0 if it finds @mark. */
static pid_t fork_witness(char *start, size_t npages, unsigned long mark,
			  int *tell)
{
	int channel[2];
	pid_t child;
	char byte;

	if (pipe(channel))
		return -1;
	child = fork();
	if (child) {
		close(channel[0]);
		*tell = channel[1];
		return child;
	}
	close(channel[1]);
	if (read(channel[0], &byte, 1) != 1)
		_exit(2);
	_exit(!pages_are_marked(start, npages, mark));
}

static int witness_says(pid_t child, int tell)
{
	int status;

	if (write(tell, "", 1) != 1 || waitpid(child, &status, 0) != child)
		return -1;
	close(tell);
	return status;
}

/*
 * fork() makes the entries of the device's own private pages read-only. They must not be
 * the answer to a write request, which breaks copy-on-write. The kernel's own
 * hmm_range_fault() does return them.
 */
TEST_F(device_memory, own_read_only_page_is_copied_on_write)
{
	pid_t child;
	int tell;

	move_marked_pages(_metadata, self, 100);
	child = fork_witness(self->start, self->npages, 100, &tell);
	ASSERT_LT(0, child);
	/* fork() may split a huge mapping. */
	EXPECT_TRUE(all_pages_match(self->fds[0], self->start, self->npages,
				    ~HMM_DMIRROR_PROT_PMD,
				    local_page(self->unit) |
				    HMM_DMIRROR_PROT_READ));
	/* First mapped for reading on the device. */
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 100));

	mark_pages(self->buffer, self->npages, 200);
	ASSERT_EQ(0, device_write(self->fds[0], self->start, self->npages,
				  self->buffer));
	EXPECT_EQ(0, witness_says(child, tell));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
}

/* The page is never handed out; when asked for, it comes back to system memory. */
TEST_F(device_memory, of_another_owner_comes_back_to_be_read)
{
	unsigned char plain = HMM_DMIRROR_PROT_WRITE;

	move_marked_pages(_metadata, self, 100);
	if (is_coherent(self->unit))
		plain |= HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE;
	EXPECT_TRUE(all_pages_are(self->fds[1], self->start, self->npages,
				  is_coherent(self->unit) ? plain :
				  HMM_DMIRROR_PROT_NONE));
	/* A snapshot leaves it where it is. */
	EXPECT_TRUE(all_pages_are(self->fds[0], self->start, self->npages,
				  local_page(self->unit) | self->size |
				  HMM_DMIRROR_PROT_WRITE));

	/* One page in the middle first: the others of a huge page as well? */
	ASSERT_EQ(0, device_read(self->fds[1], page_at(self->start, 7), 1,
				 self->buffer));
	EXPECT_EQ(107, touch_page(self->buffer));

	ASSERT_EQ(0, device_read(self->fds[1], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 100));
	EXPECT_TRUE(all_pages_match(self->fds[1], self->start, self->npages,
				    ~HMM_DMIRROR_PROT_PMD, plain));
}

TEST_F(device_memory, of_another_owner_comes_back_to_be_written)
{
	move_marked_pages(_metadata, self, 100);
	mark_pages(self->buffer, self->npages, 200);
	ASSERT_EQ(0, device_write(self->fds[1], self->start, self->npages,
				  self->buffer));
	/* Not in the first device's memory any more, and it sees the new data. */
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
}

/* A freed page of this device is gone from its page table at once. */
TEST_F(device_memory, freed_while_mirrored)
{
	size_t length = self->npages * self->page;
	char *other;
	size_t i;

	move_marked_pages(_metadata, self, 100);
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	ASSERT_EQ(0, madvise(self->start, length, MADV_DONTNEED));

	/* Somebody else gets the device pages. */
	other = map_anonymous(self->npages);
	ASSERT_NE(NULL, other);
	mark_pages(other, self->npages, 500);
	ASSERT_EQ(0, move_to_device(self->fds[0], other, self->npages,
				    self->buffer));

	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	for (i = 0; i < self->npages; i++)
		ASSERT_EQ(0, touch_page(page_at(self->buffer, i)));

	mark_pages(self->buffer, self->npages, 600);
	ASSERT_EQ(0, device_write(self->fds[0], self->start, self->npages,
				  self->buffer));
	EXPECT_TRUE(pages_are_marked(other, self->npages, 500));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 600));

	ASSERT_EQ(0, munmap(self->start, length));
	EXPECT_EQ(EFAULT, device_read(self->fds[0], self->start, self->npages,
				      self->buffer));
}

/* One address space, opened twice: each is told of what the other moves. */
TEST_F(device_memory, two_mirrors_of_one_address_space)
{
	int second = open_dmirror(self->unit);

	ASSERT_LE(0, second);
	mark_pages(self->start, self->npages, 100);
	ASSERT_EQ(0, device_read(second, self->start, self->npages,
				 self->buffer));

	/* To the device, through the first; written to, only there. */
	ASSERT_EQ(0, move_to_device(self->fds[0], self->start, self->npages,
				    self->buffer));
	mark_pages(self->buffer, self->npages, 200);
	ASSERT_EQ(0, device_write(self->fds[0], self->start, self->npages,
				  self->buffer));
	ASSERT_EQ(0, device_read(second, self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	EXPECT_TRUE(all_pages_are(second, self->start, self->npages,
				  local_page(self->unit) | self->size |
				  HMM_DMIRROR_PROT_WRITE));

	/* And back, through the second; written to by the CPU. */
	ASSERT_EQ(0, move_to_system(second, self->start, self->npages, NULL));
	mark_pages(self->start, self->npages, 300);
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 300));
	ASSERT_EQ(0, device_read(second, self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 300));

	/* Closing a file takes away the other's memory, but not its data. */
	ASSERT_EQ(0, move_to_device(self->fds[0], self->start, self->npages,
				    self->buffer));
	ASSERT_EQ(0, close(second));
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 300));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 300));
}

/* A CPU fault belongs to no mirror: all of them are told. */
TEST_F(device_memory, cpu_fault_is_told_to_all_mirrors)
{
	int second = open_dmirror(self->unit);

	ASSERT_LE(0, second);
	move_marked_pages(_metadata, self, 100);
	ASSERT_EQ(0, device_read(second, self->start, self->npages,
				 self->buffer));
	mark_pages(self->start, self->npages, 200);
	ASSERT_EQ(0, device_read(second, self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 200));
	close(second);
}

/* One device, two address spaces, other data at the same addresses. */
static bool use_own_pages(unsigned int unit, char *start, size_t npages,
			  char *buffer, int ready, int proceed)
{
	int fd = open_dmirror(unit);
	char byte;

	/* Pages of its own, as huge as the parent's. */
	if (madvise(start, npages * page_size(), MADV_DONTNEED))
		return false;
	mark_pages(start, npages, 900);
	if (move_to_device(fd, start, npages, buffer))
		return false;
	mark_pages(buffer, npages, 950);
	if (device_write(fd, start, npages, buffer))
		return false;
	/* Now the parent moves its pages. */
	if (write(ready, "", 1) != 1 || read(proceed, &byte, 1) != 1)
		return false;
	return !device_read(fd, start, npages, buffer) &&
	       pages_are_marked(buffer, npages, 950) &&
	       pages_are_marked(start, npages, 950);
}

TEST_F(device_memory, one_device_two_address_spaces)
{
	int ready[2], proceed[2], status;
	pid_t child;
	char byte;

	mark_pages(self->start, self->npages, 0);
	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(proceed));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(!use_own_pages(self->unit, self->start, self->npages,
				     self->buffer, ready[1], proceed[0]));
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	move_marked_pages(_metadata, self, 100);
	ASSERT_EQ(1, write(proceed[1], "", 1));
	ASSERT_EQ(0, device_read(self->fds[0], self->start, self->npages,
				 self->buffer));
	EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 100));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* The child's end has evicted our pages, too. */
	EXPECT_TRUE(all_pages_match(self->fds[0], self->start, self->npages,
				    ~HMM_DMIRROR_PROT_PMD,
				    HMM_DMIRROR_PROT_WRITE));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 100));
}

/*
 * One mirror in two processes: an open file mirrors the address space of whoever opened
 * it, even for a child that has inherited it and has other data there.
 */
TEST_F(device_memory, inherited_file_mirrors_the_parent)
{
	pid_t child;
	int status;

	mark_pages(self->start, self->npages, 100);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		bool ok;

		mark_pages(self->start, self->npages, 900);
		ok = !device_read(self->fds[0], self->start, self->npages,
				  self->buffer) &&
		     pages_are_marked(self->buffer, self->npages, 100);
		mark_pages(self->buffer, self->npages, 200);
		/* What was written to is no longer shared with us. */
		ok = ok && !device_write(self->fds[0], self->start,
					 self->npages, self->buffer) &&
		     !move_to_device(self->fds[0], self->start, self->npages,
				     self->buffer) &&
		     pages_are_marked(self->buffer, self->npages, 200) &&
		     pages_are_marked(self->start, self->npages, 900);
		_exit(!ok);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* The child's exit has not closed the file: the pages are still there. */
	EXPECT_TRUE(all_pages_match(self->fds[0], self->start, self->npages,
				    ~HMM_DMIRROR_PROT_PMD,
				    local_page(self->unit) |
				    HMM_DMIRROR_PROT_WRITE));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
}

/* The device's memory can be taken away, and comes back. */
TEST_F(device_memory, release)
{
	move_marked_pages(_metadata, self, 100);
	ASSERT_EQ(0, dmirror_call(self->fds[0], HMM_DMIRROR_RELEASE,
				  self->start, 1, NULL, NULL));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 100));
	if (self->size) {
		self->start = map_huge(1);
		if (!self->start)
			SKIP(return, NO_HUGE_PAGES);
	}
	move_marked_pages(_metadata, self, 200);
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 200));
}

TEST_F(device_memory, moves_back_on_request)
{
	unsigned long moved;

	move_marked_pages(_metadata, self, 100);
	ASSERT_EQ(0, move_to_system(self->fds[0], self->start, self->npages,
				    &moved));
	EXPECT_EQ(self->npages, moved);
	EXPECT_EQ(self->npages, count_mapped(self->start, self->npages));
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 100));
	/* This device cannot move another device's memory. */
	ASSERT_EQ(0, move_to_device(self->fds[1], self->start, self->npages,
				    self->buffer));
	ASSERT_EQ(0, move_to_system(self->fds[0], self->start, self->npages,
				    &moved));
	EXPECT_EQ(0, moved);
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 100));
}

/* What was not there yet is zero in device memory, too. */
TEST_F(device_memory, holes_move_as_zeroes)
{
	size_t i;

	/* Device pages that held other data before. */
	move_marked_pages(_metadata, self, 100);
	ASSERT_EQ(0, madvise(self->start, self->npages * self->page,
			     MADV_DONTNEED));
	memset(self->buffer, 0xee, self->npages * self->page);
	ASSERT_EQ(0, move_to_device(self->fds[0], self->start, self->npages,
				    self->buffer));
	for (i = 0; i < self->npages * self->page; i++)
		ASSERT_EQ(0, self->buffer[i]);
	EXPECT_TRUE(all_pages_are(self->fds[0], self->start, self->npages,
				  local_page(self->unit) | self->size |
				  HMM_DMIRROR_PROT_WRITE));
	for (i = 0; i < self->npages; i++)
		ASSERT_EQ(0, touch_page(page_at(self->start, i)));
}

TEST_HARNESS_MAIN
