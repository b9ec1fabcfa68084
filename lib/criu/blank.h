// SPDX-License-Identifier: Apache-2.0
//
// Tells the criu-preload.so of one dump what it shall hide from CRIU, because somebody else moves
// those pages: a memory file that both have open (lib/criu/preload/blank.h). At first it hides
// nothing. Where the object is not loaded, or cannot work, CRIU simply sends all pages.
#ifndef WPAR_CRIU_BLANK_H
#define WPAR_CRIU_BLANK_H

#include "lib/base/error.h"
#include "lib/criu/preload/blank.h"

#include <stddef.h>
#include <sys/types.h>

// A list that hides nothing; the descriptor is the caller's.
int criu_blank_open(struct error *err);

// The environment of a CRIU in which the list has that number; free() it (the array alone).
char **criu_blank_environment(int number, struct error *err);

// What CRIU reads instead of /proc/PID/smaps: the lines that begin a mapping, and those of flags.
struct criu_blank_flags {
	pid_t pid;
	const char *text;
	size_t length;
};

struct criu_blank_list {
	const struct criu_blank_segment *segments;
	size_t segment_count;
	const struct criu_blank_flags *flags;
	size_t flags_count;
};

// From now on the private pages of all tasks are hidden, and the segments of the list; smaps of its
// tasks is what it says. To be called while CRIU waits for an answer.
int criu_blank_hide(int fd, const struct criu_blank_list *list, struct error *err);

#endif
