// SPDX-License-Identifier: Apache-2.0
// The tree that criu-selftest dumps and restores: a root task and a task of another user in a pid
// namespace of their own, each serving one established TCP connection whose client stays outside.
#ifndef WPAR_SELFTEST_TREE_H
#define WPAR_SELFTEST_TREE_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <stdint.h>
#include <sys/types.h>

enum { TREE_TASKS = 2 };

struct tree {
	pid_t root;             // our child, init of the pid namespace
	int client[TREE_TASKS]; // our ends of the connections
	uint32_t count;         // questions asked so far on each connection
};

#define TREE_INIT                    \
	{                            \
		.client = { -1, -1 } \
	}

// Starts it; all tasks serve when this returns.
int tree_start(struct tree *t, deadline_t deadline, struct error *err);

// One question on each connection: a task answers how many it has got in its life, and whether its
// memory is what it was.
int tree_ask(struct tree *t, deadline_t deadline, struct error *err);

// Waits for the root task, which has been killed, to be gone.
int tree_gone(struct tree *t, deadline_t deadline, struct error *err);

// Kills what is left. Safe on one that never started.
void tree_stop(struct tree *t);

#endif
