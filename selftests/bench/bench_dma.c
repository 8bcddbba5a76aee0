// SPDX-License-Identifier: GPL-2.0
/*
 * bench_dma: measures what it costs to have memory mapped for DMA: by hmm_mirror, page by
 * page, and by drm_gpusvm and umem_odp where the kernel has them; for a device behind an
 * IOMMU in strict mode, and for one without. Counts instructions, as "bench count" does.
 *
 * Prints lines as bench does. For what the IOMMU is told it prints "flushes MARK NAME WAY",
 * and writes MARK to a register of the device that has no meaning, before and after: QEMU's
 * own log has that, and every invalidation (flushes.awk).
 */
#include <glob.h>

#include "bench.h"
#include "device.h"
#include "dma/dma.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/*"
#define INTERRUPT_LINE	0x3c
#define TRACING		"/sys/kernel/tracing/"

#define HUGE_PAGES	32UL /* 64 MiB */
#define REPEAT		5
#define BIG_HUGE_PAGES	512UL /* 1 GiB */

static int bench_fd = -1;
static int config_fd = -1;

static const char *const way_names[] = {
	[BENCH_DMA_MIRROR] = "hmm_mirror",
	[BENCH_DMA_GPUSVM] = "drm_gpusvm",
	[BENCH_DMA_ODP] = "umem_odp",
};

static bool is_there[BENCH_DMA_NR_WAYS];

/* --- The module ------------------------------------------------------------ */

static int try_open(enum bench_dma_way way, enum bench_dma_target target,
		    const void *start, size_t length)
{
	struct bench_dma_open args = {
		.way = way,
		.target = target,
		.start = (unsigned long)start,
		.length = length,
	};

	if (ioctl(bench_fd, BENCH_DMA_OPEN, &args))
		return errno;
	if (target == BENCH_DMA_PCI && !args.translated)
		fail("there is no IOMMU in front of edu");
	if (target != BENCH_DMA_PCI && args.translated)
		fail("an IOMMU is in front of a platform device");
	return 0;
}

static void open_watch(enum bench_dma_way way, enum bench_dma_target target,
		       const void *start, size_t length)
{
	int error = try_open(way, target, start, length);

	if (error)
		fail("%s, device %u: %s", way_names[way], target,
		     strerror(error));
}

static void close_watch(void)
{
	if (ioctl(bench_fd, BENCH_DMA_CLOSE))
		fail("BENCH_DMA_CLOSE: %s", strerror(errno));
}

static double populate(const void *start, size_t length, size_t step)
{
	struct bench_dma_populate args = {
		.start = (unsigned long)start,
		.end = (unsigned long)start + length,
		.step = step,
	};

	if (ioctl(bench_fd, BENCH_DMA_POPULATE, &args))
		fail("BENCH_DMA_POPULATE: %s", strerror(errno));
	return args.ticks;
}

static double unmap(void)
{
	__u64 ticks;

	if (ioctl(bench_fd, BENCH_DMA_UNMAP, &ticks))
		fail("BENCH_DMA_UNMAP: %s", strerror(errno));
	return ticks;
}

static struct bench_dma_sum sum_of(const void *start, size_t length)
{
	struct bench_dma_sum args = {
		.start = (unsigned long)start,
		.end = (unsigned long)start + length,
	};

	if (ioctl(bench_fd, BENCH_DMA_SUM, &args))
		fail("BENCH_DMA_SUM: %s", strerror(errno));
	return args;
}

static void find_ways(void)
{
	size_t length = pmd_size();
	void *page = map_touched(length / page_size());
	unsigned int way;

	for (way = 0; way < BENCH_DMA_NR_WAYS; way++) {
		int error = try_open(way, BENCH_DMA_PLATFORM, page, length);

		is_there[way] = !error;
		if (!error)
			close_watch();
		else if (error != EOPNOTSUPP)
			fail("%s: %s", way_names[way], strerror(error));
	}
	release(page, length / page_size());
}

static struct hmm_mirror_stats stats_now(void)
{
	struct hmm_mirror_stats stats;
	int fd = open_device();

	if (fd < 0 || call_stats(fd, &stats))
		fail(DEVICE ": %s", strerror(errno));
	close(fd);
	return stats;
}

/* --- What the IOMMU is told -------------------------------------------------- */

static void find_config(void)
{
	char path[300];
	glob_t found;
	size_t i;

	if (glob(PCI_DEVICES, 0, NULL, &found))
		fail("there is no PCI device");
	for (i = 0; i < found.gl_pathc && config_fd < 0; i++) {
		snprintf(path, sizeof(path), "%s/device", found.gl_pathv[i]);
		if (!file_has_word(path, "0x11e8"))
			continue;
		snprintf(path, sizeof(path), "%s/config", found.gl_pathv[i]);
		config_fd = open(path, O_RDWR | O_CLOEXEC);
	}
	globfree(&found);
	if (config_fd < 0)
		fail("edu: %s", strerror(errno));
}

static void mark(unsigned char value)
{
	if (pwrite(config_fd, &value, 1, INTERRUPT_LINE) != 1)
		fail("edu's registers: %s", strerror(errno));
}

static void flushes_from(const char *name, const char *way)
{
	static unsigned char last = 0x80;

	printf("flushes 0x%x %s %s\n", ++last, name, way);
	mark(last);
}

static void flushes_until_now(void)
{
	mark(0);
}

static double one_by_one(enum bench_dma_target target, unsigned int repeat)
{
	struct bench_dma_pages args = { .target = target, .repeat = repeat };

	if (ioctl(bench_fd, BENCH_DMA_PAGES, &args))
		fail("BENCH_DMA_PAGES: %s", strerror(errno));
	return args.ticks;
}

/* 1 GiB behind the IOMMU */
static void big_rows(void)
{
	size_t length = BIG_HUGE_PAGES * pmd_size();
	struct hmm_mirror_stats before, after;
	struct bench_dma_sum sum;
	void *start;

	make_room_for_huge_pages();
	start = need(map_huge_hole(BIG_HUGE_PAGES), "1 GiB of addresses");
	before = stats_now();
	open_watch(BENCH_DMA_MIRROR, BENCH_DMA_PCI, start, length);
	populate(start, length, length);
	sum = sum_of(start, length);
	if (sum.nr_pages != length / page_size())
		fail("%llu pages of 1 GiB are mapped", sum.nr_pages);
	flushes_from("dma_1g_flushes", way_names[BENCH_DMA_MIRROR]);
	discard(start, length / page_size());
	flushes_until_now();
	after = stats_now();
	if (sum_of(start, length).nr_pages)
		fail("1 GiB was discarded, but is mapped");
	print_row("dma_1g_maps", way_names[BENCH_DMA_MIRROR],
		  after.dma_maps - before.dma_maps);
	print_row("dma_1g_unmaps", way_names[BENCH_DMA_MIRROR],
		  after.dma_unmaps - before.dma_unmaps);
	close_watch();
	release(start, length / page_size());
}

/* --- One huge page, and its pages one by one ------------------------------------ */

static void run_row(const char *name, enum bench_dma_target target,
		    const void *start)
{
	size_t length = pmd_size();
	double ticks = 1e18;
	unsigned int i;

	open_watch(BENCH_DMA_MIRROR, target, start, length);
	for (i = 0; i < 20; i++) {
		double mapped = populate(start, length, length);

		ticks = smaller(ticks, mapped + unmap());
	}
	print_row(name, way_names[BENCH_DMA_MIRROR], ticks);
	print_row(name, "one_by_one", one_by_one(target, REPEAT));
	close_watch();
}

static void run_rows(void)
{
	void *start = need(map_huge(1), "a huge page");

	run_row("dma_run", BENCH_DMA_PLATFORM, start);
	run_row("dma_run_iommu", BENCH_DMA_PCI, start);

	open_watch(BENCH_DMA_MIRROR, BENCH_DMA_PCI, start, pmd_size());
	flushes_from("dma_run_flushes", way_names[BENCH_DMA_MIRROR]);
	populate(start, pmd_size(), pmd_size());
	unmap();
	flushes_until_now();
	close_watch();
	flushes_from("dma_run_flushes", "one_by_one");
	one_by_one(BENCH_DMA_PCI, 1);
	flushes_until_now();
	release(start, pages_per_pmd());
}

/* --- 64 MiB, side by side ------------------------------------------------------- */

enum kind {
	THP,
	CONTIGUOUS,
	SCATTERED,
	NR_KINDS
};

static const char *const kind_names[] = {
	[THP] = "thp",
	[CONTIGUOUS] = "contiguous",
	[SCATTERED] = "scattered",
};

static void *memory_of_kind(enum kind kind)
{
	make_room_for_huge_pages();
	switch (kind) {
	case THP:
		return need(map_huge(HUGE_PAGES), "huge pages");
	case CONTIGUOUS:
		return map_contiguous(HUGE_PAGES);
	default:
		return map_scattered(HUGE_PAGES * pages_per_pmd());
	}
}

static void print_kind_row(const char *what, enum kind kind,
			   enum bench_dma_target target, const char *way,
			   double ticks)
{
	char name[64];

	snprintf(name, sizeof(name), "dma_%s%s%s", what, kind_names[kind],
		 target == BENCH_DMA_PCI ? "_iommu" : "");
	print_row(name, way, ticks / HUGE_PAGES);
}

static __u64 kind_row(enum kind kind, enum bench_dma_target target,
		      enum bench_dma_way way, const void *start)
{
	size_t length = HUGE_PAGES * pmd_size();
	double mapped = 1e18, again = 1e18, unmapped = 1e18;
	struct bench_dma_sum sum;
	unsigned int i;

	open_watch(way, target, start, length);
	for (i = 0; i < REPEAT; i++) {
		mapped = smaller(mapped, populate(start, length, pmd_size()));
		sum = sum_of(start, length);
		if (sum.nr_pages != length / page_size())
			fail("%s: %llu pages of 64 MiB are mapped",
			     way_names[way], sum.nr_pages);
		again = smaller(again, populate(start, length, pmd_size()));
		unmapped = smaller(unmapped, unmap());
		if (sum_of(start, length).nr_pages)
			fail("%s: still mapped", way_names[way]);
	}
	close_watch();
	print_kind_row("", kind, target, way_names[way], mapped);
	print_kind_row("valid_", kind, target, way_names[way], again);
	print_kind_row("unmap_", kind, target, way_names[way], unmapped);
	return sum.sum;
}

static void kind_rows(void)
{
	unsigned int kind, target, way;

	for (kind = 0; kind < NR_KINDS; kind++) {
		void *start = memory_of_kind(kind);
		__u64 expected = 0;

		for (target = 0; target < BENCH_DMA_NR_TARGETS; target++) {
			for (way = 0; way < BENCH_DMA_NR_WAYS; way++) {
				__u64 sum;

				if (!is_there[way])
					continue;
				sum = kind_row(kind, target, way, start);
				if (!expected)
					expected = sum;
				if (sum != expected)
					fail("%s, device %u: another page",
					     way_names[way], target);
			}
		}
		release(start, HUGE_PAGES * pages_per_pmd());
	}
}

/* --- One page goes away ---------------------------------------------------------- */

static double discard_ticks(char *start, bool is_watched)
{
	char *page = start + pmd_size() * HUGE_PAGES / 2;
	double ticks = 1e18;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		__u64 before;

		*(volatile char *)page = 1;
		if (is_watched)
			populate(start, HUGE_PAGES * pmd_size(), pmd_size());
		before = __rdtsc();
		madvise(page, page_size(), MADV_DONTNEED);
		ticks = smaller(ticks, __rdtsc() - before);
		if (is_watched && sum_of(page, page_size()).nr_pages)
			fail("a page was discarded, but is mapped");
	}
	return ticks;
}

static void discard_row(const char *name, const char *lost_name,
			enum bench_dma_target target)
{
	size_t length = HUGE_PAGES * pmd_size();
	char *start = map_touched(length / page_size());
	unsigned int way;

	for (way = 0; way < BENCH_DMA_NR_WAYS; way++) {
		if (!is_there[way])
			continue;
		open_watch(way, target, start, length);
		print_row(name, way_names[way], discard_ticks(start, true));
		print_row(lost_name, way_names[way], length / page_size() -
			  sum_of(start, length).nr_pages);
		close_watch();
	}
	print_row(name, "unwatched", discard_ticks(start, false));
	release(start, length / page_size());
}

static void discard_rows(void)
{
	discard_row("dma_discard", "dma_lost", BENCH_DMA_PLATFORM);
	discard_row("dma_discard_iommu", "dma_lost_iommu", BENCH_DMA_PCI);
}

/* --- Memory ------------------------------------------------------------------------ */

static const char *const memory_events[] = {
	"kmalloc", "kmem_cache_alloc", "kfree", "kmem_cache_free",
};

#define NR_MEMORY_EVENTS	4
#define MAX_ALLOCATED		100000

static int tracing_fd = -1;

/* Has the kernel note what this process allocates and frees, while tracing is on. */
static void set_up_trace(void)
{
	char path[128], filter[32];
	unsigned int i;

	if (!write_text(TRACING "tracing_on", "0") ||
	    !write_text(TRACING "buffer_size_kb", "16384"))
		fail(TRACING ": %s", strerror(errno));
	snprintf(filter, sizeof(filter), "common_pid == %d", getpid());
	for (i = 0; i < NR_MEMORY_EVENTS; i++) {
		snprintf(path, sizeof(path), TRACING "events/kmem/%s/filter",
			 memory_events[i]);
		if (!write_text(path, filter))
			fail("%s: %s", path, strerror(errno));
		snprintf(path, sizeof(path), TRACING "events/kmem/%s/enable",
			 memory_events[i]);
		if (!write_text(path, "1"))
			fail("%s: %s", path, strerror(errno));
	}
	tracing_fd = open(TRACING "tracing_on", O_WRONLY | O_CLOEXEC);
	if (tracing_fd < 0)
		fail(TRACING "tracing_on: %s", strerror(errno));
}

static void trace(const char *on)
{
	if (write(tracing_fd, on, 1) != 1)
		fail(TRACING "tracing_on: %s", strerror(errno));
}

/* Bytes that were allocated and not freed again, by the kernel's trace. */
static double memory_traced(void)
{
	static struct {
		char address[32];
		unsigned long size;
	} allocated[MAX_ALLOCATED];
	FILE *file = fopen(TRACING "trace", "r");
	unsigned int nr = 0, i;
	double sum = 0;
	char line[512];

	if (!file)
		fail(TRACING "trace: %s", strerror(errno));
	while (fscanf(file, " %511[^\n]", line) == 1) {
		char *address = strstr(line, " ptr=");
		char *size = strstr(line, " bytes_alloc=");

		if (strstr(line, "LOST"))
			fail("the trace is not complete");
		if (line[0] == '#' || !address)
			continue;
		address = strtok(address + strlen(" ptr="), " ");
		if (size) {
			if (nr == MAX_ALLOCATED)
				fail("too many allocations");
			snprintf(allocated[nr].address,
				 sizeof(allocated[nr].address), "%s", address);
			allocated[nr++].size = strtoul(size + strlen(" bytes_alloc="),
						       NULL, 0);
			continue;
		}
		/* The last one at an address is the one that is freed. */
		for (i = nr; i-- > 0;) {
			if (strcmp(allocated[i].address, address))
				continue;
			allocated[i] = allocated[--nr];
			break;
		}
	}
	fclose(file);
	for (i = 0; i < nr; i++)
		sum += allocated[i].size;
	if (!sum)
		fail("the trace has no allocation");
	return sum;
}

static void memory_rows(void)
{
	size_t length = HUGE_PAGES * pmd_size();
	unsigned int kind, way;
	char name[32];

	set_up_trace();
	for (kind = 0; kind < NR_KINDS; kind++) {
		void *start = memory_of_kind(kind);

		snprintf(name, sizeof(name), "dma_memory_%s", kind_names[kind]);
		for (way = 0; way < BENCH_DMA_NR_WAYS; way++) {
			if (!is_there[way])
				continue;
			write_text(TRACING "trace", "");
			trace("1");
			open_watch(way, BENCH_DMA_PLATFORM, start, length);
			populate(start, length, pmd_size());
			trace("0");
			print_row(name, way_names[way], memory_traced() / KIB);
			close_watch();
		}
		release(start, length / page_size());
	}
}

int main(void)
{
	bench_fd = open(BENCH_DMA_DEVICE, O_RDWR | O_CLOEXEC);
	if (bench_fd < 0)
		fail(BENCH_DMA_DEVICE ": %s", strerror(errno));
	find_config();
	/* The kernel still has work to do from when the machine started. */
	sleep_ms(5000);
	check_ticks();
	find_ways();
	big_rows();
	run_rows();
	kind_rows();
	discard_rows();
	memory_rows();
	return 0;
}
