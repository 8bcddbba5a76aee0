/* SPDX-License-Identifier: GPL-2.0 */
/* A text table: columns are as wide as what is in them. */
#ifndef HMMCTL_TABLE_H
#define HMMCTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

#define TABLE_MAX_COLUMNS	24

enum table_align {
	TABLE_LEFT,
	TABLE_RIGHT,
};

struct table {
	unsigned int nr_columns;
	const char *headers[TABLE_MAX_COLUMNS];
	enum table_align aligns[TABLE_MAX_COLUMNS];
	/* Row after row */
	char **cells;
	size_t nr_cells;
	size_t allocated;
};

void table_column(struct table *table, const char *header, enum table_align align);

/* The next cell, from left to right and row to row */
void table_cell(struct table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Prints and empties the table. If a row would exceed @width, columns move closer
 * together; if that is not enough, the last one is cut. Without @width none is cut, but
 * rows are kept below 100 columns if possible.
 */
void table_print(struct table *table, FILE *out, unsigned int width);

#endif /* HMMCTL_TABLE_H */
