// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of device-dax whose page table ends at a PUD, 1 GiB in one entry; and others
 * with smaller entries. The memory is what boot.sh takes from the kernel with memmap=;
 * here it becomes devices, through libnvdimm's files in sysfs.
 *
 * Huge PUDs are what the page walk's pud_entry is for ("mm: pagewalk: add p4d_entry() and
 * pgd_entry()", 3afc423632a1): an entry that changes while it is looked at must be looked
 * at again, not skipped.
 */
#include <pthread.h>

#include "range_fault.h"

#define BUS		"/sys/bus/nd/"

#define GIGABYTE	(1UL << 30)
#define PUD_ORDER	18
#define PUD_PAGES	(1UL << PUD_ORDER)

static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool okay;

	if (!file)
		return false;
	okay = fgets(line, size, file);
	fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return okay;
}

static bool write_attribute(const char *device, const char *attribute,
			    const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), BUS "devices/%s/%s", device, attribute);
	return write_text(path, text);
}

static unsigned long region_size(unsigned int region)
{
	char path[64], line[32];

	snprintf(path, sizeof(path), BUS "devices/region%u/size", region);
	return read_line(path, line, sizeof(line)) ? strtoul(line, NULL, 0) : 0;
}

/*
 * Which memory is for a device with entries of @order. Each device has its own and keeps
 * it: Linux itself damages memory, or stops, if a device's memory map is freed (6.1 frees
 * the struct page of page frame 0 instead, 6.12 checks and stops).
 */
static int find_region(unsigned int order)
{
	unsigned int others = order ? 0 : 1;
	unsigned int region;

	for (region = 0; region < 8; region++) {
		unsigned long size = region_size(region);

		if (order == PUD_ORDER ? size > GIGABYTE :
					 size && size < GIGABYTE && !others--)
			return region;
	}
	return -1;
}

static void device_path(char *path, size_t size, int region)
{
	snprintf(path, size, "/dev/dax%d.0", region);
}

/* Makes a device whose mappings have entries of @order. Returns why it cannot, or NULL. */
static const char *make_device(unsigned int order)
{
	double deadline = seconds_now() + 60;
	int region = find_region(order);
	char path[64], seed[32], line[64], size[32];

	if (region < 0)
		return "no persistent memory for it (memmap=, nd_e820)";
	device_path(path, sizeof(path), region);
	if (!access(path, F_OK))
		return NULL;
	snprintf(line, sizeof(line), BUS "devices/region%d/dax_seed", region);
	if (!read_line(line, seed, sizeof(seed)) ||
	    access(BUS "drivers/dax_pmem/bind", F_OK))
		return "this kernel has no dax_pmem";
	/* If there is a driver for it as a disk, it is a disk now. */
	snprintf(line, sizeof(line), "namespace%d.0", region);
	write_text(BUS "drivers/nd_pmem/unbind", line);
	snprintf(size, sizeof(size), "%lu", page_size() << order);
	if (!write_attribute(seed, "uuid",
			     "3f2504e0-4f89-11d3-9a0c-0305e82c3301") ||
	    !write_attribute(seed, "mode", "ram") ||
	    !write_attribute(seed, "align", size) ||
	    !write_attribute(seed, "namespace", line) ||
	    !write_text(BUS "drivers/dax_pmem/bind", seed))
		return "the memory cannot be made a device of this alignment";
	while (access(path, F_OK) && seconds_now() < deadline)
		sleep_ms(10);
	return access(path, F_OK) ? "this kernel has no device_dax" : NULL;
}

static int open_device(unsigned int order)
{
	char path[32];

	device_path(path, sizeof(path), find_region(order));
	return open(path, O_RDWR | O_CLOEXEC);
}

/* The device's first page frame. */
static __u64 first_pfn(unsigned int order)
{
	char path[64], resource[32];

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/dax%d.0/resource",
		 find_region(order));
	if (!read_line(path, resource, sizeof(resource)))
		return 0;
	return strtoul(resource, NULL, 0) / page_size();
}

FIXTURE(device_dax)
{
	int fd;
	int dax;
	__u32 call;
	__u64 first_pfn;
	char *start; /* 1 GiB that nobody has touched */
};

FIXTURE_VARIANT(device_dax)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(device_dax, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(device_dax, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(device_dax, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(device_dax, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(device_dax)
{
	const char *problem = make_device(PUD_ORDER);

	self->call = variant->call;
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	if (problem)
		SKIP(return, "%s", problem);
	self->dax = open_device(PUD_ORDER);
	ASSERT_LE(0, self->dax);
	self->first_pfn = first_pfn(PUD_ORDER);
	ASSERT_NE(0, self->first_pfn);
	EXPECT_EQ(0, self->first_pfn % PUD_PAGES);
	self->start = mmap(NULL, GIGABYTE, PROT_READ | PROT_WRITE, MAP_SHARED,
			   self->dax, 0);
	ASSERT_NE(MAP_FAILED, self->start);
}

FIXTURE_TEARDOWN(device_dax)
{
	close(self->dax);
	close(self->fd);
}

#define ASK(first, npages, flags) \
	ask(_metadata, self->fd, self->call, page_at(self->start, first), \
	    npages, flags)

/* The answer is for pages from @first on: they are the device's pages. */
#define EXPECT_DEVICE_PAGES(first, npages) \
	expect_device_pages(_metadata, __LINE__, self->first_pfn + (first), \
			    npages)

static void expect_device_pages(struct __test_metadata *_metadata, int line,
				__u64 pfn, size_t npages)
{
	size_t i;

	for (i = 0; i < npages; i++) {
		if ((answer.words[i] & WORD_PFN) == pfn + i)
			continue;
		TH_LOG("line %d: page %zu", line, i);
		EXPECT_EQ(pfn + i, answer.words[i] & WORD_PFN);
		return;
	}
}

/* One 1 GiB entry answers for all of it, and for any part. */
TEST_F_TIMEOUT(device_dax, leaf, 300)
{
	mark_pages(self->start, 1, 1);
	EXPECT_EQ(0, ASK(0, PUD_PAGES, SNAPSHOT));
	EXPECT_PAGES(0, PUD_PAGES, WORD_VALID | WORD_WRITE, PUD_ORDER,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_DEVICE_PAGES(0, PUD_PAGES);
	EXPECT_EQ(1, call_has_extents(self->call) ? answer.nr_extents : 1);
	EXPECT_GE(1024, answer.nr_slots);

	EXPECT_EQ(0, ASK(511, 70000, WRITE));
	EXPECT_EQ(0, answer.nr_faults);
	EXPECT_PAGES(0, 70000, WORD_VALID | WORD_WRITE, PUD_ORDER,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_DEVICE_PAGES(511, 70000);
}

/* A part is asked for: one fault maps everything. */
TEST_F(device_dax, fault)
{
	EXPECT_EQ(0, ASK(0, 600, SNAPSHOT));
	EXPECT_PAGES(0, 600, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_EQ(0, ASK(700, 600, WRITE));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, 600, WORD_VALID | WORD_WRITE, PUD_ORDER,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_DEVICE_PAGES(700, 600);
	EXPECT_EQ(0, ASK(200000, 600, WRITE));
	EXPECT_EQ(0, answer.nr_faults);
	EXPECT_DEVICE_PAGES(200000, 600);
}

TEST_F(device_dax, read_only)
{
	ASSERT_EQ(self->start,
		  mmap(self->start, GIGABYTE, PROT_READ, MAP_SHARED | MAP_FIXED,
		       self->dax, 0));
	EXPECT_EQ(0, ASK(700, 600, READ));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, 600, WORD_VALID, PUD_ORDER, HMM_MIRROR_KIND_PRESENT);
	EXPECT_DEVICE_PAGES(700, 600);
	EXPECT_EQ(EPERM, ASK(200000, 600, WRITE));
	EXPECT_EQ(0, fault_page(page_at(self->start, 200000)));
}

/*
 * One page in the middle of a hole is asked for, and one entry fills the hole: all pages
 * get one answer.
 */
TEST_F(device_dax, one_answer)
{
	static __u64 words[70000];
	const struct request request = {
		.call = self->call,
		.start = page_at(self->start, 511),
		.npages = ARRAY_SIZE(words),
		.words = words,
		.mask = REQ_BITS,
	};

	words[30000] = REQ_WRITE;
	words[40000] = WRITE;
	EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, ARRAY_SIZE(words), WORD_VALID | WORD_WRITE, PUD_ORDER,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_DEVICE_PAGES(511, ARRAY_SIZE(words));
}

/* The end of the mapping is the end of the entry, too. */
TEST_F(device_dax, neighbours)
{
	char *behind = self->start + GIGABYTE;

	mark_pages(self->start, 1, 1);
	if (mmap(behind, page_size(), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		 0) == behind)
		mark_pages(behind, 1, 1);
	EXPECT_EQ(EFAULT, ASK(PUD_PAGES - 3, 5, READ));
	EXPECT_EQ(4, fault_page(page_at(self->start, PUD_PAGES - 3)));
	EXPECT_EQ(0, ASK(PUD_PAGES - 3, 4, WRITE));
	EXPECT_PAGES(0, 3, WORD_VALID | WORD_WRITE, PUD_ORDER,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_DEVICE_PAGES(PUD_PAGES - 3, 3);
	EXPECT_PAGES(3, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
}

/* The kernel's own answer is the same. */
TEST_F(device_dax, kernel)
{
	size_t npages = 4096, i;

	mark_pages(self->start, 1, 1);
	if (ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, self->start,
		npages, SNAPSHOT) == EOPNOTSUPP)
		SKIP(return, "this kernel has no hmm_range_fault() (CONFIG_HMM_MIRROR) to compare with");
	memcpy(answer.kernel_words, answer.words,
	       npages * sizeof(answer.words[0]));
	EXPECT_EQ(0, ASK(0, npages, SNAPSHOT));
	for (i = 0; i < npages; i++)
		ASSERT_EQ(answer.kernel_words[i], answer.words[i]);
}

static volatile bool stop_zapping;

/* Takes the entry away and lets it come back; mmap_lock is only taken to read. */
static void *zap_again_and_again(void *argument)
{
	char *start = argument;

	while (!stop_zapping) {
		madvise(start, GIGABYTE, MADV_DONTNEED);
		sleep_ms(1);
		mark_pages(start, 1, 1);
		sleep_ms(1);
	}
	return NULL;
}

/* The entry is there, or it is not; it is never anything else. */
TEST_F_TIMEOUT(device_dax, race, 300)
{
	double deadline = seconds_now() + 100;
	unsigned long rounds = 0, there = 0, not_there = 0;
	pthread_t zapper;
	size_t i;

	ASSERT_EQ(0, pthread_create(&zapper, NULL, zap_again_and_again,
				    self->start));
	while (seconds_now() < deadline &&
	       (rounds < 100 || !there || !not_there)) {
		size_t first = rounds * 7919 % (PUD_PAGES - 64);
		__u64 flags = rounds % 3 == 0 ? SNAPSHOT :
			      rounds % 3 == 1 ? READ : WRITE;

		ASSERT_EQ(0, ASK(first, 64, flags));
		rounds++;
		for (i = 0; i < 64 && (answer.words[i] & WORD_VALID); i++)
			continue;
		if (i == 64) {
			there++;
			EXPECT_DEVICE_PAGES(first, 64);
			EXPECT_EQ(PUD_ORDER, (answer.words[0] & WORD_ORDER) >>
					     RANGE_FAULT_TEST_ORDER_SHIFT);
			continue;
		}
		EXPECT_EQ(SNAPSHOT, flags);
		not_there++;
		EXPECT_PAGES(0, 64, 0, 0, HMM_MIRROR_KIND_NONE);
	}
	stop_zapping = true;
	pthread_join(zapper, NULL);
	EXPECT_LE(100, rounds);
	EXPECT_LT(0, there);
	EXPECT_LT(0, not_there);
}

FIXTURE(small_dax)
{
	int fd;
	int dax;
};

FIXTURE_VARIANT(small_dax)
{
	unsigned int order;
	__u32 call;
};

FIXTURE_VARIANT_ADD(small_dax, pmd_pages)
{
	.order = 9,
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(small_dax, pmd_extents)
{
	.order = 9,
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(small_dax, pte_pages)
{
	.order = 0,
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(small_dax, pte_extents)
{
	.order = 0,
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_SETUP(small_dax)
{
	const char *problem = make_device(variant->order);

	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	if (problem)
		SKIP(return, "%s", problem);
	self->dax = open_device(variant->order);
	ASSERT_LE(0, self->dax);
}

FIXTURE_TEARDOWN(small_dax)
{
	close(self->dax);
	close(self->fd);
}

/*
 * 4b42fb2136 "devmap pte": if requests are met, an entry of a DAX mapping is VALID, never
 * an error because it is special.
 */
TEST_F(small_dax, entries)
{
	static const __u64 requests[] = { WRITE, WRITE, READ, SNAPSHOT };
	size_t npages = 1024, i, j;
	__u64 pfn = first_pfn(variant->order);
	char *start = mmap(NULL, npages * page_size(), PROT_READ | PROT_WRITE,
			   MAP_SHARED, self->dax, 0);
	int error;

	ASSERT_NE(MAP_FAILED, start);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, ask(_metadata, self->fd, variant->call, start,
				 npages, requests[i]));
		EXPECT_EQ(i ? 0 : npages >> variant->order, answer.nr_faults);
		EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, variant->order,
			     HMM_MIRROR_KIND_PRESENT);
		for (j = 0; j < npages; j++)
			ASSERT_EQ(pfn + j, answer.words[j] & WORD_PFN);
	}
	memcpy(answer.kernel_words, answer.words,
	       npages * sizeof(answer.words[0]));
	error = ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, start, npages,
		    WRITE);
	/* If the kernel has its own function, its answer is the same. */
	EXPECT_EQ(error == EOPNOTSUPP ? EOPNOTSUPP : 0, error);
	for (i = 0; !error && i < npages; i++)
		ASSERT_EQ(answer.words[i], answer.kernel_words[i]);
}

TEST_HARNESS_MAIN
