// SPDX-License-Identifier: Apache-2.0
// Moves that an earlier relocd began. Their processes outlive it: those that still run are watched
// until they end, then all are resolved by their decision files.
#include "relocd/daemon/arrivals.h"
#include "relocd/daemon/departures.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/proc.h"

#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

static void resolve(struct move *m, const char *what)
{
	struct error why;
	error_set(&why, ERR_MOVE_FAILED, "%s", what);
	error_at(&why, m->daemon->config.host, m->row.partition, NULL);
	if (m->incoming)
		arrival_resolve(m, &why);
	else
		departure_resolve(m, &why);
}

static void on_end(void *arg, short revents)
{
	struct move *m = arg;
	(void)revents;
	loop_remove(m->daemon->loop, m->pid_watch);
	m->pid_watch = 0;
	resolve(m, "the move outlived the relocd that began it, and has ended");
}

// A descriptor of the very process that was recorded, or -1.
static int find_process(const struct registry_move *row)
{
	if (row->pid <= 0 || !row->pid_start)
		return -1;
	int fd = (int)syscall(SYS_pidfd_open, row->pid, 0);
	if (fd >= 0 && proc_start_time(row->pid) == row->pid_start)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void resume(struct daemon *d, const struct registry_move *row)
{
	struct move *m = move_add(d, row);
	if (!m)
		return;
	m->incoming = !strcmp(row->target, d->config.host);
	// Events that the earlier relocd showed are gone; new ones get greater numbers than those.
	m->last_seq = (uint64_t)time(NULL) << 20;
	m->pidfd = find_process(row);
	if (m->pidfd >= 0)
		m->pid_watch = loop_add(d->loop, m->pidfd, POLLIN, DEADLINE_NEVER, on_end, m);
	if (m->pid_watch)
		log_info("move %s: still under way (pid %d)", row->id, (int)row->pid);
	else
		resolve(m, "the move ended while relocd was not there");
}

void moves_resume(struct daemon *d)
{
	struct registry_move *rows;
	size_t count;
	struct error err;
	daemon_lock(d);
	if (registry_moves(d->registry, true, 1000, &rows, &count, &err) < 0) {
		log_error_of(&err, "moves");
		count = 0;
		rows = NULL;
	}
	for (size_t i = 0; i < count; i++)
		resume(d, &rows[i]);
	registry_moves_free(rows, count);
	daemon_unlock(d);
}
