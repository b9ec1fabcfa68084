// SPDX-License-Identifier: Apache-2.0
// What enter is asked to run, and its start inside the partition.
#ifndef WPAR_ENTER_COMMAND_H
#define WPAR_ENTER_COMMAND_H

#include "lib/base/error.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/definition.h"

#include <stdbool.h>
#include <sys/types.h>

struct command {
	struct partition_def *def;
	struct cgroup *cg;
	char **args, **env;
	char *user, *cwd; // NULL: the definition's
	bool tty;
	unsigned rows, cols;
};

// From the request of exec.c.
int command_read(struct command *command, const json_t *request, struct error *err);
void command_free(struct command *command);

// Joins the namespaces of the process behind the pidfd; children are in its pid namespace.
int command_join(int init_pidfd, struct error *err);

// Forks it with `terminal` (a pty's slave, or -1) as its controlling terminal; without one it keeps
// 0-2. A command that cannot be run ends with 125-127 and a line on its stderr.
pid_t command_start(const struct command *command, int terminal, struct error *err);

#endif
