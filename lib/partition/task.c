// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/task.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_MAX (64u << 10)

static pid_t number_after(const char *status, const char *name)
{
	const char *at = strstr(status, name);
	return at ? (pid_t)strtol(at + strlen(name), NULL, 10) : 0;
}

// The last number of the NSpid line: the pid in the innermost namespace.
static pid_t inner_pid(const char *status)
{
	const char *line = strstr(status, "\nNSpid:");
	const char *end = line ? strchr(line + 1, '\n') : NULL;
	while (end && end > line && end[-1] != '\t')
		end--;
	return end ? (pid_t)strtol(end, NULL, 10) : 0;
}

bool task_open(pid_t pid, struct task *t)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	*t = (struct task){.pid = pid};
	t->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *status =
		t->folder < 0 ? NULL : fdio_read_file(t->folder, "status", STATUS_MAX, NULL);
	if (!status)
		return false;
	t->inner = inner_pid(status);
	t->parent = number_after(status, "\nPPid:");
	t->tracer = number_after(status, "\nTracerPid:");
	sscanf(status, "Name:\t%31[^\n]", t->name);
	return true;
}

void task_close(struct task *t)
{
	if (t->folder >= 0)
		close(t->folder);
	t->folder = -1;
}
