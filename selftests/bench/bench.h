/* SPDX-License-Identifier: GPL-2.0 */
/* What the benchmark's programs have in common. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <errno.h>
#include <stdarg.h>
#include <x86intrin.h>

#include "memory.h"

#define KIB	1024UL
#define MIB	(1024 * KIB)
#define GIB	(1024 * MIB)
#define TIB	(1024 * GIB)

static inline void __attribute__((format(printf, 1, 2), noreturn))
fail(const char *format, ...)
{
	va_list arguments;

	printf("error ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	exit(1);
}

static inline void print_row(const char *name, const char *implementation, double value)
{
	printf("row %s %s %.3f\n", name, implementation, value);
	fflush(stdout);
}

static inline double smaller(double a, double b)
{
	return a < b ? a : b;
}

/* Memory */

static inline void *need(void *start, const char *what)
{
	if (!start)
		fail("cannot get %s", what);
	return start;
}

static inline void release(void *start, size_t npages)
{
	if (munmap(start, npages * page_size()))
		fail("munmap: %s", strerror(errno));
}

static inline void discard(void *start, size_t npages)
{
	if (madvise(start, npages * page_size(), MADV_DONTNEED))
		fail("MADV_DONTNEED: %s", strerror(errno));
}

static inline void *map_touched(size_t npages)
{
	void *start = need(map_anonymous_aligned(npages, pmd_size()), "memory");

	mark_pages(start, npages, 1);
	return start;
}

/* Touched in such an order that no two neighbours get neighbouring pages. */
static inline void *map_scattered(size_t npages)
{
	char *start = need(map_anonymous_aligned(npages, pmd_size()), "memory");
	size_t i;

	for (i = 0; i < npages; i++)
		*(volatile char *)page_at(start, i * 40503 % npages) = 1;
	return start;
}

/* Large folios that are mapped page by page. */
static inline void *map_contiguous(size_t nhuge)
{
	char *start = need(map_huge(nhuge), "huge pages");
	size_t i;

	for (i = 0; i < nhuge; i++) {
		char *page = start + i * pmd_size();

		if (mprotect(page, page_size(), PROT_READ) ||
		    mprotect(page, page_size(), PROT_READ | PROT_WRITE))
			fail("mprotect: %s", strerror(errno));
	}
	if (pmd_mapped_pages(start))
		fail("huge pages were not split");
	return start;
}

/* The time stamp counter must count instructions. The loop has two. */
static inline void check_ticks(void)
{
	double ratio = 1e18;
	unsigned int repeat;

	for (repeat = 0; repeat < 100; repeat++) {
		unsigned long count = 100000;
		__u64 before = __rdtsc();

		asm volatile("1: dec %0; jnz 1b" : "+r" (count));
		ratio = smaller(ratio, (__rdtsc() - before) / 2e5);
	}
	if (ratio < 0.99 || ratio > 1.02)
		fail("the time stamp counter does not count instructions (%.3f)",
		     ratio);
	print_row("ticks_per_instruction", "rdtsc", ratio);
}

#endif /* BENCH_BENCH_H */
