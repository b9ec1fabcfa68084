// SPDX-License-Identifier: Apache-2.0
// Tables for people: aligned columns that fit a width.
#ifndef WPARCTL_TABLE_H
#define WPARCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct table_column {
	const char *title;
	bool right;    // numbers
	bool flexible; // is cut when there is no room
};

struct table;

// `columns` must outlive the table. NULL: no memory, which all other functions bear.
struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *table);
// Adds a row of as many cells as there are columns, by copy. NULL prints as "-"; control characters
// are replaced. colours may be NULL, or have an SGR number per cell (0: none).
void table_row(struct table *table, const char *const *cells, const int *colours);
// The whole text with a line of titles; the caller frees it. width 0: as wide as it is; else
// flexible columns are cut (ending in "~") until lines fit, then columns are left out from the
// right.
char *table_text(const struct table *table, unsigned width, bool colour);

#endif
