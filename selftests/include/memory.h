/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers that bring memory into all states that a page-table entry can have. Each asks a
 * witness whether it worked, and fails (NULL, false) if it did not.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <errno.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "witness.h"

/* The C library's headers may be too old to have these. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE	0x100000
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT		26
#endif
#ifndef __NR_memfd_secret
#define __NR_memfd_secret	447
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM	(1 << 12)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON	(1 << 14)
#endif
#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};

#define UFFDIO_POISON		_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

#define HUGETLB_2M		(21 << MAP_HUGE_SHIFT)
#define HUGETLB_1G		(30 << MAP_HUGE_SHIFT)

static inline char *page_at(void *start, size_t page)
{
	return (char *)start + page * page_size();
}

/* Writes a different value to each page, so that it can be recognised. */
static inline void mark_pages(void *start, size_t npages, unsigned long salt)
{
	size_t i;

	for (i = 0; i < npages; i++)
		*(volatile unsigned long *)page_at(start, i) = salt + i;
}

static inline bool pages_are_marked(void *start, size_t npages,
				    unsigned long salt)
{
	size_t i;

	for (i = 0; i < npages; i++) {
		if (*(volatile unsigned long *)page_at(start, i) != salt + i)
			return false;
	}
	return true;
}

static inline unsigned long touch_page(const void *address)
{
	return *(const volatile unsigned long *)address;
}

/*
 * Anonymous private memory with nothing in it, not to be made of huge pages. It is
 * between two PROT_NONE pages, so that no neighbour is merged with it.
 */
static inline void *map_anonymous(size_t npages)
{
	char *start = mmap(NULL, (npages + 2) * page_size(), PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		return NULL;
	start += page_size();
	if (mmap(start, npages * page_size(), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return NULL;
	madvise(start, npages * page_size(), MADV_NOHUGEPAGE);
	return start;
}

/* The same at a multiple of @alignment. */
static inline void *map_anonymous_aligned(size_t npages, size_t alignment)
{
	size_t length = npages * page_size();
	char *reserved = mmap(NULL, length + 2 * alignment, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);
	uintptr_t start = (uintptr_t)reserved;

	if (reserved == MAP_FAILED)
		return NULL;
	start = (start + alignment) / alignment * alignment;
	if (mmap((void *)start, length, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return NULL;
	madvise((void *)start, length, MADV_NOHUGEPAGE);
	return (void *)start;
}

/* Drops caches, and compacts free memory. */
static inline void make_room_for_huge_pages(void)
{
	write_text("/proc/sys/vm/drop_caches", "3");
	write_text("/proc/sys/vm/compact_memory", "1");
}

/* Anonymous memory for huge pages, aligned and empty: the first touch makes a huge page. */
static inline void *map_huge_hole(size_t nhuge)
{
	void *start = map_anonymous_aligned(nhuge * pages_per_pmd(),
					    pmd_size());

	if (start && madvise(start, nhuge * pmd_size(), MADV_HUGEPAGE))
		return NULL;
	return start;
}

/* The same with huge pages in it, each mapped by a PMD. */
static inline void *map_huge(size_t nhuge)
{
	char *start = map_huge_hole(nhuge);

	if (!start)
		return NULL;
	mark_pages(start, nhuge * pages_per_pmd(), 0);
	return pmd_mapped_pages(start) == nhuge * pages_per_pmd() ? start :
								    NULL;
}

/* A file without a name, with pages marked 1000, 1001 ... */
static inline int make_memfd(size_t npages)
{
	int fd = memfd_create("hmm_mirror test", MFD_CLOEXEC);
	unsigned long mark;
	size_t i;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, npages * page_size()))
		return -1;
	for (i = 0; i < npages; i++) {
		mark = 1000 + i;
		if (pwrite(fd, &mark, sizeof(mark), i * page_size()) !=
		    sizeof(mark))
			return -1;
	}
	return fd;
}

/* The same on the root file system. */
static inline int make_file(size_t npages)
{
	int fd = open("/", O_TMPFILE | O_RDWR, 0600);
	char name[] = "/hmm_mirror_test_XXXXXX";
	unsigned long mark;
	size_t i;

	if (fd < 0) {
		fd = mkstemp(name);
		if (fd < 0)
			return -1;
		unlink(name);
	}
	if (ftruncate(fd, npages * page_size()))
		return -1;
	for (i = 0; i < npages; i++) {
		mark = 1000 + i;
		if (pwrite(fd, &mark, sizeof(mark), i * page_size()) !=
		    sizeof(mark))
			return -1;
	}
	return fd;
}

/* A mapping of @fd between two PROT_NONE pages. */
static inline void *map_file(int fd, size_t npages, int prot, int flags)
{
	char *start = mmap(NULL, (npages + 2) * page_size(), PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		return NULL;
	start += page_size();
	if (mmap(start, npages * page_size(), prot, flags | MAP_FIXED, fd,
		 0) == MAP_FAILED)
		return NULL;
	return start;
}

static inline size_t free_hugetlb_pages(unsigned int kilobytes)
{
	char path[96];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/hugepages/hugepages-%ukB/free_hugepages",
		 kilobytes);
	return read_number(path, 0);
}

/* Private hugetlb memory of 2M (HUGETLB_2M) or 1G pages, with nothing in it. */
static inline void *map_hugetlb(size_t length, int size_flag)
{
	void *start = mmap(NULL, length, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
			   size_flag, -1, 0);

	return start == MAP_FAILED ? NULL : start;
}

/* Pushes anonymous pages out to swap. False if the kernel kept some. */
static inline bool swap_out(void *start, size_t npages)
{
	int attempt;

	/* A page on a per-CPU list is skipped; it will have left the list later. */
	for (attempt = 0; attempt < 20; attempt++) {
		size_t i;

		madvise(start, npages * page_size(), MADV_PAGEOUT);
		for (i = 0; i < npages; i++) {
			uint64_t entry = pagemap_entry(page_at(start, i));

			if ((entry & PAGEMAP_PRESENT) ||
			    !(entry & PAGEMAP_SWAPPED))
				break;
		}
		if (i == npages)
			return true;
		sleep_ms(50);
	}
	return false;
}

static inline bool have_swap(void)
{
	return meminfo_value("SwapFree") > 0;
}

#define MEMORY_CGROUP_ROOT	"/tmp/memory_cgroup"
#define MEMORY_CGROUP		MEMORY_CGROUP_ROOT "/limited"

static inline void leave_memory_cgroup(void)
{
	write_number(MEMORY_CGROUP_ROOT "/cgroup.procs", getpid());
	rmdir(MEMORY_CGROUP);
	umount(MEMORY_CGROUP_ROOT);
	rmdir(MEMORY_CGROUP_ROOT);
}

/*
 * Makes this process the only one in a cgroup with @limit bytes of memory. @file is
 * "memory.max": more is refused, and the process may be killed; or "memory.high": it has
 * to wait until something is paged out.
 */
static inline bool enter_memory_cgroup(const char *file, unsigned long limit)
{
	char path[64];

	snprintf(path, sizeof(path), MEMORY_CGROUP "/%s", file);
	/* A test that was killed may have left one behind. */
	leave_memory_cgroup();
	mkdir(MEMORY_CGROUP_ROOT, 0700);
	if (!mount("cgroup2", MEMORY_CGROUP_ROOT, "cgroup2", 0, NULL) &&
	    write_text(MEMORY_CGROUP_ROOT "/cgroup.subtree_control", "+memory") &&
	    (!mkdir(MEMORY_CGROUP, 0700) || errno == EEXIST) &&
	    write_number(path, limit) &&
	    write_number(MEMORY_CGROUP "/cgroup.procs", getpid()))
		return true;
	leave_memory_cgroup();
	return false;
}

/* A child that shares every page with its parent, until it is killed. */
static inline pid_t fork_sleeper(void)
{
	pid_t child = fork();

	if (!child) {
		for (;;)
			pause();
	}
	return child;
}

static inline void kill_and_wait(pid_t child)
{
	if (child <= 0)
		return;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/*
 * Everything was shared with a child that is gone: none of our entries is writable any
 * more, although the pages are ours alone, and a write makes one writable in place.
 */
static inline bool share_with_short_lived_child(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	return child > 0 && waitpid(child, NULL, 0) == child;
}

/*
 * userfaultfd: returns a descriptor with these features enabled, or -1 with ENOSYS or
 * EINVAL if the kernel lacks them. Non-blocking, for poll().
 */
static inline int open_userfaultfd(__u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline bool uffd_register(int fd, void *start, size_t npages, __u64 mode)
{
	struct uffdio_register registration = {
		.range = { (unsigned long)start, npages * page_size() },
		.mode = mode,
	};

	return !ioctl(fd, UFFDIO_REGISTER, &registration);
}

static inline bool uffd_write_protect(int fd, void *start, size_t npages,
				      bool protect)
{
	struct uffdio_writeprotect protection = {
		.range = { (unsigned long)start, npages * page_size() },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return !ioctl(fd, UFFDIO_WRITEPROTECT, &protection);
}

static inline bool uffd_poison(int fd, void *start, size_t npages)
{
	struct uffdio_poison poison = {
		.range = { (unsigned long)start, npages * page_size() },
	};

	return !ioctl(fd, UFFDIO_POISON, &poison);
}

static inline bool pin_to_cpu(unsigned int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return !sched_setaffinity(0, sizeof(cpus), &cpus);
}

#define TRANSPARENT_HUGEPAGE	"/sys/kernel/mm/transparent_hugepage/"
#define KSM			"/sys/kernel/mm/ksm/"

/* Whether MADV_HUGEPAGE has an effect. */
static inline bool have_huge_pages(void)
{
	char text[64] = "";
	FILE *file = fopen(TRANSPARENT_HUGEPAGE "enabled", "r");

	if (!file)
		return false;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return text[0] && !strstr(text, "[never]");
}

/* From now on this process's memory comes from @node only; -1: from anywhere. */
static inline bool allocate_from(int node)
{
	unsigned long nodes = node < 0 ? 0 : 1UL << node;

	return !syscall(__NR_set_mempolicy, node < 0 ? MPOL_DEFAULT : MPOL_BIND,
			node < 0 ? NULL : &nodes,
			node < 0 ? 0 : 8 * sizeof(nodes));
}

#endif /* MEMORY_H */
