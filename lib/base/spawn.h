// SPDX-License-Identifier: Apache-2.0
// Starts programs. The child runs only async-signal-safe calls before exec, so threads may call it.
#ifndef WPAR_BASE_SPAWN_H
#define WPAR_BASE_SPAWN_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct spawn_fd {
	int from; // a descriptor of ours
	int to;   // its number in the child; all others but 0-2 are closed
};

struct spawn {
	const char *const *argv; // argv[0] is the path, NULL terminated
	const char *const *envp; // NULL: ours
	const struct spawn_fd *fds;
	size_t fd_count;
	int netns;               // enter this network namespace first; -1: stay
	const int *cgroup_procs; // write "0" into these (opened cgroup.procs), in this order
	size_t cgroup_count;
	int unshare_flags; // after the cgroups were entered: CLONE_NEWCGROUP ...
	bool new_session;  // setsid(): out of reach of the terminal's signals
	// A mount namespace of its own, in which every file is read-only but those below this
	// folder; NULL: stay. For programs that unpack what others have packed.
	const char *only_writable;
	bool dies_with_us; // is killed when the calling thread ends
	// Into oom_score_adj, where that is permitted (less takes CAP_SYS_RESOURCE); NULL: as ours.
	const char *oom_score;
};

#define SPAWN_INIT          \
	{                   \
		.netns = -1 \
	}

// Starts it with default signal dispositions and an empty signal mask. *pidfd may be NULL; it is
// the caller's. A failed exec is reported here (the errno comes back through a pipe).
int spawn_start(const struct spawn *what, pid_t *pid, int *pidfd, struct error *err);

// Waits for the child: its wait(2) status into *status.
int spawn_wait(pid_t pid, int *status, struct error *err);

// The same for one that is to end by then: what it ended with does not matter. False: it has not.
bool spawn_wait_until(pid_t pid, deadline_t deadline);

// 0-255 as shells count: exit status, or 128 + signal.
int spawn_exit_code(int status);

#endif
