// SPDX-License-Identifier: GPL-2.0
/*
 * More pages than the device has memory for. A program of its own because it takes long
 * on a kernel with many checks: it moves 256 MiB, page by page.
 */
#include "harness.h"

#include "dmirror_test.h"

/* The device's memory at first. */
#define CHUNK		(256UL << 20)

FIXTURE(capacity)
{
	int fds[2];
	size_t npages;
	char *start;
	char *buffer;
};

FIXTURE_VARIANT(capacity)
{
	unsigned int unit;
};

FIXTURE_VARIANT_ADD(capacity, private)
{
	.unit = 0,
};

FIXTURE_VARIANT_ADD(capacity, coherent)
{
	.unit = 2,
};

FIXTURE_SETUP(capacity)
{
	const char *reason = open_devices(self->fds, variant->unit);

	if (reason)
		SKIP(return, "%s", reason);
	ASSERT_LE(0, self->fds[0]);
	ASSERT_LE(0, self->fds[1]);
	self->npages = CHUNK / page_size() + 2 * pages_per_pmd();
	self->start = map_anonymous(self->npages);
	ASSERT_NE(NULL, self->start);
	self->buffer = alloc_buffer(self->npages);
	ASSERT_NE(NULL, self->buffer);
	mark_pages(self->start, self->npages, 1);
}

FIXTURE_TEARDOWN(capacity)
{
	close(self->fds[0]);
	close(self->fds[1]);
}

/*
 * Private memory, which exists only in name, grows when it is used up. Coherent memory
 * cannot: what does not fit stays where it is.
 */
TEST_F_TIMEOUT(capacity, more_than_fits, 450)
{
	size_t fit = is_coherent(variant->unit) ? CHUNK / page_size() :
						  self->npages;
	unsigned long moved;
	int error;

	error = dmirror_call(self->fds[0], HMM_DMIRROR_MIGRATE_TO_DEV,
			     self->start, self->npages, self->buffer, NULL);
	if (is_coherent(variant->unit)) {
		EXPECT_EQ(ENOENT, error);
	} else {
		EXPECT_EQ(0, error);
		EXPECT_TRUE(pages_are_marked(self->buffer, self->npages, 1));
	}
	ASSERT_EQ(0, move_to_system(self->fds[0], self->start, self->npages,
				    &moved));
	EXPECT_EQ(fit, moved);
	EXPECT_TRUE(pages_are_marked(self->start, self->npages, 1));
}

TEST_HARNESS_MAIN
