// SPDX-License-Identifier: Apache-2.0
// Sessions of exec: processes in a partition that do not descend from its init. They hang on this
// host (their parent, their terminal) and cannot be moved.
#ifndef WPAR_PARTITION_SESSIONS_H
#define WPAR_PARTITION_SESSIONS_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/partition/cgroup.h"

#include <stddef.h>
#include <sys/types.h>

// Sorts host pids: those in the tree of `init` first, in their order; returns how many these are.
// Orphans are init's children, so whoever has a parent that is not among them came from outside.
size_t sessions_part(pid_t *pids, size_t count, pid_t init);

// ERR_EXEC_SESSION with the pid (inside) of the first session; 0: there is none.
int sessions_check(struct cgroup *cg, pid_t init, struct error *err);

// Ends them: SIGHUP and SIGTERM, a second later SIGKILL. *ended: how many processes. ERR_DEADLINE
// when some are left.
int sessions_end(struct cgroup *cg, pid_t init, deadline_t deadline, size_t *ended,
		 struct error *err);

// The error of sessions_check for that process. Returns -1.
int sessions_refuse(pid_t pid, struct error *err);

#endif
