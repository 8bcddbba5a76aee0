// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hmmctl.h"
#include "memory.h"
#include "message.h"

static void *check(void *memory)
{
	if (!memory) {
		complain("out of memory");
		exit(EXIT_STATUS_FAILED);
	}
	return memory;
}

void *allocate(size_t size)
{
	return check(malloc(size));
}

char *duplicate_string(const char *text)
{
	return check(strdup(text));
}

void *grow_array(void *array, size_t *allocated, size_t nr, size_t size)
{
	if (nr < *allocated)
		return array;

	*allocated = *allocated ? *allocated * 2 : 16;
	return check(reallocarray(array, *allocated, size));
}

char *format_string(const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);

	return check(length < 0 ? NULL : text);
}
