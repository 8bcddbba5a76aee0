// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdlib.h>

#include "format.h"
#include "memory.h"
#include "style.h"
#include "table.h"

/* Rows should not be longer than this unless told otherwise. */
#define USUAL_WIDTH		100
#define WIDE_GAP		2
#define NARROW_GAP		1
/* The last column is not cut shorter than this; the terminal may wrap it. */
#define LAST_COLUMN_MIN_WIDTH	12

void table_column(struct table *table, const char *header, enum table_align align)
{
	if (table->nr_columns == TABLE_MAX_COLUMNS)
		abort();
	table->headers[table->nr_columns] = header;
	table->aligns[table->nr_columns] = align;
	table->nr_columns++;
}

void table_cell(struct table *table, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = duplicate_string("");
	va_end(arguments);

	make_printable(text);
	table->cells = grow_array(table->cells, &table->allocated, table->nr_cells,
				  sizeof(*table->cells));
	table->cells[table->nr_cells++] = text;
}

static void put_blanks(FILE *out, unsigned int nr)
{
	fprintf(out, "%*s", (int)nr, "");
}

static void put_cell(FILE *out, const char *text, unsigned int width, enum table_align align)
{
	unsigned int text_width = display_width(text);
	unsigned int padding = width > text_width ? width - text_width : 0;

	if (align == TABLE_RIGHT)
		put_blanks(out, padding);
	fputs(text, out);
	if (align == TABLE_LEFT)
		put_blanks(out, padding);
}

struct layout {
	unsigned int widths[TABLE_MAX_COLUMNS];
	unsigned int gap;
	/* What the last column may use; 0: anything */
	unsigned int last_width;
};

static void put_row(const struct table *table, FILE *out, const char * const *cells,
		    const struct layout *layout)
{
	unsigned int end = table->nr_columns;

	/* No blanks at the end of a line */
	while (end && !*cells[end - 1])
		end--;

	for (unsigned int i = 0; i < end; i++) {
		if (i)
			put_blanks(out, layout->gap);
		if (i + 1 == table->nr_columns && table->aligns[i] == TABLE_LEFT)
			print_cut(out, cells[i], layout->last_width);
		else if (i + 1 == end && table->aligns[i] == TABLE_LEFT)
			fputs(cells[i], out);
		else
			put_cell(out, cells[i], layout->widths[i], table->aligns[i]);
	}
	fputc('\n', out);
}

static void measure(const struct table *table, unsigned int *widths)
{
	for (unsigned int i = 0; i < table->nr_columns; i++)
		widths[i] = display_width(table->headers[i]);

	for (size_t i = 0; i < table->nr_cells; i++) {
		unsigned int width = display_width(table->cells[i]);
		unsigned int column = (unsigned int)(i % table->nr_columns);

		if (widths[column] < width)
			widths[column] = width;
	}
}

static unsigned int row_width(const struct table *table, const unsigned int *widths,
			      unsigned int gap)
{
	unsigned int width = 0;

	for (unsigned int i = 0; i < table->nr_columns; i++)
		width += widths[i] + (i ? gap : 0);
	return width;
}

static struct layout find_layout(const struct table *table, unsigned int width)
{
	unsigned int last = table->nr_columns - 1;
	struct layout layout = { .gap = WIDE_GAP };

	measure(table, layout.widths);
	if (row_width(table, layout.widths, layout.gap) > (width ? width : USUAL_WIDTH))
		layout.gap = NARROW_GAP;
	if (width) {
		unsigned int others = row_width(table, layout.widths, layout.gap) -
				      layout.widths[last];

		layout.last_width = width > others + LAST_COLUMN_MIN_WIDTH ? width - others :
									     LAST_COLUMN_MIN_WIDTH;
	}
	return layout;
}

void table_print(struct table *table, FILE *out, unsigned int width)
{
	struct layout layout;

	if (!table->nr_columns)
		return;
	layout = find_layout(table, width);

	style_begin(out, STYLE_TITLE);
	put_row(table, out, table->headers, &layout);
	style_end(out);
	for (size_t i = 0; i + table->nr_columns <= table->nr_cells; i += table->nr_columns)
		put_row(table, out, (const char * const *)table->cells + i, &layout);

	for (size_t i = 0; i < table->nr_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){ 0 };
}
