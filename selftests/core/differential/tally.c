// SPDX-License-Identifier: GPL-2.0
/* Counts what has been compared, and prints it. */
#include <stdio.h>
#include <string.h>

#include "calls.h"
#include "layout.h"
#include "tally.h"

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

const char * const column_names[NR_COLUMNS] = {
	"-", "read", "write", "read(page)", "write(page)", "REQ_WRITE",
};

static unsigned long allowed_count[NR_ALLOWED];
unsigned long coverage[NR_KINDS][NR_COLUMNS];
unsigned long nr_requests, nr_refused, nr_first_faults, nr_repeated;
unsigned long changed_entries[NR_KINDS];
static unsigned long nr_slots;
bool counting;

void count_allowed(enum allowed what)
{
	if (counting)
		allowed_count[what]++;
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

void count_coverage(const struct test_case *test)
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

void print_results(void)
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
	printf(" %11s\n", "one entry");
	for (i = 0; i < NR_KINDS; i++) {
		if (kinds[i].build && !built[i]) {
			printf("# %-28s cannot be made here: %s\n",
			       kinds[i].name, strerror(not_built[i]));
			continue;
		}
		printf("# %-28s", kinds[i].name);
		for (j = 0; j < NR_COLUMNS; j++)
			printf(" %11lu", coverage[i][j]);
		if (kinds[i].flags & GROWS)
			printf(" %11lu", changed_entries[i]);
		printf("\n");
	}
}
