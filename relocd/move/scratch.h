// SPDX-License-Identifier: Apache-2.0
// A folder for images in memory that only this process and its children see, and that ends with
// them.
#ifndef RELOCD_MOVE_SCRATCH_H
#define RELOCD_MOVE_SCRATCH_H

#include "lib/base/error.h"

// Goes into a private mount namespace, mounts a tmpfs there and opens it. Returns the descriptor or
// -1. What is allocated ahead gets huge pages where the kernel has them (fresh small pages are what
// limits a receiver); small files do not: clearing two megabytes for each would be felt in the
// freeze.
int scratch_open(struct error *err);

// Copies a log of CRIU out of the folder to STATE/moves/MOVE.NAME, where an error can point to.
void scratch_keep_log(int folder, const char *name, const char *move, char path[512]);

#endif
