// SPDX-License-Identifier: Apache-2.0
#include "lib/base/words.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 63

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;
	return least < c ? least : c;
}

size_t word_distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], width = strlen(b);
	if (strlen(a) > WORD_MAX || width > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= width; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < width; j++) {
			size_t above = row[j + 1];
			row[j + 1] = smallest(diagonal + (a[i] != b[j]), above + 1, row[j] + 1);
			diagonal = above;
		}
	}
	return row[width];
}
