// SPDX-License-Identifier: Apache-2.0
// Confines a process of ours that reads what strangers wrote (mover, auditor), in two steps: first
// everything that a user may have is given up, then all system calls but a few.
#ifndef WPAR_BASE_SANDBOX_H
#define WPAR_BASE_SANDBOX_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define SANDBOX_USER        "relocd-mover"
#define SANDBOX_USER_LACKED "nobody"

// Whether the user exists that confined processes run as; if not, they run as nobody, together with
// whatever else does.
bool sandbox_has_user(void);

// Empty namespaces for network and IPC, another user without groups and capabilities, and for good:
// no_new_privs, not dumpable, no core files, no new processes or files, dead with its parent. When
// not started as root it keeps its user and namespaces and gives up the rest.
int sandbox_drop(struct error *err);

// From now on only what computing takes (memory that is not executable, clocks, random numbers,
// messages on stderr, ending) and `calls`, numbers of system calls (__NR_...). Anything else kills
// the process: seccomp(2), SECCOMP_RET_KILL_PROCESS.
int sandbox_close(const int *calls, size_t count, struct error *err);

#endif
