// SPDX-License-Identifier: Apache-2.0
// Words that people mistype.
#ifndef WPAR_BASE_WORDS_H
#define WPAR_BASE_WORDS_H

#include <stddef.h>

// How many letters must be changed, added or taken away to make b of a (Levenshtein's distance).
// Words of more than 63 bytes are SIZE_MAX from all others.
size_t word_distance(const char *a, const char *b);

#endif
