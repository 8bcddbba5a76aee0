// SPDX-License-Identifier: GPL-2.0
/*
 * A PCI device's memory in a process: the controller memory buffer of an NVMe device,
 * mapped through p2pmem/allocate ("PCI/P2PDMA: Allow userspace VMA allocations through
 * sysfs", 7e9c7ef83d78). It is walked like other pages. It can go away with its driver at
 * any time, which the sequence number tells.
 */
#include "range_fault.h"
#include "pci.h"

#define NPAGES	16
#define NO_MEMORY \
	"no PCI device has memory to share (CONFIG_PCI_P2PDMA, and NVMe with cmb_size_mb)"

FIXTURE(p2pdma)
{
	int fd;
	int memory;
	__u32 call;
	char *start;
	char device[PCI_NAME_LENGTH];
};

FIXTURE_VARIANT(p2pdma)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(p2pdma, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(p2pdma, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(p2pdma, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(p2pdma, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

/* Maps some of it; NULL and the reason in @problem if there is none. */
static char *map_memory(char *device, int *fd, const char **problem)
{
	char *start;

	*problem = NO_MEMORY;
	*fd = open_peer_memory(device);
	if (*fd < 0)
		return NULL;
	*problem = NULL;
	start = mmap(NULL, NPAGES * page_size(), PROT_READ | PROT_WRITE,
		     MAP_SHARED, *fd, 0);
	if (start == MAP_FAILED)
		return NULL;
	mark_pages(start, NPAGES, 1);
	return start;
}

FIXTURE_SETUP(p2pdma)
{
	const char *problem;

	self->call = variant->call;
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	self->start = map_memory(self->device, &self->memory, &problem);
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_NE(NULL, self->start);
}

FIXTURE_TEARDOWN(p2pdma)
{
	close(self->memory);
	close(self->fd);
}

#define ASK(flags) \
	ask(_metadata, self->fd, self->call, self->start, NPAGES, flags)

/* Whether the physical pages lie in one of the device's resources. */
static bool is_in_resources(const char *device, __u64 pfn, size_t npages)
{
	unsigned long long start, end, flags;
	__u64 first = pfn * page_size(), last = first + npages * page_size() - 1;
	bool found = false;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource",
		 device);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fscanf(file, "%llx %llx %llx", &start, &end, &flags) == 3)
		found = found || (start && first >= start && last <= end);
	fclose(file);
	return found;
}

TEST_F(p2pdma, walk)
{
	static const __u64 requests[] = { SNAPSHOT, READ, WRITE };
	size_t i;

	for (i = 0; i < 3; i++) {
		__u64 pfn;

		EXPECT_EQ(0, ASK(requests[i]));
		EXPECT_EQ(0, answer.nr_faults);
		EXPECT_PAGES(0, NPAGES, WORD_VALID | WORD_WRITE, 0,
			     HMM_MIRROR_KIND_PRESENT);
		EXPECT_PAGEMAP(self->start, 0, NPAGES);
		pfn = answer.words[0] & WORD_PFN;
		EXPECT_TRUE(is_in_resources(self->device, pfn, NPAGES));
		if (call_has_extents(self->call))
			EXPECT_EQ(1, answer.nr_extents);
	}
	EXPECT_TRUE(pages_are_marked(self->start, NPAGES, 1));
}

TEST_F(p2pdma, kernel)
{
	size_t i;

	if (ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, self->start,
		NPAGES, WRITE) == EOPNOTSUPP)
		SKIP(return, "this kernel has no hmm_range_fault() (CONFIG_HMM_MIRROR) to compare with");
	memcpy(answer.kernel_words, answer.words,
	       NPAGES * sizeof(answer.words[0]));
	EXPECT_EQ(0, ASK(WRITE));
	for (i = 0; i < NPAGES; i++)
		EXPECT_EQ(answer.kernel_words[i], answer.words[i]);
}

/* The driver goes away: its pages are taken back, and the answer is no longer true. */
TEST(driver_leaves)
{
	int fd = open_range_fault_test();
	const char *problem;
	char device[PCI_NAME_LENGTH];
	char *start;
	int memory;
	__u32 call;

	ASSERT_LE(0, fd);
	start = map_memory(device, &memory, &problem);
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ask(_metadata, fd, RANGE_FAULT_TEST_PAGES, start, NPAGES,
			 WRITE));
	EXPECT_FALSE(answer_is_stale());
	ASSERT_TRUE(write_text("/sys/bus/pci/drivers/nvme/unbind", device));
	EXPECT_TRUE(answer_is_stale());
	for (call = RANGE_FAULT_TEST_PAGES;
	     call <= RANGE_FAULT_TEST_EXTENTS_UNLOCKED; call++) {
		EXPECT_EQ(0, ask(_metadata, fd, call, start, NPAGES, SNAPSHOT));
		EXPECT_PAGES(0, NPAGES, 0, 0, HMM_MIRROR_KIND_NONE);
		EXPECT_EQ(EFAULT, ask(_metadata, fd, call, start, NPAGES,
				      READ));
		EXPECT_EQ(0, fault_page(start));
	}
	EXPECT_TRUE(write_text("/sys/bus/pci/drivers/nvme/bind", device));
	close(memory);
	close(fd);
}

TEST_HARNESS_MAIN
