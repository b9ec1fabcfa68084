// SPDX-License-Identifier: Apache-2.0
// The outline of a YAML text: every key with its line. libcyaml turns the text into a struct but
// does not say where a key stood; people who correct a file need exactly that.
#ifndef WPAR_CONFIG_OUTLINE_H
#define WPAR_CONFIG_OUTLINE_H

#include "lib/base/error.h"

#include <stddef.h>

enum outline_kind { OUTLINE_TEXT, OUTLINE_LIST, OUTLINE_MAP };

struct outline_key {
	char *path;    // "api.socket"; keys inside of lists are not listed
	unsigned line; // from 1
	enum outline_kind kind;
};

struct outline {
	struct outline_key *keys;
	size_t count;
};

// Reads the text. ERR_CONFIG, with the line, for what is not YAML, for an alias, a key given
// twice, a nesting deeper than 16, more than 4096 keys, or a top that is not a map.
int outline_read(const char *text, size_t length, struct outline *outline, struct error *err);
void outline_free(struct outline *outline);

// The line of a path, 0 if it is not there.
unsigned outline_line(const struct outline *outline, const char *path);

#endif
