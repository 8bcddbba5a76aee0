// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctl ABI of /dev/hmm_mirror: what it refuses, and that its answers are complete
 * however they are asked for.
 */
#include <linux/capability.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>

#include "harness.h"
#include "device.h"
#include "memory.h"

#define FAULT		HMM_MIRROR_RANGE_FAULT
#define FAULT_WRITE	(HMM_MIRROR_RANGE_FAULT | HMM_MIRROR_RANGE_WRITE)

#define MAX_EXTENTS	65536

static struct hmm_mirror_extent_info extents[MAX_EXTENTS];

/* Addresses that a program must not be able to make the kernel use. */
static const unsigned long bad_pointers[] = {
	0, 8, 0xffff888000000000UL, 0xffffffff81000000UL, 0xffffffffff600000UL,
	0x0000800000000000UL, 0x8000000000000000UL, -8UL,
};

/* The largest argument, and room for a longer one. */
union args {
	__u32 size;
	struct hmm_mirror_info info;
	struct hmm_mirror_attach attach;
	struct hmm_mirror_range_args range;
	struct hmm_mirror_watch_args watch;
	struct hmm_mirror_unwatch_args unwatch;
	struct hmm_mirror_stats stats;
	char bytes[16384];
};

FIXTURE(abi)
{
	int fd;
	size_t page;
	char *start; /* 16 pages; the even ones are there */
	union args *args;
};

FIXTURE_SETUP(abi)
{
	size_t i;

	self->page = page_size();
	self->fd = open_device();
	ASSERT_LE(0, self->fd);
	self->start = map_anonymous(16);
	ASSERT_NE(NULL, self->start);
	for (i = 0; i < 16; i += 2)
		mark_pages(page_at(self->start, i), 1, i);
	self->args = map_anonymous(sizeof(*self->args) / self->page);
	ASSERT_NE(NULL, self->args);
}

FIXTURE_TEARDOWN(abi)
{
	close(self->fd);
}

struct command {
	const char *name;
	unsigned long number;
	__u32 size;
	size_t reserved[3]; /* offsets of fields that must be zero */
	bool writes;
	__u32 first_size; /* the size that was published first, if it has grown */
};

static const struct command commands[] = {
	{ "INFO", HMM_MIRROR_INFO, sizeof(struct hmm_mirror_info),
	  { offsetof(struct hmm_mirror_info, reserved) }, true, 48 },
	{ "ATTACH", HMM_MIRROR_ATTACH, sizeof(struct hmm_mirror_attach),
	  { offsetof(struct hmm_mirror_attach, flags),
	    offsetof(struct hmm_mirror_attach, reserved) }, false, 0 },
	{ "RANGE", HMM_MIRROR_RANGE, sizeof(struct hmm_mirror_range_args),
	  { offsetof(struct hmm_mirror_range_args, reserved),
	    offsetof(struct hmm_mirror_range_args, reserved) + 4 }, true, 0 },
	{ "WATCH", HMM_MIRROR_WATCH, sizeof(struct hmm_mirror_watch_args),
	  { offsetof(struct hmm_mirror_watch_args, flags),
	    offsetof(struct hmm_mirror_watch_args, reserved) }, true, 0 },
	{ "UNWATCH", HMM_MIRROR_UNWATCH, sizeof(struct hmm_mirror_unwatch_args),
	  { offsetof(struct hmm_mirror_unwatch_args, flags),
	    offsetof(struct hmm_mirror_unwatch_args, reserved) }, false, 0 },
	{ "STATS", HMM_MIRROR_STATS, sizeof(struct hmm_mirror_stats),
	  { offsetof(struct hmm_mirror_stats, reserved) }, true, 0 },
};

#define NR_COMMANDS	ARRAY_SIZE(commands)

/* Fills in an argument that @command currently accepts. */
static void valid_args(FIXTURE_DATA(abi) *self, const struct command *command,
		       union args *args)
{
	__u32 id;

	memset(args, 0, command->size);
	switch (command->number) {
	case HMM_MIRROR_ATTACH:
		args->attach.pid = getpid();
		break;
	case HMM_MIRROR_RANGE:
		args->range = range_args(self->start, 16, 0, extents, 16);
		break;
	case HMM_MIRROR_WATCH:
		args->watch.start = (unsigned long)self->start;
		args->watch.end = args->watch.start + self->page;
		break;
	case HMM_MIRROR_UNWATCH:
		if (!call_watch(self->fd, self->start, 1, &id))
			args->unwatch.watch_id = id;
		break;
	}
	args->size = command->size;
}

/* Undoes what a call that succeeded did. */
static void undo(FIXTURE_DATA(abi) *self, const struct command *command,
		 const union args *args)
{
	if (command->number == HMM_MIRROR_WATCH)
		call_unwatch(self->fd, args->watch.watch_id);
}

static int call(FIXTURE_DATA(abi) *self, const struct command *command,
		void *args)
{
	return ioctl(self->fd, command->number, args) ? errno : 0;
}

#define EXPECT_CALL(expected, command, args) \
	expect_call(_metadata, self, __LINE__, expected, command, args)

static void expect_call(struct __test_metadata *_metadata,
			FIXTURE_DATA(abi) *self, int line, int expected,
			const struct command *command, void *args)
{
	EXPECT_EQ(expected, call(self, command, args)) {
		TH_LOG("line %d: %s", line, command->name);
	}
}

TEST_F(abi, valid)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		valid_args(self, &commands[i], self->args);
		EXPECT_CALL(0, &commands[i], self->args);
		undo(self, &commands[i], self->args);
	}
}

TEST_F(abi, info)
{
	struct hmm_mirror_info info;

	ASSERT_EQ(0, call_info(self->fd, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(HMM_MIRROR_ABI_VERSION, info.abi_version);
	EXPECT_EQ(page_size(), info.page_size);
	EXPECT_LT((unsigned long)&info, info.task_size);
	EXPECT_EQ(0, info.task_size % info.page_size);
	EXPECT_LE(1, info.max_watches);
	EXPECT_LE(1, info.max_events);
	EXPECT_LE(info.max_watches, info.max_watches_per_user);
	EXPECT_LE(info.max_events, info.max_events_per_user);
	EXPECT_TRUE(info.features & HMM_MIRROR_FEATURE_PFNS_VISIBLE);
	EXPECT_EQ(0, info.reserved);
	if (!access("/sys/kernel/mm/transparent_hugepage", F_OK)) {
		EXPECT_TRUE(info.features & HMM_MIRROR_FEATURE_THP);
		EXPECT_EQ(pmd_order(), info.pmd_order);
	}
	if (!access("/sys/kernel/mm/hugepages", F_OK))
		EXPECT_TRUE(info.features & HMM_MIRROR_FEATURE_HUGETLB);
	if (!access("/proc/swaps", F_OK))
		EXPECT_TRUE(info.features & HMM_MIRROR_FEATURE_SWAP);
	if (!access("/sys/devices/system/node", F_OK))
		EXPECT_TRUE(info.features & HMM_MIRROR_FEATURE_NUMA);
}

TEST_F(abi, unknown_number)
{
	static const unsigned long numbers[] = {
		_IO(HMM_MIRROR_IOCTL_TYPE, 0x06),
		_IO(HMM_MIRROR_IOCTL_TYPE, 0xff),
		_IOWR(HMM_MIRROR_IOCTL_TYPE, 0x00, struct hmm_mirror_info),
		_IOR(HMM_MIRROR_IOCTL_TYPE, 0x05, struct hmm_mirror_stats),
		_IO(0xE1, 0x00), 0, ~0UL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		errno = 0;
		EXPECT_EQ(-1, ioctl(self->fd, numbers[i], self->args));
		EXPECT_EQ(ENOTTY, errno) {
			TH_LOG("%#lx", numbers[i]);
		}
	}
}

/* It is a stream of events and nothing else. */
TEST_F(abi, other_file_operations)
{
	char byte = 0;

	EXPECT_EQ(-1, write(self->fd, &byte, 1));
	EXPECT_EQ(-1, pread(self->fd, self->args, 4096, 0));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_SET));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, self->page, PROT_READ, MAP_SHARED,
				   self->fd, 0));
}

/* Sizes: too short, the first published one, and longer ones of a newer program. */
TEST_F(abi, struct_size)
{
	static const __u32 huge[] = { 4097, 8192, 1U << 20, 1U << 31, ~0U };
	char *at_end;
	size_t i, j;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *command = &commands[i];
		__u32 first_size = command->first_size ?: command->size;

		for (j = 0; j < first_size; j++) {
			valid_args(self, command, self->args);
			self->args->size = j;
			EXPECT_CALL(EINVAL, command, self->args);
		}
		/* An older program's: not a byte beyond it is written. */
		for (; j < command->size; j++) {
			valid_args(self, command, self->args);
			self->args->size = j;
			memset(self->args->bytes + j, 0x5a, command->size - j);
			EXPECT_CALL(0, command, self->args);
			EXPECT_EQ(0x5a, (unsigned char)self->args->bytes[j]);
			EXPECT_EQ(command->size, self->args->size);
			undo(self, command, self->args);
		}
		/* Longer, with zeroes. */
		for (j = command->size; j <= 4096; j += 511) {
			valid_args(self, command, self->args);
			self->args->size = j;
			memset(self->args->bytes + command->size, 0,
			       4096 - command->size);
			EXPECT_CALL(0, command, self->args);
			undo(self, command, self->args);
		}
		/* Longer, with something that this kernel does not know. */
		for (j = command->size + 1; j <= 4096; j += 333) {
			valid_args(self, command, self->args);
			self->args->size = j;
			memset(self->args->bytes + command->size, 0,
			       4096 - command->size);
			self->args->bytes[j - 1] = 1;
			EXPECT_CALL(E2BIG, command, self->args);
		}
		for (j = 0; j < ARRAY_SIZE(huge); j++) {
			valid_args(self, command, self->args);
			memset(self->args->bytes + command->size, 0,
			       sizeof(*self->args) - command->size);
			self->args->size = huge[j];
			EXPECT_CALL(E2BIG, command, self->args);
		}
		/* Bytes that are not there. */
		at_end = (char *)self->args + sizeof(*self->args) -
			 command->size;
		valid_args(self, command, (void *)at_end);
		EXPECT_CALL(0, command, at_end);
		undo(self, command, (void *)at_end);
		valid_args(self, command, (void *)at_end);
		*(__u32 *)at_end = command->size + 8;
		EXPECT_CALL(EFAULT, command, at_end);
	}
}

/* A newer program's struct: the kernel does not touch what it does not know. */
TEST_F(abi, longer_struct_out)
{
	memset(self->args, 0, 4096);
	self->args->size = sizeof(self->args->info) + 64;
	ASSERT_EQ(0, ioctl(self->fd, HMM_MIRROR_INFO, self->args));
	EXPECT_EQ(sizeof(self->args->info), self->args->size);
	EXPECT_EQ(0, self->args->bytes[sizeof(self->args->info)]);
	memset(self->args, 0, 4096);
	self->args->size = sizeof(self->args->stats) + 64;
	ASSERT_EQ(0, ioctl(self->fd, HMM_MIRROR_STATS, self->args));
	EXPECT_EQ(sizeof(self->args->stats), self->args->size);
}

TEST_F(abi, reserved_fields)
{
	size_t i, j, k;

	for (i = 0; i < NR_COMMANDS; i++) {
		for (j = 0; j < 3 && commands[i].reserved[j]; j++) {
			for (k = 2; k < 32; k += 7) {
				__u32 *field;

				valid_args(self, &commands[i], self->args);
				field = (void *)(self->args->bytes +
						 commands[i].reserved[j]);
				*field = 1U << k;
				EXPECT_CALL(EINVAL, &commands[i], self->args);
			}
		}
	}
}

TEST_F(abi, bad_argument_pointer)
{
	size_t i, j;

	for (i = 0; i < NR_COMMANDS; i++) {
		for (j = 0; j < ARRAY_SIZE(bad_pointers);
		     j++)
			EXPECT_CALL(EFAULT, &commands[i],
				    (void *)bad_pointers[j]);
		/* The memory of its last bytes is missing. */
		valid_args(self, &commands[i], self->args);
		memcpy((char *)self->args + sizeof(*self->args) - 8, self->args,
		       8);
		EXPECT_CALL(EFAULT, &commands[i],
			    (char *)self->args + sizeof(*self->args) - 8);
		EXPECT_CALL(EFAULT, &commands[i],
			    (char *)self->args + sizeof(*self->args) - 2);
	}
}

/* If the answer cannot be written, the call fails and has done nothing. */
TEST_F(abi, read_only_argument)
{
	struct hmm_mirror_stats before, after;
	size_t i;

	ASSERT_EQ(0, call_stats(self->fd, &before));
	for (i = 0; i < NR_COMMANDS; i++) {
		if (!commands[i].writes)
			continue;
		valid_args(self, &commands[i], self->args);
		ASSERT_EQ(0, mprotect(self->args, sizeof(*self->args),
				      PROT_READ));
		EXPECT_CALL(EFAULT, &commands[i], self->args);
		ASSERT_EQ(0, mprotect(self->args, sizeof(*self->args),
				      PROT_READ | PROT_WRITE));
	}
	ASSERT_EQ(0, call_stats(self->fd, &after));
	EXPECT_EQ(before.subscriptions, after.subscriptions);
}

/* RANGE */

/* A range whose pages are alternately there and not: as many extents. */
static char *map_stripes(size_t npages)
{
	char *start = map_anonymous(npages);
	size_t i;

	for (i = 0; start && i < npages; i += 2)
		mark_pages(page_at(start, i), 1, i);
	return start;
}

TEST_F(abi, range_snapshot)
{
	struct hmm_mirror_range_args args =
		range_args(self->start, 16, 0, extents, MAX_EXTENTS);
	size_t i;

	/* Output fields are written, whatever they contained. */
	args.next = ~0ULL;
	args.fault_addr = ~0ULL;
	args.nr_faults = ~0ULL;
	args.nr_walks = ~0ULL;
	args.nr_restarts = ~0ULL;
	args.nr_slots = ~0ULL;
	args.nanoseconds = ~0ULL;
	memset(extents, 0xff, sizeof(extents[0]) * 17);
	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(args.end, args.next);
	EXPECT_EQ(0, args.fault_addr);
	EXPECT_EQ(0, args.nr_faults);
	EXPECT_EQ(1, args.nr_walks);
	EXPECT_EQ(16, args.nr_slots);
	EXPECT_GT(10000000000ULL, args.nanoseconds);
	ASSERT_EQ(16, args.nr_extents);
	for (i = 0; i < 16; i++) {
		bool there = i % 2 == 0;

		EXPECT_EQ((unsigned long)page_at(self->start, i),
			  extents[i].addr);
		EXPECT_EQ(1, extents[i].npages);
		EXPECT_EQ(pfn_at(page_at(self->start, i)), extents[i].pfn);
		EXPECT_EQ(there ? HMM_MIRROR_EXTENT_VALID |
				  HMM_MIRROR_EXTENT_WRITE : 0,
			  extents[i].flags);
		EXPECT_EQ(there ? HMM_MIRROR_KIND_PRESENT :
				  HMM_MIRROR_KIND_NONE, extents[i].kind);
		EXPECT_EQ(0, extents[i].order);
		EXPECT_EQ(there, extents[i].node >= 0);
		EXPECT_EQ(0, extents[i].reserved);
		EXPECT_EQ(0, extents[i].reserved_2);
	}
	/* Unused elements are not touched. */
	EXPECT_EQ(~0ULL, extents[16].addr);
	EXPECT_EQ(8, count_mapped(self->start, 16));
}

TEST_F(abi, range_fault)
{
	struct hmm_mirror_range_args args =
		range_args(self->start, 16, FAULT, extents, MAX_EXTENTS);

	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(8, args.nr_faults);
	ASSERT_EQ(16, args.nr_extents);
	EXPECT_EQ(HMM_MIRROR_KIND_ZERO, extents[1].kind);
	EXPECT_EQ(HMM_MIRROR_EXTENT_VALID, extents[1].flags);
	EXPECT_TRUE(is_zero_page(page_at(self->start, 1)));

	/* To fault without a report. */
	args = range_args(self->start, 16, FAULT_WRITE, NULL, 0);
	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(8, args.nr_faults);
	EXPECT_EQ(args.end, args.next);
	EXPECT_EQ(0, args.nr_extents);
	EXPECT_FALSE(is_zero_page(page_at(self->start, 1)));
}

TEST_F(abi, range_bad_range)
{
	unsigned long start = (unsigned long)self->start;
	unsigned long page = self->page;
	struct hmm_mirror_range_args args;
	struct hmm_mirror_info info;
	unsigned long ranges[][2] = {
		{ start + 1, start + page }, { start, start + page - 1 },
		{ start + 8, start + page + 8 }, { start, start },
		{ start + page, start }, { start, 0 }, { -page, 0 },
		{ start, ~0UL }, { start, -page }, { 0, -page },
		{ 0x8000000000000000UL, 0x8000000000001000UL },
		{ 0xffff888000000000UL, 0xffff888000001000UL },
		{ 0, 0 }, { 0, 0 },
	};
	size_t i;

	ASSERT_EQ(0, call_info(self->fd, &info));
	ranges[12][0] = info.task_size - page;
	ranges[12][1] = info.task_size + page;
	ranges[13][0] = info.task_size;
	ranges[13][1] = info.task_size + page;
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		args = range_args(self->start, 16, FAULT, extents, 16);
		args.start = ranges[i][0];
		args.end = ranges[i][1];
		EXPECT_EQ(EINVAL, call_range(self->fd, &args)) {
			TH_LOG("%#lx-%#lx", ranges[i][0], ranges[i][1]);
		}
	}
	EXPECT_EQ(8, count_mapped(self->start, 16));

	/* The last possible page is fine. */
	args = range_args(NULL, 0, 0, extents, 16);
	args.start = info.task_size - page;
	args.end = info.task_size;
	EXPECT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(1, args.nr_extents);
	EXPECT_EQ(HMM_MIRROR_KIND_NO_VMA, extents[0].kind);
	EXPECT_EQ(HMM_MIRROR_EXTENT_ERROR, extents[0].flags);
}

TEST_F(abi, range_bad_flags)
{
	struct hmm_mirror_range_args args;
	unsigned int i;

	for (i = 2; i < 32; i++) {
		args = range_args(self->start, 16, 1U << i, extents, 16);
		EXPECT_EQ(EINVAL, call_range(self->fd, &args));
		args.flags |= FAULT_WRITE;
		EXPECT_EQ(EINVAL, call_range(self->fd, &args));
	}
	/* WRITE says how to fault, not whether to. */
	args = range_args(self->start, 16, HMM_MIRROR_RANGE_WRITE, extents, 16);
	EXPECT_EQ(EINVAL, call_range(self->fd, &args));
	/* Nothing to fault in and nothing to report. */
	args = range_args(self->start, 16, 0, NULL, 0);
	EXPECT_EQ(EINVAL, call_range(self->fd, &args));
	EXPECT_EQ(8, count_mapped(self->start, 16));
}

TEST_F(abi, range_bad_array)
{
	struct hmm_mirror_range_args args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_pointers); i++) {
		args = range_args(self->start, 16, 0, (void *)bad_pointers[i],
				  16);
		EXPECT_EQ(EFAULT, call_range(self->fd, &args)) {
			TH_LOG("%#lx", bad_pointers[i]);
		}
		EXPECT_EQ(0, args.fault_addr);
	}
	/* An array that wraps around. */
	args = range_args(self->start, 16, 0, (void *)extents, ~0U);
	EXPECT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(16, args.nr_extents);
	args = range_args(self->start, 16, 0, (void *)-64UL, ~0U);
	EXPECT_EQ(EFAULT, call_range(self->fd, &args));

	/* Read-only memory. */
	ASSERT_EQ(0, mprotect(self->args, sizeof(*self->args), PROT_READ));
	args = range_args(self->start, 16, 0, (void *)self->args, 16);
	EXPECT_EQ(EFAULT, call_range(self->fd, &args));
	EXPECT_EQ(0, args.fault_addr);
}

/*
 * An array of which only the beginning exists: what the call says it has filled is
 * filled, and covers everything up to next.
 */
TEST_F(abi, range_array_ends)
{
	size_t npages = 2000;
	char *start = map_stripes(npages);
	size_t room[] = { 0, 1, 100, 255, 256, 300, 511, 512, 1000, 1999 };
	struct hmm_mirror_extent_info *array;
	struct hmm_mirror_range_args args;
	size_t array_pages = npages * sizeof(*array) / self->page + 1;
	char *memory = map_anonymous(array_pages);
	size_t i, j;

	ASSERT_NE(NULL, start);
	ASSERT_NE(NULL, memory);
	for (i = 0; i < ARRAY_SIZE(room); i++) {
		array = (void *)(memory + array_pages * self->page -
				 room[i] * sizeof(*array));
		args = range_args(start, npages, 0, array, npages);
		EXPECT_EQ(EFAULT, call_range(self->fd, &args));
		EXPECT_EQ(0, args.fault_addr);
		EXPECT_GE(room[i], args.nr_extents);
		EXPECT_EQ(args.start + args.nr_extents * self->page, args.next);
		for (j = 0; j < args.nr_extents && j < room[i]; j++) {
			if (array[j].addr != args.start + j * self->page)
				EXPECT_EQ(-1, (long)j);
		}
	}
}

/*
 * Arrays that are too small: each call continues where the previous one stopped, and
 * together they say what one call says.
 */
TEST_F_TIMEOUT(abi, range_small_array, 450)
{
	static struct hmm_mirror_extent_info whole[4096];
	static const __u32 capacities[] = { 1, 2, 3, 100, 255, 256, 257, 1000 };
	size_t npages = 3000;
	char *start = map_stripes(npages);
	struct hmm_mirror_range_args args;
	__u32 nr_whole;
	size_t i;

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, munmap(page_at(start, 700), 10 * self->page));
	args = range_args(start, npages, 0, whole, 4096);
	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(args.end, args.next);
	nr_whole = args.nr_extents;
	EXPECT_LT(2900, nr_whole);

	for (i = 0; i < ARRAY_SIZE(capacities); i++) {
		__u32 nr = 0;

		args = range_args(start, npages, 0, NULL, 0);
		while (args.start < args.end) {
			ASSERT_GT(4096, nr);
			args.extents = (unsigned long)&extents[nr];
			args.nr_extents = capacities[i];
			ASSERT_EQ(0, call_range(self->fd, &args));
			ASSERT_LT(args.start, args.next);
			if (args.next < args.end)
				EXPECT_EQ(capacities[i], args.nr_extents);
			EXPECT_EQ(args.start, extents[nr].addr);
			nr += args.nr_extents;
			args.start = args.next;
		}
		EXPECT_EQ(nr_whole, nr);
		EXPECT_EQ(0, memcmp(whole, extents, nr * sizeof(*whole)));
	}
}

/* Parts of the address space that have mappings, from /proc/self/maps. */
struct mapped_part {
	unsigned long start;
	unsigned long end;
};

#define MAX_PARTS	256

/*
 * Mappings without a gap between them form one part. Returns how many parts there are
 * below @limit, 0 if it cannot tell; the file stays open, since closing it can change
 * what is mapped.
 */
static size_t read_mapped_parts(struct mapped_part *parts, unsigned long limit,
				FILE **maps)
{
	unsigned long start, end;
	char line[1024];
	size_t nr = 0;

	*maps = fopen("/proc/self/maps", "r");
	if (!*maps)
		return 0;
	while (fgets(line, sizeof(line), *maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) != 2)
			return 0;
		if (start >= limit)
			break; /* [vsyscall] */
		if (nr && parts[nr - 1].end == start) {
			parts[nr - 1].end = end;
			continue;
		}
		if (nr == MAX_PARTS)
			return 0;
		parts[nr].start = start;
		parts[nr++].end = end;
	}
	return nr;
}

/* The whole address space: no gaps, and mappings are where maps has them. */
TEST_F(abi, range_whole_address_space)
{
	static struct mapped_part parts[MAX_PARTS + 1];
	struct hmm_mirror_range_args args = {
		.size = sizeof(args),
		.extents = (unsigned long)extents,
		.nr_extents = MAX_EXTENTS,
	};
	unsigned long start, end, expected = 0;
	struct hmm_mirror_info info;
	size_t nr_parts, part = 0;
	FILE *maps;
	__u32 i;

	ASSERT_EQ(0, call_info(self->fd, &info));
	args.end = info.task_size;
	nr_parts = read_mapped_parts(parts, args.end, &maps);
	ASSERT_LE(2, nr_parts);
	ASSERT_EQ(0, call_range(self->fd, &args));
	fclose(maps);
	EXPECT_EQ(args.end, args.next);
	parts[nr_parts].start = args.end;
	parts[nr_parts].end = ~0UL;
	for (i = 0; i < args.nr_extents; i++) {
		start = extents[i].addr;
		end = start + extents[i].npages * self->page;
		EXPECT_EQ(expected, start);
		expected = end;
		while (parts[part].end <= start)
			part++;
		if (extents[i].kind == HMM_MIRROR_KIND_NO_VMA) {
			/* The whole gap before the part. */
			EXPECT_EQ(part ? parts[part - 1].end : 0, start);
			EXPECT_EQ(parts[part].start, end);
		} else {
			EXPECT_LE(parts[part].start, start);
			EXPECT_GE(parts[part].end, end) {
				TH_LOG("extent %#lx-%#lx, mappings %#lx-%#lx",
				       start, end, parts[part].start,
				       parts[part].end);
			}
		}
	}
	EXPECT_EQ(args.end, expected);
}

/* The array may be part of what it describes. */
TEST_F(abi, range_of_array)
{
	size_t npages = sizeof(extents) / self->page;
	char *start = (char *)((unsigned long)extents & -self->page);
	struct hmm_mirror_range_args args =
		range_args(start, npages, FAULT_WRITE, extents, MAX_EXTENTS);
	pid_t child = fork_sleeper();

	ASSERT_LT(0, child);
	args.timeout_ms = 20000;
	EXPECT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(args.end, args.next);
	kill_and_wait(child);
}

/* The errors of a request, with the address, and with what precedes it. */
TEST_F(abi, range_errors)
{
	size_t npages = 1000;
	char *start = map_stripes(npages);
	struct hmm_mirror_range_args args;
	unsigned long failing = (unsigned long)page_at(start, 601);
	unsigned long expected;
	__u32 i;

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, mprotect((void *)failing, self->page, PROT_READ));
	args = range_args(start, npages, FAULT_WRITE, extents, MAX_EXTENTS);
	EXPECT_EQ(EPERM, call_range(self->fd, &args));
	EXPECT_EQ(failing, args.fault_addr);
	EXPECT_GE(failing, args.next);
	EXPECT_LE(300, args.nr_faults);
	expected = (unsigned long)start;
	for (i = 0; i < args.nr_extents; i++) {
		EXPECT_EQ(expected, extents[i].addr);
		expected += extents[i].npages * self->page;
		EXPECT_EQ(HMM_MIRROR_EXTENT_VALID | HMM_MIRROR_EXTENT_WRITE,
			  extents[i].flags);
	}
	EXPECT_EQ(expected, args.next);
	EXPECT_EQ(601, count_mapped(start, 601));
	EXPECT_FALSE(is_mapped(page_at(start, 603)));

	ASSERT_EQ(0, mprotect((void *)failing, self->page, PROT_NONE));
	args = range_args(start, npages, FAULT, extents, MAX_EXTENTS);
	EXPECT_EQ(EFAULT, call_range(self->fd, &args));
	EXPECT_EQ(failing, args.fault_addr);
	ASSERT_EQ(0, munmap((void *)failing, self->page));
	args = range_args(start, npages, FAULT, NULL, 0);
	EXPECT_EQ(EFAULT, call_range(self->fd, &args));
	EXPECT_EQ(failing, args.fault_addr);
	EXPECT_GE(failing, args.next);
	args = range_args(start, npages, 0, extents, MAX_EXTENTS);
	EXPECT_EQ(0, call_range(self->fd, &args));
}

/* The longest possible timeout has not passed yet. */
TEST_F(abi, range_long_timeout)
{
	static const __u32 timeouts[] = { 10000, 0x7fffffff, 0x80000000, ~0U };
	struct hmm_mirror_range_args args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(timeouts); i++) {
		args = range_args(self->start, 16, FAULT, extents, 16);
		args.timeout_ms = timeouts[i];
		EXPECT_EQ(0, call_range(self->fd, &args));
	}
}

/* WATCH, UNWATCH, read() */

TEST_F(abi, watch_bad_range)
{
	unsigned long start = (unsigned long)self->start;
	unsigned long page = self->page;
	struct hmm_mirror_stats before, after;
	struct hmm_mirror_watch_args args;
	struct hmm_mirror_info info;
	unsigned long ranges[][2] = {
		{ start + 1, start + page }, { start, start + page - 1 },
		{ start + 8, start + page + 8 }, { start, start },
		{ start + page, start }, { start, 0 }, { -page, 0 },
		{ start, ~0UL }, { start, -page }, { 0, -page },
		{ 0x8000000000000000UL, 0x8000000000001000UL },
		{ 0xffff888000000000UL, 0xffff888000001000UL },
		{ 0, 0 }, { 0, 0 },
	};
	size_t i;

	ASSERT_EQ(0, call_info(self->fd, &info));
	ranges[12][0] = info.task_size - page;
	ranges[12][1] = info.task_size + page;
	ranges[13][0] = info.task_size;
	ranges[13][1] = info.task_size + page;
	ASSERT_EQ(0, call_stats(self->fd, &before));
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		args = (struct hmm_mirror_watch_args){
			.size = sizeof(args),
			.start = ranges[i][0],
			.end = ranges[i][1],
			.watch_id = 4711,
		};
		EXPECT_EQ(-1, ioctl(self->fd, HMM_MIRROR_WATCH, &args)) {
			TH_LOG("%#lx-%#lx", ranges[i][0], ranges[i][1]);
		}
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(4711, args.watch_id);
	}
	ASSERT_EQ(0, call_stats(self->fd, &after));
	EXPECT_EQ(before.subscriptions, after.subscriptions);

	/* All that can be watched, mapped or not. */
	args = (struct hmm_mirror_watch_args){
		.size = sizeof(args),
		.end = info.task_size,
	};
	EXPECT_EQ(0, ioctl(self->fd, HMM_MIRROR_WATCH, &args));
	EXPECT_NE(0, args.watch_id);
}

/* One more than the limit is refused, and ending a watch makes room again. */
TEST_F(abi, watch_limit)
{
	struct hmm_mirror_stats before, after;
	struct hmm_mirror_info info;
	__u32 extra = 0;
	__u32 *ids;
	__u32 i, j;

	ASSERT_EQ(0, call_info(self->fd, &info));
	ids = calloc(info.max_watches, sizeof(*ids));
	ASSERT_NE(NULL, ids);
	ASSERT_EQ(0, call_stats(self->fd, &before));
	for (i = 0; i < info.max_watches; i++) {
		ASSERT_EQ(0, call_watch(self->fd, self->start, 1 + i % 16,
					&ids[i]));
		EXPECT_NE(0, ids[i]);
		for (j = 0; j < i; j++)
			EXPECT_NE(ids[j], ids[i]);
	}
	for (i = 0; i < 3; i++)
		EXPECT_EQ(ENOSPC, call_watch(self->fd, self->start, 1,
					     &extra));
	ASSERT_EQ(0, call_stats(self->fd, &after));
	EXPECT_EQ(before.subscriptions + info.max_watches, after.subscriptions);

	ASSERT_EQ(0, call_unwatch(self->fd, ids[info.max_watches / 2]));
	EXPECT_EQ(0, call_watch(self->fd, self->start, 1, &extra));
	EXPECT_EQ(ENOSPC, call_watch(self->fd, self->start, 1, &extra));

	/* Closing the file ends all of them. */
	ASSERT_EQ(0, close(self->fd));
	self->fd = open_device();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, call_stats(self->fd, &after));
	EXPECT_EQ(before.subscriptions, after.subscriptions);
	free(ids);
}

/* Opens files with @nr_watches each until there is an error, which it returns. */
static int watch_in_files(FIXTURE_DATA(abi) *self, unsigned int nr_watches,
			  unsigned int max_files, int *files,
			  unsigned int *nr_files)
{
	unsigned int i;
	__u32 id;

	for (*nr_files = 0; *nr_files < max_files;) {
		files[(*nr_files)++] = open_device();
		for (i = 0; i < nr_watches; i++) {
			int error = call_watch(files[*nr_files - 1],
					       self->start, 1, &id);

			if (error)
				return error;
		}
	}
	return 0;
}

/* Whether another user is served. */
static bool other_user_can_watch(FIXTURE_DATA(abi) *self)
{
	pid_t child;
	int status;

	chmod(DEVICE, 0666);
	child = fork();
	if (!child) {
		__u32 id;

		_exit(setresuid(65534, 65534, 65534) ||
		      call_watch(open_device(), self->start, 1, &id));
	}
	waitpid(child, &status, 0);
	chmod(DEVICE, 0600);
	return !status;
}

/*
 * What other tests have closed still counts until the kernel releases it. Whether the
 * user has nothing left: as many files can be given @per_file watches as one user may
 * have.
 */
static bool user_has_nothing(FIXTURE_DATA(abi) *self, unsigned int per_file,
			     unsigned int max_files, int *files)
{
	unsigned int tries, nr_files, i;

	for (tries = 0; tries < 100; tries++) {
		int error = watch_in_files(self, per_file, max_files, files,
					   &nr_files);

		if (error == EDQUOT && nr_files == max_files)
			return true;
		for (i = 0; i < nr_files; i++)
			close(files[i]);
		sleep_ms(100);
	}
	return false;
}

/* A user cannot get more by opening more files, and keeps nobody else from getting it. */
TEST_F(abi, watch_limit_of_user)
{
	struct hmm_mirror_info info;
	unsigned int max_files, i;
	int *files;
	__u32 id;

	ASSERT_EQ(0, call_info(self->fd, &info));
	max_files = info.max_watches_per_user / info.max_watches + 1;
	/* Otherwise the other limit is met. */
	ASSERT_GT(info.max_events_per_user / info.max_events, max_files);
	files = calloc(max_files, sizeof(*files));
	ASSERT_NE(NULL, files);
	ASSERT_TRUE(user_has_nothing(self, info.max_watches, max_files, files));
	EXPECT_EQ(EDQUOT, call_watch(self->fd, self->start, 1, &id));
	EXPECT_TRUE(other_user_can_watch(self));
	close(files[0]);
	/* The kernel releases them at its next tick or so. */
	for (i = 0; i < 1000 && call_watch(self->fd, self->start, 1, &id); i++)
		sleep_ms(5);
	EXPECT_GT(1000, i);
	for (i = 1; i < max_files; i++)
		close(files[i]);
	free(files);
}

/* The same for memory for events, which is kept as long as the file is open. */
TEST_F(abi, event_limit_of_user)
{
	unsigned int max_files, i;
	struct hmm_mirror_info info;
	int *files;
	__u32 id;

	ASSERT_EQ(0, call_info(self->fd, &info));
	max_files = info.max_events_per_user / info.max_events + 1;
	files = calloc(max_files, sizeof(*files));
	ASSERT_NE(NULL, files);
	ASSERT_TRUE(user_has_nothing(self, 1, max_files, files));
	EXPECT_EQ(EDQUOT, call_watch(self->fd, self->start, 1, &id));
	EXPECT_TRUE(other_user_can_watch(self));
	close(files[0]);
	for (i = 0; i < 1000 && call_watch(self->fd, self->start, 1, &id); i++)
		sleep_ms(5);
	EXPECT_GT(1000, i);
	for (i = 1; i < max_files; i++)
		close(files[i]);
	free(files);
}

/* The counters are public, like those of /proc/vmstat. */
TEST_F(abi, stats_without_privilege)
{
	pid_t child;
	int status;

	chmod(DEVICE, 0666);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct hmm_mirror_stats stats = {};

		if (setresuid(65534, 65534, 65534))
			_exit(1);
		_exit(call_stats(open_device(), &stats) ||
		      stats.open_files < 2);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	chmod(DEVICE, 0600);
}

TEST_F(abi, unwatch_unknown)
{
	int other = open_device();
	__u32 id;

	ASSERT_LE(0, other);
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, 0));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, 1));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, ~0U));
	ASSERT_EQ(0, call_watch(self->fd, self->start, 1, &id));
	/* A watch belongs to one file. */
	EXPECT_EQ(ENOENT, call_unwatch(other, id));
	EXPECT_EQ(0, call_unwatch(self->fd, id));
	EXPECT_EQ(ENOENT, call_unwatch(self->fd, id));
	close(other);
}

/* A bad buffer: nothing that was to be read is lost. */
TEST_F(abi, read_bad_buffer)
{
	struct hmm_mirror_event event;
	struct pollfd poll_fd = { self->fd, POLLIN, 0 };
	size_t i;
	__u32 id;

	ASSERT_EQ(0, fcntl(self->fd, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-1, read(self->fd, &event, sizeof(event)));
	EXPECT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, call_watch(self->fd, self->start, 16, &id));
	ASSERT_EQ(0, munmap(self->start, self->page));
	ASSERT_EQ(1, poll(&poll_fd, 1, 0));
	for (i = 0; i < sizeof(event); i++) {
		EXPECT_EQ(-1, read(self->fd, &event, i));
		EXPECT_EQ(EINVAL, errno);
	}
	for (i = 0; i < ARRAY_SIZE(bad_pointers); i++) {
		EXPECT_EQ(-1, read(self->fd, (void *)bad_pointers[i],
				   sizeof(event)));
		EXPECT_EQ(EFAULT, errno) {
			TH_LOG("%#lx", bad_pointers[i]);
		}
	}
	ASSERT_EQ(sizeof(event), read(self->fd, &event, sizeof(event)));
	EXPECT_EQ(id, event.watch_id);
	EXPECT_EQ(HMM_MIRROR_EVENT_UNMAP, event.kind);
	EXPECT_EQ((unsigned long)self->start, event.start);
	EXPECT_EQ((unsigned long)self->start + self->page, event.end);
	EXPECT_EQ(0, event.lost);
	EXPECT_EQ(-1, read(self->fd, &event, sizeof(event)));
	EXPECT_EQ(EAGAIN, errno);
}

/* The file belongs to the address space that opened it. */

/* The result of every use of the file in this process; 0 if they differ. */
static int errors_of_all_calls(int fd)
{
	static union args args;
	struct hmm_mirror_event event;
	struct pollfd poll_fd = { fd, POLLIN, 0 };
	int first = 0;
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		memset(&args, 0, sizeof(args));
		args.size = commands[i].size;
		if (!ioctl(fd, commands[i].number, &args))
			return 0;
		if (i && errno != first)
			return 0;
		first = errno;
	}
	if (read(fd, &event, sizeof(event)) != -1 || errno != first)
		return 0;
	if (poll(&poll_fd, 1, 0) != 1 || !(poll_fd.revents & POLLERR))
		return 0;
	return first;
}

TEST_F(abi, inherited_over_fork)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child)
		_exit(errors_of_all_calls(self->fd));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
}

/* vfork() and threads share the address space, so they are served. */
static void *thread_calls(void *argument)
{
	struct hmm_mirror_info info;

	return (void *)(long)call_info(*(int *)argument, &info);
}

TEST_F(abi, shared_with_thread)
{
	void *error = (void *)-1L;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, thread_calls, &self->fd));
	ASSERT_EQ(0, pthread_join(thread, &error));
	EXPECT_EQ(NULL, error);
}

TEST_F(abi, passed_to_another_process)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {};
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int sockets[2];
	int status;
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int passed = -1;

		close(self->fd);
		if (recvmsg(sockets[1], &message, 0) != 1)
			_exit(255);
		header = CMSG_FIRSTHDR(&message);
		if (!header)
			_exit(254);
		memcpy(&passed, CMSG_DATA(header), sizeof(passed));
		_exit(errors_of_all_calls(passed));
	}
	header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &self->fd, sizeof(int));
	ASSERT_EQ(1, sendmsg(sockets[0], &message, 0));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
}

#define EXEC_VARIABLE	"HMM_MIRROR_TEST_INHERITED_FD"

/* When executed by the test below, this program begins and ends here. */
static void __attribute__((constructor)) after_execve(void)
{
	const char *inherited = getenv(EXEC_VARIABLE);

	if (inherited)
		_exit(errors_of_all_calls(atoi(inherited)));
}

TEST_F(abi, inherited_over_execve)
{
	char variable[64];
	char *const arguments[] = { "ioctl_abi", NULL };
	char *const environment[] = { variable, NULL };
	int status;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* Its own file, opened before it becomes another program. */
		int fd = open(DEVICE, O_RDWR);
		struct hmm_mirror_info info;

		if (fd < 0 || call_info(fd, &info))
			_exit(255);
		snprintf(variable, sizeof(variable), EXEC_VARIABLE "=%d", fd);
		execve("/proc/self/exe", arguments, environment);
		_exit(254);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
}

#ifdef __x86_64__
/* A system call of 32 bit programs; a kernel without them kills the caller. */
static int system_call_32(int number, long first, long second, void *third)
{
	long result;

	asm volatile("int $0x80"
		     : "=a"(result)
		     : "0"((long)number), "b"(first), "c"(second), "d"(third)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static bool have_system_call_32(void)
{
	pid_t child = fork();
	int status = -1;

	if (!child)
		_exit(system_call_32(20 /* getpid */, 0, 0, NULL) != getpid());
	return child == waitpid(child, &status, 0) && !status;
}

/* The 32 bit entry: the same structs, since all their pointers are 64 bit. */
TEST_F(abi, compat_ioctl)
{
	struct hmm_mirror_range_args *args =
		mmap(NULL, self->page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	ASSERT_NE(MAP_FAILED, args);
	if (!have_system_call_32())
		SKIP(return, "the kernel has no 32 bit system calls");
	*args = range_args(self->start, 16, FAULT, extents, 16);
	EXPECT_EQ(0, system_call_32(54 /* ioctl */, self->fd, HMM_MIRROR_RANGE,
				    args));
	EXPECT_EQ(16, args->nr_extents);
	EXPECT_EQ((unsigned long)self->start, extents[0].addr);
}
#endif

/* Who may do what */

static bool get_capabilities(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};

	return !syscall(__NR_capget, &header, data);
}

static bool set_capability(int capability, bool effective)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {};
	__u32 bit = 1U << capability % 32;

	if (!get_capabilities(data))
		return false;
	if (effective)
		data[capability / 32].effective |= bit;
	else
		data[capability / 32].effective &= ~bit;
	return !syscall(__NR_capset, &header, data);
}

/*
 * Two reports of one range, with PFNs and without: the same except for PFNs, and for
 * borders that exist only in physical memory.
 */
static void compare_reports(struct __test_metadata *_metadata,
			    const struct hmm_mirror_extent_info *with,
			    __u32 nr_with,
			    const struct hmm_mirror_extent_info *without,
			    __u32 nr_without)
{
	__u64 end;
	__u32 i = 0;
	__u32 j;

	for (j = 0; j < nr_without; j++) {
		EXPECT_EQ(0, without[j].pfn);
		EXPECT_FALSE(j && without[j].flags == without[j - 1].flags &&
			     without[j].kind == without[j - 1].kind &&
			     without[j].order == without[j - 1].order &&
			     without[j].node == without[j - 1].node) {
			TH_LOG("extents %u and %u differ in nothing visible",
			       j - 1, j);
		}
		end = without[j].addr + without[j].npages * page_size();
		for (; i < nr_with && with[i].addr < end; i++) {
			EXPECT_LE(without[j].addr, with[i].addr);
			EXPECT_EQ(without[j].flags, with[i].flags);
			EXPECT_EQ(without[j].kind, with[i].kind);
			EXPECT_EQ(without[j].order, with[i].order);
			EXPECT_EQ(without[j].node, with[i].node);
		}
	}
	EXPECT_EQ(nr_with, i);
}

/* PFNs are for those who opened the file with CAP_SYS_ADMIN. */
TEST_F(abi, pfns_hidden)
{
	static struct hmm_mirror_extent_info hidden[4096];
	struct hmm_mirror_range_args args, hidden_args;
	size_t npages = 2000;
	char *start = map_anonymous(npages);
	struct hmm_mirror_info info;
	int unprivileged;
	__u32 nr = 0;
	size_t i;

	ASSERT_NE(NULL, start);
	/*
	 * Memory that is not contiguous: touched in random order. But all on one node,
	 * which is no secret.
	 */
	ASSERT_TRUE(allocate_from(0));
	for (i = 0; i < npages; i++)
		mark_pages(page_at(start, i * 7 % npages), 1, 1);
	ASSERT_TRUE(allocate_from(-1));
	ASSERT_EQ(0, munmap(page_at(start, 1000), 3 * self->page));
	touch_page(start);

	ASSERT_TRUE(set_capability(CAP_SYS_ADMIN, false));
	EXPECT_EQ(0, pagemap_entry(start) & PAGEMAP_PFN_MASK);
	unprivileged = open_device();
	ASSERT_LE(0, unprivileged) {
		TH_LOG("%s", strerror(errno));
	}
	/* What counts is the opening: what this file and that one may do stays the same. */
	ASSERT_EQ(0, call_info(self->fd, &info));
	EXPECT_TRUE(info.features & HMM_MIRROR_FEATURE_PFNS_VISIBLE);
	args = range_args(start, npages, 0, extents, MAX_EXTENTS);
	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_NE(0, extents[0].pfn);
	ASSERT_TRUE(set_capability(CAP_SYS_ADMIN, true));
	EXPECT_NE(0, pagemap_entry(start) & PAGEMAP_PFN_MASK);

	ASSERT_EQ(0, call_info(unprivileged, &info));
	EXPECT_FALSE(info.features & HMM_MIRROR_FEATURE_PFNS_VISIBLE);
	hidden_args = range_args(start, npages, 0, hidden, 4096);
	ASSERT_EQ(0, call_range(unprivileged, &hidden_args));
	EXPECT_EQ(args.end, hidden_args.next);
	/* Otherwise this would not test anything. */
	EXPECT_LT(300, args.nr_extents);
	EXPECT_GT(20, hidden_args.nr_extents);
	compare_reports(_metadata, extents, args.nr_extents, hidden,
			hidden_args.nr_extents);

	/* Nor does the place where a small array ends reveal anything. */
	hidden_args.start = (unsigned long)start;
	while (hidden_args.start < hidden_args.end) {
		ASSERT_GT(4096, nr);
		hidden_args.extents = (unsigned long)&hidden[nr];
		hidden_args.nr_extents = 1;
		ASSERT_EQ(0, call_range(unprivileged, &hidden_args));
		ASSERT_EQ(1, hidden_args.nr_extents);
		nr++;
		hidden_args.start = hidden_args.next;
	}
	compare_reports(_metadata, extents, args.nr_extents, hidden, nr);
	close(unprivileged);
}

/* ATTACH */

/* A child with one page marked @mark where this process has none. */
static pid_t fork_target(char *start, unsigned long mark)
{
	int ready[2];
	char byte;
	pid_t child;

	if (pipe(ready))
		return -1;
	child = fork();
	if (!child) {
		mark_pages(start, 4, mark);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	if (child > 0 && read(ready[0], &byte, 1) != 1)
		child = -1;
	close(ready[0]);
	close(ready[1]);
	return child;
}

TEST_F(abi, attach)
{
	char *start = map_anonymous(8);
	struct hmm_mirror_range_args args;
	uint64_t pagemap[8];
	pid_t child;
	size_t i;

	ASSERT_NE(NULL, start);
	child = fork_target(start, 77);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, count_mapped(start, 8));
	ASSERT_EQ(0, call_attach(self->fd, child));
	args = range_args(start, 8, 0, extents, 8);
	ASSERT_EQ(0, call_range(self->fd, &args));
	ASSERT_TRUE(read_pagemap_of(child, (unsigned long)start, 8, pagemap));
	ASSERT_LE(2, args.nr_extents);
	EXPECT_EQ(HMM_MIRROR_KIND_PRESENT, extents[0].kind);
	EXPECT_EQ(pagemap[0] & PAGEMAP_PFN_MASK, extents[0].pfn);

	/* Fault in memory of another process. */
	args = range_args(start, 8, FAULT_WRITE, extents, 8);
	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(4, args.nr_faults);
	ASSERT_TRUE(read_pagemap_of(child, (unsigned long)start, 8, pagemap));
	for (i = 0; i < 8; i++)
		EXPECT_TRUE(pagemap[i] & PAGEMAP_PRESENT);
	EXPECT_EQ(0, count_mapped(start, 8));

	/* Back to itself, and then to the child again. */
	ASSERT_EQ(0, call_attach(self->fd, getpid()));
	args = range_args(start, 8, 0, extents, 8);
	ASSERT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(1, args.nr_extents);
	EXPECT_EQ(HMM_MIRROR_KIND_NONE, extents[0].kind);
	ASSERT_EQ(0, call_attach(self->fd, child));

	kill_and_wait(child);
	args = range_args(start, 8, FAULT, extents, 8);
	EXPECT_EQ(ESRCH, call_range(self->fd, &args));
	EXPECT_EQ(ESRCH, call_watch(self->fd, start, 8, &args.size));
	EXPECT_EQ(ESRCH, call_attach(self->fd, child));
	/* The file can still be used. */
	ASSERT_EQ(0, call_attach(self->fd, getpid()));
	args = range_args(start, 8, FAULT, extents, 8);
	EXPECT_EQ(0, call_range(self->fd, &args));
}

TEST_F(abi, attach_needs_privilege)
{
	char *start = map_anonymous(4);
	struct hmm_mirror_range_args args;
	pid_t child;
	int fd;

	ASSERT_NE(NULL, start);
	child = fork_target(start, 1);
	ASSERT_LT(0, child);
	ASSERT_TRUE(set_capability(CAP_SYS_PTRACE, false));
	EXPECT_EQ(EPERM, call_attach(self->fd, child));
	EXPECT_EQ(EPERM, call_attach(self->fd, 1));
	EXPECT_EQ(EPERM, call_attach(self->fd, getpid()));
	fd = open_device();
	ASSERT_LE(0, fd);
	EXPECT_EQ(EPERM, call_attach(fd, child));
	/* It is still attached to the opener. */
	args = range_args(start, 4, 0, extents, 8);
	EXPECT_EQ(0, call_range(self->fd, &args));
	EXPECT_EQ(HMM_MIRROR_KIND_NONE, extents[0].kind);
	ASSERT_TRUE(set_capability(CAP_SYS_PTRACE, true));
	EXPECT_EQ(0, call_attach(self->fd, child));
	kill_and_wait(child);
	close(fd);
}

/* Root in its own user namespace is not root. */
TEST_F(abi, attach_from_user_namespace)
{
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int fd = open_device();

		if (fd < 0)
			_exit(254);
		if (unshare(CLONE_NEWUSER))
			_exit(255);
		_exit(call_attach(fd, getppid()));
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	if (WEXITSTATUS(status) == 255)
		SKIP(return, "no user namespaces");
	EXPECT_EQ(EPERM, WEXITSTATUS(status));
}

TEST_F(abi, attach_to_nobody)
{
	static const pid_t nobody[] = { 0, -1, -2, 0x7fffffff, 1 << 23 };
	siginfo_t info;
	pid_t zombie;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nobody); i++) {
		EXPECT_EQ(ESRCH, call_attach(self->fd, nobody[i])) {
			TH_LOG("pid %d", nobody[i]);
		}
	}
	EXPECT_EQ(EINVAL, call_attach(self->fd, 2 /* kthreadd */));

	zombie = fork();
	ASSERT_LE(0, zombie);
	if (!zombie)
		_exit(0);
	ASSERT_EQ(0, waitid(P_PID, zombie, &info, WEXITED | WNOWAIT));
	EXPECT_EQ(EINVAL, call_attach(self->fd, zombie));
	waitpid(zombie, NULL, 0);
}

/* A pid means what it means to the caller. */
TEST_F(abi, attach_in_pid_namespace)
{
	char *start = map_anonymous(4);
	pid_t init;
	int status;

	ASSERT_NE(NULL, start);
	if (unshare(CLONE_NEWPID))
		SKIP(return, "no PID namespaces: %s", strerror(errno));
	init = fork();
	ASSERT_LE(0, init);
	if (!init) {
		struct hmm_mirror_range_args args;
		int fd = open_device();
		pid_t child = fork_target(start, 5);

		if (fd < 0 || child != 2)
			_exit(2);
		if (call_attach(fd, 2))
			_exit(3);
		args = range_args(start, 4, 0, extents, 4);
		if (call_range(fd, &args) ||
		    extents[0].kind != HMM_MIRROR_KIND_PRESENT)
			_exit(4);
		if (call_attach(fd, 3000) != ESRCH)
			_exit(5);
		_exit(0);
	}
	ASSERT_EQ(init, waitpid(init, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(abi, attach_with_watches)
{
	char *start = map_anonymous(4);
	pid_t child;
	__u32 id;

	ASSERT_NE(NULL, start);
	child = fork_target(start, 1);
	ASSERT_LT(0, child);
	ASSERT_EQ(0, call_watch(self->fd, start, 4, &id));
	EXPECT_EQ(EBUSY, call_attach(self->fd, child));
	ASSERT_EQ(0, call_unwatch(self->fd, id));
	EXPECT_EQ(0, call_attach(self->fd, child));
	kill_and_wait(child);
}

/* The process becomes another program: the address space that was attached to is gone. */
TEST_F(abi, attach_before_execve)
{
	char *const arguments[] = { "ioctl_abi", "-l", NULL };
	struct hmm_mirror_range_args args;
	int go[2];
	char byte;
	pid_t child;

	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(go[1]);
		if (read(go[0], &byte, 1) == 1) {
			dup2(open("/dev/null", O_RDWR), 1);
			dup2(1, 2);
			execv("/proc/self/exe", arguments);
		}
		_exit(1);
	}
	ASSERT_EQ(0, call_attach(self->fd, child));
	args = range_args(self->start, 16, 0, extents, 16);
	EXPECT_EQ(0, call_range(self->fd, &args));
	ASSERT_EQ(1, write(go[1], "", 1));
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_EQ(ESRCH, call_range(self->fd, &args));
}

TEST_F(abi, node_is_for_root)
{
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (setgid(65534) || setuid(65534))
			_exit(255);
		_exit(open_device() < 0 ? errno : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(EACCES, WEXITSTATUS(status));
}

TEST_HARNESS_MAIN
