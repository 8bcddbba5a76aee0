// SPDX-License-Identifier: GPL-2.0
#include "random.h"

static uint64_t random_state;

/* The first number after a seed is much like that after the next seed: discard it. */
void seed_random(uint64_t seed)
{
	random_state = seed;
	next_random();
}

uint64_t next_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

long below(long limit)
{
	return next_random() % limit;
}

bool one_in(long number)
{
	return !below(number);
}
