// SPDX-License-Identifier: Apache-2.0
// Text from outside on a terminal: nothing in it may act as a command, and its width is counted in
// columns, not in bytes.
#ifndef WPARCTL_TEXT_H
#define WPARCTL_TEXT_H

#include <stddef.h>

// Copies text with each control character, each byte that is not UTF-8, and each character that
// turns the direction of writing around replaced by '?'. The caller frees it; NULL: no memory.
char *text_plain(const char *text);

// Columns that a terminal gives to the text: 0 for combining characters, 2 for wide ones.
size_t text_width(const char *text);

// Bytes of the beginning of the text that fit into so many columns.
size_t text_fit(const char *text, size_t columns);

#endif
