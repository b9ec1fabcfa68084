// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/signame.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// A number from 1 to `max` and nothing else; -1 otherwise.
static int read_number(const char *text, long max)
{
	char *end;
	long value = strtol(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && value >= 1 && value <= max ? (int)value
										    : -1;
}

int signame_number(const char *name)
{
	int plain = read_number(name, SIGRTMAX);
	if (plain > 0)
		return plain;
	if (!strncmp(name, "SIG", 3))
		name += 3;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *known = sigabbrev_np(i);
		if (known && !strcmp(known, name))
			return i;
	}
	if (strncmp(name, "RTMIN", 5) != 0)
		return -1;
	if (!name[5])
		return SIGRTMIN;
	int more = name[5] == '+' ? read_number(name + 6, SIGRTMAX - SIGRTMIN) : -1;
	return more > 0 ? SIGRTMIN + more : -1;
}
