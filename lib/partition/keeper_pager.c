// SPDX-License-Identifier: Apache-2.0
// The page server of a partition that was restored on demand (lib/memory/pager.h): its parent, and
// what is done when it ends before its time. It never comes to pages of zeroes: its successor goes
// on where it was, or the partition is killed.
#include "lib/base/log.h"
#include "lib/memory/pager.h"
#include "lib/partition/keeper_inner.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#define KILL_MS 10000

// In the guard: neither we nor a server are there, what is left of the table is not the keeper's.
static void kill_by_name(const char *name)
{
	struct error err;
	struct cgroup *cg = cgroup_open(name, &err);
	if (!cg || cgroup_kill(cg, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "killing it");
}

// In the server.
static int tasks_by_name(const char *name, pid_t **pids, size_t *count)
{
	struct error err;
	_cleanup_cgroup_ struct cgroup *cg = cgroup_open(name, &err);
	return cg ? cgroup_pids(cg, pids, count, &err) : -1;
}

int keeper_start_pager(struct keeper *k, int listener, int images, struct error *err)
{
	if (k->state != KEEPER_IDLE || k->pager)
		return error_set(err, ERR_WRONG_STATE, "partition %s is not to be restored",
				 k->def->name);
	const struct pager_ways ways = {kill_by_name, tasks_by_name};
	// The caller's are closed with its request.
	k->pager = pager_new(k->def->name, fcntl(listener, F_DUPFD_CLOEXEC, 0),
			     fcntl(images, F_DUPFD_CLOEXEC, 0), &ways, err);
	if (!k->pager)
		return -1;
	if (pager_start(k->pager, err) == 0)
		return 0;
	keeper_end_pager(k);
	return -1;
}

void keeper_end_pager(struct keeper *k)
{
	pager_free(k->pager);
	k->pager = NULL;
}

json_t *keeper_fill_json(const struct keeper *k)
{
	struct pager_progress p;
	if (!k->pager)
		return json_null();
	pager_progress(k->pager, &p);
	return json_pack("{s:I, s:I}", "total", (json_int_t)p.total, "left", (json_int_t)p.left);
}

void keeper_tell_fill(struct keeper *k)
{
	json_t *fill = keeper_fill_json(k);
	keeper_tell_watchers(k, json_pack("{s:s, s:o}", "event", "fill", "fill", fill));
}

void keeper_pager_news(struct keeper *k)
{
	pager_take_news(k->pager);
	keeper_tell_fill(k);
}

// Nobody can bring what is missing.
static void lose(struct keeper *k, const struct error *why)
{
	struct error err;
	log_error("its memory cannot be restored any further, it is killed: %s", why->message);
	snprintf(k->lost, sizeof(k->lost), "its page server cannot go on: %s", why->message);
	if (cgroup_kill(k->cg, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "killing it");
	keeper_end_pager(k);
}

// Frozen while there is no server: then nothing of it runs that could come to harm.
static int succeed(struct keeper *k, struct error *err)
{
	bool runs = k->state == KEEPER_RUNNING;
	struct error unimportant;
	// Not all of it stops: who waits for a page inside the kernel goes on waiting there.
	if (runs)
		cgroup_freeze(k->cg, deadline_in_ms(0), &unimportant);
	if (pager_start(k->pager, err) < 0)
		return -1;
	if (runs && cgroup_thaw(k->cg, &unimportant) < 0)
		log_error_of(&unimportant, "thawing it");
	return 0;
}

void keeper_pager_ended(struct keeper *k, int status)
{
	struct pager_progress p;
	struct error err;
	pager_ended(k->pager);
	pager_progress(k->pager, &p);
	if (p.complete) {
		log_info("the memory of %s is filled: %llu MiB", k->def->name,
			 (unsigned long long)(p.total >> 8));
		keeper_end_pager(k);
		keeper_tell_fill(k);
		return;
	}
	log_warn("the page server of %s ended with %s %d", k->def->name,
		 WIFSIGNALED(status) ? "signal" : "status",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (succeed(k, &err) < 0)
		lose(k, &err);
}
