// SPDX-License-Identifier: Apache-2.0
// Children of relocd that nobody waits for: keepers, which outlive what started them.
#ifndef RELOCD_REAPER_H
#define RELOCD_REAPER_H

#include "relocd/daemon/daemon.h"

#include <sys/types.h>

// Takes the exit status of a child when it ends. With the lock held.
void reaper_adopt(struct daemon *d, pid_t pid);

#endif
