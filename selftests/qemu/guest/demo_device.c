// SPDX-License-Identifier: GPL-2.0
/*
 * The demonstration's device with memory of its own: pages of this program move there and
 * come back when the program touches them; others the device takes for itself in place.
 * After each step the program asks /dev/hmm_mirror what has become of them. What it says
 * is compared with /proc/self/pagemap and, at the end, the data with what was written
 * last.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/hmm_mirror.h>

#include "dmirror/uapi.h"

#define PAGE_SIZE	4096UL
#define HUGE_SIZE	(2UL << 20)
#define SIZE		(8UL << 20)
#define NR_PAGES	(SIZE / PAGE_SIZE)
/* What the CPU touches again, and what the device has to itself */
#define NR_TOUCHED	256UL
#define NR_EXCLUSIVE	64UL

/* Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_PRESENT	(1ULL << 63)
#define PAGEMAP_SWAP	(1ULL << 62)
#define PAGEMAP_PFN	((1ULL << 55) - 1)

static int mirror;
static int device;
static char *memory;
static char *buffer;
static unsigned long nr_compared;

static struct hmm_mirror_extent_info extents[NR_PAGES];
static unsigned int nr_extents;

static void die(const char *what)
{
	printf("FAILED: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void fail(const char *what, unsigned long page)
{
	printf("FAILED: device memory: %s (page %lu)\n", what, page);
	exit(1);
}

/* What page i has after it was written for the round-th time. */
static uint64_t content(unsigned long page, unsigned int round)
{
	return 0x9e3779b97f4a7c15ULL * (page * 16 + round + 1);
}

static void fill(char *start, unsigned int round)
{
	for (unsigned long i = 0; i < NR_PAGES; i++) {
		uint64_t *words = (uint64_t *)(start + i * PAGE_SIZE);

		for (unsigned long j = 0; j < PAGE_SIZE / sizeof(*words); j++)
			words[j] = content(i, round);
	}
}

static void compare(const char *start, unsigned long first, unsigned long nr_pages,
		    unsigned int round)
{
	for (unsigned long i = first; i < first + nr_pages; i++) {
		const uint64_t *words = (const uint64_t *)(start + i * PAGE_SIZE);

		for (unsigned long j = 0; j < PAGE_SIZE / sizeof(*words); j++)
			if (words[j] != content(i, round))
				fail("not the data that was written last", i);
	}
	nr_compared += nr_pages;
}

/* A page may be busy for a moment: try again. */
static void command(unsigned long request, const char *what, unsigned long nr_pages)
{
	struct hmm_dmirror_cmd args = {
		.addr = (unsigned long)memory,
		.ptr = (unsigned long)buffer,
		.npages = nr_pages,
	};

	for (int attempt = 0; ioctl(device, request, &args); attempt++) {
		if (errno != ENOENT || attempt == 20)
			die(what);
		usleep(20000);
	}
	if (args.cpages != nr_pages)
		fail(what, args.cpages);
}

static const char *kind_name(const struct hmm_mirror_extent_info *extent)
{
	switch (extent->kind) {
	case HMM_MIRROR_KIND_PRESENT:
		return extent->flags & HMM_MIRROR_EXTENT_WRITE ? "writable" : "read-only";
	case HMM_MIRROR_KIND_DEVICE_PRIVATE:
		return "in the device's memory";
	case HMM_MIRROR_KIND_DEVICE_EXCLUSIVE:
		return "the device's alone";
	default:
		return "something else";
	}
}

/* "1024 x 4K writable, 2 x 2M writable" */
static void describe(char *text, size_t size)
{
	bool counted[NR_PAGES] = {};
	size_t length = 0;

	for (unsigned int i = 0; i < nr_extents; i++) {
		unsigned long pages = 0;

		if (counted[i])
			continue;
		for (unsigned int j = i; j < nr_extents; j++) {
			if (extents[j].order != extents[i].order ||
			    strcmp(kind_name(&extents[j]), kind_name(&extents[i])))
				continue;
			pages += extents[j].npages;
			counted[j] = true;
		}
		length += snprintf(text + length, length < size ? size - length : 0,
				   "%s%lu x %s %s", length ? ", " : "", pages >> extents[i].order,
				   extents[i].order == 9 ? "2M" : "4K", kind_name(&extents[i]));
	}
}

/* The CPU's page table says about a page of the extent what its kind implies. */
static bool agrees(const struct hmm_mirror_extent_info *extent, unsigned long i, uint64_t entry)
{
	if (extent->kind == HMM_MIRROR_KIND_PRESENT)
		return entry & PAGEMAP_PRESENT && (entry & PAGEMAP_PFN) == extent->pfn + i;
	return !(entry & PAGEMAP_PRESENT) && entry & PAGEMAP_SWAP;
}

/* Looks at the memory, says what it found, and returns how many pages are of a kind. */
static unsigned long look(const char *step, enum hmm_mirror_kind kind)
{
	static uint64_t pagemap[NR_PAGES];
	struct hmm_mirror_range_args range = {
		.size = sizeof(range),
		.start = (unsigned long)memory,
		.end = (unsigned long)memory + SIZE,
		.extents = (unsigned long)extents,
		.nr_extents = NR_PAGES,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY);
	unsigned long page = 0, found = 0;
	char text[256];

	if (ioctl(mirror, HMM_MIRROR_RANGE, &range))
		die("HMM_MIRROR_RANGE");
	if (fd < 0 || pread(fd, pagemap, sizeof(pagemap), (unsigned long)memory / PAGE_SIZE *
			    sizeof(*pagemap)) != sizeof(pagemap))
		die("/proc/self/pagemap");
	close(fd);
	nr_extents = range.nr_extents;
	for (unsigned int i = 0; i < nr_extents; i++) {
		for (unsigned long j = 0; j < extents[i].npages; j++, page++) {
			if (!agrees(&extents[i], j, pagemap[page]))
				fail("not what pagemap has", page);
			found += extents[i].kind == kind;
		}
	}
	if (page != NR_PAGES)
		fail("pages are missing in the report", page);
	describe(text, sizeof(text));
	printf("   %-44s  %s\n", step, text);
	return found;
}

static void expect(const char *step, enum hmm_mirror_kind kind, unsigned long nr_pages)
{
	unsigned long found = look(step, kind);

	if (found != nr_pages)
		fail("not as many pages as expected", found);
}

static void show_map(void)
{
	char line[160];

	snprintf(line, sizeof(line),
		 "hmmctl map %d --range %#lx+8M | sed -n '/ADDRESS/,$s/^/      /p'", getpid(),
		 (unsigned long)memory);
	if (system(line))
		fail("hmmctl map", 0);
}

static long nr_cpu_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* Small pages in the first half, huge ones in the second */
static char *make_memory(void)
{
	char *start = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	start = (char *)(((uintptr_t)start + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1));
	if (madvise(start, SIZE / 2, MADV_NOHUGEPAGE) ||
	    madvise(start + SIZE / 2, SIZE / 2, MADV_HUGEPAGE))
		die("madvise");
	return start;
}

int main(void)
{
	long before;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mirror = open("/dev/hmm_mirror", O_RDWR | O_CLOEXEC);
	device = open("/dev/hmm_dmirror0", O_RDWR | O_CLOEXEC);
	if (mirror < 0 || device < 0)
		die("/dev/hmm_mirror, /dev/hmm_dmirror0");
	memory = make_memory();
	buffer = malloc(SIZE);
	if (!buffer)
		die("malloc");

	fill(memory, 1);
	expect("8 MiB, written by the program", HMM_MIRROR_KIND_PRESENT, NR_PAGES);
	command(HMM_DMIRROR_MIGRATE_TO_DEV, "move to the device", NR_PAGES);
	compare(buffer, 0, NR_PAGES, 1);
	expect("moved to the device, which reads them", HMM_MIRROR_KIND_DEVICE_PRIVATE, NR_PAGES);
	show_map();

	fill(buffer, 2);
	command(HMM_DMIRROR_WRITE, "write by the device", NR_PAGES);
	expect("written there by the device", HMM_MIRROR_KIND_DEVICE_PRIVATE, NR_PAGES);

	before = nr_cpu_faults();
	for (unsigned long i = 0; i < NR_TOUCHED; i++)
		*(volatile char *)(memory + i * PAGE_SIZE);
	if (nr_cpu_faults() - before < (long)NR_TOUCHED)
		fail("the CPU has not faulted", nr_cpu_faults() - before);
	expect("1 MiB read by the CPU: 256 faults", HMM_MIRROR_KIND_PRESENT, NR_TOUCHED);
	compare(memory, 0, NR_PAGES, 2);
	expect("all of it read by the CPU", HMM_MIRROR_KIND_PRESENT, NR_PAGES);

	fill(buffer, 3);
	command(HMM_DMIRROR_EXCLUSIVE, "exclusive access", NR_EXCLUSIVE);
	expect("64 pages for the device alone, in place", HMM_MIRROR_KIND_DEVICE_EXCLUSIVE,
	       NR_EXCLUSIVE);
	fill(buffer, 3);
	command(HMM_DMIRROR_WRITE, "write by the device", NR_EXCLUSIVE);
	compare(memory, 0, NR_EXCLUSIVE, 3);
	compare(memory, NR_EXCLUSIVE, NR_PAGES - NR_EXCLUSIVE, 2);
	expect("written by it, then read by the CPU", HMM_MIRROR_KIND_PRESENT, NR_PAGES);

	printf("verified: %lu pages had the data that was written last, by the program or the device, and at each\n"
	       "          step /proc/self/pagemap agreed with the map\n", nr_compared);
	return 0;
}
