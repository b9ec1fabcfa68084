// SPDX-License-Identifier: Apache-2.0
// Follows a move to its end on a terminal, in a log, or as JSON lines.
#ifndef WPARCTL_FOLLOW_H
#define WPARCTL_FOLLOW_H

#include "wparctl/output.h"

// Prints the progress and the end of move `id`; returns the exit code. Ctrl-C detaches:
// EXIT_DETACHED.
int follow_move(struct ctl *ctl, const char *id);

// How long a relocd that has gone is waited for: one that restarts is back in far less.
extern int64_t follow_patience_ms;

#endif
