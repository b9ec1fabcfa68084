// SPDX-License-Identifier: Apache-2.0
// Starts the init of a partition: namespaces (pid, mount, uts, ipc, cgroup, time; the network
// namespace is the caller's), mounts, groups, restrictions, program.
#ifndef WPAR_PARTITION_LAUNCH_H
#define WPAR_PARTITION_LAUNCH_H

#include "lib/base/error.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/definition.h"
#include "lib/partition/stage.h"

#include <sys/types.h>

struct launch {
	const struct partition_def *def;
	const struct stage *stage; // prepared, in the caller's mount namespace
	struct cgroup *cg;
	int stdout_fd, stderr_fd; // write ends of pipes
};

// Forks and waits until the program runs. *pid is a child of the caller, *pidfd is the caller's.
// The caller must have one thread. ERR_LAUNCH with the step that failed.
int launch_init(const struct launch *what, pid_t *pid, int *pidfd, struct error *err);

#endif
