// SPDX-License-Identifier: Apache-2.0
// Runs a command inside a running partition: starts libexec/enter, which joins its namespaces and
// groups, takes on its restrictions and executes the command.
#ifndef WPAR_PARTITION_EXEC_H
#define WPAR_PARTITION_EXEC_H

#include "lib/base/error.h"
#include "lib/partition/definition.h"

#include <stdbool.h>
#include <sys/types.h>

#define EXEC_CANNOT_START 125 // exit codes of enter, as shells and container engines have them
#define EXEC_NOT_RUNNABLE 126
#define EXEC_NOT_FOUND    127

struct exec_request {
	const char *const *args; // NULL-terminated; the first is looked up in PATH
	const char *const *env;  // added to the definition's; may be NULL
	const char *user;        // "UID[:GID]" or a name of its /etc/passwd; NULL: the definition's
	const char *cwd;         // NULL: the definition's
	bool tty;
	unsigned rows, cols; // of the terminal; 0: unknown
};

struct exec_session {
	pid_t pid; // of enter, a child of the caller, to be reaped (spawn_exit_code of its status)
	int pidfd;
	int stdin_fd, stdout_fd, stderr_fd; // our ends; with tty stderr_fd is -1
	int control;                        // to enter: exec_resize
};

// init_pidfd is a pidfd of the partition's init, init_pid its host pid; both stay the caller's.
// Close what the session holds with exec_close; that does not kill (closing control does: enter
// hangs up its command).
int exec_start(const struct partition_def *def, pid_t init_pid, int init_pidfd,
	       const struct exec_request *request, struct exec_session *session, struct error *err);
int exec_resize(struct exec_session *session, unsigned rows, unsigned cols, struct error *err);
void exec_close(struct exec_session *session);

#endif
