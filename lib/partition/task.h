// SPDX-License-Identifier: Apache-2.0
// A process of a partition as /proc shows it.
#ifndef WPAR_PARTITION_TASK_H
#define WPAR_PARTITION_TASK_H

#include <stdbool.h>
#include <sys/types.h>

struct task {
	pid_t pid;    // on the host
	pid_t inner;  // in its own pid namespace
	pid_t parent; // on the host
	pid_t tracer; // 0: none
	char name[32];
	int folder; // /proc/PID
};

// False: it has ended. Close it in either case.
bool task_open(pid_t pid, struct task *t);
void task_close(struct task *t);
#define _cleanup_task_ __attribute__((cleanup(task_close)))

#endif
