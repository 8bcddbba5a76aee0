// SPDX-License-Identifier: GPL-2.0
/*
 * struct hmm_mirror_dma: which runs are mapped, where an access of the device would end,
 * in which order they are unmapped, and what is dirty afterwards.
 *
 * The devices are those of hmm_mirror_dma_test.ko: two without an IOMMU, whose addresses
 * are physical ones, and QEMU's edu behind one, where there is one; its translation is
 * followed. /proc/self/pagemap is the witness of what should be there, /proc/kpageflags of
 * what is dirty.
 */
#include <pthread.h>

#include "harness.h"
#include "device.h"
#include "memory.h"
#include "pci.h"
#include "mirror/dma_test/dma_test.h"

#define SNAPSHOT	0ULL
#define READ		DMA_TEST_REQ_FAULT
#define WRITE		(DMA_TEST_REQ_FAULT | DMA_TEST_REQ_WRITE)

#define MAX_PAGES	DMA_TEST_READ_MAX
#define KPF_DIRTY	(1ULL << 4)
#define KPF_COMPOUND_TAIL (1ULL << 16)

#define BIT_OF(device)	(1U << (device))
#define DMA_IOVA	"/sys/module/hmm_mirror/parameters/dma_iova"

/* The outputs of the last one. */
static struct dma_test_register registered;

/* These return 0 or the errno of what they are named after; negative: of the ioctl. */
static int register_dma(int fd, const void *start, size_t npages,
			__u32 devices, __u32 flags, __u32 mask_bits)
{
	registered = (struct dma_test_register){
		.start = (unsigned long)start,
		.length = npages * page_size(),
		.devices = devices,
		.flags = flags,
		.mask_bits = mask_bits,
	};
	if (ioctl(fd, DMA_TEST_REGISTER, &registered))
		return -errno;
	return registered.error;
}

static int unregister_dma(int fd)
{
	return ioctl(fd, DMA_TEST_UNREGISTER) ? errno : 0;
}

/* The outputs of the last one. */
static __thread struct dma_test_populate populated;

static int populate_as(int fd, const void *start, size_t npages, __u64 request,
		       __u32 flags)
{
	populated = (struct dma_test_populate){
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
		.default_flags = request,
		.flags = flags,
	};
	if (ioctl(fd, DMA_TEST_POPULATE, &populated))
		return -errno;
	return populated.error;
}

static int populate(int fd, const void *start, size_t npages, __u64 request)
{
	return populate_as(fd, start, npages, request, 0);
}

static int call_interval(int fd, unsigned long command, __u32 device,
			 const void *start, size_t npages,
			 struct dma_test_interval *args)
{
	*args = (struct dma_test_interval){
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
		.device = device,
	};
	return ioctl(fd, command, args) ? -errno : (int)args->result;
}

static bool set_knobs(int fd, const struct dma_test_knobs *knobs)
{
	return !ioctl(fd, DMA_TEST_KNOBS, knobs);
}

static struct dma_test_entry entries[DMA_TEST_LOG_MAX];

/* The calls since the last time. */
static size_t take_log(struct __test_metadata *_metadata, int fd)
{
	struct dma_test_log args = { .entries = (unsigned long)entries };

	ASSERT_EQ(0, ioctl(fd, DMA_TEST_LOG, &args));
	EXPECT_EQ(0, args.lost);
	EXPECT_EQ(DMA_TEST_NO_VIOLATION, args.violation);
	return args.nr;
}

static size_t count_calls(size_t nr, __u32 call)
{
	size_t count = 0;

	while (nr--)
		count += entries[nr].call == call;
	return count;
}

static __u64 words[MAX_PAGES];
static __u64 addresses[MAX_PAGES];

static bool read_words(int fd, __u32 device, const void *start, size_t npages)
{
	struct dma_test_read args = {
		.start = (unsigned long)start,
		.npages = npages,
		.words = (unsigned long)words,
		.addresses = (unsigned long)addresses,
		.device = device,
	};

	return !ioctl(fd, DMA_TEST_READ, &args);
}

/* What a device has. */
struct mapped {
	size_t pages;
	size_t runs;
	size_t writable;
	size_t wrong;	/* pages where lookup() and the device do not agree */
	size_t stale;	/* pages that the process does not have there */
};

/*
 * Nobody may populate meanwhile, so pages only leave the device: one that is still there
 * after the process's page tables have been read must have been in them.
 */
static struct mapped examine(int fd, __u32 device, const void *start,
			     size_t npages)
{
	static uint64_t pagemap[MAX_PAGES];
	struct mapped mapped = { .wrong = SIZE_MAX, .stale = SIZE_MAX };
	size_t i;

	if (npages > MAX_PAGES || !read_pagemap(start, npages, pagemap) ||
	    !read_words(fd, device, start, npages))
		return mapped;
	mapped.wrong = 0;
	mapped.stale = 0;
	for (i = 0; i < npages; i++) {
		mapped.wrong += !!(words[i] & DMA_TEST_WRONG);
		if (!(words[i] & DMA_TEST_VALID))
			continue;
		mapped.pages++;
		mapped.runs += !!(words[i] & DMA_TEST_HEAD);
		mapped.writable += !!(words[i] & DMA_TEST_WRITE);
		if (!(pagemap[i] & PAGEMAP_PRESENT) ||
		    (pagemap[i] & PAGEMAP_PFN_MASK) !=
		    (words[i] & DMA_TEST_PFN_MASK))
			mapped.stale++;
	}
	return mapped;
}

#define EXPECT_MAPPED(fd, device, start, npages, nr_pages, nr_runs, nr_writable) \
	expect_mapped(_metadata, __LINE__, fd, device, start, npages, nr_pages, \
		      nr_runs, nr_writable)

static void expect_mapped(struct __test_metadata *_metadata, int line, int fd,
			  __u32 device, const void *start, size_t npages,
			  size_t nr_pages, size_t nr_runs, size_t nr_writable)
{
	struct mapped mapped = examine(fd, device, start, npages);

	EXPECT_EQ(0, mapped.wrong) {
		TH_LOG("called in line %d", line);
	}
	EXPECT_EQ(0, mapped.stale) {
		TH_LOG("called in line %d", line);
	}
	EXPECT_EQ(nr_pages, mapped.pages) {
		TH_LOG("called in line %d", line);
	}
	EXPECT_EQ(nr_runs, mapped.runs) {
		TH_LOG("called in line %d", line);
	}
	EXPECT_EQ(nr_writable, mapped.writable) {
		TH_LOG("called in line %d", line);
	}
}

static struct hmm_mirror_stats stats_now(void)
{
	struct hmm_mirror_stats stats = {};
	int fd = open_device();

	call_stats(fd, &stats);
	close(fd);
	return stats;
}

/* Whether the page behind an address has been marked dirty; the folio, if it is one. */
static int page_is_dirty(const void *address)
{
	uint64_t pfn = pagemap_entry(address) & PAGEMAP_PFN_MASK;
	int fd = open("/proc/kpageflags", O_RDONLY);
	uint64_t flags = 0;
	int result = -1;

	if (fd < 0 || !pfn)
		goto out;
	do {
		if (pread(fd, &flags, sizeof(flags), pfn * sizeof(flags)) !=
		    sizeof(flags))
			goto out;
		pfn--;
	} while (flags & KPF_COMPOUND_TAIL);
	result = !!(flags & KPF_DIRTY);
out:
	if (fd >= 0)
		close(fd);
	return result;
}

FIXTURE(dma)
{
	int fd;
	__u32 device;
	__u32 flags;
	struct hmm_mirror_stats before;
};

FIXTURE_VARIANT(dma)
{
	__u32 device;
	__u32 flags;
	bool without_iova;
};

FIXTURE_VARIANT_ADD(dma, canned)
{
	.device = DMA_TEST_PLATFORM0,
};

FIXTURE_VARIANT_ADD(dma, steps)
{
	.device = DMA_TEST_PLATFORM0,
	.flags = DMA_TEST_STEPS,
};

FIXTURE_VARIANT_ADD(dma, fixed)
{
	.device = DMA_TEST_PLATFORM0,
	.flags = DMA_TEST_FIXED,
};

FIXTURE_VARIANT_ADD(dma, pci)
{
	.device = DMA_TEST_PCI,
};

FIXTURE_VARIANT_ADD(dma, pci_fixed)
{
	.device = DMA_TEST_PCI,
	.flags = DMA_TEST_FIXED,
};

FIXTURE_VARIANT_ADD(dma, pci_without_iova)
{
	.device = DMA_TEST_PCI,
	.flags = DMA_TEST_FIXED,
	.without_iova = true,
};

static bool find_device(__u32 device, char *name)
{
	return find_pci_device(device == DMA_TEST_PCI_PEER ? "0x0005" : "0x11e8",
			       name);
}

static bool have_pci_device(__u32 device)
{
	char name[PCI_NAME_LENGTH];

	return find_device(device, name);
}

/* Whether a device is below the same switch as the PCI device of that name. */
static bool is_neighbour(__u32 device, const char *other)
{
	char name[PCI_NAME_LENGTH];

	return device >= DMA_TEST_PCI && find_device(device, name) &&
	       are_neighbours(name, other);
}

FIXTURE_SETUP(dma)
{
	if (variant->device == DMA_TEST_PCI && !have_pci_device(DMA_TEST_PCI))
		SKIP(return, "QEMU has no edu (boot.sh)");
	self->device = variant->device;
	self->flags = variant->flags;
	self->fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_TRUE(write_text(DMA_IOVA, variant->without_iova ? "N" : "Y"));
	self->before = stats_now();
}

FIXTURE_TEARDOWN(dma)
{
	struct hmm_mirror_stats after;

	close(self->fd);
	write_text(DMA_IOVA, "Y");
	/* Whatever was mapped is unmapped. */
	after = stats_now();
	EXPECT_EQ(after.dma_maps - self->before.dma_maps,
		  after.dma_unmaps - self->before.dma_unmaps);
}

#define REGISTER(start, npages) \
	ASSERT_EQ(0, register_dma(self->fd, start, npages, \
				  BIT_OF(self->device), self->flags, 64))
#define MAPPED(start, npages, nr_pages, nr_runs, nr_writable) \
	EXPECT_MAPPED(self->fd, self->device, start, npages, nr_pages, \
		      nr_runs, nr_writable)

TEST_F(dma, pages)
{
	char *start = map_anonymous(16);
	struct hmm_mirror_stats stats;
	size_t nr;

	ASSERT_NE(NULL, start);
	mark_pages(start, 16, 1);
	REGISTER(start, 16);
	EXPECT_EQ(0, populate(self->fd, start, 16, WRITE));
	/* However they lie in memory, the CPU maps them one by one. */
	MAPPED(start, 16, 16, 16, 16);
	stats = stats_now();
	EXPECT_EQ(16, stats.dma_maps - self->before.dma_maps);
	EXPECT_EQ(16 * page_size(), stats.dma_bytes - self->before.dma_bytes);
	take_log(_metadata, self->fd);

	ASSERT_EQ(0, madvise(page_at(start, 3), page_size(), MADV_DONTNEED));
	MAPPED(start, 16, 15, 15, 15);
	nr = take_log(_metadata, self->fd);
	ASSERT_EQ(2, nr);
	EXPECT_EQ(DMA_TEST_ZAP, entries[0].call);
	EXPECT_EQ(DMA_TEST_WAIT, entries[1].call);
	EXPECT_EQ((unsigned long)page_at(start, 3), entries[0].start);
	EXPECT_EQ((unsigned long)page_at(start, 4), entries[0].end);
	/* Nothing is there any more: the device is left alone. */
	ASSERT_EQ(0, madvise(page_at(start, 3), page_size(), MADV_DONTNEED));
	EXPECT_EQ(0, take_log(_metadata, self->fd));

	EXPECT_EQ(0, populate(self->fd, start, 16, WRITE));
	MAPPED(start, 16, 16, 16, 16);
	EXPECT_EQ(0, unregister_dma(self->fd));
	stats = stats_now();
	EXPECT_EQ(17, stats.dma_maps - self->before.dma_maps);
	EXPECT_EQ(17, stats.dma_unmaps - self->before.dma_unmaps);
}

/* Over the border of a block, with neighbours that are not asked for, and holes. */
TEST_F(dma, scattered)
{
	size_t npages = 3 * pages_per_pmd();
	char *start = map_anonymous_aligned(npages, pmd_size());
	size_t i, expected = 0;

	ASSERT_NE(NULL, start);
	start += 5 * page_size();
	npages -= 10;
	for (i = 0; i < npages; i += 1 + i % 3) {
		mark_pages(page_at(start, i), 1, i);
		expected++;
	}
	REGISTER(start, npages);
	EXPECT_EQ(0, populate(self->fd, start, npages, SNAPSHOT));
	MAPPED(start, npages, expected, expected, expected);

	/* Everything in the middle block goes, and comes back. */
	ASSERT_EQ(0, madvise(page_at(start, 500), 600 * page_size(),
			     MADV_DONTNEED));
	for (expected = 0, i = 0; i < npages; i += 1 + i % 3)
		expected += i < 500 || i >= 1100;
	MAPPED(start, npages, expected, expected, expected);
	EXPECT_EQ(0, populate(self->fd, start, npages, WRITE));
	MAPPED(start, npages, npages, npages, npages);
	ASSERT_EQ(0, madvise(page_at(start, 600), page_size(), MADV_DONTNEED));
	MAPPED(start, npages, npages - 1, npages - 1, npages - 1);
	/* A new border between mappings: the kernel takes the whole block apart. */
	ASSERT_EQ(0, munmap(page_at(start, 1), page_size()));
	EXPECT_EQ(0, examine(self->fd, self->device, start, npages).stale);
}

TEST_F(dma, huge)
{
	size_t npages = 2 * pages_per_pmd();
	struct hmm_mirror_stats stats;
	struct mapped mapped;
	size_t runs;
	char *start;

	if (!have_huge_pages())
		SKIP(return, "no transparent huge pages");
	make_room_for_huge_pages();
	start = map_huge(2);
	ASSERT_NE(NULL, start);
	REGISTER(start, npages);
	EXPECT_EQ(0, populate(self->fd, start, npages, WRITE));
	mapped = examine(self->fd, self->device, start, npages);
	/* One for each, unless the DMA API takes less at a time (swiotlb). */
	runs = mapped.runs;
	EXPECT_LE(2, runs);
	EXPECT_GE(32, runs);
	if (self->device == DMA_TEST_PCI)
		EXPECT_EQ(2, runs);
	MAPPED(start, npages, npages, runs, npages);
	stats = stats_now();
	EXPECT_EQ(runs, stats.dma_maps - self->before.dma_maps);
	EXPECT_EQ(npages * page_size(), stats.dma_bytes - self->before.dma_bytes);

	/* The CPU takes the whole entry apart. */
	ASSERT_EQ(0, madvise(page_at(start, 7), page_size(), MADV_DONTNEED));
	MAPPED(start, npages, npages / 2, runs / 2, npages / 2);
	EXPECT_EQ(0, populate(self->fd, start, npages, WRITE));
	mapped = examine(self->fd, self->device, start, npages);
	EXPECT_EQ(npages, mapped.pages);
	EXPECT_LE(pages_per_pmd(), mapped.runs);
	EXPECT_EQ(0, mapped.stale);
	EXPECT_EQ(0, mapped.wrong);
	take_log(_metadata, self->fd);
}

/* An interval grows to the run at each end, and no further. */
TEST_F(dma, grow)
{
	struct dma_test_interval interval;
	size_t huge = pages_per_pmd();
	unsigned long page = page_size();
	unsigned long addr;
	char *start;

	if (!have_huge_pages())
		SKIP(return, "no transparent huge pages");
	make_room_for_huge_pages();
	start = map_huge(2);
	ASSERT_NE(NULL, start);
	addr = (unsigned long)start;
	REGISTER(start, 2 * huge);
#define GROW(first, count) \
	call_interval(self->fd, DMA_TEST_GROW, self->device, \
		      page_at(start, first), count, &interval)
	EXPECT_EQ(0, GROW(0, 2 * huge));
	EXPECT_EQ(addr, interval.start);
	EXPECT_EQ(addr + 2 * huge * page, interval.end);

	/* A run at the end of the first block, a short one in the second. */
	EXPECT_EQ(0, populate(self->fd, page_at(start, huge - 8), 8, WRITE));
	EXPECT_EQ(0, populate(self->fd, page_at(start, huge + 16), 4, WRITE));
	MAPPED(start, 2 * huge, 12, 2, 12);
	EXPECT_EQ(1, GROW(huge - 1, 1));
	EXPECT_EQ(addr + (huge - 8) * page, interval.start);
	EXPECT_EQ(addr + huge * page, interval.end);
	EXPECT_EQ(1, GROW(huge - 8, 1));
	EXPECT_EQ(addr + (huge - 8) * page, interval.start);
	EXPECT_EQ(addr + huge * page, interval.end);
	EXPECT_EQ(1, GROW(huge - 1, 19));
	EXPECT_EQ(addr + (huge - 8) * page, interval.start);
	EXPECT_EQ(addr + (huge + 20) * page, interval.end);
	EXPECT_EQ(1, GROW(huge + 2, 15));
	EXPECT_EQ(addr + (huge + 2) * page, interval.start);
	EXPECT_EQ(addr + (huge + 20) * page, interval.end);
	EXPECT_EQ(0, GROW(huge, 16));
	EXPECT_EQ(0, GROW(huge + 20, huge - 20));
	EXPECT_EQ(0, GROW(0, huge - 8));
	EXPECT_EQ(1, GROW(0, 2 * huge));
	EXPECT_EQ(addr, interval.start);
	EXPECT_EQ(addr + 2 * huge * page, interval.end);

	/* With more of them they are in a table. */
	EXPECT_EQ(0, populate(self->fd, page_at(start, huge + 32), 8, WRITE));
	EXPECT_EQ(0, populate(self->fd, page_at(start, huge + 48), 8, WRITE));
	EXPECT_EQ(1, GROW(huge + 19, 14));
	EXPECT_EQ(addr + (huge + 16) * page, interval.start);
	EXPECT_EQ(addr + (huge + 40) * page, interval.end);
	EXPECT_EQ(1, GROW(huge + 17, 32));
	EXPECT_EQ(addr + (huge + 16) * page, interval.start);
	EXPECT_EQ(addr + (huge + 56) * page, interval.end);
	EXPECT_EQ(0, GROW(huge + 40, 8));
#undef GROW
}

/* What is mapped keeps its address, however it is asked for again. */
TEST_F(dma, again)
{
	static __u64 first[512];
	size_t huge = pages_per_pmd();
	struct hmm_mirror_stats stats;
	struct mapped mapped;
	size_t i, changed = 0;
	char *start;

	if (!have_huge_pages() || huge != 512)
		SKIP(return, "no transparent huge pages of 512 pages");
	make_room_for_huge_pages();
	start = map_huge(1);
	ASSERT_NE(NULL, start);
	REGISTER(start, huge);
	/* A page of it, and then all: the rest comes around it. */
	EXPECT_EQ(0, populate(self->fd, page_at(start, 100), 1, WRITE));
	MAPPED(start, huge, 1, 1, 1);
	memcpy(first, addresses, sizeof(first));
	EXPECT_EQ(0, populate(self->fd, start, huge, WRITE));
	EXPECT_EQ(first[100], (examine(self->fd, self->device, start, huge),
			       addresses[100]));
	mapped = examine(self->fd, self->device, start, huge);
	EXPECT_EQ(huge, mapped.pages);
	EXPECT_LE(3, mapped.runs);
	memcpy(first, addresses, sizeof(first));
	take_log(_metadata, self->fd);
	stats = stats_now();

	EXPECT_EQ(0, populate(self->fd, start, huge, WRITE));
	EXPECT_EQ(0, populate(self->fd, page_at(start, 50), 100, READ));
	EXPECT_EQ(0, populate(self->fd, page_at(start, 511), 1, SNAPSHOT));
	EXPECT_EQ(stats.dma_maps, stats_now().dma_maps);
	EXPECT_EQ(stats.dma_unmaps, stats_now().dma_unmaps);
	MAPPED(start, huge, huge, mapped.runs, huge);
	for (i = 0; i < huge; i++)
		changed += first[i] != addresses[i];
	EXPECT_EQ(0, changed);
	/* The device has been told all of it again. */
	EXPECT_LE(mapped.runs, take_log(_metadata, self->fd));
}

#define IOVA_BLOCKS	3

/* Pages here and there in three blocks, which the CPU maps one by one. */
static size_t mark_scattered(char *start)
{
	size_t i, marked = 0;

	for (i = 0; i < IOVA_BLOCKS * pages_per_pmd(); i += 1 + i % 3) {
		mark_pages(page_at(start, i), 1, i);
		marked++;
	}
	return marked;
}

/*
 * In how many of the blocks all pages, after the first one that is mapped, have the address
 * that follows from those of their neighbours. The first one was the only run of its block.
 */
static size_t blocks_in_order(void)
{
	size_t i, block, in_order = 0;

	for (block = 0; block < IOVA_BLOCKS; block++) {
		size_t begin = block * pages_per_pmd(), first = SIZE_MAX;
		size_t seen = 0, wrong = 0;

		for (i = begin; i < begin + pages_per_pmd(); i++) {
			if (!(words[i] & DMA_TEST_VALID) || !seen++)
				continue;
			if (first == SIZE_MAX)
				first = i;
			wrong += addresses[i] - addresses[first] !=
				 (i - first) * page_size();
		}
		in_order += seen > 2 && !wrong;
	}
	return in_order;
}

/* How many pages do not have the address that follows from the first one's. */
static size_t not_in_window(size_t npages)
{
	size_t i, wrong = 0;

	for (i = 0; i < npages; i++)
		wrong += (words[i] & DMA_TEST_VALID) &&
			 addresses[i] - addresses[0] != i * page_size();
	return wrong;
}

/*
 * Where the kernel has calls for it, I/O virtual addresses are allocated for many pages at
 * once: in a window for all of them, which keep them for good; else for those of a block.
 */
TEST_F(dma, iova)
{
	size_t npages = IOVA_BLOCKS * pages_per_pmd();
	char *start = map_anonymous_aligned(npages, pmd_size());
	bool fixed = self->flags & DMA_TEST_FIXED;
	static __u64 first[MAX_PAGES];
	size_t i, marked, changed = 0;

	if (!file_has_word("/proc/kallsyms", "dma_iova_try_alloc"))
		SKIP(return, "the kernel has no dma_iova_try_alloc() (6.16 on)");
	ASSERT_NE(NULL, start);
	ASSERT_GE(MAX_PAGES, npages);
	ASSERT_EQ(0, madvise(start, npages * page_size(), MADV_NOHUGEPAGE));
	REGISTER(start, npages);
	if (!registered.translated)
		SKIP(return, "no IOMMU translates for the device");
	marked = mark_scattered(start);
	EXPECT_EQ(0, populate(self->fd, start, npages, SNAPSHOT));
	MAPPED(start, npages, marked, marked, marked);
	if (variant->without_iova) {
		EXPECT_EQ(0, blocks_in_order());
		EXPECT_LT(0, not_in_window(npages));
	} else if (!fixed) {
		EXPECT_EQ(IOVA_BLOCKS, blocks_in_order());
	} else {
		EXPECT_EQ(0, not_in_window(npages));
		/* An IOMMU can map by large pages what the CPU does. */
		EXPECT_EQ(0, addresses[0] % pmd_size());
	}
	memcpy(first, addresses, npages * sizeof(first[0]));
	take_log(_metadata, self->fd);

	/* Other pages, in another order */
	ASSERT_EQ(0, madvise(start, npages * page_size(), MADV_DONTNEED));
	MAPPED(start, npages, 0, 0, 0);
	for (i = IOVA_BLOCKS; i-- > 0;)
		EXPECT_EQ(0, populate(self->fd, page_at(start, i * pages_per_pmd()),
				      pages_per_pmd(), WRITE));
	MAPPED(start, npages, npages, npages, npages);
	for (i = 0; i < npages; i++)
		changed += first[i] && first[i] != addresses[i];
	if (variant->without_iova) {
		EXPECT_LT(0, not_in_window(npages));
	} else if (!fixed) {
		EXPECT_EQ(IOVA_BLOCKS, blocks_in_order());
	} else {
		EXPECT_EQ(0, not_in_window(npages));
		EXPECT_EQ(0, changed);
	}
	take_log(_metadata, self->fd);
}

/* What all devices have for writing needs no second look, but everything else does. */
TEST_F(dma, asked_again)
{
	size_t npages = 2 * pages_per_pmd();
	char *start = map_anonymous_aligned(npages, pmd_size());
	__u32 devices = BIT_OF(self->device) | BIT_OF(DMA_TEST_PLATFORM1);
	__u32 flags = self->flags | DMA_TEST_PLAIN;
	size_t nr;

	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 1);
	ASSERT_EQ(0, register_dma(self->fd, start, npages, devices, flags, 64));
	EXPECT_EQ(0, populate(self->fd, start, npages, WRITE));
	MAPPED(start, npages, npages, npages, npages);
	EXPECT_EQ(2 * npages, take_log(_metadata, self->fd));

	EXPECT_EQ(0, populate(self->fd, start, npages, WRITE));
	/* Callbacks of a driver's own are called each time. */
	if (self->flags & DMA_TEST_STEPS) {
		EXPECT_EQ(2 * npages, take_log(_metadata, self->fd));
		EXPECT_EQ(0, unregister_dma(self->fd));
		return;
	}
	EXPECT_EQ((unsigned long)start + npages * page_size(), populated.next);
	EXPECT_EQ(0, populate(self->fd, start, npages, SNAPSHOT));
	EXPECT_EQ(0, populate(self->fd, page_at(start, 500), 100, READ));
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	EXPECT_EQ(EINVAL, populate(self->fd, start + 1, npages - 1, WRITE));
	EXPECT_EQ(EINVAL, populate(self->fd, start, 0, WRITE));
	EXPECT_EQ(EINVAL, populate(self->fd, start, npages + 1, WRITE));

	/* A page less, in either block */
	ASSERT_EQ(0, madvise(page_at(start, 700), page_size(), MADV_DONTNEED));
	take_log(_metadata, self->fd);
	EXPECT_EQ(0, populate(self->fd, start, 700, WRITE));
	EXPECT_EQ(0, populate(self->fd, page_at(start, 701), 323, WRITE));
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	EXPECT_EQ(0, populate(self->fd, page_at(start, 699), 3, WRITE));
	nr = take_log(_metadata, self->fd);
	EXPECT_EQ(2 * 3, count_calls(nr, DMA_TEST_SET));
	ASSERT_EQ(0, madvise(start, page_size(), MADV_DONTNEED));
	take_log(_metadata, self->fd);
	EXPECT_EQ(0, populate(self->fd, start, npages, WRITE));
	nr = take_log(_metadata, self->fd);
	EXPECT_EQ(2 * npages, count_calls(nr, DMA_TEST_SET));
	MAPPED(start, npages, npages, npages, npages);

	/* A page that may only be read */
	ASSERT_EQ(0, mprotect(page_at(start, 3), page_size(), PROT_READ));
	EXPECT_EQ(0, populate(self->fd, start, npages, READ));
	MAPPED(start, npages, npages, npages, npages - 1);
	take_log(_metadata, self->fd);
	EXPECT_EQ(EPERM, populate(self->fd, page_at(start, 3), 1, WRITE));
	ASSERT_EQ(0, mprotect(page_at(start, 3), page_size(),
			      PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, populate(self->fd, page_at(start, 3), 1, WRITE));
	MAPPED(page_at(start, 3), 1, 1, 1, 1);
	EXPECT_EQ(0, unregister_dma(self->fd));
}

/* The CPU may write to a page where it is, at last: no invalidation says so. */
TEST_F(dma, read_only_becomes_writable)
{
	char *start = map_anonymous(8);
	size_t nr;

	/* A new page that another processor has yet to put on its list would be copied. */
	ASSERT_TRUE(pin_to_cpu(0));
	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	ASSERT_TRUE(share_with_short_lived_child());
	REGISTER(start, 8);
	EXPECT_EQ(0, populate(self->fd, start, 8, READ));
	MAPPED(start, 8, 8, 8, 0);
	EXPECT_EQ(8, take_log(_metadata, self->fd));

	mark_pages(page_at(start, 2), 2, 3);
	/* The device may be reading them: still as they were. */
	MAPPED(start, 8, 8, 8, 0);
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	EXPECT_EQ(0, populate(self->fd, start, 8, READ));
	MAPPED(start, 8, 8, 8, 2);
	nr = take_log(_metadata, self->fd);
	EXPECT_LE(1, count_calls(nr, DMA_TEST_ZAP));
	EXPECT_EQ(count_calls(nr, DMA_TEST_ZAP), count_calls(nr, DMA_TEST_WAIT));
	EXPECT_EQ(8, count_calls(nr, DMA_TEST_SET));

	EXPECT_EQ(0, populate(self->fd, start, 8, WRITE));
	MAPPED(start, 8, 8, 8, 8);
	EXPECT_EQ(0, populate(self->fd, start, 8, WRITE));
	nr = take_log(_metadata, self->fd);
	EXPECT_LE(16, count_calls(nr, DMA_TEST_SET));
}

TEST_F(dma, zero_page)
{
	char *start = map_anonymous(4);

	ASSERT_NE(NULL, start);
	REGISTER(start, 4);
	EXPECT_EQ(0, touch_page(page_at(start, 1)));
	EXPECT_EQ(0, populate(self->fd, start, 4, READ));
	MAPPED(start, 4, 4, 4, 0);
	EXPECT_EQ(words[1] & DMA_TEST_PFN_MASK, words[2] & DMA_TEST_PFN_MASK);
	EXPECT_EQ(0, populate(self->fd, start, 4, WRITE));
	MAPPED(start, 4, 4, 4, 4);
	EXPECT_NE(words[1] & DMA_TEST_PFN_MASK, words[2] & DMA_TEST_PFN_MASK);
	EXPECT_EQ(0, mprotect(start, 2 * page_size(), PROT_READ));
	MAPPED(start, 4, 2, 2, 2);
	EXPECT_EQ(EPERM, populate(self->fd, start, 4, WRITE));
	EXPECT_EQ(0, populate(self->fd, start, 4, READ));
	MAPPED(start, 4, 4, 4, 2);
}

/* What the device may have written is dirty afterwards, and nothing else. */
TEST_F(dma, dirty)
{
	char *start = map_anonymous(6);
	size_t i;

	ASSERT_NE(NULL, start);
	mark_pages(start, 6, 1);
	for (i = 0; i < 6; i++)
		ASSERT_EQ(0, page_is_dirty(page_at(start, i)));
	REGISTER(start, 6);
	EXPECT_EQ(0, populate(self->fd, start, 2, WRITE));
	ASSERT_TRUE(share_with_short_lived_child());
	EXPECT_EQ(1, page_is_dirty(page_at(start, 0)));
	EXPECT_EQ(1, page_is_dirty(page_at(start, 1)));
	/* For reading */
	EXPECT_EQ(0, populate(self->fd, page_at(start, 2), 2, READ));
	MAPPED(page_at(start, 2), 2, 2, 2, 0);
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_UNMAP_ALL));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 2)));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 3)));
	/* Still mapped when it ends */
	EXPECT_EQ(0, populate(self->fd, page_at(start, 4), 1, WRITE));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 4)));
	EXPECT_EQ(0, unregister_dma(self->fd));
	EXPECT_EQ(1, page_is_dirty(page_at(start, 4)));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 5)));
}

TEST_F(dma, dirty_tracked)
{
	char *start = map_anonymous(6);
	struct dma_test_interval interval;

	ASSERT_NE(NULL, start);
	mark_pages(start, 6, 1);
	self->flags |= DMA_TEST_TRACKED;
	REGISTER(start, 6);
	EXPECT_EQ(0, populate(self->fd, start, 6, WRITE));
	MAPPED(start, 6, 6, 6, 6);
	EXPECT_EQ(0, call_interval(self->fd, DMA_TEST_WRITTEN, self->device,
				   page_at(start, 1), 1, &interval));
	EXPECT_EQ(0, call_interval(self->fd, DMA_TEST_WRITTEN, self->device,
				   page_at(start, 3), 2, &interval));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 1)));
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_UNMAP_ALL));
	MAPPED(start, 6, 0, 0, 0);
	EXPECT_EQ(0, page_is_dirty(page_at(start, 0)));
	EXPECT_EQ(1, page_is_dirty(page_at(start, 1)));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 2)));
	EXPECT_EQ(1, page_is_dirty(page_at(start, 3)));
	EXPECT_EQ(1, page_is_dirty(page_at(start, 4)));
	EXPECT_EQ(0, page_is_dirty(page_at(start, 5)));
}

TEST_F(dma, dirty_huge)
{
	size_t huge = pages_per_pmd();
	char *start;

	if (!have_huge_pages())
		SKIP(return, "no transparent huge pages");
	make_room_for_huge_pages();
	start = map_huge(1);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, page_is_dirty(start));
	REGISTER(start, huge);
	EXPECT_EQ(0, populate(self->fd, page_at(start, 300), 3, WRITE));
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_UNMAP_ALL));
	EXPECT_EQ(1, page_is_dirty(page_at(start, 300)));
}

/* The device leaves while the process goes on. */
TEST_F(dma, device_leaves)
{
	char *start = map_anonymous(8);
	size_t nr;

	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	REGISTER(start, 8);
	EXPECT_EQ(0, populate(self->fd, start, 8, WRITE));
	take_log(_metadata, self->fd);
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_EXIT, self->device));
	nr = take_log(_metadata, self->fd);
	EXPECT_EQ(1, count_calls(nr, DMA_TEST_ZAP));
	EXPECT_EQ(1, count_calls(nr, DMA_TEST_WAIT));
	EXPECT_EQ(1, page_is_dirty(start));
	/* Invalidations go on, and find nothing. */
	ASSERT_EQ(0, madvise(start, 4 * page_size(), MADV_DONTNEED));
	if (!(self->flags & DMA_TEST_STEPS))
		EXPECT_EQ(ENODEV, populate(self->fd, start, 8, WRITE));
	EXPECT_EQ(0, take_log(_metadata, self->fd));
	EXPECT_EQ(0, unregister_dma(self->fd));
}

/* The process leaves while the device is there. */
TEST_F(dma, process_leaves)
{
	char *start = map_anonymous(8);
	struct hmm_mirror_stats stats;
	pid_t child;
	int status;

	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* Its memory, in a file that its parent has open, too. */
		if (register_dma(self->fd, start, 8, BIT_OF(self->device),
				 self->flags, 64) ||
		    populate(self->fd, start, 8, WRITE))
			_exit(1);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* The last reference to its memory may be a worker's. */
	sleep_ms(200);
	stats = stats_now();
	EXPECT_EQ(8, stats.dma_maps - self->before.dma_maps);
	EXPECT_EQ(8, stats.dma_unmaps - self->before.dma_unmaps);
	EXPECT_EQ(ESRCH, populate(self->fd, start, 8, WRITE));
	take_log(_metadata, self->fd);
	EXPECT_EQ(0, unregister_dma(self->fd));
}

/* set() fails: that run is taken back, those before stay. */
TEST_F(dma, set_fails)
{
	struct dma_test_knobs knobs = { .set_error = EXDEV,
					.set_error_after = 5 };
	char *start = map_anonymous(8);

	if (self->flags & DMA_TEST_STEPS)
		SKIP(return, "only the canned callbacks take it back");
	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	REGISTER(start, 8);
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	EXPECT_EQ(EXDEV, populate(self->fd, start, 8, WRITE));
	MAPPED(start, 8, 5, 5, 5);
	knobs.set_error = 0;
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	EXPECT_EQ(0, populate(self->fd, start, 8, WRITE));
	MAPPED(start, 8, 8, 8, 8);

	/* What the driver lacks is not what the tables lack: to try again is for the caller. */
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_UNMAP_ALL));
	knobs.set_error = EAGAIN;
	ASSERT_TRUE(set_knobs(self->fd, &knobs));
	EXPECT_EQ(EAGAIN, populate(self->fd, start, 8, WRITE));
	MAPPED(start, 8, 5, 5, 5);
	take_log(_metadata, self->fd);
}

/* A mirror of all addresses that there are: the device hears only of what is mapped. */
TEST_F(dma, all_addresses)
{
	char *start = map_anonymous(8);
	size_t i, nr;

	if (self->flags & DMA_TEST_STEPS)
		SKIP(return, "how far a step reaches is the driver's choice");
	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	REGISTER(NULL, SIZE_MAX / page_size());
	EXPECT_EQ(0, populate(self->fd, start, 8, WRITE));
	MAPPED(start, 8, 8, 8, 8);
	take_log(_metadata, self->fd);
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_UNMAP_ALL));
	nr = take_log(_metadata, self->fd);
	EXPECT_EQ(1, count_calls(nr, DMA_TEST_ZAP));
	EXPECT_EQ(1, count_calls(nr, DMA_TEST_WAIT));
	/* Of the eight pages, some may be in the next 2 MiB. */
	for (i = 0; i < nr; i++)
		EXPECT_GE(4UL << 20, entries[i].end - entries[i].start);
	MAPPED(start, 8, 0, 0, 0);
	EXPECT_EQ(0, populate(self->fd, start, 8, WRITE));
	take_log(_metadata, self->fd);
	ASSERT_EQ(0, ioctl(self->fd, DMA_TEST_EXIT, self->device));
	nr = take_log(_metadata, self->fd);
	for (i = 0; i < nr; i++)
		EXPECT_GE(4UL << 20, entries[i].end - entries[i].start);
	EXPECT_EQ(0, unregister_dma(self->fd));
}

#define NR_RACERS	3

struct race {
	int fd;
	char *start;
	size_t npages;
	volatile bool stop;
	unsigned long populates;
	unsigned long failures;
};

static void *race_populate(void *argument)
{
	struct race *race = argument;
	unsigned int seed = 1;

	while (!race->stop) {
		size_t first = rand_r(&seed) % race->npages;
		size_t count = 1 + rand_r(&seed) % (race->npages - first);
		int error = populate(race->fd, page_at(race->start, first),
				     count, rand_r(&seed) % 2 ? WRITE : READ);

		/* What is being unmapped, or protected, is not there. */
		if (error && error != EFAULT && error != EPERM)
			__atomic_add_fetch(&race->failures, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&race->populates, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Whatever happens to the memory meanwhile, nothing stale is mapped. */
TEST_F(dma, race)
{
	size_t npages = 2 * pages_per_pmd();
	double end = seconds_now() + 3;
	pthread_t threads[NR_RACERS];
	struct race race = {};
	unsigned int seed = 2;
	size_t i, rounds = 0;

	race.fd = self->fd;
	race.npages = npages;
	race.start = map_huge_hole(2);
	ASSERT_NE(NULL, race.start);
	REGISTER(race.start, npages);
	while (seconds_now() < end) {
		struct mapped mapped;

		race.stop = false;
		for (i = 0; i < NR_RACERS; i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL,
						    race_populate, &race));
		for (i = 0; i < 20; i++) {
			size_t first = rand_r(&seed) % npages;
			size_t count = 1 + rand_r(&seed) % (npages - first);
			char *part = page_at(race.start, first);
			size_t length = count * page_size();

			switch (rand_r(&seed) % 6) {
			case 0:
				madvise(part, length, MADV_DONTNEED);
				break;
			case 1:
				mprotect(part, length, PROT_READ);
				mprotect(part, length, PROT_READ | PROT_WRITE);
				break;
			case 2:
				share_with_short_lived_child();
				break;
			case 3:
				madvise(part, length, MADV_PAGEOUT);
				break;
			case 4:
				mark_pages(part, count, 1);
				break;
			case 5:
				madvise(race.start, npages * page_size(),
					MADV_COLLAPSE);
				break;
			}
		}
		race.stop = true;
		for (i = 0; i < NR_RACERS; i++)
			pthread_join(threads[i], NULL);
		mapped = examine(self->fd, self->device, race.start, npages);
		EXPECT_EQ(0, mapped.stale);
		EXPECT_EQ(0, mapped.wrong);
		rounds++;
	}
	EXPECT_EQ(0, race.failures);
	EXPECT_LT(0, race.populates);
	EXPECT_LT(0, rounds);
	/* There were more calls than the log has room for. */
	unregister_dma(self->fd);
	munmap(race.start, npages * page_size());
}

/* Two devices, each with runs of its own, stop at the same time. */
TEST(two_devices)
{
	__u32 devices = BIT_OF(DMA_TEST_PLATFORM0) | BIT_OF(DMA_TEST_PLATFORM1);
	int fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	char *start = map_anonymous(4);
	size_t nr;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	ASSERT_EQ(0, register_dma(fd, start, 4, devices, 0, 64));
	EXPECT_EQ(0, populate(fd, start, 4, WRITE));
	EXPECT_MAPPED(fd, DMA_TEST_PLATFORM0, start, 4, 4, 4, 4);
	EXPECT_MAPPED(fd, DMA_TEST_PLATFORM1, start, 4, 4, 4, 4);
	take_log(_metadata, fd);
	ASSERT_EQ(0, madvise(start, page_size(), MADV_DONTNEED));
	nr = take_log(_metadata, fd);
	ASSERT_EQ(4, nr);
	EXPECT_EQ(DMA_TEST_ZAP, entries[0].call);
	EXPECT_EQ(DMA_TEST_ZAP, entries[1].call);
	EXPECT_EQ(DMA_TEST_WAIT, entries[2].call);
	EXPECT_EQ(DMA_TEST_WAIT, entries[3].call);
	EXPECT_NE(entries[0].device, entries[1].device);

	/* One leaves, the other goes on. */
	ASSERT_EQ(0, ioctl(fd, DMA_TEST_EXIT, DMA_TEST_PLATFORM0));
	EXPECT_EQ(0, populate(fd, start, 4, WRITE));
	EXPECT_MAPPED(fd, DMA_TEST_PLATFORM1, start, 4, 4, 4, 4);
	take_log(_metadata, fd);
	EXPECT_EQ(0, unregister_dma(fd));
	close(fd);
}

/* Memory beyond what the device can address: refused, and nothing said in the log. */
TEST(out_of_reach)
{
	static const __u32 all_flags[] = { 0, DMA_TEST_STEPS, DMA_TEST_FIXED };
	char *start = map_anonymous(4);
	struct hmm_mirror_stats before, after;
	size_t i;

	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	if (!((pagemap_entry(start) & PAGEMAP_PFN_MASK) >> (24 - 12)))
		SKIP(return, "the page is in the first 16 MiB of memory");
	before = stats_now();
	for (i = 0; i < 3; i++) {
		int fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, register_dma(fd, start, 4,
					  BIT_OF(DMA_TEST_PLATFORM0),
					  all_flags[i], 24));
		EXPECT_EQ(EOPNOTSUPP, populate(fd, start, 1, WRITE));
		EXPECT_EQ((unsigned long)start, populated.next);
		EXPECT_MAPPED(fd, DMA_TEST_PLATFORM0, start, 4, 0, 0, 0);
		EXPECT_EQ(0, take_log(_metadata, fd));
		close(fd);
	}
	after = stats_now();
	EXPECT_EQ(before.dma_maps, after.dma_maps);
}

/* An IOMMU brings it into reach. */
TEST(translated_into_reach)
{
	static const __u32 all_flags[] = { 0, DMA_TEST_FIXED };
	char *start = map_anonymous(4);
	size_t i;

	if (!have_pci_device(DMA_TEST_PCI))
		SKIP(return, "QEMU has no edu (boot.sh)");
	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	for (i = 0; i < 2; i++) {
		int fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
		size_t j;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, register_dma(fd, start, 4, BIT_OF(DMA_TEST_PCI),
					  all_flags[i], 28));
		if (!registered.translated)
			SKIP(return, "there is no IOMMU");
		EXPECT_EQ(0, populate(fd, start, 4, WRITE));
		EXPECT_MAPPED(fd, DMA_TEST_PCI, start, 4, 4, 4, 4);
		for (j = 0; j < 4; j++)
			EXPECT_GT(1ULL << 28, addresses[j]);
		take_log(_metadata, fd);
		close(fd);
	}
}

/*
 * A device that does not reach all of the machine's memory may be given bounce buffers, and
 * the DMA API then maps no more at a time than such a buffer has, of other memory, too.
 */
TEST(limited)
{
	size_t huge = pages_per_pmd(), i, length = 0, longest = 0;
	struct mapped mapped;
	char *start;
	int fd;

	if (!have_huge_pages())
		SKIP(return, "no transparent huge pages");
	make_room_for_huge_pages();
	/* Below 4 GiB */
	ASSERT_TRUE(allocate_from(0));
	start = map_huge(1);
	ASSERT_TRUE(allocate_from(-1));
	ASSERT_NE(NULL, start);
	if ((pagemap_entry(start) & PAGEMAP_PFN_MASK) >> (32 - 12))
		SKIP(return, "no huge page below 4 GiB");
	fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, register_dma(fd, start, huge, BIT_OF(DMA_TEST_PLATFORM0),
				  0, 32));
	if (registered.max_pages >= huge)
		SKIP(return, "the kernel has no bounce buffers");
	/* 256 KiB in all kernels so far */
	EXPECT_GE(huge / 8, registered.max_pages);
	EXPECT_EQ(0, populate(fd, start, huge, WRITE));
	mapped = examine(fd, DMA_TEST_PLATFORM0, start, huge);
	EXPECT_EQ(huge, mapped.pages);
	EXPECT_EQ(0, mapped.wrong + mapped.stale);
	EXPECT_LE(huge / registered.max_pages, mapped.runs);
	EXPECT_LE(8, mapped.runs);
	for (i = 0; i < huge; i++) {
		length = words[i] & DMA_TEST_HEAD ? 1 : length + 1;
		if (longest < length)
			longest = length;
	}
	EXPECT_GE(registered.max_pages, longest);
	/* Each of them is a run of its own afterwards, too. */
	ASSERT_EQ(0, madvise(page_at(start, 3), page_size(), MADV_DONTNEED));
	EXPECT_EQ(0, examine(fd, DMA_TEST_PLATFORM0, start, huge).pages);
	take_log(_metadata, fd);
	EXPECT_EQ(0, unregister_dma(fd));
	close(fd);
}

/* Few pages here and there are no more for a device of few addresses than what they are. */
TEST(few_addresses)
{
	size_t i, nr_areas = 160, npages = pages_per_pmd();
	char *start;
	int fd;

	if (!have_pci_device(DMA_TEST_PCI))
		SKIP(return, "QEMU has no edu (boot.sh)");
	start = map_anonymous_aligned(nr_areas * npages, npages * page_size());
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, madvise(start, nr_areas * npages * page_size(), MADV_NOHUGEPAGE));
	fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, register_dma(fd, start, nr_areas * npages,
				  BIT_OF(DMA_TEST_PCI), 0, 28));
	if (!registered.translated)
		SKIP(return, "there is no IOMMU");
	/* Areas of 320 MiB in all; the device has 256 MiB of addresses. */
	for (i = 0; i < nr_areas; i++) {
		char *area = page_at(start, i * npages);

		mark_pages(area, 1, 1);
		mark_pages(page_at(area, 2), 1, 1);
		ASSERT_EQ(0, populate(fd, area, 3, 0));
		EXPECT_MAPPED(fd, DMA_TEST_PCI, area, 3, 2, 2, 2);
		take_log(_metadata, fd);
	}
	EXPECT_EQ(0, unregister_dma(fd));
	close(fd);
}

/* Forced everywhere, a device that reaches all memory gets none of it. */
TEST(bounce_buffers)
{
	static const __u32 devices[] = { DMA_TEST_PLATFORM0, DMA_TEST_PCI };
	static const __u32 all_flags[] = { 0, DMA_TEST_STEPS, DMA_TEST_FIXED };
	char *start = map_anonymous(4);
	struct hmm_mirror_stats before, after;
	size_t i, j;

	if (!file_has_word("/proc/cmdline", "swiotlb=force"))
		SKIP(return, "a machine without bounce buffers (make dma has one)");
	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	before = stats_now();
	for (i = 0; i < 2; i++) {
		for (j = 0; j < 3; j++) {
			int fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);

			ASSERT_LE(0, fd);
			ASSERT_EQ(0, register_dma(fd, start, 4,
						  BIT_OF(devices[i]),
						  all_flags[j], 64));
			EXPECT_EQ(EOPNOTSUPP, populate(fd, start, 4, WRITE));
			EXPECT_EQ(EOPNOTSUPP, populate(fd, start, 4, READ));
			EXPECT_MAPPED(fd, devices[i], start, 4, 0, 0, 0);
			take_log(_metadata, fd);
			close(fd);
		}
	}
	after = stats_now();
	EXPECT_EQ(before.dma_maps, after.dma_maps);
	EXPECT_TRUE(pages_are_marked(start, 4, 1));
}

/*
 * Memory of an NVMe device, mapped as it is. A device below the same switch reaches it on the
 * bus; one that is elsewhere by way of the host bridge, where the kernel trusts that; and who
 * cannot reach it is refused. QEMU's switches redirect nothing to the host bridge (ACS).
 */
TEST(peer_to_peer)
{
	static const __u32 devices[] = { DMA_TEST_PLATFORM0, DMA_TEST_PCI,
					 DMA_TEST_PCI_PEER };
	struct hmm_mirror_stats before, after;
	char owner[PCI_NAME_LENGTH];
	int memory = open_peer_memory(owner);
	size_t i, j;

	if (memory < 0)
		SKIP(return, "no PCI device has memory to share");
	before = stats_now();
	for (i = 0; i < 3; i++) {
		int error, fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
		bool neighbour = is_neighbour(devices[i], owner);
		char *start = mmap(NULL, 8 * page_size(),
				   PROT_READ | PROT_WRITE, MAP_SHARED, memory,
				   0);

		ASSERT_LE(0, fd);
		ASSERT_NE(MAP_FAILED, start);
		mark_pages(start, 8, 1);
		if (i && !have_pci_device(devices[i])) {
			close(fd);
			continue;
		}
		ASSERT_EQ(0, register_dma(fd, start, 8, BIT_OF(devices[i]), 0,
					  64));
		error = populate(fd, start, 8, WRITE);
		if (devices[i] == DMA_TEST_PLATFORM0 ||
		    (!neighbour && !host_bridge_is_trusted())) {
			EXPECT_EQ(EOPNOTSUPP, error);
			EXPECT_MAPPED(fd, devices[i], start, 8, 0, 0, 0);
		} else {
			EXPECT_EQ(0, error);
			ASSERT_TRUE(read_words(fd, devices[i], start, 8));
			for (j = 0; j < 8; j++) {
				EXPECT_EQ(DMA_TEST_VALID | DMA_TEST_WRITE |
					  DMA_TEST_P2P, words[j] &
					  (DMA_TEST_VALID | DMA_TEST_WRITE |
					   DMA_TEST_P2P | DMA_TEST_WRONG));
				EXPECT_EQ(neighbour,
					  !!(words[j] & DMA_TEST_P2P_BUS));
				/* On the bus it has its physical address. */
				EXPECT_EQ(neighbour ? addresses[j] / page_size() :
						      words[j] & DMA_TEST_PFN_MASK,
					  pagemap_entry(page_at(start, j)) &
					  PAGEMAP_PFN_MASK);
			}
			TH_LOG("peer-to-peer %s", neighbour ? "on the bus" :
			       "through the host bridge");
		}
		take_log(_metadata, fd);
		EXPECT_EQ(0, munmap(page_at(start, 7), page_size()));
		close(fd);
		EXPECT_EQ(0, munmap(start, 7 * page_size()));
	}
	after = stats_now();
	EXPECT_EQ(after.dma_maps - before.dma_maps,
		  after.dma_unmaps - before.dma_unmaps);
	close(memory);
}

TEST(init_errors)
{
	int fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	char *start = map_anonymous(4);
	struct dma_test_interval interval;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(EINVAL, register_dma(fd, start, 4, BIT_OF(DMA_TEST_PLATFORM0),
				       DMA_TEST_UNKNOWN_FLAG, 64));
	/* No device at all */
	EXPECT_EQ(0, register_dma(fd, start, 4, 0, 0, 64));
	EXPECT_EQ(ENODEV, populate(fd, start, 4, WRITE));
	EXPECT_EQ(0, unregister_dma(fd));
	EXPECT_EQ(0, register_dma(fd, start, 4, BIT_OF(DMA_TEST_PLATFORM0), 0,
				  64));
	EXPECT_EQ(EINVAL, call_interval(fd, DMA_TEST_PREPARE,
					DMA_TEST_PLATFORM0, start, 0, &interval));
	EXPECT_EQ(0, call_interval(fd, DMA_TEST_PREPARE, DMA_TEST_PLATFORM0,
				   start, 4, &interval));
	/* What is put by has to go, too. */
	close(fd);
}

/*
 * A cgroup that has no memory for map(): -EAGAIN, with what has been mapped before it
 * mapped; and on with what is put by, a little further each time.
 */
TEST(no_memory)
{
	size_t npages = 4096;
	int fd = open(DMA_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	char *start = map_anonymous_aligned(npages, pmd_size());
	struct dma_test_interval interval;
	struct mapped mapped;
	int cgroup, tries = 0;
	char *next;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, start);
	mark_pages(start, npages, 1);
	if (!enter_memory_cgroup("memory.max", 1UL << 40))
		SKIP(return, "no cgroup2 with a memory controller");
	/* Out of it again: it is for what map() allocates, and has room for nothing. */
	write_number(MEMORY_CGROUP_ROOT "/cgroup.procs", getpid());
	ASSERT_TRUE(write_text(MEMORY_CGROUP "/memory.max", "0"));
	cgroup = open(MEMORY_CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, cgroup);

	ASSERT_EQ(0, register_dma(fd, start, npages, BIT_OF(DMA_TEST_PLATFORM0),
				  0, 64));
	ASSERT_EQ(0, ioctl(fd, DMA_TEST_CHARGE, cgroup));
	EXPECT_EQ(EAGAIN, populate_as(fd, start, npages, WRITE, DMA_TEST_ONCE));
	/* What has been charged ahead may be enough for a bit. */
	mapped = examine(fd, DMA_TEST_PLATFORM0, start, npages);
	EXPECT_GT(npages, mapped.pages);
	EXPECT_EQ(0, mapped.wrong + mapped.stale);
	next = start;
	while (populate_as(fd, next, npages - (next - start) / page_size(),
			   WRITE, DMA_TEST_ONCE) == EAGAIN) {
		ASSERT_GT(100, ++tries);
		next = (char *)(unsigned long)populated.next;
		ASSERT_EQ(0, call_interval(fd, DMA_TEST_PREPARE,
					   DMA_TEST_PLATFORM0, next,
					   npages - (next - start) / page_size(),
					   &interval));
	}
	EXPECT_EQ(0, populated.error);
	/* There are more blocks than tables that are put by. */
	EXPECT_LE(2, tries);
	EXPECT_MAPPED(fd, DMA_TEST_PLATFORM0, start, npages, npages, npages,
		      npages);

	/* And by itself */
	ASSERT_EQ(0, madvise(start, npages * page_size(), MADV_DONTNEED));
	EXPECT_MAPPED(fd, DMA_TEST_PLATFORM0, start, npages, 0, 0, 0);
	EXPECT_EQ(0, populate(fd, start, npages, WRITE));
	EXPECT_MAPPED(fd, DMA_TEST_PLATFORM0, start, npages, npages, npages,
		      npages);
	ASSERT_EQ(0, ioctl(fd, DMA_TEST_CHARGE, -1));
	close(cgroup);
	close(fd);
	leave_memory_cgroup();
}

TEST_HARNESS_MAIN
