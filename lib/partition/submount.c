// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/submount.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

// Undoes \040 and the like, in place.
static void unescape(char *text)
{
	char *out = text;
	for (const char *at = text; *at; out++) {
		unsigned value;
		int length = 0;
		if (*at == '\\' && sscanf(at, "\\%3o%n", &value, &length) == 1 && length == 4) {
			*out = (char)value;
			at += length;
		} else {
			*out = *at++;
		}
	}
	*out = 0;
}

bool submount_find(const char *mountinfo, const char *folder, char *point, size_t size)
{
	size_t length = strcmp(folder, "/") ? strlen(folder) : 0;
	char line[2 * PATH_MAX], found[PATH_MAX];
	for (const char *at = mountinfo; *at;) {
		size_t n = strcspn(at, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)n, at);
		at += n + (at[n] == '\n');
		if (sscanf(line, "%*d %*d %*s %*s %4095s", found) != 1)
			continue;
		unescape(found);
		if (strncmp(found, folder, length) || found[length] != '/' || !found[length + 1])
			continue;
		snprintf(point, size, "%s", found);
		return true;
	}
	return false;
}
