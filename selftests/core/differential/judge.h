/* SPDX-License-Identifier: GPL-2.0 */
/* Whether what was answered is right. */
#ifndef DIFFERENTIAL_JUDGE_H
#define DIFFERENTIAL_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/differential_test/differential_test.h"
#include "requests.h"

bool is_met(uint64_t request, uint64_t word);

/* calls[0] to calls[3] are snapshots that should agree. */
bool judge_snapshots(const struct test_case *test, const char *when);

/*
 * Checks @answer, of @call: all pages that one page-table entry maps have the same flags
 * and order, and consecutive page frame numbers.
 */
bool judge_entries(const struct test_case *test,
		   const struct differential_call *call,
		   const uint64_t *answer);

/* Judges one case. False if there is a difference, which @reason tells. */
bool try_case(const struct test_case *test);

#endif /* DIFFERENTIAL_JUDGE_H */
