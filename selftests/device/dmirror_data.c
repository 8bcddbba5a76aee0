// SPDX-License-Identifier: GPL-2.0
/*
 * Data from end to end: what the CPU writes is read by the device and the other way
 * round, every byte of it, while pages move to device memory and back and, for lack of
 * memory, to swap. A memory cgroup causes the lack.
 */
#include "harness.h"

#include "dmirror_test.h"

/* More than fits into the cgroup; what is worked on at a time, and its buffer, do fit. */
#define TOTAL		(12UL << 20)
#define WINDOW		(2UL << 20)
#define LIMIT		(11UL << 20)
#define NO_WINDOWS	(TOTAL / WINDOW)

FIXTURE(data)
{
	int fds[2];
	unsigned int unit;
	size_t npages;	/* of a window */
	char *start;
	char *buffer;
	bool mounted;
};

FIXTURE_VARIANT(data)
{
	unsigned int unit;
	bool migrate;
	bool huge;
};

/* No device memory, on all kernels. */
FIXTURE_VARIANT_ADD(data, system)
{
	.unit = 0,
	.migrate = false,
	.huge = false,
};

FIXTURE_VARIANT_ADD(data, private)
{
	.unit = 0,
	.migrate = true,
	.huge = false,
};

FIXTURE_VARIANT_ADD(data, private_huge)
{
	.unit = 0,
	.migrate = true,
	.huge = true,
};

FIXTURE_VARIANT_ADD(data, coherent)
{
	.unit = 2,
	.migrate = true,
	.huge = false,
};

FIXTURE_SETUP(data)
{
	const char *reason;

	self->unit = variant->unit;
	self->npages = WINDOW / page_size();
	reason = open_devices(self->fds, variant->unit);
	if (reason && variant->migrate)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	ASSERT_LE(0, self->fds[1]);
	if (variant->huge && !can_migrate_huge(self->fds[0]))
		SKIP(return, NO_HUGE_DEVICE_PAGES);
	if (!have_swap())
		SKIP(return, "there is no swap");
	self->buffer = alloc_buffer(self->npages);
	ASSERT_NE(NULL, self->buffer);
	self->start = variant->huge ? map_huge_hole(TOTAL / pmd_size()) :
				      map_anonymous(TOTAL / page_size());
	ASSERT_NE(NULL, self->start);
	/*
	 * Not memory.max: while all pages are active, the kernel decides by counters up
	 * to two seconds old whether any must be made inactive (see inactive_is_low() in
	 * 6.12), and concludes that nothing can be paged out.
	 */
	self->mounted = enter_memory_cgroup("memory.high", LIMIT);
	if (!self->mounted)
		SKIP(return, "this kernel has no cgroup2 with a memory controller");
}

FIXTURE_TEARDOWN(data)
{
	if (self->mounted)
		leave_memory_cgroup();
	close(self->fds[0]);
	close(self->fds[1]);
}

/*
 * Each word says which page it is in, and which write it is from. All words of a page are
 * equal, which zram stores cheaply: this does not test zram.
 */
static unsigned long word_of(unsigned long writing, size_t window, size_t page)
{
	return (writing + 1) << 48 | window << 32 | page;
}

static void fill(char *start, unsigned long writing, size_t window)
{
	unsigned long *words = (unsigned long *)start;
	size_t per_page = page_size() / sizeof(*words);
	size_t i;

	for (i = 0; i < WINDOW / sizeof(*words); i++)
		words[i] = word_of(writing, window, i / per_page);
}

static bool holds(const char *start, unsigned long writing, size_t window)
{
	const unsigned long *words = (const unsigned long *)start;
	size_t per_page = page_size() / sizeof(*words);
	size_t i;

	for (i = 0; i < WINDOW / sizeof(*words); i++) {
		unsigned long word = word_of(writing, window, i / per_page);

		if (words[i] == word)
			continue;
		printf("# window %zu, byte %#zx: %#lx, not %#lx\n", window,
		       i * sizeof(*words), words[i], word);
		return false;
	}
	return true;
}

static char *window_at(char *start, size_t window)
{
	return start + window * WINDOW;
}

/*
 * Best effort: a swapped-out page is not migrated, and memory may run out. Where each
 * page is afterwards does not matter.
 */
static bool try_to_move(int fd, char *start, size_t npages, char *buffer,
			unsigned long *moved)
{
	unsigned char *bytes = malloc(npages);
	int error = dmirror_call(fd, HMM_DMIRROR_MIGRATE_TO_DEV, start, npages,
				 buffer, NULL);
	size_t i;

	if (!error || error == ENOENT || error == ENOMEM)
		error = take_snapshot(fd, start, npages, bytes);
	else
		printf("# migration: %s\n", strerror(error));
	for (i = 0; !error && i < npages; i++)
		*moved += (bytes[i] & 0x60) != 0;
	free(bytes);
	return !error;
}

static bool try_to_move_back(int fd, char *start, unsigned long *back)
{
	unsigned long moved;
	int error = move_to_system(fd, start, WINDOW / page_size(), &moved);

	*back += moved;
	if (error && error != ENOMEM)
		printf("# migration back: %s\n", strerror(error));
	return !error || error == ENOMEM;
}

/* The CPU's data, of writing @writing, to the device; then the device's back. */
static void use_window(struct __test_metadata *_metadata,
		       FIXTURE_DATA(data) *self, size_t window, int fd,
		       unsigned long writing, unsigned long *moved)
{
	char *start = window_at(self->start, window);

	/* However long it takes to swap pages in. */
	ASSERT_EQ(0, dmirror_call(fd, HMM_DMIRROR_READ_UNLOCKED, start,
				  self->npages, self->buffer, NULL));
	ASSERT_TRUE(holds(self->buffer, writing, window));
	if (moved)
		ASSERT_TRUE(try_to_move(fd, start, self->npages, self->buffer,
					moved));
	fill(self->buffer, writing + 1, window);
	ASSERT_EQ(0, device_write(fd, start, self->npages, self->buffer));
}

/*
 * Forwards, backwards, forwards: what was used last is still there, so that memory is
 * used and not only swap. Swapping takes most of the time on a debug kernel.
 */
TEST_F_TIMEOUT(data, end_to_end_under_pressure, 450)
{
	unsigned long moved = 0, back = 0, swapped;
	size_t window;

	for (window = 0; window < NO_WINDOWS; window++)
		fill(window_at(self->start, window), 0, window);
	for (window = NO_WINDOWS; window--;) {
		char *start = window_at(self->start, window);
		int fd = self->fds[window / 2 % 2];
		bool ok;

		use_window(_metadata, self, window, fd, 0,
			   variant->migrate ? &moved : NULL);
		/*
		 * Device memory is not swapped out, so pages must not stay there: they
		 * are asked for, or the CPU touches them.
		 */
		if (variant->migrate && window % 2)
			ok = try_to_move_back(fd, start, &back);
		else
			ok = holds(start, 1, window);
		ASSERT_TRUE(ok);
	}
	swapped = read_number(MEMORY_CGROUP "/memory.swap.current", 0) / page_size();
	for (window = 0; window < NO_WINDOWS; window++)
		ASSERT_TRUE(holds(window_at(self->start, window), 1, window));
	TH_LOG("%lu pages went to the device, %lu came back on request, %lu were in swap",
	       moved, back, swapped);
	EXPECT_LT(0, swapped);
	if (variant->migrate) {
		EXPECT_LT(0, moved);
		EXPECT_LT(0, back);
	}
}

TEST_HARNESS_MAIN
