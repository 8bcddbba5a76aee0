// SPDX-License-Identifier: GPL-2.0
/*
 * What each kind of page-table entry yields, in a snapshot and when it is asked for: by
 * each of the four range calls. The witness of what is mapped is /proc/self/pagemap and
 * the like, never hmm_mirror itself.
 *
 * The output array is poisoned before every call, and all of it must be written on
 * success (7d082987e5 "pfns always set"); range_fault.h sees to that.
 */
#include <linux/io_uring.h>
#include <pthread.h>

#include "range_fault.h"

FIXTURE(entry)
{
	int fd;
	__u32 call;
	size_t page;
	/* Pages with entries of their own around what a test looks at. */
	char *start;
};

FIXTURE_VARIANT(entry)
{
	__u32 call;
};

FIXTURE_VARIANT_ADD(entry, pages)
{
	.call = RANGE_FAULT_TEST_PAGES,
};

FIXTURE_VARIANT_ADD(entry, pages_unlocked)
{
	.call = RANGE_FAULT_TEST_PAGES_UNLOCKED,
};

FIXTURE_VARIANT_ADD(entry, extents)
{
	.call = RANGE_FAULT_TEST_EXTENTS,
};

FIXTURE_VARIANT_ADD(entry, extents_unlocked)
{
	.call = RANGE_FAULT_TEST_EXTENTS_UNLOCKED,
};

FIXTURE_SETUP(entry)
{
	self->call = variant->call;
	self->page = page_size();
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(entry)
{
	close(self->fd);
}

/* The three requests that every test makes. */
#define SNAP(start, npages) \
	ask(_metadata, self->fd, self->call, start, npages, SNAPSHOT)
#define ASK_READ(start, npages) \
	ask(_metadata, self->fd, self->call, start, npages, READ)
#define ASK_WRITE(start, npages) \
	ask(_metadata, self->fd, self->call, start, npages, WRITE)

/* A snapshot must change nothing. */
#define EXPECT_NO_FAULTS() \
	do { \
		EXPECT_EQ(0, answer.nr_faults); \
		EXPECT_EQ(0, answer.charged_faults); \
	} while (0)

/*
 * Page 1 of three at @start can never be mirrored, its neighbours can: the snapshot
 * succeeds (4055062749 and others: a snapshot never fails because of what a page is); a
 * request for it fails with @error and names it, after the pages below it were faulted
 * in.
 */
static void expect_never(struct __test_metadata *_metadata,
			 FIXTURE_DATA(entry) *self, char *start,
			 unsigned int kind, int error)
{
	EXPECT_EQ(0, SNAP(start, 3));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(1, 1, WORD_ERROR, 0, kind);

	EXPECT_EQ(error, ASK_READ(start, 3));
	EXPECT_EQ(1, fault_page(start));
	EXPECT_TRUE(is_mapped(start));

	EXPECT_EQ(error, ASK_WRITE(page_at(start, 1), 1));
	EXPECT_EQ(0, fault_page(page_at(start, 1)));

	EXPECT_EQ(0, ASK_WRITE(start, 1));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_EQ(0, ASK_READ(page_at(start, 2), 1));
	EXPECT_PAGEMAP(page_at(start, 2), 0, 1);
}

/*
 * bd5d3587b2 "no VMA in a snapshot": ERROR, and the call succeeds.
 * d28c2c9a48: a range over several mappings and gaps is one call.
 */
TEST_F(entry, no_vma)
{
	char *start = map_anonymous(3);

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, munmap(page_at(start, 1), self->page));
	EXPECT_STREQ("", smaps_field(page_at(start, 1), "VmFlags:"));
	expect_never(_metadata, self, start, HMM_MIRROR_KIND_NO_VMA, EFAULT);
}

/* 6c64f2bbe7: a range that starts and ends outside of any VMA. */
TEST_F(entry, no_vma_around)
{
	char *start = map_anonymous(5);

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, munmap(start, 2 * self->page));
	ASSERT_EQ(0, munmap(page_at(start, 3), 2 * self->page));
	EXPECT_EQ(0, SNAP(start, 5));
	EXPECT_PAGES(0, 2, WORD_ERROR, 0, HMM_MIRROR_KIND_NO_VMA);
	EXPECT_PAGES(2, 1, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_PAGES(3, 2, WORD_ERROR, 0, HMM_MIRROR_KIND_NO_VMA);

	EXPECT_EQ(EFAULT, ASK_READ(start, 5));
	EXPECT_EQ(0, fault_page(start));
	EXPECT_FALSE(is_mapped(page_at(start, 2)));
	EXPECT_EQ(EFAULT, ASK_READ(page_at(start, 2), 3));
	EXPECT_EQ(1, fault_page(page_at(start, 2)));
}

/* Nothing at all: the lowest addresses, below anything that can be mapped. */
TEST_F(entry, no_vma_lowest)
{
	EXPECT_EQ(0, SNAP(0, 4));
	EXPECT_PAGES(0, 4, WORD_ERROR, 0, HMM_MIRROR_KIND_NO_VMA);
	EXPECT_EQ(EFAULT, ASK_READ(0, 4));
	EXPECT_EQ(0, answer.raw.fault_addr);
}

/*
 * Kernel addresses have page tables, but none that a request for a process may see: the
 * vsyscall page, the direct map, the kernel's text.
 */
TEST_F(entry, no_vma_kernel)
{
	static const unsigned long addresses[] = {
		0xffffffffff600000UL, 0xffff888000000000UL,
		0xffffffff81000000UL, 0x0000800000000000UL,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(addresses); i++) {
		int error = SNAP((void *)addresses[i], 4);

		/* Refused, or reported as nothing. */
		if (!error)
			EXPECT_PAGES(0, 4, WORD_ERROR, 0,
				     HMM_MIRROR_KIND_NO_VMA);
		else
			EXPECT_EQ(EINVAL, error);
		error = ASK_READ((void *)addresses[i], 4);
		EXPECT_TRUE(error == EFAULT || error == EINVAL) {
			TH_LOG("%#lx: error %d", addresses[i], error);
		}
	}
}

/* A request next to the stack does not make it grow. */
TEST_F(entry, no_vma_below_stack)
{
	size_t length;
	char *stack = find_mapping("[stack]", &length);
	char *same;

	ASSERT_NE(NULL, stack);
	EXPECT_EQ(EFAULT, ASK_WRITE(stack - self->page, 1));
	EXPECT_EQ(0, fault_page(stack - self->page));
	same = find_mapping("[stack]", &length);
	EXPECT_EQ(stack, same);
}

TEST_F(entry, vvar_is_io)
{
	size_t length;
	char *vvar = find_mapping("[vvar]", &length);

	if (!vvar)
		SKIP(return, "this kernel maps no [vvar]");
	if (!has_vm_flag(vvar, "io") && !has_vm_flag(vvar, "pf"))
		SKIP(return, "this kernel's [vvar] is no VM_IO, VM_PFNMAP");
	EXPECT_EQ(0, SNAP(vvar, 1));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_IO);
	EXPECT_EQ(EFAULT, ASK_READ(vvar, 1));
	EXPECT_EQ(0, fault_page(vvar));
}

/* The vDSO is kernel memory that a process may read. */
TEST_F(entry, vdso_is_memory)
{
	size_t length;
	char *vdso = find_mapping("[vdso]", &length);

	ASSERT_NE(NULL, vdso);
	EXPECT_EQ(0, ASK_READ(vdso, length / self->page));
	EXPECT_PAGES(0, length / self->page, WORD_VALID, 0,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(vdso, 0, length / self->page);
	EXPECT_EQ(EPERM, ASK_WRITE(vdso, 1));
}

TEST_F(entry, dev_mem_is_pfnmap)
{
	/* The BIOS: not RAM, so that STRICT_DEVMEM allows it. */
	off_t bios = 0xf0000;
	int mem = open("/dev/mem", O_RDONLY);
	char *start;

	if (mem < 0)
		SKIP(return, "no /dev/mem: %s", strerror(errno));
	start = map_anonymous(3);
	ASSERT_NE(NULL, start);
	if (mmap(page_at(start, 1), self->page, PROT_READ,
		 MAP_SHARED | MAP_FIXED, mem, bios) == MAP_FAILED)
		SKIP(return, "/dev/mem cannot be mapped: %s", strerror(errno));
	touch_page(page_at(start, 1));
	EXPECT_TRUE(has_vm_flag(page_at(start, 1), "pf"));
	expect_never(_metadata, self, start, HMM_MIRROR_KIND_IO, EFAULT);
}

/* PROT_NONE, write-only and execute-only, each with a page behind it. */
TEST_F(entry, unreadable)
{
	static const int protections[] = { PROT_NONE, PROT_WRITE, PROT_EXEC };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(protections); i++) {
		char *start = map_anonymous(3);

		ASSERT_NE(NULL, start);
		mark_pages(start, 3, 1);
		ASSERT_EQ(0, mprotect(page_at(start, 1), self->page,
				      protections[i]));
		EXPECT_TRUE(is_mapped(page_at(start, 1)));
		EXPECT_FALSE(has_vm_flag(page_at(start, 1), "rd"));
		expect_never(_metadata, self, start, HMM_MIRROR_KIND_UNREADABLE,
			     EFAULT);
	}
}

/*
 * c18ce674d5 "infinite loop": a write request on a read-only VMA fails with -EPERM at
 * once, whether the page is there or not.
 */
TEST_F(entry, read_only_vma)
{
	char *start = map_anonymous(4);

	ASSERT_NE(NULL, start);
	mark_pages(start, 3, 1);
	ASSERT_EQ(0, mprotect(page_at(start, 2), 2 * self->page, PROT_READ));

	EXPECT_EQ(0, SNAP(start, 4));
	EXPECT_PAGES(0, 2, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(2, 1, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(3, 1, 0, 0, HMM_MIRROR_KIND_NONE);

	EXPECT_EQ(EPERM, ASK_WRITE(start, 4));
	EXPECT_EQ(2, fault_page(start));
	EXPECT_EQ(EPERM, ASK_WRITE(page_at(start, 3), 1));
	EXPECT_EQ(0, fault_page(page_at(start, 3)));
	EXPECT_FALSE(is_mapped(page_at(start, 3)));

	EXPECT_EQ(0, ASK_READ(start, 4));
	EXPECT_PAGES(2, 1, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(3, 1, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
	EXPECT_PAGEMAP(start, 0, 4);
}

/* Memory that even the kernel does not map must not reach a device. */
TEST_F(entry, secretmem)
{
	int secret = syscall(__NR_memfd_secret, 0);
	char *start;

	if (secret < 0)
		SKIP(return, "no memfd_secret(): %s", strerror(errno));
	start = map_anonymous(3);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, ftruncate(secret, self->page));
	ASSERT_NE(MAP_FAILED, mmap(page_at(start, 1), self->page,
				   PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, secret, 0));
	*page_at(start, 1) = 1;
	EXPECT_TRUE(is_mapped(page_at(start, 1)));
	expect_never(_metadata, self, start, HMM_MIRROR_KIND_SECRETMEM, EFAULT);
}

/* A missing page next to present ones: the hole is a PTE. */
TEST_F(entry, none_pte)
{
	char *start = map_anonymous(4);

	ASSERT_NE(NULL, start);
	mark_pages(start, 1, 1);
	mark_pages(page_at(start, 3), 1, 1);

	EXPECT_EQ(0, SNAP(start, 4));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(1, 2, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_PAGEMAP(start, 0, 4);
	EXPECT_FALSE(is_mapped(page_at(start, 1)));

	EXPECT_EQ(0, ASK_READ(page_at(start, 1), 1));
	EXPECT_PAGES(0, 1, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
	EXPECT_PAGEMAP(page_at(start, 1), 0, 1);
	EXPECT_EQ(0, ASK_WRITE(page_at(start, 2), 1));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, 2), 0, 1);
}

/*
 * b7a16c7ad7 "pte_hole depth": holes at every level, with no PMD, PUD or P4D entry for
 * the address. One page of each is asked for; the snapshot of an empty gigabyte is next
 * to no work.
 */
TEST_F(entry, none_at_every_level)
{
	const size_t level_sizes[] = { 1UL << 21, 1UL << 30, 1UL << 39 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(level_sizes); i++) {
		size_t size = level_sizes[i];
		size_t npages = 512;
		char *start = map_anonymous_aligned(size / self->page, size);
		char *asked;

		if (!start && i == 2)
			break; /* 3 x 512 GiB are too much for some machines. */
		ASSERT_NE(NULL, start);
		if (i == 1)
			npages = MAX_PAGES;
		EXPECT_EQ(0, SNAP(start, npages));
		EXPECT_NO_FAULTS();
		EXPECT_PAGES(0, npages, 0, 0, HMM_MIRROR_KIND_NONE);
		EXPECT_GE(16, answer.nr_slots);

		asked = start + size / 2 + 5 * self->page;
		EXPECT_EQ(0, ASK_WRITE(asked, 1));
		EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0,
			     HMM_MIRROR_KIND_PRESENT);
		EXPECT_PAGEMAP(asked, 0, 1);
		EXPECT_FALSE(is_mapped(asked - self->page));
		EXPECT_FALSE(is_mapped(asked + self->page));
		munmap(start, size);
	}
}

/*
 * 5c041f5d1f "pte markers": a uffd-wp marker reads as "nothing there", and is
 * faulted when asked. The page comes back write-protected.
 */
TEST_F(entry, uffd_wp_marker)
{
	int uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
				    UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	char *start;

	if (uffd < 0)
		SKIP(return, "no userfaultfd write protection of shmem: %s",
		     strerror(errno));
	start = map_file(make_memfd(3), 3, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, start);
	ASSERT_TRUE(uffd_register(uffd, start, 3, UFFDIO_REGISTER_MODE_WP));
	ASSERT_TRUE(uffd_write_protect(uffd, page_at(start, 1), 1, true));
	EXPECT_EQ(PAGEMAP_UFFD_WP, pagemap_entry(page_at(start, 1)) &
		  (PAGEMAP_UFFD_WP | PAGEMAP_PRESENT));

	EXPECT_EQ(0, SNAP(start, 3));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 1, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_PAGES(1, 1, 0, 0, HMM_MIRROR_KIND_UFFD_WP);
	EXPECT_PAGES(2, 1, 0, 0, HMM_MIRROR_KIND_NONE);

	EXPECT_EQ(0, ASK_READ(page_at(start, 1), 1));
	EXPECT_PAGES(0, 1, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, 1), 0, 1);
	EXPECT_EQ(PAGEMAP_UFFD_WP | PAGEMAP_PRESENT,
		  pagemap_entry(page_at(start, 1)) &
		  (PAGEMAP_UFFD_WP | PAGEMAP_PRESENT));
	EXPECT_EQ(1001, touch_page(page_at(start, 1)));
}

/* e3fe8e555d "swapped-out pages": when asked for, they come back VALID. */
TEST_F(entry, swap)
{
	char *start = map_anonymous(3);

	if (!have_swap())
		SKIP(return, "no swap space is active");
	ASSERT_NE(NULL, start);
	mark_pages(start, 3, 70);
	ASSERT_TRUE(swap_out(start, 3));

	EXPECT_EQ(0, SNAP(start, 3));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 3, 0, 0, HMM_MIRROR_KIND_SWAP);
	EXPECT_EQ(0, count_mapped(start, 3));

	EXPECT_EQ(0, ASK_READ(start, 1));
	EXPECT_EQ(WORD_VALID, answer.words[0] & WORD_VALID);
	EXPECT_PAGEMAP(start, 0, 1);
	EXPECT_EQ(0, ASK_WRITE(start, 3));
	EXPECT_PAGES(0, 3, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 3);
	EXPECT_TRUE(pages_are_marked(start, 3, 70));
}

/* Swapped-out shared memory has no entry at all. */
TEST_F(entry, swap_shmem)
{
	char *start;
	int fd;

	if (!have_swap())
		SKIP(return, "no swap space is active");
	fd = make_memfd(3);
	start = map_file(fd, 3, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, start);
	mark_pages(start, 3, 70);
	madvise(start, 3 * self->page, MADV_PAGEOUT);
	EXPECT_EQ(0, ASK_READ(start, 3));
	EXPECT_PAGEMAP(start, 0, 3);
	EXPECT_TRUE(pages_are_marked(start, 3, 70));
}

/* The kernel signals the process whose memory fails, which is the one that caused it. */
static void expect_sigbus(int signal)
{
	(void)signal;
}

/*
 * Memory that failed: ERROR, and unlike mm/hmm.c, a request for it says
 * -EHWPOISON.
 */
TEST_F(entry, hwpoison)
{
	char *start = map_anonymous(3);
	uint64_t pfn;

	ASSERT_NE(NULL, start);
	mark_pages(start, 3, 1);
	pfn = pfn_at(page_at(start, 1));
	signal(SIGBUS, expect_sigbus);
	if (madvise(page_at(start, 1), self->page, MADV_HWPOISON))
		SKIP(return, "no MADV_HWPOISON: %s", strerror(errno));
	EXPECT_TRUE(page_flags(pfn) & PAGE_FLAG_HWPOISON);
	EXPECT_FALSE(is_mapped(page_at(start, 1)));
	expect_never(_metadata, self, start, HMM_MIRROR_KIND_HWPOISON,
		     EHWPOISON);
}

TEST_F(entry, uffd_poison_marker)
{
	int uffd = open_userfaultfd(UFFD_FEATURE_POISON);
	char *start;

	if (uffd < 0)
		SKIP(return, "no UFFDIO_POISON: %s", strerror(errno));
	start = map_anonymous(3);
	ASSERT_NE(NULL, start);
	mark_pages(start, 1, 1);
	mark_pages(page_at(start, 2), 1, 1);
	ASSERT_TRUE(uffd_register(uffd, start, 3,
				  UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_TRUE(uffd_poison(uffd, page_at(start, 1), 1));
	EXPECT_EQ(PAGEMAP_SWAPPED, pagemap_entry(page_at(start, 1)) &
		  (PAGEMAP_SWAPPED | PAGEMAP_PRESENT));
	expect_never(_metadata, self, start, HMM_MIRROR_KIND_POISON, EFAULT);
}

TEST_F(entry, guard_region)
{
	char *start = map_anonymous(3);

	ASSERT_NE(NULL, start);
	mark_pages(start, 3, 1);
	if (madvise(page_at(start, 1), self->page, MADV_GUARD_INSTALL))
		SKIP(return, "no MADV_GUARD_INSTALL: %s", strerror(errno));
	EXPECT_FALSE(is_mapped(page_at(start, 1)));
	expect_never(_metadata, self, start, HMM_MIRROR_KIND_GUARD, EFAULT);
}

/*
 * ac541f2503 "zero page": VALID in a snapshot, and not writable: a write request
 * gets a page of its own.
 */
TEST_F(entry, zero_page)
{
	char *start = map_anonymous(2);

	ASSERT_NE(NULL, start);
	touch_page(start);
	touch_page(page_at(start, 1));
	EXPECT_TRUE(is_zero_page(start));
	EXPECT_EQ(pfn_at(start), pfn_at(page_at(start, 1)));

	EXPECT_EQ(0, SNAP(start, 2));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 2, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
	EXPECT_PAGEMAP(start, 0, 2);
	EXPECT_EQ(0, ASK_READ(start, 2));
	EXPECT_NO_FAULTS();
	EXPECT_TRUE(is_zero_page(start));

	EXPECT_EQ(0, ASK_WRITE(start, 1));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 1);
	EXPECT_FALSE(is_zero_page(start));
	EXPECT_TRUE(is_zero_page(page_at(start, 1)));
}

TEST_F(entry, huge_zero_page)
{
	char *start = map_huge_hole(1);
	size_t npages = pages_per_pmd();

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	ASSERT_NE(NULL, start);
	touch_page(start);
	if (!is_zero_page(page_at(start, npages - 1)))
		SKIP(return, "the kernel used no huge zero page");

	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, WORD_VALID, pmd_order(), HMM_MIRROR_KIND_ZERO);
	EXPECT_PAGEMAP(start, 0, npages);
	EXPECT_EQ(0, ASK_READ(start, npages));
	EXPECT_NO_FAULTS();

	EXPECT_EQ(0, ASK_WRITE(page_at(start, 7), 1));
	EXPECT_EQ(WORD_VALID | WORD_WRITE, answer.words[0] & WORD_STATE);
	EXPECT_PAGEMAP(page_at(start, 7), 0, 1);
	EXPECT_FALSE(is_zero_page(page_at(start, 7)));
}

/*
 * 87c01d57fa "VM_MIXEDMAP allowed": normal pages are VALID, a special entry is ERROR.
 * 5c8f3c4cf1: special is just ERROR.
 */
TEST_F(entry, mixedmap_and_special)
{
	char *start = mmap(NULL, RANGE_FAULT_TEST_MMAP_PAGES * self->page,
			   PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, start);
	EXPECT_TRUE(has_vm_flag(start, "mm"));
	EXPECT_TRUE(is_mapped(start));
	EXPECT_TRUE(is_mapped(page_at(start, 1)));

	EXPECT_EQ(0, SNAP(start, 3));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 1);
	EXPECT_PAGES(1, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_SPECIAL);
	EXPECT_PAGES(2, 1, 0, 0, HMM_MIRROR_KIND_NONE);

	EXPECT_EQ(0, ASK_WRITE(start, 1));
	EXPECT_EQ(EFAULT, ASK_READ(start, 2));
	EXPECT_EQ(1, fault_page(start));
	/* The driver has nothing there: SIGBUS. */
	EXPECT_EQ(EFAULT, ASK_READ(page_at(start, 2), 1));
	EXPECT_EQ(0, fault_page(page_at(start, 2)));
}

/*
 * vm_normal_page() asks the mapping's operations which page a special entry stands for;
 * Xen's grant table device has pages of other machines that are known in no other way.
 * They tell by address: equal entries stand for different pages, or for none.
 */
TEST_F(entry, special_found)
{
	const size_t half = RANGE_FAULT_TEST_FOUND_PAGES / 2;
	char *start = mmap(NULL, 2 * half * self->page, PROT_READ | PROT_WRITE,
			   MAP_SHARED, self->fd,
			   RANGE_FAULT_TEST_MMAP_FOUND * self->page);
	size_t i;

	if (start == MAP_FAILED && errno == EOPNOTSUPP)
		SKIP(return, "this kernel asks nobody about special entries");
	ASSERT_NE(MAP_FAILED, start);

	EXPECT_EQ(0, SNAP(start, 2 * half));
	EXPECT_NO_FAULTS();
	for (i = 0; i < half; i++) {
		if (i == RANGE_FAULT_TEST_FOUND_NONE) {
			EXPECT_PAGES(i, 1, WORD_ERROR, 0,
				     HMM_MIRROR_KIND_SPECIAL);
			continue;
		}
		EXPECT_PAGES(i, 1, WORD_VALID | WORD_WRITE, 0,
			     HMM_MIRROR_KIND_PRESENT);
		EXPECT_EQ(answer.words[half + i] & WORD_PFN,
			  answer.words[i] & WORD_PFN);
	}
	EXPECT_PAGES(half, half, WORD_VALID | WORD_WRITE, 0,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, half, half);

	EXPECT_EQ(0, ASK_WRITE(start, RANGE_FAULT_TEST_FOUND_NONE));
	EXPECT_NO_FAULTS();
	EXPECT_EQ(EFAULT, ASK_READ(start, half));
	EXPECT_EQ(RANGE_FAULT_TEST_FOUND_NONE, fault_page(start));
}

/* Somebody else's VM_MIXEDMAP: the ring of an io_uring. */
TEST_F(entry, io_uring_ring)
{
	struct io_uring_params params = {};
	int ring = syscall(__NR_io_uring_setup, 8, &params);
	char *start;

	if (ring < 0)
		SKIP(return, "no io_uring: %s", strerror(errno));
	start = mmap(NULL, self->page, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	ASSERT_NE(MAP_FAILED, start);
	touch_page(start);
	if (has_vm_flag(start, "pf")) {
		/* Kernels before 6.10 */
		EXPECT_EQ(0, SNAP(start, 1));
		EXPECT_PAGES(0, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_IO);
		EXPECT_EQ(EFAULT, ASK_READ(start, 1));
		return;
	}
	EXPECT_EQ(0, SNAP(start, 1));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 1);
	EXPECT_EQ(0, ASK_WRITE(start, 1));
	EXPECT_NO_FAULTS();
}

TEST_F(entry, present)
{
	char *start = map_anonymous(8);

	ASSERT_NE(NULL, start);
	mark_pages(start, 8, 1);
	EXPECT_EQ(8, count_mapped(start, 8));
	EXPECT_EQ(0, SNAP(start, 8));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 8, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 8);
	EXPECT_EQ(0, ASK_WRITE(start, 8));
	EXPECT_NO_FAULTS();
	EXPECT_EQ(1, answer.nr_walks);
	EXPECT_PAGEMAP(start, 0, 8);
}

TEST_F(entry, mlocked)
{
	char *start = map_anonymous(4);

	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, mlock(start, 4 * self->page));
	EXPECT_EQ(4, count_mapped(start, 4));
	EXPECT_EQ(0, SNAP(start, 4));
	EXPECT_PAGES(0, 4, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 4);
}

/*
 * A page that has been shared with a child since fork(): a read request leaves it shared,
 * a write request leaves it to the child and gets a copy.
 */
TEST_F(entry, copy_on_write)
{
	char *start = map_anonymous(4);
	uint64_t before[4];
	pid_t child;

	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 40);
	child = fork_sleeper();
	ASSERT_LT(0, child);
	ASSERT_TRUE(read_pagemap(start, 4, before));

	EXPECT_EQ(0, SNAP(start, 4));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 4, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_EQ(0, ASK_READ(start, 4));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 4, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 4);
	EXPECT_EQ(before[1] & PAGEMAP_PFN_MASK, pfn_at(page_at(start, 1)));

	EXPECT_EQ(0, ASK_WRITE(page_at(start, 1), 2));
	EXPECT_PAGES(0, 2, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, 1), 0, 2);
	EXPECT_EQ(before[0] & PAGEMAP_PFN_MASK, pfn_at(start));
	EXPECT_NE(before[1] & PAGEMAP_PFN_MASK, pfn_at(page_at(start, 1)));
	EXPECT_NE(before[2] & PAGEMAP_PFN_MASK, pfn_at(page_at(start, 2)));
	EXPECT_EQ(before[3] & PAGEMAP_PFN_MASK, pfn_at(page_at(start, 3)));
	EXPECT_TRUE(pages_are_marked(start, 4, 40));
	kill_and_wait(child);
}

/* A private mapping of a file: page cache, until it is written to. */
TEST_F(entry, private_file)
{
	int fd = make_file(4);
	char *start = map_file(fd, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	unsigned long in_file;
	uint64_t cached;

	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, SNAP(start, 4));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 4, 0, 0, HMM_MIRROR_KIND_NONE);

	EXPECT_EQ(0, ASK_READ(start, 4));
	EXPECT_PAGES(0, 4, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 4);
	EXPECT_TRUE(pagemap_entry(start) & PAGEMAP_FILE);
	cached = pfn_at(page_at(start, 1));

	EXPECT_EQ(0, ASK_WRITE(page_at(start, 1), 1));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, 1), 0, 1);
	EXPECT_NE(cached, pfn_at(page_at(start, 1)));
	EXPECT_FALSE(pagemap_entry(page_at(start, 1)) & PAGEMAP_FILE);
	*(unsigned long *)page_at(start, 1) = 5;
	ASSERT_EQ((ssize_t)sizeof(in_file),
		  pread(fd, &in_file, sizeof(in_file), self->page));
	EXPECT_EQ(1001, in_file);
	EXPECT_EQ(cached, pfn_at(map_file(fd, 4, PROT_READ, MAP_SHARED |
					  MAP_POPULATE) + self->page));
}

/* Shared mappings map the page cache, for writing too. */
TEST_F(entry, shared_file)
{
	const int fds[] = { make_file(4), make_memfd(4) };
	size_t i;

	for (i = 0; i < 2; i++) {
		char *start = map_file(fds[i], 4, PROT_READ | PROT_WRITE,
				       MAP_SHARED);
		char *other = map_file(fds[i], 4, PROT_READ, MAP_SHARED);

		ASSERT_NE(NULL, start);
		ASSERT_NE(NULL, other);
		EXPECT_EQ(0, SNAP(start, 4));
		EXPECT_NO_FAULTS();
		EXPECT_PAGES(0, 4, 0, 0, HMM_MIRROR_KIND_NONE);
		EXPECT_EQ(0, ASK_WRITE(start, 4));
		EXPECT_PAGES(0, 4, WORD_VALID | WORD_WRITE, 0,
			     HMM_MIRROR_KIND_PRESENT);
		EXPECT_PAGEMAP(start, 0, 4);
		EXPECT_TRUE(pages_are_marked(other, 4, 1000));
		EXPECT_EQ(pfn_at(start), pfn_at(other));
		EXPECT_EQ(0, ASK_READ(other, 4));
		EXPECT_PAGES(0, 4, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
		EXPECT_EQ(EPERM, ASK_WRITE(other, 4));
	}
}

/* A hole in a file is a page of zeros in the page cache, not an error. */
TEST_F(entry, sparse_file)
{
	int fd = memfd_create("hmm_mirror test", MFD_CLOEXEC);
	char *start;

	ASSERT_EQ(0, ftruncate(fd, 2 * self->page));
	start = map_file(fd, 3, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, ASK_READ(start, 2));
	EXPECT_PAGEMAP(start, 0, 2);
	EXPECT_EQ(0, touch_page(start));
	/* Past its end, it is an error. */
	EXPECT_EQ(0, SNAP(start, 3));
	EXPECT_PAGES(2, 1, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_EQ(EFAULT, ASK_READ(start, 3));
	EXPECT_EQ(2, fault_page(start));
}

TEST_F_TIMEOUT(entry, ksm, 300)
{
	double deadline = seconds_now() + 60;
	char *start = map_anonymous(2);
	uint64_t merged;

	ASSERT_NE(NULL, start);
	memset(start, 0x5a, 2 * self->page);
	if (madvise(start, 2 * self->page, MADV_MERGEABLE))
		SKIP(return, "no KSM: %s", strerror(errno));
	write_text(KSM "sleep_millisecs", "10");
	write_text(KSM "pages_to_scan", "1000");
	ASSERT_TRUE(write_text(KSM "run", "1"));
	while (pfn_at(start) != pfn_at(page_at(start, 1)) &&
	       seconds_now() < deadline)
		sleep_ms(20);
	write_text(KSM "run", "0");
	merged = pfn_at(start);
	ASSERT_EQ(merged, pfn_at(page_at(start, 1)));
	EXPECT_TRUE(page_flags(merged) & PAGE_FLAG_KSM);

	EXPECT_EQ(0, SNAP(start, 2));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 2, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 2);
	EXPECT_EQ(0, ASK_READ(start, 2));
	EXPECT_EQ(merged, pfn_at(start));
	EXPECT_EQ(0, ASK_WRITE(start, 1));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_NE(merged, pfn_at(start));
	EXPECT_EQ(merged, pfn_at(page_at(start, 1)));
}

/* 3b50a6e536 "mapping order": each slot of a PMD mapping carries its order. */
TEST_F(entry, huge_page)
{
	size_t npages = pages_per_pmd();
	size_t pages = 2 * npages;
	char *start;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	start = map_huge(2);
	ASSERT_NE(NULL, start);

	EXPECT_EQ(0, SNAP(start, pages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, pages, WORD_VALID | WORD_WRITE, pmd_order(),
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, pages);
	EXPECT_GE(2, answer.nr_slots);
	EXPECT_EQ(0, ASK_WRITE(start, pages));
	EXPECT_NO_FAULTS();

	/* The order is that of the mapping, even for a part of it. */
	EXPECT_EQ(0, SNAP(page_at(start, 3), npages));
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, pmd_order(),
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, 3), 0, npages);
}

/* 3b50a6e536: a part of a huge page that is mapped page by page is order 0. */
TEST_F(entry, huge_page_in_pieces)
{
	size_t npages = pages_per_pmd();
	char *start;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	start = map_huge(3);
	ASSERT_NE(NULL, start);
	/* The first huge page keeps its PMD, one loses a page, one is partly read-only. */
	ASSERT_EQ(0, munmap(page_at(start, npages + 9), self->page));
	ASSERT_EQ(0, mprotect(page_at(start, 2 * npages + 100),
			      50 * self->page, PROT_READ));
	EXPECT_EQ(npages, pmd_mapped_pages(start));
	EXPECT_TRUE(page_flags(pfn_at(page_at(start, npages))) &
		    PAGE_FLAG_THP);

	EXPECT_EQ(0, SNAP(start, 3 * npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, pmd_order(),
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(npages, 9, WORD_VALID | WORD_WRITE, 0,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(npages + 9, 1, WORD_ERROR, 0, HMM_MIRROR_KIND_NO_VMA);
	EXPECT_PAGES(npages + 10, npages - 10 + 100, WORD_VALID | WORD_WRITE, 0,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(2 * npages + 100, 50, WORD_VALID, 0,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(2 * npages + 150, npages - 150, WORD_VALID | WORD_WRITE, 0,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 3 * npages);
}

/* A huge page shared since fork(). */
TEST_F(entry, huge_page_copy_on_write)
{
	size_t npages = pages_per_pmd();
	uint64_t before;
	char *start;
	pid_t child;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	start = map_huge(1);
	ASSERT_NE(NULL, start);
	child = fork_sleeper();
	ASSERT_LT(0, child);
	before = pfn_at(start);

	EXPECT_EQ(0, ASK_READ(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, WORD_VALID, pmd_order(),
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_EQ(before, pfn_at(start));
	EXPECT_EQ(0, ASK_WRITE(start, npages));
	for (size_t i = 0; i < npages; i++) {
		if (!(answer.words[i] & WORD_WRITE))
			EXPECT_EQ(-1, (long)i);
	}
	EXPECT_PAGEMAP(start, 0, npages);
	EXPECT_NE(before, pfn_at(start));
	kill_and_wait(child);
}

/* Memory in huge pages of tmpfs. */
TEST_F(entry, huge_page_shmem)
{
	size_t npages = pages_per_pmd();
	int fd = memfd_create("hmm_mirror test", MFD_CLOEXEC);
	char *start;

	ASSERT_EQ(0, ftruncate(fd, pmd_size()));
	start = map_anonymous_aligned(npages, pmd_size());
	ASSERT_NE(NULL, start);
	ASSERT_NE(MAP_FAILED, mmap(start, pmd_size(), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, fd, 0));
	mark_pages(start, npages, 1);
	if (madvise(start, pmd_size(), MADV_COLLAPSE) ||
	    pmd_mapped_pages(start) != npages)
		SKIP(return, "MADV_COLLAPSE of shmem made no huge page: %s",
		     strerror(errno));
	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, pmd_order(),
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, npages);
}

/*
 * A hugetlb page, missing and then there. Its hole has no page table at all: mm up to 7.2
 * faults it while the walker holds hugetlb_vma_lock.
 */
TEST_F(entry, hugetlb)
{
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	unsigned int order = __builtin_ctzl(npages);
	char *start;

	if (free_hugetlb_pages(2048) < 4)
		SKIP(return, "no four free 2M hugetlb pages");
	start = map_hugetlb(2 * size, HUGETLB_2M);
	ASSERT_NE(NULL, start);

	EXPECT_EQ(0, SNAP(start, 2 * npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, 2 * npages, 0, 0, HMM_MIRROR_KIND_NONE);
	EXPECT_EQ(0, count_mapped(start, 2 * npages));

	EXPECT_EQ(0, ASK_WRITE(start, npages));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, order,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, npages);
	EXPECT_TRUE(page_flags(pfn_at(start)) & PAGE_FLAG_HUGETLB);
	EXPECT_FALSE(is_mapped(start + size));

	EXPECT_EQ(0, SNAP(page_at(start, 5), npages));
	EXPECT_PAGES(0, npages - 5, WORD_VALID | WORD_WRITE, order,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGES(npages - 5, 5, 0, 0, HMM_MIRROR_KIND_NONE);

	/* A request for a part of a page reports that part only. */
	EXPECT_EQ(0, ASK_READ(start + size + 7 * self->page, 3));
	EXPECT_PAGES(0, 3, answer.words[0] & WORD_STATE, order,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start + size + 7 * self->page, 0, 3);
	munmap(start, 2 * size);
}

/* Each slot's own request counts, even in the middle of a hugetlb page. */
TEST_F(entry, hugetlb_request_on_later_slot)
{
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	struct request request = {
		.call = self->call,
		.npages = npages,
		.mask = REQ_BITS,
	};
	__u64 words[512] = {};
	char *start;

	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	ASSERT_EQ(512, npages);
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	request.start = start;
	request.words = words;
	words[300] = REQ_FAULT;
	EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_TRUE(is_mapped(start));
	EXPECT_TRUE(answer.words[300] & WORD_VALID);
	EXPECT_PAGEMAP(start, 0, npages);

	words[300] = 0;
	words[511] = REQ_FAULT | REQ_WRITE;
	EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
	EXPECT_TRUE(answer.words[511] & WORD_WRITE);
	munmap(start, size);
}

TEST_F(entry, hugetlb_copy_on_write)
{
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	uint64_t before;
	char *start;
	pid_t child;

	if (free_hugetlb_pages(2048) < 4)
		SKIP(return, "no four free 2M hugetlb pages");
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	mark_pages(start, 1, 11);
	child = fork_sleeper();
	ASSERT_LT(0, child);
	before = pfn_at(start);
	EXPECT_EQ(0, ASK_READ(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_EQ(WORD_VALID, answer.words[0] & WORD_STATE);
	EXPECT_EQ(before, pfn_at(start));
	EXPECT_EQ(0, ASK_WRITE(page_at(start, 100), 1));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_NE(before, pfn_at(start));
	EXPECT_PAGEMAP(page_at(start, 100), 0, 1);
	EXPECT_TRUE(pages_are_marked(start, 1, 11));
	kill_and_wait(child);
	munmap(start, size);
}

TEST_F(entry, hugetlb_read_only)
{
	size_t size = 2UL << 20;
	char *start;

	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	ASSERT_EQ(0, mprotect(start, size, PROT_READ));
	EXPECT_EQ(EPERM, ASK_WRITE(page_at(start, 4), 1));
	EXPECT_EQ(0, fault_page(page_at(start, 4)));
	EXPECT_FALSE(is_mapped(start));
	EXPECT_EQ(0, ASK_READ(page_at(start, 4), 1));
	EXPECT_EQ(WORD_VALID, answer.words[0] & WORD_STATE);
	munmap(start, size);
}

/*
 * Makes the entry for the hugetlb page at @start read-only, although the mapping is
 * writable and nobody else has the page: what mprotect() changes in a private mapping
 * is for the next fault to make writable. fork() would do on most kernels, but 6.12
 * does not always copy an entry of 1 GiB: the child goes without, and the parent's
 * entry stays as it was.
 */
static bool make_hugetlb_read_only(char *start, size_t size)
{
	return !mprotect(start, size, PROT_READ) &&
	       !mprotect(start, size, PROT_READ | PROT_WRITE);
}

/*
 * Pages [@first, @end) at @start are mapped by one entry, or will be. One in the middle
 * is asked for writing, the others for @others: one fault, and one answer for all of
 * them.
 */
static void expect_one_answer(struct __test_metadata *_metadata,
			      FIXTURE_DATA(entry) *self, char *start,
			      size_t first, size_t end, __u64 others,
			      unsigned int order)
{
	static __u64 words[MAX_PAGES];
	const struct request request = {
		.call = self->call,
		.start = page_at(start, first),
		.npages = end - first,
		.words = words,
		.mask = REQ_BITS,
	};
	size_t i;

	for (i = 0; i < end - first; i++)
		words[i] = others;
	words[(end - first) * 3 / 5] = WRITE;
	EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, end - first, WORD_VALID | WORD_WRITE, order,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, first), 0, 2);
	if (answer.has_entries)
		EXPECT_EQ(1, answer.nr_extents);
}

/*
 * No part of a huge page is answered before a request for a later page makes all of it
 * writable.
 */
TEST_F(entry, one_answer_huge_page)
{
	const __u64 others[] = { SNAPSHOT, READ };
	size_t npages = pages_per_pmd();
	size_t i;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	make_room_for_huge_pages();
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		char *start = map_huge(1);

		ASSERT_NE(NULL, start);
		ASSERT_TRUE(share_with_short_lived_child());
		EXPECT_EQ(0, SNAP(start, npages));
		EXPECT_PAGES(0, npages, WORD_VALID, pmd_order(),
			     HMM_MIRROR_KIND_PRESENT);
		expect_one_answer(_metadata, self, start, i * 17,
				  npages - i * 29, others[i], pmd_order());
	}
}

/* Nothing is there, and asking for one page maps a huge one. */
TEST_F(entry, one_answer_huge_hole)
{
	const __u64 others[] = { SNAPSHOT, REQ_WRITE };
	size_t npages = pages_per_pmd();
	size_t i;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	make_room_for_huge_pages();
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		char *start = map_huge_hole(1);

		ASSERT_NE(NULL, start);
		expect_one_answer(_metadata, self, start, i * 17,
				  npages - i * 29, others[i], pmd_order());
	}
}

/* A hugetlb page that was only read is not writable; a hole has none. */
TEST_F(entry, one_answer_hugetlb)
{
	const __u64 others[] = { SNAPSHOT, READ };
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	unsigned int order = __builtin_ctzl(npages);
	size_t i;

	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		char *start = map_hugetlb(size, HUGETLB_2M);

		ASSERT_NE(NULL, start);
		touch_page(start);
		EXPECT_EQ(0, SNAP(start, npages));
		EXPECT_PAGES(0, npages, WORD_VALID, order,
			     HMM_MIRROR_KIND_PRESENT);
		expect_one_answer(_metadata, self, start, i * 17,
				  npages - i * 29, others[i], order);
		munmap(start, size);

		start = map_hugetlb(size, HUGETLB_2M);
		ASSERT_NE(NULL, start);
		expect_one_answer(_metadata, self, start, i * 17,
				  npages - i * 29, i ? REQ_WRITE : SNAPSHOT,
				  order);
		munmap(start, size);
	}
}

/*
 * Every other one of the first pages at @start is asked for, and one fault maps all of
 * them.
 */
static void expect_one_fault(struct __test_metadata *_metadata,
			     FIXTURE_DATA(entry) *self, char *start,
			     size_t npages, unsigned int order)
{
	static __u64 words[MAX_PAGES];
	const struct request request = {
		.call = self->call,
		.start = start,
		.npages = npages,
		.words = words,
		.mask = REQ_BITS,
	};
	size_t i;

	for (i = 0; i < npages; i++)
		words[i] = i < 32 && i % 2 == 0 ? WRITE : SNAPSHOT;
	EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, order,
		     HMM_MIRROR_KIND_PRESENT);
}

/* A fault that maps a huge page is not followed by faults for pages that it has mapped. */
TEST_F(entry, one_fault_for_many_stretches)
{
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	char *start;

	if (have_huge_pages()) {
		make_room_for_huge_pages();
		start = map_huge_hole(1);
		ASSERT_NE(NULL, start);
		expect_one_fault(_metadata, self, start, pages_per_pmd(),
				 pmd_order());
	}
	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	expect_one_fault(_metadata, self, start, npages,
			 __builtin_ctzl(npages));
	munmap(start, size);
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	touch_page(start);
	expect_one_fault(_metadata, self, start, npages,
			 __builtin_ctzl(npages));
	munmap(start, size);
}

TEST_F_TIMEOUT(entry, hugetlb_1g, 300)
{
	size_t size = 1UL << 30;
	size_t npages = size / self->page;
	char *start;

	if (free_hugetlb_pages(1 << 20) < 1)
		SKIP(return, "no free 1G hugetlb page");
	ASSERT_EQ(MAX_PAGES, npages);
	start = map_hugetlb(size, HUGETLB_1G);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, 0, 0, HMM_MIRROR_KIND_NONE);

	EXPECT_EQ(0, ASK_WRITE(start, npages));
	EXPECT_EQ(1, answer.nr_faults);
	EXPECT_PAGES(0, npages, WORD_VALID | WORD_WRITE, 18,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 2);
	EXPECT_PAGEMAP(start, npages - 2, 2);
	EXPECT_GE(4096, answer.nr_slots);
	EXPECT_EQ(0, SNAP(page_at(start, npages - 1), 1));
	EXPECT_PAGES(0, 1, WORD_VALID | WORD_WRITE, 18,
		     HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(page_at(start, npages - 1), 0, 1);

	ASSERT_TRUE(make_hugetlb_read_only(start, size));
	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_PAGES(0, npages, WORD_VALID, 18, HMM_MIRROR_KIND_PRESENT);
	expect_one_answer(_metadata, self, start, 0, npages, READ, 18);
	ASSERT_TRUE(make_hugetlb_read_only(start, size));
	expect_one_answer(_metadata, self, start, 100, npages - 1000, SNAPSHOT,
			  18);
	munmap(start, size);
}

/* Failed memory in a hugetlb page makes all of it unusable. */
TEST_F(entry, hugetlb_hwpoison)
{
	const char *pool =
		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
	size_t size = 2UL << 20;
	size_t npages = size / self->page;
	char *start;

	/* The pool has lost the page: add another one for the tests that follow. */
	write_number(pool, read_number(pool, 0) + 1);
	if (free_hugetlb_pages(2048) < 2)
		SKIP(return, "no two free 2M hugetlb pages");
	start = map_hugetlb(size, HUGETLB_2M);
	ASSERT_NE(NULL, start);
	mark_pages(start, 1, 1);
	signal(SIGBUS, expect_sigbus);
	if (madvise(page_at(start, 3), self->page, MADV_HWPOISON))
		SKIP(return, "no MADV_HWPOISON of hugetlb: %s",
		     strerror(errno));
	EXPECT_FALSE(is_mapped(start));
	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, WORD_ERROR, 0, HMM_MIRROR_KIND_HWPOISON);
	EXPECT_EQ(EHWPOISON, ASK_READ(page_at(start, 9), 4));
	EXPECT_EQ(0, fault_page(page_at(start, 9)));
}

static volatile bool stop_moving;

struct move {
	char *start;
	size_t npages;
	volatile unsigned long moved;
};

static void *move_between_nodes(void *argument)
{
	struct move *move = argument;
	void *pages[64];
	int nodes[64];
	int status[64];
	int node = 0;
	size_t i;

	while (!stop_moving) {
		node = !node;
		for (i = 0; i < move->npages; i++) {
			pages[i] = page_at(move->start, i);
			nodes[i] = node;
		}
		if (!syscall(__NR_move_pages, 0, move->npages, pages, nodes,
			     status, 2 /* MPOL_MF_MOVE */))
			move->moved++;
	}
	return NULL;
}

/*
 * Pages that move between two NUMA nodes are migration entries for a while: nothing in a
 * snapshot, waited for when asked for.
 */
TEST_F_TIMEOUT(entry, migration, 60)
{
	struct move move = { .npages = 64 };
	double enough = seconds_now() + 0.5, deadline = seconds_now() + 30;
	unsigned int kinds[HMM_MIRROR_KIND_BAD + 1] = {};
	unsigned long answers = 0;
	pthread_t mover;
	size_t i;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "there is one NUMA node only");
	move.start = map_anonymous(move.npages);
	ASSERT_NE(NULL, move.start);
	mark_pages(move.start, move.npages, 900);
	ASSERT_EQ(0, pthread_create(&mover, NULL, move_between_nodes, &move));
	while (seconds_now() < enough ||
	       ((!move.moved || (answer.has_entries &&
				 !kinds[HMM_MIRROR_KIND_MIGRATION])) &&
		seconds_now() < deadline)) {
		EXPECT_EQ(0, SNAP(move.start, move.npages));
		for (i = 0; answer.has_entries && i < move.npages; i++)
			kinds[answer.entries[i]]++;
		EXPECT_EQ(0, ASK_WRITE(move.start, move.npages));
		answers++;
	}
	stop_moving = true;
	pthread_join(mover, NULL);
	EXPECT_LT(0, answers);
	EXPECT_LT(0, move.moved);
	if (answer.has_entries) {
		EXPECT_LT(0, kinds[HMM_MIRROR_KIND_PRESENT]);
		EXPECT_LT(0, kinds[HMM_MIRROR_KIND_MIGRATION]);
		EXPECT_EQ(0, kinds[HMM_MIRROR_KIND_BAD]);
	}
	EXPECT_TRUE(pages_are_marked(move.start, move.npages, 900));
	EXPECT_EQ(0, SNAP(move.start, move.npages));
	EXPECT_PAGEMAP(move.start, 0, move.npages);
}

/* An extent names the node of its pages. */
TEST_F(entry, node)
{
	int status[4], nodes[4] = { 0, 1, 1, 0 };
	void *pages[4];
	char *start;
	size_t i;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "there is one NUMA node only");
	start = map_anonymous(4);
	ASSERT_NE(NULL, start);
	mark_pages(start, 4, 1);
	for (i = 0; i < 4; i++)
		pages[i] = page_at(start, i);
	ASSERT_EQ(0, syscall(__NR_move_pages, 0, 4, pages, nodes, status, 2));
	/* Without nodes, the call only says where pages are. */
	ASSERT_EQ(0, syscall(__NR_move_pages, 0, 4, pages, NULL, status, 0));
	EXPECT_EQ(0, SNAP(start, 4));
	EXPECT_PAGEMAP(start, 0, 4);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(nodes[i], status[i]);
		if (answer.has_entries)
			EXPECT_EQ(status[i], answer.nodes[i]);
	}
}

/* A shadow stack is memory, but no device may write to it. */
TEST_F(entry, shadow_stack)
{
	void *start = map_shadow_stack(self->fd, 4);

	if (!start && errno == EOPNOTSUPP)
		SKIP(return, "this kernel has no user shadow stacks");
	ASSERT_NE(NULL, start);
	touch_page(start);
	EXPECT_TRUE(has_vm_flag(start, "ss"));
	EXPECT_EQ(0, ASK_READ(start, 1));
	EXPECT_EQ(WORD_VALID, answer.words[0] & WORD_STATE);
	EXPECT_EQ(EPERM, ASK_WRITE(start, 1));
}

/* A huge page of a VM_MIXEDMAP mapping that has no struct page. */
TEST_F(entry, special_pmd)
{
	size_t npages = pages_per_pmd();
	char *start = map_special_pmd(self->fd);

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	if (!start && errno == EOPNOTSUPP)
		SKIP(return, "this kernel has no special entries for huge pages");
	ASSERT_NE(NULL, start);
	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_PAGES(0, npages, 0, 0, HMM_MIRROR_KIND_NONE);
	/* The fault succeeds, but what it maps cannot be had. */
	EXPECT_EQ(EFAULT, ASK_READ(page_at(start, 5), 1));
	EXPECT_EQ(0, fault_page(page_at(start, 5)));
	EXPECT_EQ(0, SNAP(start, npages));
	EXPECT_NO_FAULTS();
	EXPECT_PAGES(0, npages, WORD_ERROR, 0, HMM_MIRROR_KIND_SPECIAL);
}

/*
 * 2733ea144d, d28c2c9a48: one call over many kinds of mappings and entries, extents that
 * fill a small array again and again, and a range that begins and ends in the middle of
 * things.
 */
TEST_F(entry, mixed)
{
	size_t npages = 64;
	char *start = map_anonymous(npages);
	struct request request = {
		.call = self->call,
		.start = start,
		.npages = npages,
		.capacity = 1,
	};
	char *file;
	size_t i;

	ASSERT_NE(NULL, start);
	for (i = 0; i < npages; i += 3)
		mark_pages(page_at(start, i), 1, i);
	for (i = 1; i < npages; i += 7)
		touch_page(page_at(start, i));
	ASSERT_EQ(0, munmap(page_at(start, 10), 2 * self->page));
	ASSERT_EQ(0, mprotect(page_at(start, 20), 5 * self->page, PROT_NONE));
	ASSERT_EQ(0, mprotect(page_at(start, 30), 5 * self->page, PROT_READ));
	file = mmap(page_at(start, 40), 8 * self->page, PROT_READ,
		    MAP_SHARED | MAP_FIXED | MAP_POPULATE, make_memfd(8), 0);
	ASSERT_EQ(page_at(start, 40), file);

	EXPECT_EQ(0, ask_request(_metadata, self->fd, &request));
	EXPECT_EQ(0, answer.nr_faults);
	if (answer.has_entries)
		EXPECT_EQ(answer.nr_calls, answer.nr_extents);
	EXPECT_PAGES(10, 2, WORD_ERROR, 0, HMM_MIRROR_KIND_NO_VMA);
	EXPECT_PAGES(20, 5, WORD_ERROR, 0, HMM_MIRROR_KIND_UNREADABLE);
	EXPECT_PAGES(40, 8, WORD_VALID, 0, HMM_MIRROR_KIND_PRESENT);
	EXPECT_PAGEMAP(start, 0, 20);
	EXPECT_PAGEMAP(start, 25, npages - 25);
	for (i = 50; i < npages; i++) {
		if (i % 3 == 0)
			EXPECT_PAGES(i, 1, WORD_VALID | WORD_WRITE, 0,
				     HMM_MIRROR_KIND_PRESENT);
		else if (i % 7 == 1)
			EXPECT_PAGES(i, 1, WORD_VALID, 0, HMM_MIRROR_KIND_ZERO);
		else
			EXPECT_PAGES(i, 1, 0, 0, HMM_MIRROR_KIND_NONE);
	}
	EXPECT_EQ(EFAULT, ASK_READ(start, npages));
	EXPECT_EQ(10, fault_page(start));
	EXPECT_EQ(EFAULT, ASK_READ(page_at(start, 12), npages - 12));
	EXPECT_EQ(8, fault_page(page_at(start, 12)));
	EXPECT_EQ(0, ASK_READ(page_at(start, 25), npages - 25));
	EXPECT_EQ(EPERM, ASK_WRITE(page_at(start, 25), npages - 25));
	EXPECT_EQ(5, fault_page(page_at(start, 25)));
}

/*
 * NUMA hints: entries that the kernel made PROT_NONE to see who touches them. These tests
 * are separate because they switch NUMA balancing on, which takes seconds.
 */
#define NUMA_BALANCING	"/sys/kernel/debug/sched/numa_balancing/"
#define HUGETLB_POOL	"/sys/devices/system/node/node1/hugepages/" \
			"hugepages-2048kB/nr_hugepages"

FIXTURE(numa_hint)
{
	int fd;
	unsigned long pool;
};

FIXTURE_SETUP(numa_hint)
{
	self->fd = open_range_fault_test();
	ASSERT_LE(0, self->fd);
	if (access("/sys/devices/system/node/node1/cpu1", F_OK))
		SKIP(return, "there are no two NUMA nodes, with CPU 0 and 1");
	if (access(NUMA_BALANCING, F_OK))
		SKIP(return, "the kernel has no NUMA balancing, or no debugfs");
	self->pool = read_number(HUGETLB_POOL, 0);
}

FIXTURE_TEARDOWN(numa_hint)
{
	write_text("/proc/sys/kernel/numa_balancing", "0");
	if (self->pool)
		write_number(HUGETLB_POOL, self->pool);
	close(self->fd);
}

/*
 * Has the kernel make the pages PROT_NONE. They are on node 1 and this, the only thread,
 * on node 0: a page on the right node would be left alone. pagemap does not show it; the
 * kernel's own hmm_range_fault() does, by a PFN without VALID.
 */
static bool make_numa_hints(struct __test_metadata *_metadata, int fd,
			    char *start, size_t npages)
{
	double deadline = seconds_now() + 20;
	size_t hints = 0;
	size_t i;

	pin_to_cpu(0);
	/* Nothing of this may touch the pages. */
	write_text(NUMA_BALANCING "scan_delay_ms", "1");
	write_text(NUMA_BALANCING "scan_period_min_ms", "10");
	write_text(NUMA_BALANCING "scan_period_max_ms", "20");
	write_text(NUMA_BALANCING "scan_size_mb", "256");
	write_text("/proc/sys/kernel/numa_balancing", "1");
	while (hints < npages && seconds_now() < deadline) {
		double pause = seconds_now() + 0.1;

		/* The scanner runs on the process's CPU time. */
		while (seconds_now() < pause)
			;
		hints = 0;
		if (ask(_metadata, fd, RANGE_FAULT_TEST_KERNEL, start, npages,
			SNAPSHOT))
			return false;
		for (i = 0; i < npages; i++)
			hints += (answer.words[i] & WORD_PFN) &&
				 !(answer.words[i] & WORD_STATE);
	}
	write_text("/proc/sys/kernel/numa_balancing", "0");
	if (hints != npages)
		TH_LOG("%zu of %zu pages have hints after 20 seconds", hints,
		       npages);
	return hints == npages;
}

/*
 * map_huge() when hardly any huge page is left: free memory is in pieces, or held by what
 * other programs have left in caches.
 */
static char *map_huge_compacted(size_t nhuge)
{
	char *start = map_huge_hole(nhuge);
	size_t npages = nhuge * pages_per_pmd();
	unsigned int attempt;

	for (attempt = 0; start && attempt < 20; attempt++) {
		make_room_for_huge_pages();
		mark_pages(start, npages, 0);
		if (pmd_mapped_pages(start) == npages)
			return start;
		madvise(start, npages * page_size(), MADV_DONTNEED);
		sleep_ms(100);
	}
	return NULL;
}

/*
 * Pages with hints, marked from 600 on if they are not huge. The scanner looks at a
 * mapping twice in quick succession and then, if nobody faults there, rarely: what it has
 * left out by then is better tried again with a new mapping.
 */
static char *map_numa_hints(struct __test_metadata *_metadata, int fd,
			    size_t npages, bool huge)
{
	unsigned int attempt;
	char *start;

	for (attempt = 0; attempt < 10; attempt++) {
		/* Pages of node 0 would be left alone. */
		if (!pin_to_cpu(1) || !allocate_from(1))
			return NULL;
		start = huge ? map_huge_compacted(npages / pages_per_pmd()) :
			       map_anonymous(npages);
		if (!start)
			return NULL;
		if (!huge)
			mark_pages(start, npages, 600);
		/*
		 * On 6.1 the scanner leaves alone pages to which somebody else has a
		 * reference, such as this CPU's list of new pages. This empties that
		 * list.
		 */
		madvise(map_anonymous(1), page_size(), MADV_COLD);
		if (!allocate_from(-1))
			return NULL;
		if (make_numa_hints(_metadata, fd, start, npages))
			return start;
		munmap(start, npages * page_size());
	}
	return NULL;
}

TEST_F_TIMEOUT(numa_hint, pages, 300)
{
	size_t npages = 32;
	char *start;
	__u32 call;

	if (ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, map_anonymous(1),
		1, SNAPSHOT) == EOPNOTSUPP)
		SKIP(return, "the kernel has no hmm_range_fault() as witness");
	start = map_numa_hints(_metadata, self->fd, npages, false);
	ASSERT_NE(NULL, start);
	EXPECT_EQ(npages, count_mapped(start, npages));

	for (call = RANGE_FAULT_TEST_PAGES;
	     call <= RANGE_FAULT_TEST_EXTENTS_UNLOCKED; call++) {
		size_t first = call * 4;

		EXPECT_EQ(0, ask(_metadata, self->fd, call, start, npages,
				 SNAPSHOT));
		EXPECT_EQ(0, answer.nr_faults);
		EXPECT_PAGES(first, npages - first, 0, 0,
			     HMM_MIRROR_KIND_PROT_NONE);
		/* The fault may move the page, which makes it read-only. */
		EXPECT_EQ(0, ask(_metadata, self->fd, call,
				 page_at(start, first), 4, READ));
		EXPECT_EQ(4, answer.nr_faults);
		EXPECT_PAGEMAP(page_at(start, first), 0, 4);
		EXPECT_EQ(0, ask(_metadata, self->fd, call,
				 page_at(start, first), 4, WRITE));
		EXPECT_PAGES(0, 4, WORD_VALID | WORD_WRITE, 0,
			     HMM_MIRROR_KIND_PRESENT);
		EXPECT_PAGEMAP(page_at(start, first), 0, 4);
	}
	EXPECT_TRUE(pages_are_marked(start, npages, 600));
}

/* 24cee8ab41 "pmd_protnone": a NUMA-hint PMD is faulted only when asked for. */
TEST_F_TIMEOUT(numa_hint, huge_page, 300)
{
	size_t npages = pages_per_pmd();
	char *start;
	__u32 call;

	if (!have_huge_pages())
		SKIP(return, "transparent huge pages are switched off");
	if (ask(_metadata, self->fd, RANGE_FAULT_TEST_KERNEL, map_anonymous(1),
		1, SNAPSHOT) == EOPNOTSUPP)
		SKIP(return, "the kernel has no hmm_range_fault() as witness");
	/* When the node's hugetlb pages are freed, they become memory in one piece. */
	if (self->pool >= 8)
		write_number(HUGETLB_POOL, self->pool - 8);
	start = map_numa_hints(_metadata, self->fd, 4 * npages, true);
	ASSERT_NE(NULL, start);

	for (call = RANGE_FAULT_TEST_PAGES;
	     call <= RANGE_FAULT_TEST_EXTENTS_UNLOCKED; call++) {
		char *huge = page_at(start, call * npages);

		EXPECT_EQ(0, ask(_metadata, self->fd, call, huge, npages,
				 SNAPSHOT));
		EXPECT_EQ(0, answer.nr_faults);
		EXPECT_PAGES(0, npages, 0, 0, HMM_MIRROR_KIND_PROT_NONE);
		EXPECT_EQ(0, ask(_metadata, self->fd, call, page_at(huge, 77),
				 1, READ));
		EXPECT_LT(0, answer.nr_faults);
		EXPECT_PAGEMAP(page_at(huge, 77), 0, 1);
	}
	EXPECT_TRUE(pages_are_marked(start, 4 * npages, 0));
	/* The pool gets them back. */
	munmap(start, 4 * npages * page_size());
}

TEST_HARNESS_MAIN
