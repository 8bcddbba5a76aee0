/* SPDX-License-Identifier: GPL-2.0 */
/* Colours, where they are wanted. */
#ifndef HMMCTL_STYLE_H
#define HMMCTL_STYLE_H

#include <stdio.h>

enum style {
	STYLE_TITLE,
	STYLE_ERROR,
	STYLE_WARNING,
};

/*
 * What is printed until style_end() looks like this. No effect if @out is not a terminal,
 * or if $NO_COLOR (not empty) or TERM=dumb forbids it.
 */
void style_begin(FILE *out, enum style style);
void style_end(FILE *out);

#endif /* HMMCTL_STYLE_H */
