// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables with four and with five levels: either address space is served as a whole.
 * The number of levels depends on the CPU, the kernel and its command line (no5lvl), and
 * is determined before the module is asked.
 */
#include <cpuid.h>
#include <stddef.h>

#include "harness.h"
#include "device.h"
#include "memory.h"

/* The first address that needs five levels, and the first one beyond them */
#define FOUR_LEVELS_END	(1UL << 47)
#define FIVE_LEVELS_END	(1UL << 56)

#define MAX_EXTENTS	256

static bool cpu_has_la57(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) &&
	       (ecx & 1 << 16);
}

/* A kernel that can do both has a variable that says which. */
static bool kernel_has_five_levels(void)
{
	return file_has_word("/proc/kallsyms", "__pgtable_l5_enabled");
}

static bool five_levels_expected(void)
{
	return cpu_has_la57() && kernel_has_five_levels() &&
	       !file_has_word("/proc/cmdline", "no5lvl");
}

/* Whether the kernel hands out addresses that need five levels. */
static bool five_levels_here(void)
{
	char *start = mmap((void *)(FIVE_LEVELS_END - (2UL << 30)), page_size(),
			   PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool here;

	if (start == MAP_FAILED)
		return false;
	here = (unsigned long)start >= FOUR_LEVELS_END;
	munmap(start, page_size());
	return here;
}

FIXTURE(levels)
{
	int fd;
	unsigned long page;
	/* First address past what can be mapped */
	unsigned long end;
};

FIXTURE_SETUP(levels)
{
	self->page = page_size();
	self->fd = open_device();
	ASSERT_LE(0, self->fd) {
		TH_LOG("%s: %s", DEVICE, strerror(errno));
	}
	self->end = (five_levels_here() ? FIVE_LEVELS_END : FOUR_LEVELS_END) -
		    self->page;
}

FIXTURE_TEARDOWN(levels)
{
	close(self->fd);
}

TEST_F(levels, as_many_as_expected)
{
	TH_LOG("%d levels: the CPU %s five, the kernel %s, no5lvl was%s given",
	       five_levels_here() ? 5 : 4, cpu_has_la57() ? "has" : "has not",
	       kernel_has_five_levels() ? "too" : "has not",
	       file_has_word("/proc/cmdline", "no5lvl") ? "" : " not");
	EXPECT_EQ(five_levels_expected(), five_levels_here());
}

TEST_F(levels, info)
{
	struct hmm_mirror_info info;

	ASSERT_EQ(0, call_info(self->fd, &info));
	EXPECT_EQ(self->end, info.task_size);
}

/* Nothing is beyond the last address, with four levels or five. */
TEST_F(levels, beyond_the_end)
{
	struct hmm_mirror_extent_info extents[2];
	const unsigned long starts[] = {
		self->end, self->end - self->page, FIVE_LEVELS_END,
		FIVE_LEVELS_END - self->page, 1UL << 63, -2 * self->page,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		struct hmm_mirror_range_args args =
			range_args((void *)starts[i], 2, 0, extents, 2);
		__u32 id;

		EXPECT_EQ(EINVAL, call_range(self->fd, &args)) {
			TH_LOG("%#lx", starts[i]);
		}
		EXPECT_EQ(EINVAL, call_watch(self->fd, (void *)starts[i], 2,
					     &id)) {
			TH_LOG("%#lx", starts[i]);
		}
	}
}

/* Faults, extents and events at the very end, and on both sides of each border. */
TEST_F(levels, high_pages)
{
	/* Below the kernel's own mappings */
	unsigned long high = self->end + self->page - (4UL << 40);
	/*
	 * The end, borders of entries at each of four levels, the first address that
	 * needs five, and borders of the fifth level
	 */
	const unsigned long borders[] = {
		self->end, high + pmd_size(), high + (1UL << 30),
		high + (1UL << 39), FOUR_LEVELS_END / 2, FOUR_LEVELS_END,
		FIVE_LEVELS_END - (1UL << 48), FIVE_LEVELS_END / 2,
	};
	struct hmm_mirror_range_args args;
	struct hmm_mirror_extent_info extents[16];
	struct hmm_mirror_event event;
	unsigned int served = 0;
	size_t i, npages;
	char *start;
	__u32 id;

	for (i = 0; i < ARRAY_SIZE(borders); i++) {
		npages = borders[i] == self->end ? 4 : 8;
		start = (char *)borders[i] - 4 * self->page;
		if ((unsigned long)start + npages * self->page > self->end)
			continue;
		/* No mapping may cross the end of four levels. */
		if (borders[i] == FOUR_LEVELS_END)
			start += 4 * self->page;
		ASSERT_EQ(start, mmap(start, npages * self->page,
				      PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS |
				      MAP_FIXED_NOREPLACE, -1, 0)) {
			TH_LOG("%p: %s", start, strerror(errno));
		}
		madvise(start, npages * self->page, MADV_NOHUGEPAGE);
		ASSERT_EQ(0, call_watch(self->fd, start, npages, &id));
		args = range_args(start, npages,
				  HMM_MIRROR_RANGE_FAULT | HMM_MIRROR_RANGE_WRITE,
				  extents, ARRAY_SIZE(extents));
		EXPECT_EQ(0, call_range(self->fd, &args));
		EXPECT_EQ(args.end, args.next);
		EXPECT_EQ(npages, args.nr_faults);
		mark_pages(start, npages, i);
		args = range_args(start, npages, 0, extents,
				  ARRAY_SIZE(extents));
		EXPECT_EQ(0, call_range(self->fd, &args));
		ASSERT_LE(1, args.nr_extents);
		EXPECT_EQ((unsigned long)start, extents[0].addr);
		EXPECT_EQ(HMM_MIRROR_KIND_PRESENT, extents[0].kind);
		EXPECT_EQ(pfn_at(start), extents[0].pfn);
		EXPECT_EQ(0, munmap(start, npages * self->page));
		ASSERT_EQ((ssize_t)sizeof(event),
			  read(self->fd, &event, sizeof(event)));
		EXPECT_EQ(id, event.watch_id);
		EXPECT_EQ((unsigned long)start, event.start);
		EXPECT_EQ((unsigned long)start + npages * self->page,
			  event.end);
		while (poll(&(struct pollfd){ self->fd, POLLIN, 0 }, 1, 0) > 0)
			ASSERT_LT(0, read(self->fd, &event, sizeof(event)));
		ASSERT_EQ(0, call_unwatch(self->fd, id));
		served++;
	}
	EXPECT_EQ(five_levels_here() ? 8 : 5, served);
}

/*
 * The whole address space in one snapshot: in order, without gaps, with what is mapped at
 * its end, and with holes of any size as one step each.
 */
TEST_F(levels, all_of_it)
{
	static struct hmm_mirror_extent_info extents[MAX_EXTENTS];
	char *last = (char *)self->end - self->page;
	unsigned long next = 0;
	bool found = false;
	unsigned int i;

	ASSERT_EQ(last, mmap(last, self->page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			     -1, 0)) {
		TH_LOG("%s", strerror(errno));
	}
	mark_pages(last, 1, 1);
	while (next < self->end) {
		struct hmm_mirror_range_args args =
			range_args((void *)next, (self->end - next) / self->page,
				   0, extents, MAX_EXTENTS);

		ASSERT_EQ(0, call_range(self->fd, &args));
		ASSERT_LT(0, args.nr_extents);
		/* Not per page, of which there are 2^35 or more, nor per PMD. */
		ASSERT_GT(100000, args.nr_slots);
		for (i = 0; i < args.nr_extents; i++) {
			ASSERT_EQ(next, extents[i].addr);
			next += extents[i].npages * self->page;
			if (extents[i].addr != (unsigned long)last)
				continue;
			found = true;
			EXPECT_EQ(HMM_MIRROR_KIND_PRESENT, extents[i].kind);
			EXPECT_EQ(pfn_at(last), extents[i].pfn);
		}
		EXPECT_EQ(next, args.next);
	}
	EXPECT_EQ(self->end, next);
	EXPECT_TRUE(found);
	munmap(last, self->page);
}

TEST_HARNESS_MAIN
