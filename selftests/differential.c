// SPDX-License-Identifier: GPL-2.0
/*
 * hmm_mirror against the kernel's own hmm_range_fault(): random requests on
 * random address spaces, each answered by both on the same page tables. How the
 * two are compared is explained in differential/module.c; this program builds
 * the address spaces, makes up the requests, and judges.
 *
 *	differential [--seed NUMBER] [--cases NUMBER] [--failures NUMBER]
 *		     [--no-shrink] [OPTION...]
 *
 * It stops after so many cases (10000), or failures (5).
 * With the number of a seed and of a case a failure can be repeated: it prints
 * "--seed S --case C". Every layout of mappings has a seed of its own, which
 * follows from the first one, and serves CASES_PER_LAYOUT cases. A case that fails
 * while the kernel compacts memory is repeated, see passes_again().
 *
 * Differences that are allowed are those that hmm_mirror makes on purpose. Each
 * has a counter (enum allowed), each is allowed for pages only that were built to
 * be of that kind, and all counters are printed.
 */
#include <linux/hmm_mirror.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "differential/differential.h"
#include "dmirror_test.h"
#include "harness.h"
#include "memory.h"
#include "range_fault_test/range_fault_test.h"
#include "witness.h"

#define VALID		DIFFERENTIAL_VALID
#define WRITE		DIFFERENTIAL_WRITE
#define ERROR		DIFFERENTIAL_ERROR
#define STATE		(VALID | WRITE | ERROR)
#define REQ_FAULT	DIFFERENTIAL_REQ_FAULT
#define REQ_WRITE	DIFFERENTIAL_REQ_WRITE
#define REQ_BITS	(REQ_FAULT | REQ_WRITE)
#define DRIVER_BITS	(DIFFERENTIAL_DMA_MAPPED | DIFFERENTIAL_P2PDMA | \
			 DIFFERENTIAL_P2PDMA_BUS)
/* What an answer says, without the bits that were the caller's. */
#define ANSWER		(STATE | DIFFERENTIAL_ORDER_MASK | \
			 DIFFERENTIAL_PFN_MASK)

#define PAGE		4096UL
#define BLOCK		512L	/* pages of a PMD */
#define SOUP_PAGES	(3 * BLOCK)	/* of mappings that are small */
#define NR_BLOCKS	5		/* of 2 MiB, behind them */
#define ARENA_PAGES	(SOUP_PAGES + NR_BLOCKS * BLOCK)
#define GIGABYTE	(1UL << 30)
#define GIGABYTE_PAGES	((long)(GIGABYTE / PAGE))
/* The arena ends, and a 1G page begins, at a border of every page table. */
#define ARENA_END	((1UL << 40) + GIGABYTE)
#define ARENA		(ARENA_END - ARENA_PAGES * PAGE)
#define MARGIN		24L	/* pages around it that ranges reach out to */

#define MAX_RANGE	2048L
#define CASES_PER_LAYOUT	250
#define MAX_TRIES	200
#define MAX_REPEATS	3
#define CASES_PER_REPEAT	500

enum kind {
	GAP,
	HOLE,
	ANON,
	ANON_MIX,
	READ_ONLY,
	NO_ACCESS,
	WRITE_ONLY,
	EXEC_ONLY,
	ZERO_PAGE,
	SWAPPED,
	FORKED,
	MLOCKED,
	KSM_PAGE,
	FILE_PRIVATE,
	FILE_SHARED,
	FILE_READ_ONLY,
	FILE_END,
	TMPFS_PRIVATE,
	TMPFS_SHARED,
	UFFD_WP,
	UFFD_WP_MARKER,
	UFFD_MISSING,
	UFFD_POISON,
	GUARD,
	HWPOISON,
	SECRETMEM,
	SHADOW_STACK,
	MIXEDMAP,
	SPECIAL,
	PFNMAP,
	DEVICE_OWN,
	DEVICE_OTHER,
	DEVICE_FORKED,
	EXCLUSIVE,
	THP,
	THP_ZERO,
	THP_HOLE,
	THP_FORKED,
	THP_READ_ONLY,
	THP_PIECES,
	THP_SHMEM,
	THP_DEVICE_OWN,
	THP_DEVICE_OTHER,
	HUGETLB,
	HUGETLB_HOLE,
	HUGETLB_READ_ONLY,
	HUGETLB_FORKED,
	HUGETLB_SHARED,
	HUGETLB_HWPOISON,
	GIGANTIC,
	GIGANTIC_HOLE,
	NR_KINDS,
};

/* Allowed differences: see the table in README.md, "What an address yields". */
enum allowed {
	/* In snapshots, or any answer. */
	GARBAGE_NOT_VALID,
	SECRETMEM_ERROR,
	SHADOW_STACK_NOT_WRITE,
	POISON_ERROR,
	GUARD_ERROR,
	HWPOISON_ERROR,
	DEVICE_PMD_NOT_ERROR,
	DEVICE_PMD_OFFSET,
	/* In requests. */
	SECRETMEM_REFUSED,
	SHADOW_STACK_REFUSED,
	HWPOISON_ERRNO,
	DEVICE_MADE_WRITABLE,
	/* Of the kernel's answer to a range, from its own page by page. */
	KERNEL_OVERFAULT_ERROR,
	KERNEL_HUGETLB_IGNORED,
	NR_ALLOWED,
};

static const char * const allowed_names[NR_ALLOWED] = {
	[GARBAGE_NOT_VALID] = "pages: kernel has a PFN or order without VALID, we 0",
	[SECRETMEM_ERROR] = "pages: memfd_secret() is ERROR",
	[SHADOW_STACK_NOT_WRITE] = "pages: shadow stack is never WRITE",
	[POISON_ERROR] = "pages: poison marker is ERROR, kernel 0",
	[GUARD_ERROR] = "pages: guard marker is ERROR, kernel 0",
	[HWPOISON_ERROR] = "pages: failed memory is ERROR, kernel 0",
	[DEVICE_PMD_NOT_ERROR] = "pages: another's huge device page is 0, kernel ERROR",
	[DEVICE_PMD_OFFSET] = "pages: huge device page from its middle on, kernel names its first",
	[SECRETMEM_REFUSED] = "requests: memfd_secret() is EFAULT, kernel maps it",
	[SHADOW_STACK_REFUSED] = "requests: shadow stack for writing is EPERM, kernel maps it",
	[HWPOISON_ERRNO] = "requests: failed memory is EHWPOISON, kernel EFAULT",
	[DEVICE_MADE_WRITABLE] = "requests: own device page made writable, kernel leaves it",
	[KERNEL_OVERFAULT_ERROR] = "kernel fails for a page that was not asked for",
	[KERNEL_HUGETLB_IGNORED] = "kernel overlooks requests within a hugetlb page",
};

/* How a page can be asked for: the columns of the coverage table. */
enum column {
	NOTHING,
	READ_DEFAULT,
	WRITE_DEFAULT,
	READ_PAGE,
	WRITE_PAGE,
	WRITE_BIT_ALONE,
	NR_COLUMNS,
};

static const char * const column_names[NR_COLUMNS] = {
	"-", "read", "write", "read(page)", "write(page)", "REQ_WRITE",
};

/* kind_info.flags */
#define IS_BLOCK	0x01	/* of 2 MiB, or more */
#define BEFORE_FORK	0x02	/* shared with a child */
#define NO_READ		0x04	/* to ask for it is an error */
#define NO_WRITE	0x08	/* to ask for it for writing is one */
#define SPREADS		0x10	/* one fault can map other pages too */
#define WAITS		0x20	/* a fault may wait for a userfaultfd handler */
#define IS_HUGETLB	0x40
#define KEEP		0x80	/* is not made anew between cases */

/* kind_info.counts: when a page of that kind counts as covered */
enum counts {
	ALWAYS,
	WHEN_VALID,
	WHEN_WRITABLE,
	WHEN_READ_ONLY,
	WHEN_NOT_VALID,
	WHEN_ENTRY,
};

struct segment {
	enum kind kind;
	long first; /* page of the arena */
	long npages;
};

struct kind_info {
	const char *name;
	bool (*build)(const struct segment *segment);
	unsigned int flags;
	unsigned int rare; /* one layout in so many has it */
	long max_pages;
	enum counts counts;
	unsigned int entry; /* HMM_MIRROR_KIND_* for WHEN_ENTRY */
};

/* --- Random numbers ----------------------------------------------------------- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* 0 ... @limit - 1 */
static long below(long limit)
{
	return next_random() % limit;
}

static bool one_in(long number)
{
	return !below(number);
}

/* --- What the layouts are made of ---------------------------------------------- */

static struct {
	int page_cache; /* a file of ramfs */
	int tmpfs;
	int secret;
	int uffd; /* -1 where there is none */
	int uffd_poison;
	int test_driver;
	int mem;
	int dmirror[2];
	unsigned long device_pfn; /* a page of dmirror[0] */
	char *buffer; /* for dmirror */
} resources;

/* Why a kind cannot be made here, of the last attempt. */
static int not_built[NR_KINDS];
static unsigned long built[NR_KINDS];

static char *address_of(long page)
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

static bool map_small(const struct segment *segment)
{
	return map_at(segment, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) &&
	       (!madvise(address_of(segment->first), segment->npages * PAGE,
			 MADV_NOHUGEPAGE) || errno == EINVAL);
}

static void write_pages(const struct segment *segment)
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

/* Where the CPU has none, memory that says it is one. */
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

	if (resources.device_pfn)
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
	if (resources.device_pfn)
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

/* The layout is told which pages are gone, or read-only, by kind_in_pieces(). */
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

/* Moves huge pages whole, where the kernel does. */
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
 * The only page of 1 GiB there is. To clear it takes seconds under emulation: it
 * stays for all layouts, and no child gets it.
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

/* Room for another one, which there is not. */
static bool build_hugetlb_1g_hole(const struct segment *segment)
{
	return map_at(segment, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		      MAP_ANONYMOUS | MAP_HUGETLB | HUGETLB_1G, -1, 0) &&
	       !madvise(address_of(segment->first), GIGABYTE, MADV_DONTFORK);
}

static const struct kind_info kinds[NR_KINDS] = {
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
		"room for a huge page", build_thp_hole, IS_BLOCK, 1, BLOCK,
		WHEN_ENTRY, HMM_MIRROR_KIND_NONE,
	},
	[THP_FORKED] = {
		"huge page, fork()", build_thp, IS_BLOCK | BEFORE_FORK, 1,
		BLOCK, WHEN_READ_ONLY,
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
		IS_BLOCK | IS_HUGETLB, 1, BLOCK, WHEN_ENTRY,
		HMM_MIRROR_KIND_NONE,
	},
	[HUGETLB_READ_ONLY] = {
		"hugetlb 2M, read-only", build_hugetlb_read_only,
		IS_BLOCK | IS_HUGETLB | NO_WRITE, 1, BLOCK, ALWAYS,
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
		"hugetlb 1G", build_hugetlb_1g, IS_BLOCK | IS_HUGETLB | KEEP, 1,
		GIGABYTE_PAGES, WHEN_VALID,
	},
	[GIGANTIC_HOLE] = {
		"hugetlb 1G, none left", build_hugetlb_1g_hole,
		IS_BLOCK | IS_HUGETLB | NO_READ | KEEP, 1, GIGABYTE_PAGES,
		WHEN_ENTRY, HMM_MIRROR_KIND_NONE,
	},
};

/* --- Layouts ------------------------------------------------------------------- */

static struct {
	struct segment segments[NR_KINDS + 64];
	size_t nr;
	/* Of each page of the arena, and what there is behind it. */
	unsigned char kind_of[ARENA_PAGES];
	pid_t child;
	/* What compaction had taken from its place before there was any of this */
	unsigned long compacted;
} layout;

/* What there is behind the arena, in all layouts: of 1 GiB each. */
static const enum kind gigantic_kinds[] = { GIGANTIC, GIGANTIC_HOLE };
static size_t nr_gigantic;

static long end_of_everything(void)
{
	return ARENA_PAGES + nr_gigantic * GIGABYTE_PAGES;
}

static enum kind kind_at(long page)
{
	if (page >= 0 && page < ARENA_PAGES)
		return layout.kind_of[page];
	if (page >= ARENA_PAGES && page < end_of_everything())
		return gigantic_kinds[(page - ARENA_PAGES) / GIGABYTE_PAGES];
	return GAP;
}

static const struct kind_info *info_at(long page)
{
	return &kinds[kind_at(page)];
}

static void set_kinds(const struct segment *segment, enum kind kind)
{
	long i;

	if (segment->first >= ARENA_PAGES)
		return;
	for (i = 0; i < segment->npages; i++)
		layout.kind_of[segment->first + i] = kind;
	switch (kind) {
	case FILE_END:
		for (i = 0; i < segment->npages / 2; i++)
			layout.kind_of[segment->first + i] = FILE_SHARED;
		break;
	case MIXEDMAP:
		layout.kind_of[segment->first + 1] = SPECIAL;
		layout.kind_of[segment->first + 2] = FILE_END;
		break;
	case THP_PIECES:
		for (i = 9; i < 12; i++)
			layout.kind_of[segment->first + i] = GAP;
		for (i = 100; i < 150; i++)
			layout.kind_of[segment->first + i] = READ_ONLY;
		break;
	default:
		break;
	}
}

static void build_segment(const struct segment *segment)
{
	const struct kind_info *info = &kinds[segment->kind];

	errno = 0;
	if (info->build(segment)) {
		built[segment->kind]++;
		set_kinds(segment, segment->kind);
		return;
	}
	not_built[segment->kind] = errno ?: EINVAL;
	munmap(address_of(segment->first), segment->npages * PAGE);
	set_kinds(segment, GAP);
}

static void add_segment(enum kind kind, long first, long npages)
{
	layout.segments[layout.nr++] = (struct segment){ kind, first, npages };
}

static bool wanted(enum kind kind, uint64_t number)
{
	return built[kind] && kinds[kind].max_pages != GIGABYTE_PAGES &&
	       number % kinds[kind].rare == 0;
}

static void destroy_layout(void)
{
	kill_and_wait(layout.child);
	layout.child = 0;
	munmap(address_of(0), ARENA_PAGES * PAGE);
	layout.nr = 0;
}

static void swap_kinds(enum kind *one, enum kind *other)
{
	enum kind kind = *one;

	*one = *other;
	*other = kind;
}

static void shuffle(enum kind *order, size_t nr)
{
	for (; nr > 1; nr--)
		swap_kinds(&order[nr - 1], &order[below(nr)]);
}

static size_t index_of(const enum kind *order, size_t nr, enum kind kind)
{
	size_t i;

	for (i = 0; i < nr && order[i] != kind; i++)
		;
	return i;
}

/*
 * A huge page comes right behind the block with nothing in it: they become one
 * mapping, in which a walk meets an empty entry of a table of PMDs and then one
 * that is not.
 */
static void put_behind_hole(enum kind *order, size_t nr)
{
	size_t hole = index_of(order, nr, THP_HOLE);

	if (hole == nr || index_of(order, nr, THP) == nr)
		return;
	if (hole + 1 == nr) {
		swap_kinds(&order[0], &order[hole]);
		hole = 0;
	}
	swap_kinds(&order[hole + 1], &order[index_of(order, nr, THP)]);
}

/*
 * Layout @number of those that follow from @seed: small mappings of all kinds in
 * random order and of random size, next to each other, then some blocks of
 * 2 MiB, and in some layouts a page of 1 GiB.
 */
static void build_layout(uint64_t seed, uint64_t number)
{
	enum kind order[NR_KINDS];
	size_t i, pass, nr = 0;
	long page = 0, blocks = 0;

	destroy_layout();
	layout.compacted = vmstat_value("compact_isolated");
	random_state = seed * 0x100000001b3ULL + number;
	next_random();

	for (i = 0; i < NR_KINDS; i++) {
		if (!(kinds[i].flags & IS_BLOCK) && wanted(i, number))
			order[nr++] = i;
	}
	shuffle(order, nr);
	memset(layout.kind_of, GAP, sizeof(layout.kind_of));
	for (i = 0; i < nr; i++) {
		long npages = 1 + below(kinds[order[i]].max_pages);

		if (order[i] == MIXEDMAP)
			npages = RANGE_FAULT_TEST_MMAP_PAGES;
		else if (order[i] == KSM_PAGE)
			npages = 12;
		if (one_in(6))
			page += below(20);
		if (page + npages > SOUP_PAGES)
			break;
		add_segment(order[i], page, npages);
		page += npages;
	}

	/* As many blocks as there is room for, first those that are rare. */
	nr = 0;
	for (i = 0; i < NR_KINDS; i++) {
		if ((kinds[i].flags & IS_BLOCK) &&
		    kinds[i].max_pages == BLOCK && wanted(i, number))
			order[nr++] = i;
	}
	shuffle(order, nr);
	put_behind_hole(order, nr);
	for (pass = 0; pass < 2; pass++) {
		for (i = 0; i < nr && blocks < NR_BLOCKS; i++) {
			if ((kinds[order[i]].rare > 1) == !pass)
				add_segment(order[i],
					    SOUP_PAGES + blocks++ * BLOCK,
					    BLOCK);
		}
	}

	for (i = 0; i < layout.nr; i++) {
		if (kinds[layout.segments[i].kind].flags & BEFORE_FORK)
			build_segment(&layout.segments[i]);
	}
	layout.child = fork_sleeper();
	for (i = 0; i < layout.nr; i++) {
		if (!(kinds[layout.segments[i].kind].flags & BEFORE_FORK))
			build_segment(&layout.segments[i]);
	}
	for (i = 0; i < nr_gigantic; i++)
		add_segment(gigantic_kinds[i], ARENA_PAGES + i * GIGABYTE_PAGES,
			    GIGABYTE_PAGES);
}

/* Finds out what can be made on this kernel: layouts are made of that. */
static void probe_kinds(void)
{
	size_t i;

	for (i = 0; i < NR_KINDS; i++) {
		struct segment segment = { i, 0, BLOCK };

		if (!kinds[i].build || kinds[i].max_pages == GIGABYTE_PAGES)
			continue;
		if (i == MIXEDMAP)
			segment.npages = RANGE_FAULT_TEST_MMAP_PAGES;
		else if (!(kinds[i].flags & IS_BLOCK))
			segment.npages = 1;
		if (i == KSM_PAGE || i == FILE_END)
			segment.npages = 2;
		build_segment(&segment);
		munmap(address_of(0), BLOCK * PAGE);
	}
	for (i = 0; i < ARRAY_SIZE(gigantic_kinds); i++) {
		struct segment segment = {
			gigantic_kinds[i], ARENA_PAGES + i * GIGABYTE_PAGES,
			GIGABYTE_PAGES,
		};

		build_segment(&segment);
		if (!built[gigantic_kinds[i]])
			break;
		nr_gigantic++;
	}
}

/* --- Cases ---------------------------------------------------------------------- */

/**
 * struct test_case - a request
 * @first: first page, in the arena; may be negative
 * @npages: pages
 * @function: enum differential_function that serves it first
 * @capacity: of arrays of extents
 * @default_flags: as in hmm_mirror.h
 * @mask: likewise
 * @owner_pfn: as in differential.h
 * @words: requests, with a pattern in all other bits
 */
struct test_case {
	long first;
	long npages;
	unsigned int function;
	unsigned int capacity;
	uint64_t default_flags;
	uint64_t mask;
	uint64_t owner_pfn;
	uint64_t words[MAX_RANGE];
};

/* What is in the words where a function must not look, or has to write. */
#define PATTERN		(STATE | DIFFERENTIAL_ORDER_MASK | \
			 DIFFERENTIAL_PFN_MASK)

static uint64_t asked(const struct test_case *test, long i)
{
	return ((test->words[i] & test->mask) | test->default_flags) & REQ_BITS;
}

static bool asked_at_all(uint64_t request)
{
	return request & REQ_FAULT;
}

static bool asked_to_write(uint64_t request)
{
	return request == REQ_BITS;
}

static bool can_be_had(long page, uint64_t request)
{
	unsigned int flags = info_at(page)->flags;

	if (asked_at_all(request) && (flags & NO_READ))
		return false;
	return !asked_to_write(request) || !(flags & NO_WRITE);
}

static void choose_range(struct test_case *test,
			 const struct segment *segment)
{
	long end = end_of_everything();
	long near;

	switch (below(16)) {
	case 0 ... 9:
		test->npages = 1 + below(12);
		break;
	case 10 ... 13:
		test->npages = 1 + below(64);
		break;
	default:
		test->npages = 1 + below(one_in(8) ? MAX_RANGE : 300);
		break;
	}
	/* Some page of the segment is in the range; often it begins there. */
	test->first = segment->first + below(segment->npages);
	near = segment->npages > 4 ? 4 : segment->npages;
	if (one_in(2))
		test->first = segment->first + below(near);
	else if (one_in(3))
		test->first = segment->first + segment->npages - 1 -
			      below(near);
	if (one_in(2))
		test->first -= below(test->npages);
	if (test->first < -MARGIN)
		test->first = -MARGIN;
	if (test->first + test->npages > end + MARGIN)
		test->npages = end + MARGIN - test->first;
}

/* Mostly not for what cannot be had, which ends a request; @often: half the time. */
static void choose_requests(struct test_case *test, bool often)
{
	static const unsigned int densities[] = { 1, 1, 2, 4, 16 };
	unsigned int density = densities[below(5)];
	bool sparing = !one_in(often ? 2 : 4);
	bool uniform = one_in(3);
	uint64_t request = 0;
	long i;

	test->default_flags = 0;
	test->mask = 0;
	switch (below(20)) {
	case 0 ... 3: /* a snapshot */
		break;
	case 4 ... 5:
		test->default_flags = REQ_FAULT;
		break;
	case 6 ... 7:
		test->default_flags = REQ_BITS;
		break;
	case 8:
		test->default_flags = REQ_WRITE;
		break;
	case 9:
		test->default_flags = REQ_FAULT;
		test->mask = REQ_WRITE;
		break;
	case 10:
		test->default_flags = REQ_WRITE;
		test->mask = REQ_FAULT;
		break;
	case 11:
		test->mask = one_in(2) ? REQ_FAULT : REQ_WRITE;
		break;
	default:
		test->mask = REQ_BITS;
		break;
	}
	if (one_in(3))
		test->mask |= next_random() & DRIVER_BITS;
	for (i = 0; i < test->npages; i++) {
		uint64_t word = next_random() & DRIVER_BITS;

		if (!uniform || !i)
			request = next_random() & REQ_BITS;
		if (one_in(density))
			word |= request;
		test->words[i] = word;
		if (sparing && (test->mask & REQ_BITS) &&
		    !can_be_had(test->first + i, asked(test, i)))
			test->words[i] = word & ~REQ_BITS;
		test->words[i] |= PATTERN;
	}
}

static void choose_function(struct test_case *test)
{
	static const unsigned char functions[] = {
		DIFFERENTIAL_KERNEL, DIFFERENTIAL_KERNEL,
		DIFFERENTIAL_KERNEL_BY_PAGE,
		DIFFERENTIAL_PAGES, DIFFERENTIAL_PAGES, DIFFERENTIAL_PAGES,
		DIFFERENTIAL_EXTENTS, DIFFERENTIAL_EXTENTS,
		DIFFERENTIAL_PAGES_UNLOCKED, DIFFERENTIAL_EXTENTS_UNLOCKED,
	};
	static const unsigned short capacities[] = { 1, 2, 7, 64, MAX_RANGE };
	long i;

	test->capacity = capacities[below(5)];
	test->function = functions[below(sizeof(functions))];
	if (test->function < DIFFERENTIAL_PAGES_UNLOCKED)
		return;
	/* Nobody answers the userfaultfd. */
	for (i = 0; i < test->npages; i++) {
		if (info_at(test->first + i)->flags & WAITS)
			test->function = DIFFERENTIAL_PAGES;
	}
}

/* Changes what is there, and makes up a request for it. */
static void choose_case(struct test_case *test, uint64_t seed, uint64_t number)
{
	const struct segment *segment;
	const struct kind_info *info;
	size_t i;

	random_state = (seed ^ 0x5851f42d4c957f2dULL) * 0x100000001b3ULL +
		       number;
	next_random();
	segment = &layout.segments[below(layout.nr)];
	/* What few layouts have is asked for more often where it is. */
	for (i = 0; i < layout.nr; i++) {
		if (kinds[layout.segments[i].kind].rare > 2 && one_in(6))
			segment = &layout.segments[i];
	}
	info = &kinds[segment->kind];
	if (!(info->flags & (KEEP | BEFORE_FORK)) && one_in(4)) {
		munmap(address_of(segment->first), segment->npages * PAGE);
		build_segment(segment);
	}
	/* Whatever can be thrown away may have been. */
	if (one_in(8)) {
		const struct segment *other =
			&layout.segments[below(layout.nr)];
		long first = below(other->npages);
		long npages = 1 + below(other->npages - first);

		if (!(kinds[other->kind].flags & (NO_READ | WAITS | IS_HUGETLB)))
			madvise(address_of(other->first + first), npages * PAGE,
				one_in(2) ? MADV_DONTNEED : MADV_PAGEOUT);
	}
	choose_range(test, segment);
	test->owner_pfn = one_in(8) ? 0 : resources.device_pfn;
	choose_requests(test, info->flags & NO_READ || segment->kind == MIXEDMAP);
	choose_function(test);
}

/* --- Judging --------------------------------------------------------------------- */

static unsigned long allowed_count[NR_ALLOWED];
static unsigned long coverage[NR_KINDS][NR_COLUMNS];
static unsigned long nr_slots, nr_stale, nr_requests, nr_refused, nr_first_faults;
static unsigned long nr_repeated;

/* Counters and tables are left alone when a case is repeated to shrink it. */
static bool counting;
static char reason[512];
static bool never_settled;
static int device;

/* The answers of a run: words of up to MAX_CALLS functions. */
static uint64_t words[DIFFERENTIAL_MAX_CALLS][MAX_RANGE];
static unsigned char entries[MAX_RANGE];
static uint64_t first_words[MAX_RANGE];
static uint64_t before_words[MAX_RANGE];
static uint64_t snapshot_request[MAX_RANGE];
static struct differential_call calls[DIFFERENTIAL_MAX_CALLS];
static struct differential_call first_call;

static void count_allowed(enum allowed what)
{
	if (counting)
		allowed_count[what]++;
}

__attribute__((format(printf, 1, 2)))
static bool differ(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	return false;
}

static const char *describe(uint64_t word)
{
	static char texts[4][96];
	static unsigned int next;
	char *text = texts[next++ % 4];

	snprintf(text, sizeof(texts[0]), "%s%s%sorder %llu pfn %#llx",
		 word & VALID ? "VALID " : "", word & WRITE ? "WRITE " : "",
		 word & ERROR ? "ERROR " : "",
		 (word & DIFFERENTIAL_ORDER_MASK) >> DIFFERENTIAL_ORDER_SHIFT,
		 word & DIFFERENTIAL_PFN_MASK);
	return text;
}

/* The kernel's word as it would be if it meant to say nothing more. */
static uint64_t normal(uint64_t word)
{
	uint64_t normal_word = word & (STATE | DIFFERENTIAL_ORDER_MASK |
				       DIFFERENTIAL_PFN_MASK);

	if (normal_word & VALID)
		return normal_word;
	if (normal_word & ~STATE)
		count_allowed(GARBAGE_NOT_VALID);
	return normal_word & ERROR;
}

/*
 * Where a range begins within a huge page of device memory the kernel (since v6.19)
 * answers as if it began with it: a page of the same huge page, but an earlier one.
 */
static bool is_earlier_in_block(uint64_t theirs, uint64_t ours)
{
	const uint64_t block = DIFFERENTIAL_PFN_MASK & ~(pages_per_pmd() - 1);
	const uint64_t offset = DIFFERENTIAL_PFN_MASK & ~block;

	return !((theirs ^ ours) & ~offset) &&
	       (theirs & offset) < (ours & offset);
}

/* Whether @ours may be said of a page of which the kernel says @theirs. */
static bool same_or_allowed(long page, uint64_t theirs, uint64_t ours)
{
	enum kind kind = kind_at(page);

	theirs = normal(theirs);
	ours &= ANSWER;
	if (theirs == ours)
		return true;
	if (kind == SECRETMEM && ours == ERROR) {
		count_allowed(SECRETMEM_ERROR);
		return true;
	}
	if (kind == SHADOW_STACK && theirs == (ours | WRITE)) {
		count_allowed(SHADOW_STACK_NOT_WRITE);
		return true;
	}
	if (kind == UFFD_POISON && !theirs && ours == ERROR) {
		count_allowed(POISON_ERROR);
		return true;
	}
	if (kind == GUARD && !theirs && ours == ERROR) {
		count_allowed(GUARD_ERROR);
		return true;
	}
	if ((kind == HWPOISON || kind == HUGETLB_HWPOISON) && !theirs &&
	    ours == ERROR) {
		count_allowed(HWPOISON_ERROR);
		return true;
	}
	if ((kind == THP_DEVICE_OTHER || kind == THP_DEVICE_OWN) &&
	    theirs == ERROR && !ours) {
		count_allowed(DEVICE_PMD_NOT_ERROR);
		return true;
	}
	if (kind == THP_DEVICE_OWN && is_earlier_in_block(theirs, ours)) {
		count_allowed(DEVICE_PMD_OFFSET);
		return true;
	}
	return false;
}

static struct differential_call make_call(const struct test_case *test,
					  unsigned int function,
					  const uint64_t *requests,
					  uint64_t *answer)
{
	return (struct differential_call){
		.function = function,
		.capacity = test->capacity,
		.start = (unsigned long)address_of(test->first),
		.npages = test->npages,
		.owner_pfn = test->owner_pfn,
		.requests = (unsigned long)requests,
		.words = (unsigned long)answer,
	};
}

static struct differential_call make_request(const struct test_case *test,
					     unsigned int function,
					     uint64_t *answer)
{
	struct differential_call call = make_call(test, function, test->words,
						  answer);

	call.default_flags = test->default_flags;
	call.pfn_flags_mask = test->mask;
	return call;
}

/* Returns false if the ioctl fails, which is no matter of what is compared. */
static bool run(const struct test_case *test, struct differential_call *run_calls,
		unsigned int nr, unsigned int flags)
{
	struct differential_run args = {
		.flags = flags,
		.nr_calls = nr,
		.start = (unsigned long)address_of(test->first),
		.npages = test->npages,
		.calls = (unsigned long)run_calls,
	};
	unsigned int i, tries;

	for (tries = 0; tries < MAX_TRIES; tries++) {
		if (ioctl(device, DIFFERENTIAL_RUN, &args))
			return differ("ioctl: %s", strerror(errno));
		if (!args.stale)
			break;
		nr_stale++;
	}
	never_settled = args.stale;
	if (never_settled)
		return differ("invalidated again and again");
	for (i = 0; i < nr; i++) {
		if (run_calls[i].violation)
			return differ("function %u: violation %u of extents",
				      run_calls[i].function,
				      run_calls[i].violation);
	}
	return true;
}

static void make_snapshots(const struct test_case *test)
{
	calls[0] = make_call(test, DIFFERENTIAL_KERNEL, snapshot_request,
			     words[0]);
	calls[1] = make_call(test, DIFFERENTIAL_PAGES, snapshot_request,
			     words[1]);
	calls[2] = make_call(test, DIFFERENTIAL_EXTENTS, snapshot_request,
			     words[2]);
	calls[2].entries = (unsigned long)entries;
	calls[3] = make_call(test, DIFFERENTIAL_KERNEL, snapshot_request,
			     words[3]);
}

/* calls[0] to calls[3] are snapshots that should agree. */
static bool judge_snapshots(const struct test_case *test, const char *when)
{
	long i;
	int j;

	for (j = 0; j < 4; j++) {
		if (calls[j].error)
			return differ("snapshot %d %s fails: %s", j, when,
				      strerror(calls[j].error));
		if (calls[j].nr_faults || calls[j].charged_faults)
			return differ("snapshot %d %s faults", j, when);
	}
	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;

		if (words[1][i] & ~ANSWER)
			return differ("snapshot %s, page %ld: bits %#llx", when,
				      i, (unsigned long long)words[1][i]);
		/* A page may have come between the two, if so for the kernel too. */
		if (words[1][i] != words[2][i] &&
		    !(same_or_allowed(page, words[0][i], words[1][i]) &&
		      same_or_allowed(page, words[3][i], words[2][i])))
			return differ("snapshot %s, page %ld (%s): pages %s, extents %s",
				      when, i, info_at(page)->name,
				      describe(words[1][i]),
				      describe(words[2][i]));
		/* Pages may have come, but not gone. */
		if (!same_or_allowed(page, words[0][i], words[1][i]) &&
		    !same_or_allowed(page, words[3][i], words[1][i]))
			return differ("snapshot %s, page %ld (%s): kernel %s, we %s",
				      when, i, info_at(page)->name,
				      describe(words[0][i]),
				      describe(words[1][i]));
	}
	return true;
}

static bool counts_as_covered(long page, uint64_t word, unsigned char entry)
{
	const struct kind_info *info = info_at(page);

	switch (info->counts) {
	case ALWAYS:
		return true;
	case WHEN_VALID:
		return word & VALID;
	case WHEN_WRITABLE:
		return word & WRITE;
	case WHEN_READ_ONLY:
		return (word & (VALID | WRITE)) == VALID;
	case WHEN_NOT_VALID:
		return !(word & VALID);
	case WHEN_ENTRY:
		return entry == info->entry;
	}
	return false;
}

static void count_coverage(const struct test_case *test)
{
	long i;

	if (!counting)
		return;
	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t request = asked(test, i);
		bool by_default = (test->default_flags & REQ_FAULT);
		enum column column = NOTHING;

		if (asked_to_write(request))
			column = test->default_flags == REQ_BITS ?
				 WRITE_DEFAULT : WRITE_PAGE;
		else if (asked_at_all(request))
			column = by_default ? READ_DEFAULT : READ_PAGE;
		else if (request)
			column = WRITE_BIT_ALONE;
		if (counts_as_covered(page, words[1][i], entries[i]))
			coverage[kind_at(page)][column]++;
	}
	nr_slots += test->npages;
}

static bool is_met(uint64_t request, uint64_t word)
{
	if (asked_to_write(request))
		return word & WRITE;
	return !asked_at_all(request) || (word & VALID);
}

/*
 * The kernel's answer to the whole range, @error, is not that to its pages. May
 * it have been a page that was asked for less than others, or not at all?
 */
static bool is_overfault(const struct test_case *test)
{
	uint64_t strongest = 0;
	long i;

	for (i = 0; i < test->npages; i++) {
		if (asked_at_all(asked(test, i)))
			strongest |= asked(test, i);
	}
	for (i = 0; i < test->npages; i++) {
		if (can_be_had(test->first + i, asked(test, i)) &&
		    !can_be_had(test->first + i, strongest))
			return true;
	}
	return false;
}

/* Where the range should fail and how, given what the kernel says by page. */
static void expected_error(const struct test_case *test,
			   const struct differential_call *by_page,
			   unsigned int *error, long *page)
{
	long i, limit = by_page->error ? (long)by_page->fault_page :
					 (long)by_page->npages;
	enum kind kind;

	*error = by_page->error;
	*page = limit;
	for (i = 0; i < limit; i++) {
		kind = kind_at(test->first + i);
		if (kind == SECRETMEM && asked_at_all(asked(test, i))) {
			count_allowed(SECRETMEM_REFUSED);
			*error = EFAULT;
			*page = i;
			return;
		}
		if (kind == SHADOW_STACK && asked_to_write(asked(test, i))) {
			count_allowed(SHADOW_STACK_REFUSED);
			*error = EPERM;
			*page = i;
			return;
		}
	}
	if (*error != EFAULT)
		return;
	kind = kind_at(test->first + limit);
	if (kind == HWPOISON || kind == HUGETLB_HWPOISON) {
		count_allowed(HWPOISON_ERRNO);
		*error = EHWPOISON;
	}
}

static bool judge_error(const struct differential_call *call, const char *who,
			unsigned int error, long page)
{
	if (call->error != error)
		return differ("%s: errno %u (page %lld), expected %u (page %ld)",
			      who, call->error, call->fault_page, error, page);
	if (error && (long)call->fault_page != page)
		return differ("%s: errno %u of page %lld, expected of page %ld",
			      who, error, call->fault_page, page);
	return true;
}

static bool is_own_device_page(long page)
{
	switch (kind_at(page)) {
	case DEVICE_OWN:
	case DEVICE_FORKED:
	case THP_DEVICE_OWN:
		return true;
	default:
		return false;
	}
}

static bool is_kernel(unsigned int function)
{
	return function == DIFFERENTIAL_KERNEL ||
	       function == DIFFERENTIAL_KERNEL_BY_PAGE;
}

/* Whether another fault in the range may have changed how this page is mapped. */
static bool shares_fate(long page)
{
	return info_at(page)->flags & (SPREADS | IS_BLOCK) ||
	       kind_at(page) == READ_ONLY; /* may be a piece of a huge page */
}

/*
 * A marker is first made a page, which is protected; a device page shared with a
 * child is brought back, and still shared; a huge one for which there is no huge page
 * in memory is first split.
 */
static bool is_made_in_two_steps(long page)
{
	return kind_at(page) == UFFD_WP_MARKER ||
	       kind_at(page) == DEVICE_FORKED ||
	       kind_at(page) == THP_DEVICE_OWN ||
	       kind_at(page) == THP_DEVICE_OTHER;
}

/* What serving the request should have left alone, it left alone. */
static bool judge_bystanders(const struct test_case *test)
{
	unsigned long needed = 0;
	long i;

	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t now = words[1][i];

		if (!is_met(asked(test, i), before_words[i])) {
			needed += is_made_in_two_steps(page) ? 2 : 1;
			continue;
		}
		if (now == before_words[i] || shares_fate(page))
			continue;
		return differ("page %ld (%s) was %s, and became %s although that was not asked",
			      i, info_at(page)->name, describe(before_words[i]),
			      describe(now));
	}
	/* What fails after others of a batch is tried again, on its own. */
	if (first_call.nr_faults > needed + !!first_call.error)
		return differ("%lld faults for %lu pages", first_call.nr_faults,
			      needed);
	return true;
}

/* What the function said that served the request, of a success. */
static bool judge_first_words(const struct test_case *test)
{
	bool kernel = test->function == DIFFERENTIAL_KERNEL;
	bool overlooked = false;
	long i;

	for (i = 0; kernel && i < test->npages; i++) {
		if (!is_met(asked(test, i), first_words[i]) &&
		    (info_at(test->first + i)->flags & IS_HUGETLB))
			overlooked = true;
	}
	if (overlooked)
		count_allowed(KERNEL_HUGETLB_IGNORED);
	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t first = first_words[i];
		uint64_t now = words[5][i] & ANSWER;

		if (kernel) {
			/* Device pages: words[5] has been made writable. */
			if (is_own_device_page(page))
				continue;
			if (overlooked && (info_at(page)->flags & IS_HUGETLB))
				continue;
			if (!is_met(asked(test, i), first))
				return differ("kernel succeeds without page %ld (%s)",
					      i, info_at(page)->name);
			if (same_or_allowed(page, first, now))
				continue;
			first = normal(first);
		} else {
			first &= ANSWER;
			if (first == now)
				continue;
		}
		/* When it was answered it was not there, or not writable, yet. */
		if (shares_fate(page) && (now & VALID) &&
		    (!first || (first | WRITE) == now))
			continue;
		return differ("page %ld (%s): %s says %s, afterwards it is %s",
			      i, info_at(page)->name,
			      kernel ? "kernel" : "function that faulted",
			      describe(first), describe(now));
	}
	return true;
}

/*
 * Of a request that succeeds: calls[4] is the kernel by page, [5] pages, [6]
 * extents, [7] the kernel.
 */
static bool judge_words(const struct test_case *test)
{
	bool made_writable = false;
	long i;

	for (i = 0; i < test->npages; i++) {
		long page = test->first + i;
		uint64_t request = asked(test, i);
		uint64_t kept = test->words[i] & test->mask;
		uint64_t ours = words[5][i];

		if ((ours & ~ANSWER) != (kept & (REQ_BITS | DRIVER_BITS)))
			return differ("page %ld: bits %#llx, should keep %#llx",
				      i, (unsigned long long)ours,
				      (unsigned long long)kept);
		ours &= ANSWER;
		if (!is_met(request, ours))
			return differ("page %ld (%s) was asked for and is %s",
				      i, info_at(page)->name, describe(ours));
		if (ours != words[6][i])
			return differ("page %ld (%s): pages %s, extents %s", i,
				      info_at(page)->name, describe(ours),
				      describe(words[6][i]));
		if (is_own_device_page(page) && asked_to_write(request) &&
		    !(words[4][i] & WRITE)) {
			count_allowed(DEVICE_MADE_WRITABLE);
			made_writable = true;
			continue;
		}
		if (!same_or_allowed(page, words[4][i], ours))
			return differ("page %ld (%s): kernel by page %s, we %s",
				      i, info_at(page)->name,
				      describe(words[4][i]), describe(ours));
		if (!same_or_allowed(page, words[7][i], ours))
			return differ("page %ld (%s): kernel %s, we %s", i,
				      info_at(page)->name,
				      describe(words[7][i]), describe(ours));
	}
	for (i = 4; i < 8; i++) {
		if (calls[i].error || made_writable)
			continue;
		if (calls[i].nr_faults || calls[i].charged_faults)
			return differ("function %u finds %lld pages not faulted yet",
				      calls[i].function,
				      calls[i].charged_faults);
	}
	return true;
}

/* The kernel's answer to the range that it served first, given that by page. */
static bool judge_kernel_error(const struct test_case *test,
			       const struct differential_call *by_page)
{
	if (test->function != DIFFERENTIAL_KERNEL ||
	    first_call.error == by_page->error)
		return true;
	if (first_call.error) {
		if (!is_overfault(test))
			return differ("kernel: errno %u, by page %u (page %lld)",
				      first_call.error, by_page->error,
				      by_page->fault_page);
		count_allowed(KERNEL_OVERFAULT_ERROR);
		return true;
	}
	if (!(info_at(test->first + by_page->fault_page)->flags & IS_HUGETLB))
		return differ("kernel succeeds, by page: errno %u (page %lld)",
			      by_page->error, by_page->fault_page);
	count_allowed(KERNEL_HUGETLB_IGNORED);
	return true;
}

static bool judge_request(const struct test_case *test)
{
	bool ours_first = !is_kernel(test->function);
	unsigned int error;
	long page;

	if (counting) {
		nr_requests++;
		nr_first_faults += first_call.nr_faults;
	}
	if (ours_first && first_call.error == EBUSY)
		return differ("never an answer that is not stale");

	/* Then the kernel has not been asked for more than up to there. */
	if (ours_first && first_call.error &&
	    calls[4].error && calls[4].fault_page < first_call.fault_page)
		return differ("errno %u of page %lld, kernel by page: %u of page %lld",
			      first_call.error, first_call.fault_page,
			      calls[4].error, calls[4].fault_page);
	if (!judge_kernel_error(test, &calls[4]))
		return false;

	expected_error(test, &calls[4], &error, &page);
	if (ours_first &&
	    !judge_error(&first_call, "the first", error, page))
		return false;
	if (!judge_error(&calls[5], "pages", error, page) ||
	    !judge_error(&calls[6], "extents", error, page))
		return false;
	if (ours_first && !judge_bystanders(test))
		return false;
	if (error) {
		if (counting)
			nr_refused++;
		/* A fault that fails is taken, but not charged. */
		if (calls[5].nr_faults > 1 || calls[5].charged_faults)
			return differ("%lld faults before page %ld fails",
				      calls[5].nr_faults, page);
		return true;
	}
	if (calls[7].error)
		return differ("kernel: errno %u, by page none",
			      calls[7].error);
	if (!judge_words(test))
		return false;
	/* By page, each has been answered at a time of its own. */
	if (first_call.error || test->function == DIFFERENTIAL_KERNEL_BY_PAGE)
		return true;
	return judge_first_words(test);
}

/* One case. False if there is a difference, which @reason tells. */
static bool try_case(const struct test_case *test)
{
	unsigned int nr = 7;

	make_snapshots(test);
	if (!run(test, calls, 4, 0) || !judge_snapshots(test, "before"))
		return false;
	count_coverage(test);
	memcpy(before_words, words[1], test->npages * sizeof(words[1][0]));
	if (!((test->default_flags | test->mask) & REQ_BITS))
		return true;

	first_call = make_request(test, test->function, first_words);
	if (!run(test, &first_call, 1, DIFFERENTIAL_REPEAT))
		return false;
	if (test->function == DIFFERENTIAL_KERNEL) {
		/* It may have done less than by page, and only then fails. */
		calls[0] = make_request(test, DIFFERENTIAL_KERNEL_BY_PAGE,
					words[0]);
		if (!run(test, calls, 1, DIFFERENTIAL_REPEAT))
			return false;
	}

	make_snapshots(test);
	calls[4] = make_request(test, DIFFERENTIAL_KERNEL_BY_PAGE, words[4]);
	calls[5] = make_request(test, DIFFERENTIAL_PAGES, words[5]);
	calls[6] = make_request(test, DIFFERENTIAL_EXTENTS, words[6]);
	calls[7] = make_request(test, DIFFERENTIAL_KERNEL, words[7]);
	if (!is_kernel(test->function) && first_call.error)
		calls[4].npages = first_call.fault_page + 1;
	/* On an error the kernel's own might go on where the others stopped. */
	if (!first_call.error)
		nr = 8;
	calls[7].error = 0;
	if (!run(test, calls, nr, 0) || !judge_snapshots(test, "after"))
		return false;
	if (nr < 8)
		memcpy(words[7], words[4], sizeof(words[7]));
	return judge_request(test);
}

/* --- Replaying and shrinking ----------------------------------------------------- */

/*
 * Builds the layout of case @number anew, lets the cases before it in that
 * layout pass, and tries @npages of it from @skip on. True if it fails.
 */
static bool fails(uint64_t seed, uint64_t number, long skip, long npages,
		  struct test_case *test)
{
	static struct test_case earlier;
	uint64_t i, first = number - number % CASES_PER_LAYOUT;

	build_layout(seed, number / CASES_PER_LAYOUT);
	for (i = first; i < number; i++) {
		choose_case(&earlier, seed, i);
		try_case(&earlier);
	}
	choose_case(test, seed, number);
	if (npages) {
		test->first += skip;
		test->npages = npages;
		memmove(test->words, test->words + skip,
			npages * sizeof(test->words[0]));
	}
	return !try_case(test);
}

/*
 * Whether a case that failed passes when it is repeated. What a request does is judged by
 * what was there before and what is there after it; if the kernel moves a page meanwhile,
 * because a huge one is wanted and there is none, that says nothing. A failure counts if
 * compaction has taken no page since the layout was built.
 */
static bool passes_again(uint64_t seed, uint64_t number)
{
	static struct test_case test;
	unsigned int tries;

	counting = false;
	for (tries = 0; tries < MAX_REPEATS; tries++) {
		if (vmstat_value("compact_isolated") == layout.compacted)
			return false;
		nr_repeated++;
		if (!fails(seed, number, 0, 0, &test))
			return true;
	}
	return false;
}

static void shrink(uint64_t seed, uint64_t number, long npages)
{
	static struct test_case test;
	long skip = 0, step;
	unsigned int tries = 0;
	long i;

	counting = false;
	if (!fails(seed, number, 0, 0, &test)) {
		printf("# it does not fail again when it is repeated\n");
		return;
	}
	for (step = npages / 2; step && tries < 60; step /= 2) {
		while (npages > step && tries++ < 60) {
			if (fails(seed, number, skip, npages - step, &test)) {
				npages -= step;
			} else if (fails(seed, number, skip + step,
					 npages - step, &test)) {
				skip += step;
				npages -= step;
			} else {
				break;
			}
		}
	}
	if (!fails(seed, number, skip, npages, &test)) {
		printf("# shrunk to %ld pages it fails only sometimes\n", npages);
		return;
	}
	printf("# smallest range that fails: pages %ld to %ld of the arena, function %u, default_flags %#llx, mask %#llx\n",
	       test.first, test.first + test.npages - 1, test.function,
	       (unsigned long long)test.default_flags,
	       (unsigned long long)test.mask);
	printf("#   %s\n", reason);
	for (i = 0; i < test.npages && i < 16; i++)
		printf("#   page %ld: %s, asked for %s\n", i,
		       info_at(test.first + i)->name,
		       asked_to_write(asked(&test, i)) ? "writing" :
		       asked_at_all(asked(&test, i)) ? "reading" : "nothing");
}

/* --- The tests -------------------------------------------------------------------- */

static uint64_t seed_option = 1;
static uint64_t cases_option = 10000;
static int64_t case_option = -1;
static unsigned int failures_option = 5;
static bool shrink_option = true;

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

static unsigned long find_device_pfn(void)
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

static void open_resources(void)
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
	resources.device_pfn = find_device_pfn();
	signal(SIGBUS, ignore_sigbus);
}

static void print_results(void)
{
	size_t i, j;

	printf("# %lu slots compared; %lu requests, of which %lu were refused; %lu faults; %lu runs made again, %lu cases repeated\n",
	       nr_slots, nr_requests, nr_refused, nr_first_faults, nr_stale,
	       nr_repeated);
	printf("# Differences that are allowed:\n");
	for (i = 0; i < NR_ALLOWED; i++)
		printf("# %9lu  %s\n", allowed_count[i], allowed_names[i]);
	printf("# Pages covered, by what was asked of them:\n# %-28s", "");
	for (j = 0; j < NR_COLUMNS; j++)
		printf(" %11s", column_names[j]);
	printf("\n");
	for (i = 0; i < NR_KINDS; i++) {
		if (kinds[i].build && !built[i]) {
			printf("# %-28s cannot be made here: %s\n",
			       kinds[i].name, strerror(not_built[i]));
			continue;
		}
		printf("# %-28s", kinds[i].name);
		for (j = 0; j < NR_COLUMNS; j++)
			printf(" %11lu", coverage[i][j]);
		printf("\n");
	}
}

/* EOPNOTSUPP if the kernel has no hmm_range_fault(). */
static int probe_device(void)
{
	device = open(DIFFERENTIAL_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		return errno;
	return ioctl(device, DIFFERENTIAL_RUN, NULL) ? errno : 0;
}

#define PRINTK_BURST	"/proc/sys/kernel/printk_ratelimit_burst"

FIXTURE(differential)
{
	int unused;
};

FIXTURE_SETUP(differential)
{
	int error = probe_device();
	size_t i;

	for (i = 0; i < MAX_RANGE; i++)
		snapshot_request[i] = PATTERN | REQ_BITS | DRIVER_BITS;
	self->unused = 0;
	if (error == EOPNOTSUPP)
		SKIP(return, "this kernel has no hmm_range_fault() (CONFIG_HMM_MIRROR) to compare with");
	ASSERT_EQ(EFAULT, error);
	/*
	 * With CONFIG_DEBUG_VM a fault that a userfaultfd would have to wait for is
	 * printed with its stack; that takes longer than all else here.
	 */
	write_text(PRINTK_BURST, "0");
}

FIXTURE_TEARDOWN(differential)
{
	write_text(PRINTK_BURST, "10");
	close(device);
}

TEST_F_TIMEOUT(differential, random, 590)
{
	static struct test_case test;
	uint64_t number, begin = 0, end = cases_option;
	unsigned int failures = 0;
	size_t i, j;

	open_resources();
	probe_kinds();
	ASSERT_LE(0, resources.page_cache);
	ASSERT_LE(0, resources.tmpfs);
	printf("# --seed %llu --cases %llu\n", (unsigned long long)seed_option,
	       (unsigned long long)cases_option);
	if (case_option >= 0) {
		end = case_option + 1;
		begin = case_option - case_option % CASES_PER_LAYOUT;
	}

	counting = true;
	for (number = begin; number < end; number++) {
		if (number % CASES_PER_LAYOUT == 0)
			build_layout(seed_option, number / CASES_PER_LAYOUT);
		choose_case(&test, seed_option, number);
		if (try_case(&test))
			continue;
		printf("# --seed %llu --case %llu fails: %ld pages: %s\n",
		       (unsigned long long)seed_option,
		       (unsigned long long)number, test.npages, reason);
		fflush(stdout);
		if (passes_again(seed_option, number)) {
			printf("# it passes when it is repeated; pages were moved meanwhile\n");
			counting = true;
			continue;
		}
		if (shrink_option)
			shrink(seed_option, number, test.npages);
		counting = true;
		if (++failures == failures_option)
			break;
		/* On with the next layout. */
		number |= CASES_PER_LAYOUT - 1;
	}
	EXPECT_EQ(0, failures);
	destroy_layout();
	print_results();
	/* A few pages are moved; more than that would hide something. */
	EXPECT_LE(nr_repeated, 1 + (end - begin) / CASES_PER_REPEAT);
	/* Few cases cannot be of every kind. */
	if (failures || end - begin < 5000)
		return;
	for (i = 0; i < NR_KINDS; i++) {
		if (kinds[i].build && !built[i])
			continue;
		for (j = 0; j < NR_COLUMNS; j++) {
			EXPECT_LT(0, coverage[i][j])
				TH_LOG("no page '%s' was asked for '%s'",
				       kinds[i].name, column_names[j]);
		}
	}
}

/*
 * Snapshots of pages that others change meanwhile, and a request. Where each page
 * was when is anybody's guess; but within one sequence number it can only come
 * back, not leave. Adds the pages that were an @entry to @seen.
 */
static bool compare_changing(struct test_case *test, unsigned int entry,
			     unsigned long *seen)
{
	struct differential_call call;
	long i;

	make_snapshots(test);
	if (run(test, calls, 4, 0)) {
		if (!judge_snapshots(test, "of what changes"))
			return false;
		for (i = 0; i < test->npages; i++)
			*seen += entries[i] == entry;
	} else if (!never_settled) {
		return false;
	}
	for (i = 0; i < test->npages; i++)
		test->words[i] = (next_random() & REQ_BITS) | PATTERN;
	call = make_request(test, below(DIFFERENTIAL_NR_FUNCTIONS),
			    first_words);
	if (!run(test, &call, 1, DIFFERENTIAL_REPEAT))
		return false;
	if (call.error)
		return differ("function %u: errno %u", call.function,
			      call.error);
	for (i = 0; i < test->npages; i++) {
		if (!is_met(asked(test, i), first_words[i]))
			return differ("function %u: page %ld was asked for and is %s",
				      call.function, i,
				      describe(first_words[i]));
	}
	return true;
}

static bool have_two_nodes(void)
{
	return !access("/sys/devices/system/node/node1/cpu1", F_OK);
}

static volatile bool stop_moving;

static void *move_between_nodes(void *argument)
{
	const struct segment *segments = argument;
	void *pages[64];
	int nodes[64], status[64];
	int node = 0;
	long i, j;

	while (!stop_moving) {
		node = !node;
		for (i = 0; i < 2; i++) {
			for (j = 0; j < 64; j++) {
				pages[j] = address_of(segments[i].first + j);
				nodes[j] = node;
			}
			syscall(__NR_move_pages, 0, 64, pages, nodes, status,
				MPOL_MF_MOVE);
		}
	}
	return NULL;
}

/* Migration entries of pages and, as long as it is whole, of a huge page. */
TEST_F_TIMEOUT(differential, migration, 300)
{
	static struct test_case test = {
		.npages = 64, .capacity = 64, .mask = REQ_BITS,
	};
	struct segment segments[2] = {
		{ ANON, 0, 64 }, { THP, SOUP_PAGES, BLOCK },
	};
	unsigned long in_flight[2] = {}, rounds = 0;
	double deadline = seconds_now() + 60;
	pthread_t mover;

	if (!have_two_nodes())
		SKIP(return, "there are no two NUMA nodes");
	build_segment(&segments[0]);
	build_segment(&segments[1]);
	ASSERT_EQ(1, built[ANON]);
	ASSERT_EQ(1, built[THP]);
	ASSERT_EQ(0, pthread_create(&mover, NULL, move_between_nodes,
				    segments));
	/* Some kernels leave a page on its way for a moment only. */
	while (seconds_now() < deadline &&
	       (rounds < 200 || in_flight[0] < 10)) {
		test.first = segments[rounds % 2].first;
		if (!compare_changing(&test, HMM_MIRROR_KIND_MIGRATION,
				      &in_flight[rounds % 2])) {
			EXPECT_TRUE(false)
				TH_LOG("%s", reason);
			break;
		}
		rounds++;
	}
	stop_moving = true;
	pthread_join(mover, NULL);
	printf("# %lu rounds; on the move %lu pages, %lu pages of a huge page\n",
	       rounds, in_flight[0], in_flight[1]);
	EXPECT_LE(200, rounds);
	EXPECT_LT(0, in_flight[0]);
	destroy_layout();
}

#define NUMA_BALANCING	"/sys/kernel/debug/sched/numa_balancing/"

/* Has the kernel make pages PROT_NONE to see who touches them, from node 0. */
static bool make_numa_hints(struct test_case *test)
{
	double deadline = seconds_now() + 60;
	long i, hints = 0;

	write_text(NUMA_BALANCING "scan_delay_ms", "1");
	write_text(NUMA_BALANCING "scan_period_min_ms", "10");
	write_text(NUMA_BALANCING "scan_period_max_ms", "20");
	write_text(NUMA_BALANCING "scan_size_mb", "256");
	write_text("/proc/sys/kernel/numa_balancing", "1");
	while (hints < test->npages && seconds_now() < deadline) {
		double pause = seconds_now() + 0.05;

		/* The scanner runs on the time of the process. */
		while (seconds_now() < pause)
			;
		make_snapshots(test);
		if (!run(test, calls, 4, 0) && !never_settled)
			break;
		for (hints = 0, i = 0; i < test->npages; i++)
			hints += entries[i] == HMM_MIRROR_KIND_PROT_NONE;
	}
	write_text("/proc/sys/kernel/numa_balancing", "0");
	return hints == test->npages;
}

TEST_F_TIMEOUT(differential, numa_hints, 300)
{
	static struct test_case test = {
		.npages = 64, .capacity = 7, .mask = REQ_BITS,
	};
	struct segment segment = { ANON, 0, 64 };
	unsigned long node1 = 2, hints = 0;

	if (!have_two_nodes() || access(NUMA_BALANCING, F_OK))
		SKIP(return, "there is no NUMA balancing here");
	/* On the right node they would be left alone. */
	ASSERT_TRUE(pin_to_cpu(0));
	ASSERT_TRUE(map_small(&segment));
	ASSERT_EQ(0, syscall(__NR_mbind, address_of(0), 64 * PAGE, MPOL_BIND,
			     &node1, 8 * sizeof(node1), 0));
	write_pages(&segment);
	ASSERT_EQ(0, syscall(__NR_mbind, address_of(0), 64 * PAGE, MPOL_DEFAULT,
			     NULL, 0, 0));
	set_kinds(&segment, ANON);
	ASSERT_TRUE(make_numa_hints(&test));
	EXPECT_TRUE(judge_snapshots(&test, "of hints"))
		TH_LOG("%s", reason);
	/* A fault may move the page, which is seen by the ranges around it. */
	for (test.npages = 4; test.first < segment.npages; test.first += 4) {
		EXPECT_TRUE(compare_changing(&test, HMM_MIRROR_KIND_PROT_NONE,
					     &hints))
			TH_LOG("%s", reason);
	}
	printf("# %lu pages seen that were hints\n", hints);
	EXPECT_LT(0, hints);
	destroy_layout();
}

/* Takes our options out, the rest is the harness's. */
static int take_options(int argc, char **argv)
{
	int i, left = 1;

	for (i = 1; i < argc; i++) {
		if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed_option = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--cases"))
			cases_option = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--case"))
			case_option = strtoll(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--failures"))
			failures_option = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--no-shrink"))
			shrink_option = false;
		else
			argv[left++] = argv[i];
	}
	argv[left] = NULL;
	return left;
}

int main(int argc, char **argv)
{
	return test_harness_run(take_options(argc, argv), argv);
}
