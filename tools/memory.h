/* SPDX-License-Identifier: GPL-2.0 */
/* Allocations that end the program if there is no memory. */
#ifndef HMMCTL_MEMORY_H
#define HMMCTL_MEMORY_H

#include <stddef.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

void *allocate(size_t size);

char *duplicate_string(const char *text);

/* Room for one more element in an array that holds @nr of @size bytes each. */
void *grow_array(void *array, size_t *allocated, size_t nr, size_t size);

char *format_string(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* HMMCTL_MEMORY_H */
