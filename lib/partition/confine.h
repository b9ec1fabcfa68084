// SPDX-License-Identifier: Apache-2.0
// The last steps of a process before it becomes a program of a partition: limits, user,
// capabilities, system call filter. Shared by the launch of init and by exec.
#ifndef WPAR_PARTITION_CONFINE_H
#define WPAR_PARTITION_CONFINE_H

#include "lib/base/error.h"
#include "lib/partition/definition.h"

#include <sys/types.h>

struct confine_user {
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t group_count;
};

// Applies the definition's restrictions to the calling process, for this user. It must be inside
// all namespaces already; there is no way back. ERR_LAUNCH.
int confine_apply(const struct partition_def *def, const struct confine_user *user,
		  struct error *err);

// Default signal dispositions, empty mask, every descriptor above 2 closed on exec.
int confine_reset(struct error *err);

// Replaces the process: args[0] is looked up in the PATH of `env` unless it has a slash. Returns
// only on failure; err->sys tells ENOENT (not found) from the rest (cannot be run).
int confine_exec(char *const *args, char *const *env, struct error *err);

#endif
