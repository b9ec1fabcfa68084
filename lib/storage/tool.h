// SPDX-License-Identifier: Apache-2.0
// Runs the programs that fetch and unpack images: without network, unable to write anywhere but
// below one folder, with a deadline and an eye on the free space.
#ifndef WPAR_STORAGE_TOOL_H
#define WPAR_STORAGE_TOOL_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"

#define TOOL_SKOPEO "/usr/bin/skopeo"
#define TOOL_UMOCI  "/usr/bin/umoci"

// Asked several times a second while something long runs. -1 with err ends it.
struct storage_watch {
	int (*check)(void *arg, struct error *err);
	void *arg;
};

struct tool {
	const char *const *argv;
	const char *folder; // absolute: the only one that it may write below, also its TMPDIR
	int descriptor;     // stays open in it under the same number 3; -1: none
	struct buf *output; // gets what it writes to stdout; NULL: dropped
	const struct storage_watch *watch; // NULL: none
	deadline_t deadline;
};

// Whether both programs are there: ERR_IMAGE_TOOLS.
int tool_check(struct error *err);

// Runs it to its end. A status other than 0 is ERR_IMAGE with its last words; ERR_NO_SPACE when the
// filesystem of the folder fills up; ERR_DEADLINE.
int tool_run(const struct tool *tool, struct error *err);

// Room for `bytes` more on the filesystem of the folder, with what is kept in reserve:
// ERR_NO_SPACE.
int tool_check_space(const char *folder, uint64_t bytes, struct error *err);

#endif
