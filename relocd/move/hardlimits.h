// SPDX-License-Identifier: Apache-2.0
// Hard resource limits of processes that are to move. CRIU cannot give a restored process a higher
// one than its own without CAP_SYS_RESOURCE, and lowers it without a word.
#ifndef RELOCD_MOVE_HARDLIMITS_H
#define RELOCD_MOVE_HARDLIMITS_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

// Raises each of most[RLIMIT_*] to what the text of a /proc/PID/limits has as the hard limit.
void hardlimits_read(const char *text, uint64_t most[RLIM_NLIMITS]);
// The greatest of some processes; those that end meanwhile are left out.
void hardlimits_of(const pid_t *pids, size_t count, uint64_t most[RLIM_NLIMITS]);

// This process, and what it starts from now on, may have these: raises its own hard limits where
// they are lower. ERR_RLIMIT names the one that cannot be raised.
int hardlimits_take(const uint64_t *wanted, size_t count, struct error *err);

#endif
