// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/name.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

// Shows a name that may hold anything in at most 80 printable characters.
static const char *printable(const char *name, char out[81])
{
	size_t n = 0;
	for (const char *c = name; *c && n < 76; c++) {
		if (isprint((unsigned char)*c))
			out[n++] = *c;
		else
			n += (size_t)snprintf(out + n, 5, "\\x%02x", (unsigned char)*c);
	}
	out[n] = 0;
	return out;
}

int name_check(const char *name, struct error *err)
{
	char shown[81];
	if (!name || !*name)
		return error_set(err, ERR_NAME_INVALID, "the name is empty");
	size_t length = strnlen(name, NAME_MAX_LENGTH + 1);
	if (length > NAME_MAX_LENGTH)
		return error_set(err, ERR_NAME_INVALID, "the name \"%.20s...\" is longer than %d",
				 printable(name, shown), NAME_MAX_LENGTH);
	for (size_t i = 0; i < length; i++) {
		char c = name[i];
		bool plain =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!plain && (i == 0 || !strchr("._-", c)))
			return error_set(err, ERR_NAME_INVALID, "\"%s\" is not a valid name",
					 printable(name, shown));
	}
	if (strstr(name, ".."))
		return error_set(err, ERR_NAME_INVALID, "\"%s\" is not a valid name: it has \"..\"",
				 name);
	return 0;
}
