// SPDX-License-Identifier: GPL-2.0
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "style.h"

static bool has_styles(FILE *out)
{
	const char *no_color = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	return isatty(fileno(out)) && !(no_color && *no_color) &&
	       !(terminal && !strcmp(terminal, "dumb"));
}

void style_begin(FILE *out, enum style style)
{
	static const char * const sequences[] = {
		[STYLE_TITLE] = "\033[1m",
		[STYLE_ERROR] = "\033[1;31m",
		[STYLE_WARNING] = "\033[33m",
	};

	if (has_styles(out))
		fputs(sequences[style], out);
}

void style_end(FILE *out)
{
	if (has_styles(out))
		fputs("\033[m", out);
}
