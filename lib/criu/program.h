// SPDX-License-Identifier: Apache-2.0
// Which CRIU to use, and how to start it.
//
// scripts/install-deps may have unpacked a CRIU with libraries of its own into a private prefix;
// it is then started through that prefix's dynamic loader, so that nothing of the system's
// libraries is mixed in. No shell is involved, and nothing of it is in the environment.
#ifndef WPAR_CRIU_PROGRAM_H
#define WPAR_CRIU_PROGRAM_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/criu/rpc.h"

#include <sys/types.h>

#define CRIU_PRIVATE_ROOT "/usr/local/lib/relocd/criu"
#define CRIU_PATH_MAX     512

// Numbers that descriptors have inside criu: away from those it uses by itself.
#define CRIU_FD_RPC   80
#define CRIU_FD_PAGES 81
#define CRIU_FD_BLANK 82

struct criu_program {
	char program[CRIU_PATH_MAX];   // the criu executable
	char loader[CRIU_PATH_MAX];    // "": started directly
	char libraries[CRIU_PATH_MAX]; // the loader's --library-path
	char preload[CRIU_PATH_MAX];   // "": none
};

// Finds it. `path`: NULL or "auto": the private prefix's `current` ($RELOCD_CRIU_ROOT or
// CRIU_PRIVATE_ROOT), else the system's; a folder: a prefix made by install-deps; else a program.
// `preload`: NULL or "auto": criu-preload.so of our libexec folder, which may be missing where we
// have CAP_SYS_RESOURCE; "none"; or a path. ERR_CRIU_MISSING if there is none.
int criu_program_find(const char *path, const char *preload, struct criu_program *p,
		      struct error *err);

// The argument vector for `criu swrk`, NULL terminated; points into *p and itself.
struct criu_argv {
	const char *argv[12];
	char preload[CRIU_PATH_MAX + 16];
	char fd[16];
};

// `fd`: the number of the RPC socket inside the child, which must be open there and not
// close-on-exec (struct spawn_fd.to).
void criu_program_argv(const struct criu_program *p, int fd, struct criu_argv *out);

// Starts a swrk child of this process with no further descriptors: for questions and tests.
// *pid must be reaped by the caller after criu_rpc_free(*c).
int criu_program_start(const struct criu_program *p, struct criu_rpc **c, pid_t *pid,
		       struct error *err);

// Asks a child made for it. ERR_CRIU_UNABLE when it cannot tell, with the reason.
int criu_program_version(const struct criu_program *p, deadline_t deadline, struct criu_version *v,
			 struct error *err);

#endif
