/* SPDX-License-Identifier: GPL-2.0 */
/* What has been compared, and which differences were found. */
#ifndef DIFFERENTIAL_TALLY_H
#define DIFFERENTIAL_TALLY_H

#include <stdbool.h>

#include "kinds.h"
#include "requests.h"

/* Allowed differences: see docs/comparison.md, "What an address yields". */
enum allowed {
	/* In snapshots, or in any answer */
	GARBAGE_NOT_VALID,
	SECRETMEM_ERROR,
	SHADOW_STACK_NOT_WRITE,
	POISON_ERROR,
	GUARD_ERROR,
	HWPOISON_ERROR,
	DEVICE_PMD_NOT_ERROR,
	DEVICE_PMD_OFFSET,
	/* In requests */
	SECRETMEM_REFUSED,
	SHADOW_STACK_REFUSED,
	HWPOISON_ERRNO,
	DEVICE_MADE_WRITABLE,
	/* Differences of the kernel's answer to a range from its own page by page */
	KERNEL_OVERFAULT_ERROR,
	KERNEL_HUGETLB_IGNORED,
	NR_ALLOWED,
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

/* Counters and tables are not changed when a case is repeated to shrink it. */
extern bool counting;

extern unsigned long nr_requests, nr_refused, nr_first_faults, nr_repeated;
extern unsigned long coverage[NR_KINDS][NR_COLUMNS];
extern const char * const column_names[NR_COLUMNS];

void count_allowed(enum allowed what);

/*
 * Page-table entries that a request has changed because of a page that is not their first
 * in the range; by the kind of memory.
 */
extern unsigned long changed_entries[NR_KINDS];

/* Counts the pages that the snapshots of calls.h have found to be of their kind. */
void count_coverage(const struct test_case *test);

void print_results(void);

#endif /* DIFFERENTIAL_TALLY_H */
