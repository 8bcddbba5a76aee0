// SPDX-License-Identifier: GPL-2.0
/*
 * bench: makes memory of every kind and measures, side by side, what it costs
 * hmm_mirror, the kernel's own hmm_range_fault() and the kernel's interfaces for user
 * space to read it and to fault it in.
 *
 *	bench count [GROUP...]	counts instructions; the virtual machine's time
 *				stamp counter must count them (QEMU -icount shift=0)
 *	bench scale		compares one CPU with two, by the clock
 *
 * Prints lines for report.pl: "row NAME IMPLEMENTATION VALUE", and "error TEXT" for
 * what could not be measured, which ends it.
 */
#include <linux/fs.h>
#include <linux/hmm_mirror.h>
#include <pthread.h>

#include "bench.h"
#include "device.h"
#include "module.h"

/* The C library's headers may be too old to have these. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#ifndef PAGEMAP_SCAN
#define PAGE_IS_PRESENT		(1 << 3)

struct page_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};

struct pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};

#define PAGEMAP_SCAN		_IOWR('f', 16, struct pm_scan_arg)
#endif

static int bench_fd = -1;
static bool kernel_has_hmm;

/* One measurement by the module. The cost of measuring nothing is subtracted. */

static __u64 cost_of_nothing;

static struct bench_call call_module(enum bench_function function,
				     unsigned int flags, const void *start,
				     size_t npages, unsigned int stride,
				     unsigned int repeat)
{
	struct bench_call call = {
		.function = function,
		.flags = flags,
		.start = (unsigned long)start,
		.end = (unsigned long)start + npages * page_size(),
		.stride = stride,
		.repeat = repeat,
	};

	if (ioctl(bench_fd, BENCH_CALL, &call))
		fail("function %u, flags %u, %zu pages: %s", function, flags,
		     npages, strerror(errno));
	call.ticks -= cost_of_nothing;
	return call;
}

static double ticks_of(enum bench_function function, unsigned int flags,
		       const void *start, size_t npages, unsigned int repeat)
{
	return call_module(function, flags, start, npages, 0, repeat).ticks;
}

static const struct {
	enum bench_function function;
	const char *name;
} implementations[] = {
	{ BENCH_KERNEL, "kernel" },
	{ BENCH_PAGES, "pages" },
	{ BENCH_EXTENTS, "extents" },
};

#define NR_IMPLEMENTATIONS	3

static void find_kernel_function(void)
{
	void *page = map_anonymous(1);
	struct bench_call probe = {
		.function = BENCH_KERNEL,
		.start = (unsigned long)page,
		.end = (unsigned long)page + page_size(),
		.repeat = 1,
	};

	kernel_has_hmm = !ioctl(bench_fd, BENCH_CALL, &probe);
	if (!kernel_has_hmm && errno != EOPNOTSUPP)
		fail("hmm_range_fault(): %s", strerror(errno));
	munmap(page, page_size());
}

static bool is_there(unsigned int implementation)
{
	return implementations[implementation].function != BENCH_KERNEL ||
	       kernel_has_hmm;
}

/* The same request to all functions, per page, for memory that it does not change. */
static void measure_all(const char *name, unsigned int flags, const void *start,
			size_t npages, unsigned int repeat, double unit)
{
	unsigned int i;

	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		if (is_there(i))
			print_row(name, implementations[i].name,
				  ticks_of(implementations[i].function, flags, start,
					   npages, repeat) / unit);
	}
}

/* Snapshots */

static void snapshot_rows(void)
{
	size_t npages = 128 * MIB / page_size();
	void *start = map_touched(npages);

	measure_all("snapshot_4k", 0, start, npages, 5, npages);
	measure_all("fault_present", BENCH_FAULT | BENCH_WRITE, start, npages,
		    5, npages);
	release(start, npages);

	start = map_scattered(npages);
	measure_all("snapshot_scattered", 0, start, npages, 5, npages);
	release(start, npages);

	start = map_contiguous(64);
	npages = 64 * pages_per_pmd();
	measure_all("snapshot_contiguous", 0, start, npages, 5, npages);
	release(start, npages);

	start = need(map_huge(64), "huge pages");
	measure_all("snapshot_thp", 0, start, npages, 5, npages);
	measure_all("snapshot_thp_pmd", 0, start, npages, 5, 64);
	release(start, npages);
}

/*
 * 1000 pages touched in 1 TiB. The kernel's function needs a word for every page, 2 GiB
 * of them, so it gets a 64th of it.
 */
static void sparse_row(void)
{
	size_t npages = TIB / page_size();
	char *start = need(map_anonymous(npages), "1 TiB of addresses");
	size_t i;

	for (i = 0; i < 1000; i++)
		*(volatile char *)page_at(start, i * (npages / 1000)) = 1;
	print_row("snapshot_sparse", "extents",
		  ticks_of(BENCH_EXTENTS, 0, start, npages, 3) / 1e6);
	if (kernel_has_hmm)
		print_row("snapshot_sparse", "kernel", 1024 *
			  ticks_of(BENCH_KERNEL, 0, start, npages / 1024, 3) / 1e6);
	release(start, npages);
}

/*
 * Faults. Everything is repeated in the same memory, until its pages have been used
 * before.
 */

#define FAULT_REPEAT	4

static double larger(double a, double b)
{
	return a > b ? a : b;
}

static void fault_hole_row(void)
{
	size_t npages = 32 * MIB / page_size();
	void *start = map_touched(npages);
	double ticks[NR_IMPLEMENTATIONS], madvise_ticks = 1e18;
	unsigned int i, repeat;

	for (i = 0; i < NR_IMPLEMENTATIONS; i++)
		ticks[i] = 1e18;
	for (repeat = 0; repeat < FAULT_REPEAT; repeat++) {
		__u64 before;

		for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
			if (!is_there(i))
				continue;
			discard(start, npages);
			ticks[i] = smaller(ticks[i],
					   ticks_of(implementations[i].function,
						    BENCH_FAULT | BENCH_WRITE,
						    start, npages, 1));
		}
		discard(start, npages);
		before = __rdtsc();
		if (madvise(start, npages * page_size(), MADV_POPULATE_WRITE))
			fail("MADV_POPULATE_WRITE: %s", strerror(errno));
		madvise_ticks = smaller(madvise_ticks, __rdtsc() - before);
	}
	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		if (is_there(i))
			print_row("fault_hole", implementations[i].name,
				  ticks[i] / npages);
	}
	print_row("fault_hole", "MADV_POPULATE_WRITE", madvise_ticks / npages);
	release(start, npages);
}

static void fault_alternate_row(void)
{
	size_t npages = 32 * MIB / page_size();
	char *start = map_touched(npages);
	double ticks[NR_IMPLEMENTATIONS];
	unsigned int i, repeat;
	size_t page;

	for (i = 0; i < NR_IMPLEMENTATIONS; i++)
		ticks[i] = 1e18;
	for (repeat = 0; repeat < FAULT_REPEAT; repeat++) {
		for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
			if (!is_there(i))
				continue;
			for (page = 0; page < npages; page += 2)
				discard(page_at(start, page), 1);
			ticks[i] = smaller(ticks[i],
					   ticks_of(implementations[i].function,
						    BENCH_FAULT | BENCH_WRITE,
						    start, npages, 1));
		}
	}
	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		if (is_there(i))
			print_row("fault_alternate", implementations[i].name,
				  ticks[i] / npages);
	}
	release(start, npages);
}

static double cow_ticks(enum bench_function function, void *start,
			size_t npages, unsigned int repeat)
{
	double ticks = 1e18;

	while (repeat--) {
		pid_t child;

		/* Its own pages again, all of which have been used before. */
		mark_pages(start, npages, 1);
		child = fork_sleeper();
		ticks = smaller(ticks, ticks_of(function,
						BENCH_FAULT | BENCH_WRITE,
						start, npages, 1));
		kill_and_wait(child);
	}
	return ticks / npages;
}

static void cow_rows(void)
{
	size_t small = 4 * MIB / page_size();
	size_t large = GIB / page_size();
	void *start = map_touched(large);

	print_row("cow_small", "pages", cow_ticks(BENCH_PAGES, start, small, 5));
	print_row("cow_small", "extents", cow_ticks(BENCH_EXTENTS, start, small, 5));
	print_row("cow_large", "pages", cow_ticks(BENCH_PAGES, start, large, 2));
	print_row("cow_large", "extents", cow_ticks(BENCH_EXTENTS, start, large, 1));
	if (kernel_has_hmm) {
		print_row("cow_small", "kernel",
			  cow_ticks(BENCH_KERNEL, start, small, 5));
		/* For 1 GiB it would take minutes. */
		print_row("cow_256m", "kernel",
			  cow_ticks(BENCH_KERNEL, start, large / 4, 1));
	}
	release(start, large);
}

#define STRIDE_PAGES	(GIB / page_size())
/* A call is short compared with what interrupts it, so take the shortest of more. */
#define STRIDE_REPEAT	16

/* Each page with a request of its own. */
static double stride_single_ticks(void)
{
	char *start = need(map_anonymous_aligned(STRIDE_PAGES, pmd_size()),
			   "memory");
	double ticks = 0;
	size_t page;

	for (page = 0; page < STRIDE_PAGES; page += pages_per_pmd())
		ticks += ticks_of(BENCH_PAGES, BENCH_FAULT | BENCH_WRITE,
				  page_at(start, page), 1, 1);
	release(start, STRIDE_PAGES);
	return ticks;
}

/* All by one. */
static double stride_ticks(enum bench_function function, unsigned long *faults)
{
	void *start = need(map_anonymous_aligned(STRIDE_PAGES, pmd_size()),
			   "memory");
	unsigned long before = vmstat_value("pgfault");
	double ticks = call_module(function, BENCH_FAULT | BENCH_WRITE, start,
				   STRIDE_PAGES, pages_per_pmd(), 1).ticks;

	*faults = vmstat_value("pgfault") - before;
	release(start, STRIDE_PAGES);
	return ticks;
}

/* One page asked for in each 2 MiB of an empty 1 GiB. */
static void stride_rows(void)
{
	size_t nr_asked = STRIDE_PAGES / pages_per_pmd();
	unsigned long faults[NR_IMPLEMENTATIONS] = {};
	double ticks[NR_IMPLEMENTATIONS], single = 1e18;
	unsigned int i, repeat;

	for (i = 0; i < NR_IMPLEMENTATIONS; i++)
		ticks[i] = 1e18;
	for (repeat = 0; repeat < STRIDE_REPEAT; repeat++) {
		single = smaller(single, stride_single_ticks());
		for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
			/*
			 * The kernel's function fills all of it: once is enough, at the
			 * end.
			 */
			if (!is_there(i) ||
			    (implementations[i].function == BENCH_KERNEL &&
			     repeat < STRIDE_REPEAT - 1))
				continue;
			ticks[i] = smaller(ticks[i],
					   stride_ticks(implementations[i].function,
							&faults[i]));
		}
	}
	print_row("stride", "single", single / nr_asked);
	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		if (!is_there(i))
			continue;
		print_row("stride", implementations[i].name, ticks[i] / nr_asked);
		print_row("stride_faults", implementations[i].name, faults[i]);
	}
}

static void hugetlb_rows(void)
{
	size_t npages = GIB / page_size();
	unsigned int i;

	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		unsigned long before;
		void *start;
		double ticks;

		if (!is_there(i))
			continue;
		start = need(map_hugetlb(GIB, HUGETLB_1G), "a huge page of 1G");
		before = vmstat_value("pgfault");
		ticks = ticks_of(implementations[i].function,
				 BENCH_FAULT | BENCH_WRITE, start, npages, 1);
		print_row("hugetlb_faults", implementations[i].name,
			  vmstat_value("pgfault") - before);
		print_row("hugetlb", implementations[i].name, ticks / 1e6);
		release(start, npages);
	}
}

static void one_page_rows(void)
{
	void *start = map_touched(512);
	unsigned int i, repeat;

	measure_all("one_page_snapshot", 0, start, 1, 100, 1);
	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		double ticks = 1e18;

		if (!is_there(i))
			continue;
		for (repeat = 0; repeat < 100; repeat++) {
			discard(start, 1);
			ticks = smaller(ticks,
					ticks_of(implementations[i].function,
						 BENCH_FAULT | BENCH_WRITE,
						 start, 1, 1));
		}
		print_row("one_page_fault", implementations[i].name, ticks);
	}
	release(start, 512);
}

/* Invalidation of one page in one of many subscribed intervals */

static double discard_ticks(void *page)
{
	double ticks = 1e18;
	unsigned int repeat;

	for (repeat = 0; repeat < 200; repeat++) {
		__u64 before;

		*(volatile char *)page = 1;
		before = __rdtsc();
		madvise(page, page_size(), MADV_DONTNEED);
		ticks = smaller(ticks, __rdtsc() - before);
	}
	return ticks;
}

static void subscribe(enum bench_subscription_kind kind, unsigned int nr,
		      const void *start, __u64 *nr_called)
{
	struct bench_subscribe args = {
		.kind = kind,
		.nr = nr,
		.start = (unsigned long)start,
		.length = 4 * page_size(),
	};

	if (ioctl(bench_fd, BENCH_SUBSCRIBE, &args))
		fail("%u subscriptions: %s", nr, strerror(errno));
	*nr_called = args.nr_called;
}

static void invalidation_rows(void)
{
	static const unsigned int counts[] = { 1000, 100000 };
	static const char *const names[] = { "notifier", "mirror" };
	size_t npages = 4 * 100000;
	char *start = need(map_anonymous(npages), "memory");
	double without;
	unsigned int i, kind;
	__u64 nr_called;

	without = discard_ticks(page_at(start, npages / 2));
	for (i = 0; i < 2; i++) {
		char *page = page_at(start, 4 * (counts[i] / 2));
		const char *name = i ? "invalidate_100000" : "invalidate_1000";

		for (kind = BENCH_BARE_NOTIFIER; kind <= BENCH_MIRROR; kind++) {
			subscribe(kind, counts[i], start, &nr_called);
			print_row(name, names[kind], discard_ticks(page) - without);
			subscribe(kind, 0, NULL, &nr_called);
			if (!nr_called)
				fail("no invalidation was seen");
		}
	}
	print_row("invalidate_none", "madvise", without);
	release(start, npages);
}

/* From user space, end to end */

static int hmm_mirror_fd = -1;

static double range_ticks(void *start, size_t npages, size_t capacity,
			  const char *name, unsigned int repeat)
{
	size_t size = capacity * sizeof(struct hmm_mirror_extent_info);
	struct hmm_mirror_extent_info *extents =
		need(map_anonymous(size / page_size() + 1), "memory");
	double ticks = 1e18;
	unsigned int nr = 0;

	memset(extents, 1, size);
	while (repeat--) {
		struct hmm_mirror_range_args args =
			range_args(start, npages, 0, extents, capacity);
		__u64 before = __rdtsc();

		if (call_range(hmm_mirror_fd, &args) || args.next != args.end)
			fail("RANGE: %s", strerror(errno));
		ticks = smaller(ticks, __rdtsc() - before);
		nr = args.nr_extents;
	}
	print_row(name, "number", nr);
	release(extents, size / page_size() + 1);
	return ticks;
}

static double pagemap_ticks(void *start, size_t npages, uint64_t *buffer)
{
	double ticks = 1e18;
	unsigned int repeat;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (repeat = 0; repeat < 3; repeat++) {
		ssize_t size = npages * sizeof(*buffer);
		__u64 before = __rdtsc();

		if (pread(fd, buffer, size, (unsigned long)start / page_size() *
			  sizeof(*buffer)) != size)
			fail("pagemap: %s", strerror(errno));
		ticks = smaller(ticks, __rdtsc() - before);
	}
	close(fd);
	return ticks;
}

/* 0 if the kernel has none. */
static double pagemap_scan_ticks(void *start, size_t npages, void *buffer)
{
	double ticks = 1e18;
	unsigned int repeat;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (repeat = 0; repeat < 3; repeat++) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = (unsigned long)start,
			.end = (unsigned long)start + npages * page_size(),
			.vec = (unsigned long)buffer,
			.vec_len = npages / 4,
			.category_mask = PAGE_IS_PRESENT,
			.return_mask = PAGE_IS_PRESENT,
		};
		__u64 before = __rdtsc();

		if (ioctl(fd, PAGEMAP_SCAN, &arg) < 0) {
			if (errno == ENOTTY || errno == EINVAL)
				ticks = 0;
			else
				fail("PAGEMAP_SCAN: %s", strerror(errno));
			break;
		}
		if (arg.walk_end != arg.end)
			fail("PAGEMAP_SCAN stopped");
		ticks = smaller(ticks, __rdtsc() - before);
	}
	close(fd);
	return ticks;
}

static double mincore_ticks(void *start, size_t npages, void *buffer)
{
	double ticks = 1e18;
	unsigned int repeat;

	for (repeat = 0; repeat < 3; repeat++) {
		__u64 before = __rdtsc();

		if (mincore(start, npages * page_size(), buffer))
			fail("mincore: %s", strerror(errno));
		ticks = smaller(ticks, __rdtsc() - before);
	}
	return ticks;
}

static void user_rows(void)
{
	size_t npages = GIB / page_size();
	void *start = map_touched(npages);
	size_t buffer_pages = npages * sizeof(uint64_t) / page_size();
	void *buffer = map_touched(buffer_pages);
	double scan;

	hmm_mirror_fd = open_device();
	if (hmm_mirror_fd < 0)
		fail(DEVICE ": %s", strerror(errno));
	print_row("user", "RANGE",
		  range_ticks(start, npages, npages, "user_extents", 5) / npages);
	print_row("user", "pagemap", pagemap_ticks(start, npages, buffer) / npages);
	scan = pagemap_scan_ticks(start, npages, buffer);
	if (scan)
		print_row("user", "PAGEMAP_SCAN", scan / npages);
	print_row("user", "mincore", mincore_ticks(start, npages, buffer) / npages);
	print_row("user_one_page", "RANGE",
		  range_ticks(start, 1, 1, "user_one_page_extents", 20));
	release(buffer, buffer_pages);
	release(start, npages);
	close(hmm_mirror_fd);
}

static void user_scattered_row(void)
{
	size_t npages = 128 * MIB / page_size();
	void *start = map_scattered(npages);

	hmm_mirror_fd = open_device();
	if (hmm_mirror_fd < 0)
		fail(DEVICE ": %s", strerror(errno));
	print_row("user_scattered", "RANGE",
		  range_ticks(start, npages, npages, "user_scattered_extents", 3) /
		  npages);
	release(start, npages);
	close(hmm_mirror_fd);
}

/* Who wants to change the address space while all of a large hole is faulted in */

struct mapper {
	pthread_t thread;
	volatile bool ready;
	volatile bool stop;
	unsigned int calls;
	double longest;
};

static void *map_all_the_time(void *argument)
{
	struct mapper *mapper = argument;

	mapper->ready = true;
	while (!mapper->stop) {
		void *page;
		__u64 before;

		sleep_ms(5);
		before = __rdtsc();
		page = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		mapper->longest = larger(mapper->longest, __rdtsc() - before);
		munmap(page, page_size());
		mapper->calls++;
	}
	return NULL;
}

static void fault_by_range(void *start, size_t npages)
{
	struct hmm_mirror_extent_info extents[64];
	struct hmm_mirror_range_args args =
		range_args(start, npages, HMM_MIRROR_RANGE_FAULT | HMM_MIRROR_RANGE_WRITE,
			   extents, 64);

	while (args.start < args.end) {
		if (call_range(hmm_mirror_fd, &args))
			fail("RANGE: %s", strerror(errno));
		args.start = args.next;
	}
}

static void fault_by_madvise(void *start, size_t npages)
{
	if (madvise(start, npages * page_size(), MADV_POPULATE_WRITE))
		fail("MADV_POPULATE_WRITE: %s", strerror(errno));
}

static void mmap_waits_row(void)
{
	static const struct {
		const char *name;
		void (*fault)(void *start, size_t npages);
		unsigned int calls; /* How many mmap() must be at least: few if each waits. */
	} ways[] = {
		{ "RANGE", fault_by_range, 100 },
		{ "MADV_POPULATE_WRITE", fault_by_madvise, 1 },
	};
	size_t npages = GIB / page_size();
	void *start = map_touched(npages);
	unsigned int i;

	hmm_mirror_fd = open_device();
	if (hmm_mirror_fd < 0)
		fail(DEVICE ": %s", strerror(errno));
	for (i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		struct mapper mapper = {};

		discard(start, npages);
		if (pthread_create(&mapper.thread, NULL, map_all_the_time, &mapper))
			fail("cannot create a thread");
		while (!mapper.ready)
			sleep_ms(1);
		ways[i].fault(start, npages);
		mapper.stop = true;
		pthread_join(mapper.thread, NULL);
		if (mapper.calls < ways[i].calls)
			fail("only %u calls of mmap()", mapper.calls);
		print_row("mmap_waits", ways[i].name, mapper.longest / 1e6);
	}
	release(start, npages);
	close(hmm_mirror_fd);
}

static const struct {
	const char *name;
	void (*measure)(void);
} groups[] = {
	/* First, while free memory is in one piece. */
	{ "user", user_rows },
	{ "snapshot", snapshot_rows },
	{ "one_page", one_page_rows },
	{ "sparse", sparse_row },
	{ "fault_hole", fault_hole_row },
	{ "fault_alternate", fault_alternate_row },
	{ "stride", stride_rows },
	{ "invalidation", invalidation_rows },
	{ "cow", cow_rows },
	{ "mmap_waits", mmap_waits_row },
	{ "hugetlb", hugetlb_rows },
	{ "user_scattered", user_scattered_row },
};

static bool is_wanted(const char *name, char **wanted)
{
	if (!*wanted)
		return true;
	for (; *wanted; wanted++) {
		if (!strcmp(name, *wanted))
			return true;
	}
	return false;
}

static int count_instructions(char **wanted)
{
	unsigned int i;
	void *page = map_touched(512);

	/* The kernel still has work to do from when the machine started. */
	sleep_ms(5000);
	check_ticks();
	cost_of_nothing = ticks_of(BENCH_NOTHING, 0, page, 1, 100);

	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (is_wanted(groups[i].name, wanted))
			groups[i].measure();
	}
	return 0;
}

/* Two CPUs that read disjoint ranges of one address space */

#define SCALE_PAGES	(16 * MIB / page_size())
#define SCALE_REPEAT	20
#define SCALE_CALLS	300

struct reader {
	pthread_t thread;
	unsigned int cpu;
	void *start;
	enum bench_function function;
	double begin[SCALE_CALLS];
	double end[SCALE_CALLS];
};

static pthread_barrier_t readers_start;

static void *read_range(void *argument)
{
	struct reader *reader = argument;
	unsigned int i;

	if (!pin_to_cpu(reader->cpu))
		fail("cannot run on CPU %u", reader->cpu);
	pthread_barrier_wait(&readers_start);
	for (i = 0; i < SCALE_CALLS; i++) {
		reader->begin[i] = seconds_now();
		call_module(reader->function, 0, reader->start, SCALE_PAGES, 0,
			    SCALE_REPEAT);
		reader->end[i] = seconds_now();
	}
	return NULL;
}

static void run_readers(struct reader *readers, unsigned int nr)
{
	unsigned int i;

	pthread_barrier_init(&readers_start, NULL, nr);
	for (i = 0; i < nr; i++) {
		if (pthread_create(&readers[i].thread, NULL, read_range,
				   &readers[i]))
			fail("cannot create a thread");
	}
	for (i = 0; i < nr; i++)
		pthread_join(readers[i].thread, NULL);
	pthread_barrier_destroy(&readers_start);
}

static double shortest_call(const struct reader *reader)
{
	double best = 1e18;
	unsigned int i;

	for (i = 0; i < SCALE_CALLS; i++)
		best = smaller(best, reader->end[i] - reader->begin[i]);
	return best;
}

/* How long the best two calls that ran side by side took, on average. */
static double shortest_pair(const struct reader *a, const struct reader *b)
{
	double best = 1e18;
	unsigned int i, j;

	for (i = 0; i < SCALE_CALLS; i++) {
		for (j = 0; j < SCALE_CALLS; j++) {
			double first = a->end[i] - a->begin[i];
			double second = b->end[j] - b->begin[j];
			double together = smaller(a->end[i], b->end[j]) -
					  larger(a->begin[i], b->begin[j]);

			if (together < 0.75 * first || together < 0.75 * second)
				continue;
			best = smaller(best, (first + second) / 2);
		}
	}
	if (best == 1e18)
		fail("the two CPUs never ran at the same time");
	return best;
}

/*
 * The machine may have other things to do and take a CPU away for a while: calls are
 * short, and the best ones count, one alone and two side by side.
 */
static int scale(void)
{
	static struct reader readers[2];
	char *start = map_touched(2 * SCALE_PAGES);
	unsigned int i, k;

	for (i = 0; i < NR_IMPLEMENTATIONS; i++) {
		double one;

		if (!is_there(i))
			continue;
		for (k = 0; k < 2; k++) {
			readers[k].cpu = k;
			readers[k].start = page_at(start, k * SCALE_PAGES);
			readers[k].function = implementations[i].function;
		}
		run_readers(readers, 1);
		one = shortest_call(&readers[0]);
		run_readers(readers, 2);
		print_row("scale", implementations[i].name,
			  2 * one / shortest_pair(&readers[0], &readers[1]));
	}
	return 0;
}

int main(int argc, char **argv)
{
	bench_fd = open(BENCH_DEVICE, O_RDWR | O_CLOEXEC);
	if (bench_fd < 0)
		fail(BENCH_DEVICE ": %s", strerror(errno));
	find_kernel_function();
	if (argc >= 2 && !strcmp(argv[1], "count"))
		return count_instructions(argv + 2);
	if (argc == 2 && !strcmp(argv[1], "scale"))
		return scale();
	fail("usage: bench count [GROUP...] | bench scale");
}
