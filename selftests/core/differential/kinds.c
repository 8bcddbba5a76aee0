// SPDX-License-Identifier: GPL-2.0
/* How each kind of memory is made. */
#include <linux/hmm_mirror.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "core/range_fault_test/range_fault_test.h"
#include "dmirror_test.h"
#include "kinds.h"
#include "memory.h"
#include "random.h"

static struct {
	int page_cache; /* a file of ramfs */
	int tmpfs;
	int secret;
	int uffd; /* -1 where there is none */
	int uffd_poison;
	int test_driver;
	int mem;
	int dmirror[2];
	char *buffer; /* for dmirror */
} resources;

unsigned long own_device_page;

char *address_of(long page)
{
	return (char *)ARENA + page * PAGE;
}

static bool map_at(const struct segment *segment, int prot, int flags, int fd,
		   off_t offset)
{
	return mmap(address_of(segment->first), segment->npages * PAGE, prot,
		    flags | MAP_FIXED | MAP_NORESERVE, fd, offset) !=
	       MAP_FAILED;
}

bool map_small(const struct segment *segment)
{
	return map_at(segment, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) &&
	       (!madvise(address_of(segment->first), segment->npages * PAGE,
			 MADV_NOHUGEPAGE) || errno == EINVAL);
}

void write_pages(const struct segment *segment)
{
	mark_pages(address_of(segment->first), segment->npages,
		   next_random() | 1);
}

static bool protect(const struct segment *segment, int prot)
{
	return !mprotect(address_of(segment->first), segment->npages * PAGE,
			 prot);
}

static bool advise(const struct segment *segment, int advice)
{
	return !madvise(address_of(segment->first), segment->npages * PAGE,
			advice);
}

bool share_for_a_moment(const struct segment *segment)
{
	return advise(segment, MADV_DOFORK) && share_with_short_lived_child() &&
	       advise(segment, MADV_DONTFORK);
}

/* Leaves out, reads or writes each page. */
static void touch_some(const struct segment *segment, bool may_write)
{
	long i;

	for (i = segment->first; i < segment->first + segment->npages; i++) {
		switch (below(3)) {
		case 0:
			break;
		case 1:
			touch_page(address_of(i));
			break;
		case 2:
			if (may_write)
				mark_pages(address_of(i), 1, i);
			break;
		}
	}
}

static bool build_gap(const struct segment *segment)
{
	return !munmap(address_of(segment->first), segment->npages * PAGE);
}

static bool build_hole(const struct segment *segment)
{
	return map_small(segment);
}

static bool build_anon(const struct segment *segment)
{
	if (!map_small(segment))
		return false;
	write_pages(segment);
	return true;
}

static bool build_anon_mix(const struct segment *segment)
{
	if (!map_small(segment))
		return false;
	touch_some(segment, true);
	return true;
}

static bool build_read_only(const struct segment *segment)
{
	return build_anon(segment) && protect(segment, PROT_READ);
}

static bool build_no_access(const struct segment *segment)
{
	return build_anon(segment) && protect(segment, PROT_NONE);
}

static bool build_write_only(const struct segment *segment)
{
	return build_anon_mix(segment) && protect(segment, PROT_WRITE);
}

static bool build_exec_only(const struct segment *segment)
{
	return build_anon(segment) && protect(segment, PROT_EXEC);
}

static bool build_zero_page(const struct segment *segment)
{
	long i;

	if (!map_small(segment))
		return false;
	for (i = 0; i < segment->npages; i++)
		touch_page(address_of(segment->first + i));
	return true;
}

static bool build_swapped(const struct segment *segment)
{
	if (!have_swap()) {
		errno = ENXIO;
		return false;
	}
	/* A page on a per-CPU list is skipped the first time. */
	return build_anon(segment) && advise(segment, MADV_PAGEOUT) &&
	       advise(segment, MADV_PAGEOUT);
}

static bool build_mlocked(const struct segment *segment)
{
	return map_small(segment) &&
	       !mlock(address_of(segment->first), segment->npages * PAGE);
}

static bool build_ksm(const struct segment *segment)
{
	char *start = address_of(segment->first);
	double deadline = seconds_now() + 5;

	if (!map_small(segment))
		return false;
	memset(start, 0x5a, segment->npages * PAGE);
	if (!advise(segment, MADV_MERGEABLE))
		return false;
	write_text(KSM "sleep_millisecs", "5");
	write_text(KSM "pages_to_scan", "1000");
	write_text(KSM "run", "1");
	while (pfn_at(start) != pfn_at(start + PAGE) &&
	       seconds_now() < deadline)
		sleep_ms(5);
	write_text(KSM "run", "0");
	return true;
}

static bool build_file_private(const struct segment *segment)
{
	if (!map_at(segment, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		    resources.page_cache, 0))
		return false;
	touch_some(segment, true);
	return true;
}

static bool build_file_shared(const struct segment *segment)
{
	if (!map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		    resources.page_cache, 0))
		return false;
	touch_some(segment, true);
	return true;
}

static bool build_file_read_only(const struct segment *segment)
{
	if (!map_at(segment, PROT_READ, MAP_SHARED, resources.page_cache, 0))
		return false;
	touch_some(segment, false);
	return true;
}

/* The first half is file, the second lies past its end. */
static bool build_file_end(const struct segment *segment)
{
	struct stat stat;

	if (fstat(resources.page_cache, &stat))
		return false;
	return map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		      resources.page_cache,
		      stat.st_size - segment->npages / 2 * PAGE);
}

static bool build_tmpfs_private(const struct segment *segment)
{
	if (!map_at(segment, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		    resources.tmpfs, 0))
		return false;
	touch_some(segment, true);
	return true;
}

static bool build_tmpfs_shared(const struct segment *segment)
{
	if (!map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		    resources.tmpfs, 0))
		return false;
	touch_some(segment, true);
	return true;
}

static bool build_uffd_wp(const struct segment *segment)
{
	char *start = address_of(segment->first);

	return build_anon(segment) &&
	       uffd_register(resources.uffd, start, segment->npages,
			     UFFDIO_REGISTER_MODE_WP) &&
	       uffd_write_protect(resources.uffd, start, segment->npages, true);
}

static bool build_uffd_wp_marker(const struct segment *segment)
{
	char *start = address_of(segment->first);

	return map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		      resources.tmpfs, 0) &&
	       uffd_register(resources.uffd, start, segment->npages,
			     UFFDIO_REGISTER_MODE_WP) &&
	       uffd_write_protect(resources.uffd, start, segment->npages, true);
}

static bool build_uffd_missing(const struct segment *segment)
{
	return map_small(segment) &&
	       uffd_register(resources.uffd, address_of(segment->first),
			     segment->npages, UFFDIO_REGISTER_MODE_MISSING);
}

static bool build_uffd_poison(const struct segment *segment)
{
	char *start = address_of(segment->first);

	return map_small(segment) &&
	       uffd_register(resources.uffd_poison, start, segment->npages,
			     UFFDIO_REGISTER_MODE_MISSING) &&
	       uffd_poison(resources.uffd_poison, start, segment->npages);
}

static bool build_guard(const struct segment *segment)
{
	return build_anon(segment) && advise(segment, MADV_GUARD_INSTALL);
}

static bool build_hwpoison(const struct segment *segment)
{
	return build_anon(segment) && advise(segment, MADV_HWPOISON);
}

static bool build_secretmem(const struct segment *segment)
{
	if (resources.secret < 0) {
		errno = ENXIO;
		return false;
	}
	if (!map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		    resources.secret, 0))
		return false;
	touch_some(segment, true);
	return true;
}

/* If the CPU has none, memory that is marked as one. */
static bool build_shadow_stack(const struct segment *segment)
{
	char *start = address_of(segment->first);

	if (munmap(start, segment->npages * PAGE))
		return false;
	return syscall(453 /* map_shadow_stack */, start,
		       segment->npages * PAGE, 0) == (long)start ||
	       map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		      resources.test_driver,
		      RANGE_FAULT_TEST_MMAP_SHADOW_STACK * PAGE);
}

/* A page, and what has no struct page, in one mapping. */
static bool build_mixedmap(const struct segment *segment)
{
	return map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED,
		      resources.test_driver, 0);
}

static bool build_pfnmap(const struct segment *segment)
{
	/* The BIOS: not RAM, so that STRICT_DEVMEM allows it. */
	return map_at(segment, PROT_READ, MAP_SHARED, resources.mem, 0xf0000);
}

static bool move_segment(const struct segment *segment, int fd)
{
	int error = EOPNOTSUPP;

	if (own_device_page)
		error = move_to_device(fd, address_of(segment->first),
				       segment->npages, resources.buffer);
	errno = error;
	return !error;
}

static bool build_device_own(const struct segment *segment)
{
	return build_anon(segment) &&
	       move_segment(segment, resources.dmirror[0]);
}

static bool build_device_other(const struct segment *segment)
{
	return build_anon(segment) &&
	       move_segment(segment, resources.dmirror[1]);
}

static bool build_exclusive(const struct segment *segment)
{
	int error = EOPNOTSUPP;

	if (!build_anon(segment))
		return false;
	if (own_device_page)
		error = dmirror_call(resources.dmirror[0],
				     HMM_DMIRROR_EXCLUSIVE,
				     address_of(segment->first),
				     segment->npages, resources.buffer, NULL);
	errno = error;
	return !error;
}

static bool build_thp_hole(const struct segment *segment)
{
	return map_at(segment, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) &&
	       advise(segment, MADV_HUGEPAGE);
}

static bool build_thp(const struct segment *segment)
{
	if (!build_thp_hole(segment))
		return false;
	mark_pages(address_of(segment->first), 1, 1);
	return true;
}

static bool build_thp_child_gone(const struct segment *segment)
{
	return build_thp(segment) && share_for_a_moment(segment);
}

static bool build_thp_zero(const struct segment *segment)
{
	if (!build_thp_hole(segment))
		return false;
	touch_page(address_of(segment->first));
	return true;
}

static bool build_thp_read_only(const struct segment *segment)
{
	return build_thp(segment) && protect(segment, PROT_READ);
}

/* set_kinds() knows which pages are gone, or read-only. */
static bool build_thp_pieces(const struct segment *segment)
{
	char *start = address_of(segment->first);

	return build_thp(segment) && !munmap(start + 9 * PAGE, 3 * PAGE) &&
	       !mprotect(start + 100 * PAGE, 50 * PAGE, PROT_READ);
}

static bool build_thp_shmem(const struct segment *segment)
{
	int fd = memfd_create("differential", MFD_CLOEXEC);
	bool mapped;

	if (fd < 0)
		return false;
	mapped = !ftruncate(fd, BLOCK * PAGE) &&
		 map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (!mapped)
		return false;
	write_pages(segment);
	return advise(segment, MADV_COLLAPSE);
}

/* Moves huge pages as a whole, if the kernel does. */
static bool move_huge(const struct segment *segment, int fd)
{
	unsigned char byte = 0;

	if (!build_thp(segment) || !move_segment(segment, fd))
		return false;
	if (!take_snapshot(fd, address_of(segment->first), 1, &byte) &&
	    (byte & HMM_DMIRROR_PROT_PMD))
		return true;
	errno = EOPNOTSUPP;
	return false;
}

static bool build_thp_device_own(const struct segment *segment)
{
	return move_huge(segment, resources.dmirror[0]);
}

static bool build_thp_device_other(const struct segment *segment)
{
	return move_huge(segment, resources.dmirror[1]);
}

static bool build_hugetlb_hole(const struct segment *segment)
{
	if (free_hugetlb_pages(2048) < 4) {
		errno = ENOMEM;
		return false;
	}
	return map_at(segment, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		      MAP_ANONYMOUS | MAP_HUGETLB | HUGETLB_2M, -1, 0);
}

static bool build_hugetlb(const struct segment *segment)
{
	if (!build_hugetlb_hole(segment))
		return false;
	mark_pages(address_of(segment->first), 1, 1);
	return true;
}

static bool build_hugetlb_read(const struct segment *segment)
{
	if (!build_hugetlb_hole(segment))
		return false;
	touch_page(address_of(segment->first));
	return true;
}

static bool build_hugetlb_read_only(const struct segment *segment)
{
	return (one_in(2) ? build_hugetlb_hole(segment) :
			    build_hugetlb(segment)) &&
	       protect(segment, PROT_READ);
}

static bool build_hugetlb_shared(const struct segment *segment)
{
	if (free_hugetlb_pages(2048) < 4) {
		errno = ENOMEM;
		return false;
	}
	if (!map_at(segment, PROT_READ | PROT_WRITE, MAP_SHARED |
		    MAP_ANONYMOUS | MAP_HUGETLB | HUGETLB_2M, -1, 0))
		return false;
	if (one_in(2))
		touch_page(address_of(segment->first));
	return true;
}

static bool build_hugetlb_hwpoison(const struct segment *segment)
{
	const char *pool =
		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

	/* The page is lost to the pool. */
	write_number(pool, read_number(pool, 0) + 1);
	return build_hugetlb(segment) &&
	       !madvise(address_of(segment->first + 3), PAGE, MADV_HWPOISON);
}

/*
 * The only 1 GiB page there is. Clearing it takes seconds under emulation: it stays for
 * all layouts, and no child gets it.
 */
static bool build_hugetlb_1g(const struct segment *segment)
{
	if (!free_hugetlb_pages(1 << 20)) {
		errno = ENOMEM;
		return false;
	}
	if (mmap(address_of(segment->first), GIGABYTE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGETLB_1G |
		 MAP_FIXED, -1, 0) == MAP_FAILED ||
	    madvise(address_of(segment->first), GIGABYTE, MADV_DONTFORK))
		return false;
	mark_pages(address_of(segment->first), 1, 1);
	return true;
}

/* Needs room for another one, which there is not. */
static bool build_hugetlb_1g_hole(const struct segment *segment)
{
	return map_at(segment, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		      MAP_ANONYMOUS | MAP_HUGETLB | HUGETLB_1G, -1, 0) &&
	       !madvise(address_of(segment->first), GIGABYTE, MADV_DONTFORK);
}

const struct kind_info kinds[NR_KINDS] = {
	[GAP] = {
		"no mapping", build_gap, NO_READ, 1, 40, WHEN_ENTRY,
		HMM_MIRROR_KIND_NO_VMA,
	},
	[HOLE] = {
		"anonymous, nothing there", build_hole, 0, 1, 64, WHEN_ENTRY,
		HMM_MIRROR_KIND_NONE,
	},
	[ANON] = {
		"anonymous", build_anon, 0, 1, 64, WHEN_WRITABLE,
	},
	[ANON_MIX] = {
		"anonymous, of all sorts", build_anon_mix, 0, 1, 64, ALWAYS,
	},
	[READ_ONLY] = {
		"anonymous, read-only", build_read_only, NO_WRITE, 1, 40,
		WHEN_READ_ONLY,
	},
	[NO_ACCESS] = {
		"PROT_NONE", build_no_access, NO_READ, 1, 20, WHEN_ENTRY,
		HMM_MIRROR_KIND_UNREADABLE,
	},
	[WRITE_ONLY] = {
		"PROT_WRITE", build_write_only, NO_READ, 1, 20, WHEN_ENTRY,
		HMM_MIRROR_KIND_UNREADABLE,
	},
	[EXEC_ONLY] = {
		"PROT_EXEC", build_exec_only, NO_READ, 1, 20, WHEN_ENTRY,
		HMM_MIRROR_KIND_UNREADABLE,
	},
	[ZERO_PAGE] = {
		"zero page", build_zero_page, 0, 1, 60, WHEN_ENTRY,
		HMM_MIRROR_KIND_ZERO,
	},
	[SWAPPED] = {
		"swapped out", build_swapped, 0, 1, 40, WHEN_ENTRY,
		HMM_MIRROR_KIND_SWAP,
	},
	[FORKED] = {
		"shared since fork()", build_anon, BEFORE_FORK, 1, 64,
		WHEN_READ_ONLY,
	},
	[AT_BORDER] = {
		"anonymous, at a border", build_anon_mix, 0, 1, BORDER_PAGES,
		ALWAYS,
	},
	[MLOCKED] = {
		"mlocked", build_mlocked, 0, 2, 20, WHEN_VALID,
	},
	[KSM_PAGE] = {
		"merged by KSM", build_ksm, KEEP, 16, 12, WHEN_READ_ONLY,
	},
	[FILE_PRIVATE] = {
		"file, private", build_file_private, SPREADS, 1, 64, ALWAYS,
	},
	[FILE_SHARED] = {
		"file, shared", build_file_shared, SPREADS, 1, 64, ALWAYS,
	},
	[FILE_READ_ONLY] = {
		"file, read-only", build_file_read_only, SPREADS | NO_WRITE, 1,
		40, ALWAYS,
	},
	[FILE_END] = {
		"file, past its end", build_file_end, NO_READ | SPREADS, 1, 30,
		WHEN_ENTRY, HMM_MIRROR_KIND_NONE,
	},
	[TMPFS_PRIVATE] = {
		"tmpfs, private", build_tmpfs_private, SPREADS, 1, 64, ALWAYS,
	},
	[TMPFS_SHARED] = {
		"tmpfs, shared", build_tmpfs_shared, SPREADS, 1, 64, ALWAYS,
	},
	[UFFD_WP] = {
		"userfaultfd-wp", build_uffd_wp, NO_WRITE | WAITS, 1, 30,
		WHEN_READ_ONLY,
	},
	[UFFD_WP_MARKER] = {
		"userfaultfd-wp marker", build_uffd_wp_marker,
		NO_WRITE | WAITS | SPREADS, 1, 30, WHEN_ENTRY,
		HMM_MIRROR_KIND_UFFD_WP,
	},
	[UFFD_MISSING] = {
		"userfaultfd, missing", build_uffd_missing, NO_READ | WAITS, 1,
		30, WHEN_ENTRY, HMM_MIRROR_KIND_NONE,
	},
	[UFFD_POISON] = {
		"poison marker", build_uffd_poison, NO_READ, 1, 12, WHEN_ENTRY,
		HMM_MIRROR_KIND_POISON,
	},
	[GUARD] = {
		"guard region", build_guard, NO_READ, 1, 12, WHEN_ENTRY,
		HMM_MIRROR_KIND_GUARD,
	},
	[HWPOISON] = {
		"failed memory", build_hwpoison, NO_READ | KEEP, 4, 2,
		WHEN_ENTRY, HMM_MIRROR_KIND_HWPOISON,
	},
	[SECRETMEM] = {
		"memfd_secret()", build_secretmem, NO_READ, 1, 12, WHEN_ENTRY,
		HMM_MIRROR_KIND_SECRETMEM,
	},
	[SHADOW_STACK] = {
		"shadow stack", build_shadow_stack, NO_WRITE, 1, 12, ALWAYS,
	},
	[MIXEDMAP] = {
		"VM_MIXEDMAP, page", build_mixedmap, KEEP, 1, 3, WHEN_VALID,
	},
	[SPECIAL] = {
		"VM_MIXEDMAP, special", NULL, NO_READ, 1, 1, WHEN_ENTRY,
		HMM_MIRROR_KIND_SPECIAL,
	},
	[PFNMAP] = {
		"VM_PFNMAP", build_pfnmap, NO_READ, 1, 4, WHEN_ENTRY,
		HMM_MIRROR_KIND_IO,
	},
	[DEVICE_OWN] = {
		"own device memory", build_device_own, 0, 1, 24, WHEN_ENTRY,
		HMM_MIRROR_KIND_DEVICE_PRIVATE,
	},
	[DEVICE_OTHER] = {
		"another's device memory", build_device_other, 0, 1, 24,
		WHEN_ENTRY, HMM_MIRROR_KIND_DEVICE_PRIVATE,
	},
	[DEVICE_FORKED] = {
		"own device memory, fork()", build_device_own, BEFORE_FORK, 1,
		24, WHEN_ENTRY, HMM_MIRROR_KIND_DEVICE_PRIVATE,
	},
	[EXCLUSIVE] = {
		"device exclusive", build_exclusive, 0, 1, 12, WHEN_ENTRY,
		HMM_MIRROR_KIND_DEVICE_EXCLUSIVE,
	},
	[THP] = {
		"huge page", build_thp, IS_BLOCK, 1, BLOCK, WHEN_WRITABLE,
	},
	[THP_ZERO] = {
		"huge zero page", build_thp_zero, IS_BLOCK, 1, BLOCK,
		WHEN_ENTRY, HMM_MIRROR_KIND_ZERO,
	},
	[THP_HOLE] = {
		"room for a huge page", build_thp_hole, IS_BLOCK | GROWS, 1,
		BLOCK, WHEN_ENTRY, HMM_MIRROR_KIND_NONE,
	},
	[THP_FORKED] = {
		"huge page, fork()", build_thp, IS_BLOCK | BEFORE_FORK, 1,
		BLOCK, WHEN_READ_ONLY,
	},
	[THP_CHILD_GONE] = {
		"huge page, child gone", build_thp_child_gone,
		IS_BLOCK | GROWS, 1, BLOCK, WHEN_READ_ONLY,
	},
	[THP_READ_ONLY] = {
		"huge page, read-only", build_thp_read_only,
		IS_BLOCK | NO_WRITE, 1, BLOCK, WHEN_READ_ONLY,
	},
	[THP_PIECES] = {
		"huge page in pieces", build_thp_pieces, IS_BLOCK, 1, BLOCK,
		WHEN_VALID,
	},
	[THP_SHMEM] = {
		"huge page of tmpfs", build_thp_shmem,
		IS_BLOCK | SPREADS | KEEP, 4, BLOCK, WHEN_VALID,
	},
	[THP_DEVICE_OWN] = {
		"own huge device page", build_thp_device_own, IS_BLOCK, 2,
		BLOCK, WHEN_ENTRY, HMM_MIRROR_KIND_DEVICE_PRIVATE,
	},
	[THP_DEVICE_OTHER] = {
		"another's huge device page", build_thp_device_other, IS_BLOCK,
		2, BLOCK, WHEN_ENTRY, HMM_MIRROR_KIND_DEVICE_PRIVATE,
	},
	[HUGETLB] = {
		"hugetlb 2M", build_hugetlb, IS_BLOCK | IS_HUGETLB, 1, BLOCK,
		WHEN_VALID,
	},
	[HUGETLB_HOLE] = {
		"hugetlb 2M, nothing there", build_hugetlb_hole,
		IS_BLOCK | IS_HUGETLB | GROWS, 1, BLOCK, WHEN_ENTRY,
		HMM_MIRROR_KIND_NONE,
	},
	[HUGETLB_READ] = {
		"hugetlb 2M, only read", build_hugetlb_read,
		IS_BLOCK | IS_HUGETLB | GROWS, 1, BLOCK, WHEN_READ_ONLY,
	},
	[HUGETLB_READ_ONLY] = {
		"hugetlb 2M, read-only", build_hugetlb_read_only,
		IS_BLOCK | IS_HUGETLB | NO_WRITE | GROWS, 1, BLOCK, ALWAYS,
	},
	[HUGETLB_FORKED] = {
		"hugetlb 2M, fork()", build_hugetlb,
		IS_BLOCK | IS_HUGETLB | BEFORE_FORK, 1, BLOCK, WHEN_READ_ONLY,
	},
	[HUGETLB_SHARED] = {
		"hugetlb 2M, shared", build_hugetlb_shared,
		IS_BLOCK | IS_HUGETLB, 1, BLOCK, ALWAYS,
	},
	[HUGETLB_HWPOISON] = {
		"hugetlb 2M, failed", build_hugetlb_hwpoison,
		IS_BLOCK | IS_HUGETLB | NO_READ | KEEP, 32, BLOCK, WHEN_ENTRY,
		HMM_MIRROR_KIND_HWPOISON,
	},
	[GIGANTIC] = {
		"hugetlb 1G", build_hugetlb_1g,
		IS_BLOCK | IS_HUGETLB | KEEP | GROWS, 1, GIGABYTE_PAGES,
		WHEN_VALID,
	},
	[GIGANTIC_HOLE] = {
		"hugetlb 1G, none left", build_hugetlb_1g_hole,
		IS_BLOCK | IS_HUGETLB | NO_READ | KEEP, 1, GIGABYTE_PAGES,
		WHEN_ENTRY, HMM_MIRROR_KIND_NONE,
	},
};

static void ignore_sigbus(int signal)
{
	(void)signal;
}

static int make_ramfs_file(size_t npages)
{
	const char *directory = "/tmp/differential";
	char page[PAGE];
	int fd;
	size_t i;

	mkdir(directory, 0700);
	if (mount("ramfs", directory, "ramfs", 0, NULL))
		return -1;
	fd = open("/tmp/differential/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	umount2(directory, MNT_DETACH);
	rmdir(directory);
	memset(page, 0x33, sizeof(page));
	for (i = 0; fd >= 0 && i < npages; i++) {
		if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
			return -1;
	}
	return fd;
}

static unsigned long find_device_page(void)
{
	struct segment segment = { ANON, 0, 1 };
	unsigned long pfn;

	if (resources.dmirror[0] < 0 || resources.dmirror[1] < 0 ||
	    !build_anon(&segment) ||
	    move_to_device(resources.dmirror[0], address_of(0), 1,
			   resources.buffer))
		return 0;
	pfn = device_pfn_at(address_of(0));
	munmap(address_of(0), PAGE);
	return pfn;
}

bool open_resources(void)
{
	resources.page_cache = make_ramfs_file(256);
	resources.tmpfs = make_memfd(256);
	resources.secret = syscall(__NR_memfd_secret, O_CLOEXEC);
	if (resources.secret >= 0 && ftruncate(resources.secret, 64 * PAGE))
		resources.secret = -1;
	resources.uffd = open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP |
					  UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	resources.uffd_poison = open_userfaultfd(UFFD_FEATURE_POISON);
	resources.test_driver = open(RANGE_FAULT_TEST_DEVICE, O_RDWR | O_CLOEXEC);
	resources.mem = open("/dev/mem", O_RDONLY | O_CLOEXEC);
	resources.dmirror[0] = open_dmirror(0);
	resources.dmirror[1] = open_dmirror(1);
	resources.buffer = malloc(BLOCK * PAGE);
	own_device_page = find_device_page();
	signal(SIGBUS, ignore_sigbus);
	return resources.page_cache >= 0 && resources.tmpfs >= 0;
}
