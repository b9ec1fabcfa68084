// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What criu-preload.so hides from a dump: the form of the memory file that the two share. The
// environment of that one CRIU has its number (CRIU_BLANK_ENV); without it nothing is hidden.
#ifndef WPAR_CRIU_PRELOAD_BLANK_H
#define WPAR_CRIU_PRELOAD_BLANK_H

#include <stdint.h>

#define CRIU_BLANK_ENV "RELOCD_CRIU_BLANK"

struct criu_blank_segment {
	uint64_t dev, inode; // stat(2) of the segment
};

struct criu_blank_head {
	uint64_t tasks;    // 1: the private pages of all tasks are hidden
	uint64_t segments; // so many struct criu_blank_segment follow: their contents are hidden
	uint64_t smaps;    // and behind them so many struct criu_blank_smaps
};

// What is read instead of /proc/PID/smaps.
struct criu_blank_smaps {
	uint64_t pid;
	uint64_t offset, length; // of the text in this file
};

#endif
