// SPDX-License-Identifier: Apache-2.0
#include "wparctl/table.h"

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

char *table_plain(const char *text)
{
	char *plain = strdup(text);
	for (unsigned char *at = (unsigned char *)plain; plain && *at; at++)
		if (*at < ' ' || *at == 0x7f || (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0))
			*at = '?';
	return plain;
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
		row[i] = (struct cell){table_plain(cells[i] && cells[i][0] ? cells[i] : "-"),
				       colours ? colours[i] : 0};
}

// Columns on a terminal, one for each character of UTF-8.
static size_t text_width(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

// Bytes of the first `width` characters.
static size_t bytes_of(const char *text, size_t width)
{
	size_t i = 0;
	for (; text[i]; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80 && width-- == 0)
			break;
	return i;
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

static size_t measure(const struct table *table, size_t *widths)
{
	size_t sum = GAP * (table->count - 1);
	for (size_t c = 0; c < table->count; c++) {
		widths[c] = strlen(table->columns[c].title);
		for (size_t r = 0; r < table->rows; r++) {
			size_t width = text_width(cell_text(table, r, c));
			widths[c] = width > widths[c] ? width : widths[c];
		}
		sum += widths[c];
	}
	return sum;
}

// The widest column that may still give; flexible ones go first. count: none.
static size_t widest(const struct table *table, const size_t *widths)
{
	for (int pass = 0; pass < 2; pass++) {
		size_t best = table->count;
		for (size_t c = 0; c < table->count; c++)
			if ((table->columns[c].flexible || pass) &&
			    widths[c] > floor_of(&table->columns[c]) &&
			    (best == table->count || widths[c] > widths[best]))
				best = c;
		if (best < table->count)
			return best;
	}
	return table->count;
}

static void fit(const struct table *table, size_t *widths, size_t sum, unsigned width)
{
	for (size_t c; sum > width && (c = widest(table, widths)) < table->count; sum--)
		widths[c]--;
}

struct line {
	FILE *to;
	const struct table *table;
	const size_t *widths;
	bool colour;
};

static void print_cell(const struct line *line, size_t column, const char *text, int colour)
{
	size_t room = line->widths[column], width = text_width(text), length = strlen(text);
	bool cut = width > room, last = column + 1 == line->table->count;
	if (cut) {
		length = bytes_of(text, room - 1);
		width = room;
	}
	int pad = (int)(room - width);
	if (line->table->columns[column].right)
		fprintf(line->to, "%*s", pad, "");
	if (line->colour && colour)
		fprintf(line->to, "\x1b[%dm", colour);
	fprintf(line->to, "%.*s%s", (int)length, text, cut ? "~" : "");
	if (line->colour && colour)
		fputs(SGR_RESET, line->to);
	if (!line->table->columns[column].right && !last)
		fprintf(line->to, "%*s", pad, "");
	fprintf(line->to, "%*s%s", last ? 0 : GAP, "", last ? "\n" : "");
}

static void print_table(const struct line *line)
{
	const struct table *table = line->table;
	for (size_t c = 0; c < table->count; c++)
		print_cell(line, c, table->columns[c].title, 0);
	for (size_t r = 0; r < table->rows; r++)
		for (size_t c = 0; c < table->count; c++)
			print_cell(line, c, cell_text(table, r, c),
				   table->cells[r * table->count + c].colour);
}

char *table_text(const struct table *table, unsigned width, bool colour)
{
	char *text = NULL;
	size_t length = 0, *widths = table ? calloc(table->count, sizeof(*widths)) : NULL;
	FILE *to = widths ? open_memstream(&text, &length) : NULL;
	if (to) {
		size_t sum = measure(table, widths);
		if (width)
			fit(table, widths, sum, width);
		print_table(&(struct line){to, table, widths, colour});
		fclose(to);
	}
	free(widths);
	return text;
}
