// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "format.h"
#include "hmmctl.h"
#include "memory.h"
#include "message.h"
#include "style.h"

static const char *command;

void message_set_command(const char *name)
{
	command = name;
}

static void print(const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	/* It may contain names of files and processes. */
	if (text)
		make_printable(text);

	/* If both are a terminal, a message comes after the output that led to it. */
	fflush(stdout);
	style_begin(stderr, STYLE_ERROR);
	fprintf(stderr, "hmmctl%s%s:", command ? " " : "", command ? command : "");
	style_end(stderr);
	fprintf(stderr, " %s\n", text ? text : "out of memory");
	free(text);
}

void complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print(format, arguments);
	va_end(arguments);
}

int usage_hint(void)
{
	fprintf(stderr, "Try 'hmmctl%s%s --help'.\n", command ? " " : "", command ? command : "");
	return EXIT_STATUS_USAGE;
}

int usage_error_free(char *reason)
{
	complain("%s", reason);
	free(reason);
	return usage_hint();
}

int usage_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print(format, arguments);
	va_end(arguments);
	return usage_hint();
}

const char *error_name(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ EACCES, "EACCES" },
		{ EAGAIN, "EAGAIN" },
		{ EBUSY, "EBUSY" },
		{ EDQUOT, "EDQUOT" },
		{ EFAULT, "EFAULT" },
		{ EHWPOISON, "EHWPOISON" },
		{ EINTR, "EINTR" },
		{ EINVAL, "EINVAL" },
		{ EIO, "EIO" },
		{ ENOENT, "ENOENT" },
		{ ENOMEM, "ENOMEM" },
		{ ENOSPC, "ENOSPC" },
		{ ENOTTY, "ENOTTY" },
		{ EOPNOTSUPP, "EOPNOTSUPP" },
		{ EPERM, "EPERM" },
		{ ESRCH, "ESRCH" },
		{ ETIMEDOUT, "ETIMEDOUT" },
	};
	static char other[24];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].error == error)
			return names[i].name;

	snprintf(other, sizeof(other), "error %d", error);
	return other;
}
