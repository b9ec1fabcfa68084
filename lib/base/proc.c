// SPDX-License-Identifier: Apache-2.0
#include "lib/base/proc.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define STAT_MAX 4096

uint64_t proc_start_time(pid_t pid)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, STAT_MAX, NULL);
	// The name in parentheses may hold anything; fields are counted from behind it (it is 2).
	char *at = text ? strrchr(text, ')') : NULL;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}
