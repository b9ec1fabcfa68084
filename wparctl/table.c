// SPDX-License-Identifier: Apache-2.0
#include "wparctl/table.h"

#include "wparctl/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP       2
#define FLOOR     6 // no column is cut below this, nor below its title
#define SGR_RESET "\x1b[0m"

struct cell {
	char *text;
	int colour;
};

struct table {
	const struct table_column *columns;
	size_t count;
	struct cell *cells; // row after row
	size_t rows, room;
};

struct table *table_new(const struct table_column *columns, size_t count)
{
	struct table *table = calloc(1, sizeof(*table));
	if (table)
		*table = (struct table){.columns = columns, .count = count};
	return table;
}

void table_free(struct table *table)
{
	for (size_t i = 0; table && i < table->rows * table->count; i++)
		free(table->cells[i].text);
	if (table)
		free(table->cells);
	free(table);
}

void table_row(struct table *table, const char *const *cells, const int *colours)
{
	if (!table)
		return;
	if (table->rows == table->room) {
		size_t room = table->room ? table->room * 2 : 16;
		struct cell *more =
			reallocarray(table->cells, room * table->count, sizeof(*table->cells));
		if (!more)
			return;
		table->cells = more;
		table->room = room;
	}
	struct cell *row = &table->cells[table->rows++ * table->count];
	for (size_t i = 0; i < table->count; i++)
		row[i] = (struct cell){text_plain(cells[i] && cells[i][0] ? cells[i] : "-"),
				       colours ? colours[i] : 0};
}

static size_t floor_of(const struct table_column *column)
{
	size_t title = strlen(column->title);
	return title > FLOOR ? title : FLOOR;
}

static const char *cell_text(const struct table *table, size_t row, size_t column)
{
	const char *text = table->cells[row * table->count + column].text;
	return text ? text : "-";
}

// How wide each column would like to be.
static void measure(const struct table *table, size_t *widths)
{
	for (size_t c = 0; c < table->count; c++) {
		widths[c] = strlen(table->columns[c].title);
		for (size_t r = 0; r < table->rows; r++) {
			size_t width = text_width(cell_text(table, r, c));
			widths[c] = width > widths[c] ? width : widths[c];
		}
	}
}

static size_t least(const struct table_column *column, size_t width)
{
	size_t floor = floor_of(column);
	return column->flexible && width > floor ? floor : width;
}

// How many columns can be shown: the first always.
static size_t shown(const struct table *table, const size_t *widths, unsigned width)
{
	size_t sum = 0;
	for (size_t c = 0; c < table->count; c++) {
		sum += (c ? GAP : 0) + least(&table->columns[c], widths[c]);
		if (sum > width && c)
			return c;
	}
	return table->count;
}

// The widest flexible column that may still give; count: none.
static size_t widest(const struct table *table, const size_t *widths, size_t count)
{
	size_t best = count;
	for (size_t c = 0; c < count; c++)
		if (widths[c] > least(&table->columns[c], widths[c]) &&
		    (best == count || widths[c] > widths[best]))
			best = c;
	return best;
}

static void fit(const struct table *table, size_t *widths, size_t count, unsigned width)
{
	size_t sum = GAP * (count - 1);
	for (size_t c = 0; c < count; c++)
		sum += widths[c];
	for (size_t c; sum > width && (c = widest(table, widths, count)) < count; sum--)
		widths[c]--;
}

struct line {
	FILE *to;
	const struct table *table;
	const size_t *widths;
	size_t count; // of columns
	bool colour;
};

static void print_cell(const struct line *line, size_t column, const char *text, int colour)
{
	size_t room = line->widths[column], width = text_width(text), length = strlen(text);
	bool cut = width > room, last = column + 1 == line->count;
	if (cut) {
		length = text_fit(text, room - 1);
	}
	// A wide character that was cut leaves a column free.
	char *part = strndup(text, length);
	width = (part ? text_width(part) : 0) + cut;
	int pad = width < room ? (int)(room - width) : 0;
	if (line->table->columns[column].right)
		fprintf(line->to, "%*s", pad, "");
	if (line->colour && colour)
		fprintf(line->to, "\x1b[%dm", colour);
	fprintf(line->to, "%s%s", part ? part : "", cut ? "~" : "");
	if (line->colour && colour)
		fputs(SGR_RESET, line->to);
	if (!line->table->columns[column].right && !last)
		fprintf(line->to, "%*s", pad, "");
	fprintf(line->to, "%*s%s", last ? 0 : GAP, "", last ? "\n" : "");
	free(part);
}

static void print_table(const struct line *line)
{
	const struct table *table = line->table;
	for (size_t c = 0; c < line->count; c++)
		print_cell(line, c, table->columns[c].title, 0);
	for (size_t r = 0; r < table->rows; r++)
		for (size_t c = 0; c < line->count; c++)
			print_cell(line, c, cell_text(table, r, c),
				   table->cells[r * table->count + c].colour);
}

char *table_text(const struct table *table, unsigned width, bool colour)
{
	char *text = NULL;
	size_t length = 0, *widths = table ? calloc(table->count, sizeof(*widths)) : NULL;
	FILE *to = widths ? open_memstream(&text, &length) : NULL;
	if (to) {
		measure(table, widths);
		size_t count = width ? shown(table, widths, width) : table->count;
		if (width)
			fit(table, widths, count, width);
		print_table(&(struct line){to, table, widths, count, colour});
		fclose(to);
	}
	free(widths);
	return text;
}
