/* SPDX-License-Identifier: GPL-2.0 */
/* Requests to an address space. */
#ifndef DIFFERENTIAL_REQUESTS_H
#define DIFFERENTIAL_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/differential_test/differential_test.h"

#define VALID		DIFFERENTIAL_VALID
#define WRITE		DIFFERENTIAL_WRITE
#define ERROR		DIFFERENTIAL_ERROR
#define STATE		(VALID | WRITE | ERROR)
#define REQ_FAULT	DIFFERENTIAL_REQ_FAULT
#define REQ_WRITE	DIFFERENTIAL_REQ_WRITE
#define REQ_BITS	(REQ_FAULT | REQ_WRITE)
#define DRIVER_BITS	(DIFFERENTIAL_DMA_MAPPED | DIFFERENTIAL_P2PDMA | \
			 DIFFERENTIAL_P2PDMA_BUS)
/* What an answer says, without the bits that belong to the caller. */
#define ANSWER		(STATE | DIFFERENTIAL_ORDER_MASK | \
			 DIFFERENTIAL_PFN_MASK)

/* What words contain where a function must not look, or must write. */
#define PATTERN		(STATE | DIFFERENTIAL_ORDER_MASK | \
			 DIFFERENTIAL_PFN_MASK)

#define MAX_RANGE	2048L

/**
 * struct test_case - a request
 * @first: first page, in the arena; may be negative
 * @npages: pages
 * @function: enum differential_function that serves it first
 * @capacity: of arrays of extents
 * @default_flags: as in hmm_mirror.h
 * @mask: likewise
 * @owner_pfn: as in differential_test.h
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

/* Which request bits page @i of the range has. */
uint64_t asked(const struct test_case *test, long i);

bool asked_at_all(uint64_t request);
bool asked_to_write(uint64_t request);

/* Whether page @page of the arena, by its kind, can be had for @request. */
bool can_be_had(long page, uint64_t request);

/* Changes what is there, and makes up a request. */
void choose_case(struct test_case *test, uint64_t seed, uint64_t number);

#endif /* DIFFERENTIAL_REQUESTS_H */
