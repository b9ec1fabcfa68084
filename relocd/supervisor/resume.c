// SPDX-License-Identifier: Apache-2.0
// Moves that an earlier relocd began. Their processes outlive it: those that still run are taken
// over by the sockets that they listen on; what the others left is resolved by the decision files.
#include "relocd/supervisor/arrivals.h"
#include "relocd/supervisor/departures.h"
#include "relocd/supervisor/queue.h"
#include "relocd/supervisor/resolve.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

// ---- processes that live ------------------------------------------------------------------------

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

static char *socket_path(const char *id, bool incoming, char path[512])
{
	snprintf(path, 512, "%s/moves/%s.%s.sock", paths_run(), id,
		 incoming ? "arrival" : "departure");
	return path;
}

void move_drop_socket(const char *id, bool incoming)
{
	char path[512];
	unlink(socket_path(id, incoming, path));
}

// Without its socket (it has not opened it yet, or is of a version that has none) it is watched.
static bool attach(struct move *m)
{
	char path[512];
	struct error err;
	int pidfd = find_process(&m->row);
	if (pidfd < 0)
		return false;
	int chan = chan_connect(socket_path(m->row.id, m->incoming, path), &err);
	if (chan < 0)
		log_warn("move %s: goes on, but cannot be reached: %s", m->row.id, err.message);
	int failed = m->incoming ? arrival_attach(m->daemon, m, m->row.pid, pidfd, chan, &err)
				 : departure_attach(m, m->row.pid, pidfd, chan, &err);
	if (failed)
		log_error_of(&err, m->row.id);
	else
		log_info("move %s: still under way (pid %d)", m->row.id, (int)m->row.pid);
	return !failed;
}

// ---- what the others left -----------------------------------------------------------------------

// The history of one in doubt is in the registry; its end replaces that.
static void recall_events(struct move *m)
{
	size_t i;
	json_t *event;
	_cleanup_json_ json_t *events = registry_move_events(m->daemon->registry, m->row.id, NULL);
	json_array_foreach (events, i, event)
		move_event(m, event);
}

static void resolve(struct daemon *d, const char *id)
{
	struct error why;
	struct move *m = move_find(d, id);
	error_set(&why, ERR_MOVE_FAILED,
		  m->finished ? "the move was in doubt when relocd started"
			      : "the move ended while relocd was not there");
	error_at(&why, d->config.host, m->row.partition, NULL);
	if (resolve_now(d, id, &why))
		return;
	daemon_lock(d);
	resolve_begin(m, &why);
	daemon_unlock(d);
}

static void resume(struct daemon *d, const struct registry_move *row)
{
	daemon_lock(d);
	struct move *m = move_add(d, row);
	bool lives = false;
	if (m && !strcmp(row->state, "queued")) {
		queue_resume(m);
		lives = true;
	} else if (m) {
		m->hooked = true;
		m->recorded = true;
		m->incoming = !strcmp(row->target, d->config.host);
		m->finished = !strcmp(row->state, "in-doubt");
		if (m->finished)
			recall_events(m);
		lives = attach(m);
	}
	daemon_unlock(d);
	if (m && !lives)
		resolve(d, row->id);
}

// ---- sockets without a move ---------------------------------------------------------------------

static pid_t listener_pid(int sock)
{
	struct ucred who;
	socklen_t length = sizeof(who);
	return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 ? who.pid : 0;
}

// An arrival that has reserved nothing yet will ask us; whatever else there is has ended.
static void take_stray(struct daemon *d, const char *path)
{
	struct error err;
	int chan = chan_connect(path, NULL);
	int pidfd = chan < 0 ? -1 : (int)syscall(SYS_pidfd_open, listener_pid(chan), 0);
	if (pidfd >= 0) {
		if (arrival_attach(d, NULL, listener_pid(chan), pidfd, chan, &err) < 0)
			log_error_of(&err, path);
		return;
	}
	if (chan >= 0)
		close(chan);
	unlink(path);
}

static bool belongs_to_move(struct daemon *d, const char *name)
{
	for (const struct move *m = d->moves; m; m = m->next) {
		size_t length = strlen(m->row.id);
		if (!strncmp(name, m->row.id, length) && name[length] == '.' && m->worker)
			return true;
	}
	return false;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length > tail && !strcmp(text + length - tail, end);
}

static void take_strays(struct daemon *d)
{
	char folder[512], path[800];
	struct dirent *entry;
	snprintf(folder, sizeof(folder), "%s/moves", paths_run());
	DIR *dir = opendir(folder);
	daemon_lock(d);
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (ends_with(entry->d_name, ".sock") && !belongs_to_move(d, entry->d_name))
			take_stray(d, path);
	}
	daemon_unlock(d);
	if (dir)
		closedir(dir);
}

void moves_resume(struct daemon *d)
{
	struct registry_move *rows;
	size_t count;
	struct error err;
	if (registry_moves(d->registry, true, 1000, &rows, &count, &err) < 0) {
		log_error_of(&err, "moves");
		count = 0;
		rows = NULL;
	}
	for (size_t i = 0; i < count; i++)
		resume(d, &rows[i]);
	free(rows); // what is in them is the moves' now
	take_strays(d);
	daemon_lock(d);
	queue_next(d);
	daemon_unlock(d);
}
