// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/sessions.h"

#include "lib/base/cleanup.h"
#include "lib/partition/task.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GRACE_MS 1000
#define LOOK_MS  10

struct member {
	pid_t pid, parent;
	bool inside; // descends from init
};

static struct member *find(struct member *all, size_t count, pid_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].pid == pid)
			return &all[i];
	return NULL;
}

// A parent that ended while we looked has left its children to init.
static void look_at(struct member *m, pid_t pid, pid_t init)
{
	_cleanup_task_ struct task t;
	m->pid = pid;
	m->inside = pid == init;
	m->parent = task_open(pid, &t) ? t.parent : init;
}

// Until nothing changes: a child may stand before its parent.
static void spread(struct member *all, size_t count)
{
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < count; i++) {
			const struct member *parent =
				all[i].inside ? NULL : find(all, count, all[i].parent);
			if (parent && parent->inside)
				changed = all[i].inside = true;
		}
	}
}

size_t sessions_part(pid_t *pids, size_t count, pid_t init)
{
	_cleanup_free_ struct member *all = calloc(count + 1, sizeof(*all));
	size_t at = 0;
	if (!all)
		return count;
	for (size_t i = 0; i < count; i++)
		look_at(&all[i], pids[i], init);
	spread(all, count);
	for (size_t i = 0; i < count; i++)
		if (all[i].inside)
			pids[at++] = all[i].pid;
	size_t inside = at;
	for (size_t i = 0; i < count; i++)
		if (!all[i].inside)
			pids[at++] = all[i].pid;
	return inside;
}

int sessions_refuse(pid_t pid, struct error *err)
{
	_cleanup_task_ struct task t;
	if (!task_open(pid, &t))
		return 0;
	return error_set(err, ERR_EXEC_SESSION,
			 "pid %d (%s) was started by exec and is no child of init", (int)t.inner,
			 t.name);
}

int sessions_check(struct cgroup *cg, pid_t init, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(cg, &pids, &count, err) < 0)
		return -1;
	for (size_t i = sessions_part(pids, count, init); i < count; i++)
		if (sessions_refuse(pids[i], err) < 0)
			return -1;
	return 0;
}

static void tell(pid_t pid, bool must_die, bool asked)
{
	if (must_die)
		kill(pid, SIGKILL);
	if (must_die || asked)
		return;
	kill(pid, SIGHUP); // what an interactive shell obeys
	kill(pid, SIGTERM);
}

int sessions_end(struct cgroup *cg, pid_t init, deadline_t deadline, size_t *ended,
		 struct error *err)
{
	deadline_t grace = deadline_in_ms(GRACE_MS);
	bool asked = false;
	*ended = 0;
	for (;;) {
		_cleanup_free_ pid_t *pids = NULL;
		size_t count, inside;
		if (cgroup_pids(cg, &pids, &count, err) < 0)
			return -1;
		inside = sessions_part(pids, count, init);
		if (inside == count)
			return 0;
		if (!asked)
			*ended = count - inside;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "%zu processes of exec do not end",
					 count - inside);
		bool must_die = deadline_passed(grace);
		for (size_t i = inside; i < count; i++)
			tell(pids[i], must_die, asked);
		asked = true;
		clock_sleep_ms(LOOK_MS);
	}
}
