/* SPDX-License-Identifier: GPL-2.0 */
/* Random numbers that follow from a seed, the same on every machine. */
#ifndef DIFFERENTIAL_RANDOM_H
#define DIFFERENTIAL_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

void seed_random(uint64_t seed);
uint64_t next_random(void);

/* 0 ... @limit - 1 */
long below(long limit);

bool one_in(long number);

#endif /* DIFFERENTIAL_RANDOM_H */
