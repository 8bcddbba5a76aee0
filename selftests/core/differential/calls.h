/* SPDX-License-Identifier: GPL-2.0 */
/* Has a request answered by hmm_differential.ko, and keeps the answers. */
#ifndef DIFFERENTIAL_CALLS_H
#define DIFFERENTIAL_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/differential_test/differential_test.h"
#include "requests.h"

/* The answers of a run: words of up to MAX_CALLS functions. */
extern uint64_t words[DIFFERENTIAL_MAX_CALLS][MAX_RANGE];
extern unsigned char entries[MAX_RANGE];
extern uint64_t first_words[MAX_RANGE];
extern uint64_t before_words[MAX_RANGE];
extern struct differential_call calls[DIFFERENTIAL_MAX_CALLS];
extern struct differential_call first_call;

/* The last run was made again and again, until it was given up. */
extern bool never_settled;
extern unsigned long nr_stale;

/* Why the case fails. */
extern char reason[512];

/* Sets the reason, and returns false. */
__attribute__((format(printf, 1, 2)))
bool differ(const char *format, ...);

const char *describe(uint64_t word);

/* Opens the device. Returns the errno, EOPNOTSUPP if there is no hmm_range_fault(). */
int open_device(void);
void close_device(void);

/* A call, to be made with run(), whose answer goes to @answer. */
struct differential_call make_request(const struct test_case *test,
				      unsigned int function, uint64_t *answer);

/* Prepares calls[0] to calls[3]: snapshots by the kernel, pages, extents, the kernel. */
void make_snapshots(const struct test_case *test);

/* Makes calls on one state. False if that fails, whatever they answer. */
bool run(const struct test_case *test, struct differential_call *run_calls,
	 unsigned int nr, unsigned int flags);

#endif /* DIFFERENTIAL_CALLS_H */
