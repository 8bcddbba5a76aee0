// SPDX-License-Identifier: GPL-2.0
/* Makes up requests. */
#include <sys/mman.h>

#include "layout.h"
#include "random.h"
#include "requests.h"

#define MARGIN		24L	/* pages around the arena that ranges may include */

uint64_t asked(const struct test_case *test, long i)
{
	return ((test->words[i] & test->mask) | test->default_flags) & REQ_BITS;
}

bool asked_at_all(uint64_t request)
{
	return request & REQ_FAULT;
}

bool asked_to_write(uint64_t request)
{
	return request == REQ_BITS;
}

bool can_be_had(long page, uint64_t request)
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
	/* At least one page of the segment is in the range; often it begins there. */
	test->first = segment->first + below(segment->npages);
	near = segment->npages > 4 ? 4 : segment->npages;
	if (one_in(2))
		test->first = segment->first + below(near);
	else if (one_in(3))
		test->first = segment->first + segment->npages - 1 -
			      below(near);
	if (one_in(2))
		test->first -= below(test->npages);
	if (segment->kind != AT_BORDER && test->first < -MARGIN)
		test->first = -MARGIN;
	if (test->first + test->npages > end + MARGIN)
		test->npages = end + MARGIN - test->first;
}

/* Mostly not for what cannot be had, which ends a request; with @often, half the time. */
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

/* A segment of 2 MiB or more, if there is one. */
static const struct segment *choose_block(const struct segment *otherwise)
{
	const struct segment *segment = otherwise;
	long nr = 0;
	size_t i;

	for (i = 0; i < layout.nr; i++) {
		if ((kinds[layout.segments[i].kind].flags & IS_BLOCK) &&
		    one_in(++nr))
			segment = &layout.segments[i];
	}
	return segment;
}

/*
 * Most of one page-table entry, often with what is before or behind it, of which a few
 * pages are asked for more than the others.
 */
static void choose_mixed_requests(struct test_case *test,
				  const struct segment *segment)
{
	const uint64_t usual = one_in(2) ? 0 : next_random() & REQ_BITS;
	long nr = 1 + below(3);
	long i;

	test->first = segment->first;
	if (one_in(2))
		test->first += below(BLOCK - 1);
	else if (one_in(3))
		test->first -= below(64);
	test->npages = 2 + below(BLOCK + 100);
	test->default_flags = one_in(4) ? REQ_FAULT : 0;
	test->mask = REQ_BITS;
	if (one_in(3))
		test->mask |= next_random() & DRIVER_BITS;
	for (i = 0; i < test->npages; i++)
		test->words[i] = usual | (next_random() & DRIVER_BITS);
	while (nr--) {
		i = below(test->npages);
		test->words[i] |= one_in(3) ? REQ_FAULT : REQ_BITS;
	}
	for (i = 0; i < test->npages; i++) {
		if (!can_be_had(test->first + i, asked(test, i)))
			test->words[i] &= ~REQ_WRITE;
		if (!can_be_had(test->first + i, asked(test, i)))
			test->words[i] &= ~REQ_BITS;
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

void choose_case(struct test_case *test, uint64_t seed, uint64_t number)
{
	const struct segment *segment;
	const struct kind_info *info;
	bool mixed;
	size_t i;

	seed_random((seed ^ 0x5851f42d4c957f2dULL) * 0x100000001b3ULL +
		    number);
	segment = &layout.segments[below(layout.nr)];
	/* What only few layouts have is asked for more often in those. */
	for (i = 0; i < layout.nr; i++) {
		if (kinds[layout.segments[i].kind].rare > 2 && one_in(6))
			segment = &layout.segments[i];
	}
	mixed = one_in(5);
	if (mixed)
		segment = choose_block(segment);
	info = &kinds[segment->kind];
	if (segment->kind == GIGANTIC && one_in(4))
		share_for_a_moment(segment);
	if (!(info->flags & (KEEP | BEFORE_FORK)) && one_in(mixed ? 2 : 4)) {
		munmap(address_of(segment->first), segment->npages * PAGE);
		build_segment(segment);
	}
	/* Whatever can be discarded may have been. */
	if (one_in(8)) {
		const struct segment *other =
			&layout.segments[below(layout.nr)];
		long first = below(other->npages);
		long npages = 1 + below(other->npages - first);

		if (!(kinds[other->kind].flags & (NO_READ | WAITS | IS_HUGETLB)))
			madvise(address_of(other->first + first), npages * PAGE,
				one_in(2) ? MADV_DONTNEED : MADV_PAGEOUT);
	}
	test->owner_pfn = one_in(8) ? 0 : own_device_page;
	if (mixed) {
		choose_mixed_requests(test, segment);
	} else {
		choose_range(test, segment);
		choose_requests(test,
				info->flags & NO_READ ||
				segment->kind == MIXEDMAP);
	}
	choose_function(test);
}
