// SPDX-License-Identifier: GPL-2.0
/*
 * The demonstration's own memory, of each kind that a driver meets. Through
 * /dev/hmm_mirror it is looked at, faulted in for writing as a device would ask for it,
 * and looked at again. The answers are compared with /proc/self/pagemap, page by page,
 * and the memory's content with what it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/hmm_mirror.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define PAGE_SIZE	4096UL
#define HUGE_SIZE	(2UL << 20)
#define SIZE		(8UL << 20)
#define NR_PAGES	(SIZE / PAGE_SIZE)

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT	(1ULL << 63)
#define PAGEMAP_PFN	((1ULL << 55) - 1)

struct memory {
	const char *name;
	/* Maps SIZE bytes and brings them into the state that the name says. */
	char *(*make)(void);
	/* What the first byte of page i must be when the fault is done. */
	char (*content)(unsigned long page);
	/*
	 * Faults that this must take, no more and no less; 0 if it may vary. Pages that a
	 * userfaultfd handler provides take none.
	 */
	unsigned long nr_faults;
};

struct report {
	struct hmm_mirror_range_args range;
	struct hmm_mirror_extent_info extents[NR_PAGES];
};

static int device;
static pid_t child;
static unsigned long nr_handled;
static unsigned long nr_checked;

static void die(const char *what)
{
	printf("FAILED: %s: %s\n", what, strerror(errno));
	if (child > 0)
		kill(child, SIGKILL);
	exit(1);
}

static void fail(const char *memory, const char *what, unsigned long page)
{
	printf("FAILED: %s: %s (page %lu)\n", memory, what, page);
	if (child > 0)
		kill(child, SIGKILL);
	exit(1);
}

static char zero(unsigned long page)
{
	(void)page;
	return 0;
}

static char pattern(unsigned long page)
{
	return (char)(1 + page % 100);
}

static void fill(char *memory)
{
	for (unsigned long i = 0; i < NR_PAGES; i++)
		memset(memory + i * PAGE_SIZE, pattern(i), PAGE_SIZE);
}

static char *map(int flags, int fd)
{
	char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static char *map_small(void)
{
	char *memory = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (madvise(memory, SIZE, MADV_NOHUGEPAGE))
		die("MADV_NOHUGEPAGE");
	return memory;
}

static char *make_transparent_huge(void)
{
	/* Twice as much contains all of it at an address that is a multiple of 2M. */
	char *memory = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	memory = (char *)(((uintptr_t)memory + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	if (madvise(memory, SIZE, MADV_HUGEPAGE))
		die("MADV_HUGEPAGE");
	return memory;
}

static char *make_hugetlb(void)
{
	return map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
}

static int make_file(void)
{
	char *memory;
	int fd = open("/tmp/demo_memory", O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || ftruncate(fd, SIZE))
		die("/tmp/demo_memory");
	memory = map(MAP_SHARED, fd);
	fill(memory);
	munmap(memory, SIZE);
	return fd;
}

static char *make_private_file(void)
{
	char *memory = map(MAP_PRIVATE, make_file());

	if (madvise(memory, SIZE, MADV_POPULATE_READ))
		die("MADV_POPULATE_READ");
	return memory;
}

static char *make_shared_file(void)
{
	return map(MAP_SHARED, make_file());
}

static char *make_swapped(void)
{
	char *memory = map_small();

	fill(memory);
	if (madvise(memory, SIZE, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
	return memory;
}

/* After SIGUSR1 the child's exit status says whether it still has what it had. */
static char *make_copy_on_write(void)
{
	char *memory = map_small();
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	fill(memory);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		sigwaitinfo(&signals, NULL);
		for (unsigned long i = 0; i < NR_PAGES; i++)
			if (memory[i * PAGE_SIZE] != pattern(i))
				_exit(1);
		_exit(0);
	}
	return memory;
}

static bool child_is_unharmed(void)
{
	int status;

	kill(child, SIGUSR1);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	child = 0;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/* The program that owns the memory provides each page when it is asked for. */
static void *handle_faults(void *argument)
{
	static char page[PAGE_SIZE];
	int fd = *(int *)argument;
	struct uffd_msg message;

	while (read(fd, &message, sizeof(message)) == sizeof(message)) {
		unsigned long address = message.arg.pagefault.address & ~(PAGE_SIZE - 1);
		struct uffdio_copy copy = {
			.dst = address,
			.src = (unsigned long)page,
			.len = PAGE_SIZE,
		};

		/* Counted first: who waits for the page goes on before the call ends. */
		memset(page, pattern(nr_handled++), sizeof(page));
		if (ioctl(fd, UFFDIO_COPY, &copy))
			die("UFFDIO_COPY");
	}
	return NULL;
}

static char *make_userfaultfd(void)
{
	static int fd;
	char *memory = map_small();
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register registration = {
		.range = { .start = (unsigned long)memory, .len = SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	pthread_t thread;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &registration))
		die("userfaultfd");
	if (pthread_create(&thread, NULL, handle_faults, &fd))
		die("pthread_create");
	return memory;
}

static const struct memory memories[] = {
	{ "anonymous",           map_small,             zero,    NR_PAGES },
	{ "transparent huge",    make_transparent_huge, zero,    SIZE / HUGE_SIZE },
	{ "hugetlb",             make_hugetlb,          zero,    SIZE / HUGE_SIZE },
	{ "file, shared",        make_shared_file,      pattern, 0 },
	{ "file, private, read", make_private_file,     pattern, NR_PAGES },
	{ "after fork()",        make_copy_on_write,    pattern, NR_PAGES },
	{ "swapped out",         make_swapped,          pattern, 0 },
	{ "userfaultfd",         make_userfaultfd,      pattern, 0 },
};

/* Only the ioctl stands for a driver's fault. */
static void mirror(struct report *report, char *memory, unsigned int flags)
{
	report->range = (struct hmm_mirror_range_args) {
		.size = sizeof(report->range),
		.flags = flags,
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + SIZE,
		.extents = (unsigned long)report->extents,
		.nr_extents = NR_PAGES,
	};
	if (ioctl(device, HMM_MIRROR_RANGE, &report->range))
		die("HMM_MIRROR_RANGE");
}

static const char *access_name(const struct hmm_mirror_extent_info *extent)
{
	if (extent->flags & HMM_MIRROR_EXTENT_WRITE)
		return "writable";
	if (extent->flags & HMM_MIRROR_EXTENT_VALID)
		return "read-only";
	return extent->kind == HMM_MIRROR_KIND_SWAP ? "in swap" : "not there";
}

/* "2048 x 4K read-only", of the memory's first extent and those like it */
static void describe(const struct report *report, char *text, size_t size)
{
	const struct hmm_mirror_extent_info *first = &report->extents[0];
	unsigned long pages = 0;
	bool mixed = false;

	for (unsigned int i = 0; i < report->range.nr_extents; i++) {
		const struct hmm_mirror_extent_info *extent = &report->extents[i];

		if (extent->flags == first->flags && extent->kind == first->kind &&
		    extent->order == first->order)
			pages += extent->npages;
		else
			mixed = true;
	}
	snprintf(text, size, "%lu x %s %s%s", first->order == 9 ? pages / 512 : pages,
		 first->order == 9 ? "2M" : "4K", access_name(first), mixed ? ", .." : "");
}

static void check(const struct memory *memory, const struct report *report, char *start)
{
	static uint64_t pagemap[NR_PAGES];
	const struct hmm_mirror_range_args *range = &report->range;
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long page = 0;

	if (fd < 0 || pread(fd, pagemap, sizeof(pagemap), (unsigned long)start / PAGE_SIZE *
			    sizeof(*pagemap)) != sizeof(pagemap))
		die("/proc/self/pagemap");
	close(fd);

	if (range->next != range->end)
		fail(memory->name, "the range is not complete", 0);
	if (memory->nr_faults && range->nr_faults != memory->nr_faults)
		fail(memory->name, "not the number of faults expected", range->nr_faults);
	for (unsigned int i = 0; i < range->nr_extents; i++) {
		const struct hmm_mirror_extent_info *extent = &report->extents[i];

		if (!(extent->flags & HMM_MIRROR_EXTENT_WRITE))
			fail(memory->name, "not writable after a write fault", page);
		for (unsigned long j = 0; j < extent->npages; j++, page++) {
			if (!(pagemap[page] & PAGEMAP_PRESENT) ||
			    (pagemap[page] & PAGEMAP_PFN) != extent->pfn + j)
				fail(memory->name, "not the page that pagemap has", page);
			if (start[page * PAGE_SIZE] != memory->content(page))
				fail(memory->name, "its content is not what it was", page);
		}
	}
	if (page != NR_PAGES)
		fail(memory->name, "pages are missing in the report", page);
	nr_checked += page;
}

int main(void)
{
	static struct report before, after;

	setvbuf(stdout, NULL, _IOLBF, 0);
	device = open("/dev/hmm_mirror", O_RDWR | O_CLOEXEC);
	if (device < 0)
		die("/dev/hmm_mirror");

	printf("   %-20s  %-20s  %-20s  %6s\n", "MEMORY (8 MiB each)", "BEFORE", "AFTER",
	       "FAULTS");
	for (size_t i = 0; i < ARRAY_SIZE(memories); i++) {
		const struct memory *memory = &memories[i];
		char was[64], is[64];
		char *start = memory->make();

		mirror(&before, start, 0);
		mirror(&after, start, HMM_MIRROR_RANGE_FAULT | HMM_MIRROR_RANGE_WRITE);
		describe(&before, was, sizeof(was));
		describe(&after, is, sizeof(is));
		printf("   %-20s  %-20s  %-20s  %6llu%s\n", memory->name, was, is,
		       (unsigned long long)after.range.nr_faults,
		       nr_handled ? "  by the handler" : "");
		check(memory, &after, start);
		/* The device writes; the child must not see it. */
		if (child) {
			memset(start, 0xff, SIZE);
			if (!child_is_unharmed())
				fail(memory->name, "the child lost its copy", 0);
		}
	}
	if (nr_handled != NR_PAGES)
		fail("userfaultfd", "the handler was not asked for each page", nr_handled);

	printf("verified: all %lu pages are writable, with the PFN of /proc/self/pagemap and the content they\n"
	       "          had; the forked child kept its own; the userfaultfd handler gave %lu, each once\n",
	       nr_checked, nr_handled);
	return 0;
}
