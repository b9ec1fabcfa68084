// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/worker.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/base/proc.h"
#include "lib/base/spawn.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

char *worker_end_text(const struct worker *w, int status, char text[48])
{
	if (w->attached)
		snprintf(text, 48, "has ended");
	else if (WIFSIGNALED(status))
		snprintf(text, 48, "was killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, 48, "ended with status %d", WEXITSTATUS(status));
	return text;
}

static void close_channel(struct worker *w)
{
	loop_remove(w->d->loop, w->chan_watch);
	if (w->chan >= 0)
		close(w->chan);
	w->chan = -1;
	w->chan_watch = 0;
}

// Takes one message: true if there may be more.
static bool take_message(struct worker *w)
{
	struct error err = {0};
	_cleanup_json_ json_t *message = NULL;
	size_t count = 1;
	w->given = -1;
	if (w->chan < 0)
		return false;
	if (chan_recv(w->chan, deadline_in_ms(0), &message, &w->given, &count, &err) < 0) {
		if (err.id == ERR_DEADLINE)
			return false;
		log_error_of(&err, "a message of a move");
	}
	if (!message) {
		close_channel(w);
		return false;
	}
	if (!count)
		w->given = -1;
	w->handler->message(w, message);
	cleanup_close(&w->given);
	return true;
}

static void on_channel(void *arg, short revents)
{
	(void)revents;
	take_message(arg);
}

static void free_worker(struct worker *w)
{
	close_channel(w);
	loop_remove(w->d->loop, w->pid_watch);
	if (w->pidfd >= 0)
		close(w->pidfd);
	free(w);
}

static void on_end(void *arg, short revents)
{
	struct worker *w = arg;
	int status = 0;
	(void)revents;
	while (take_message(w))
		;
	if (!w->attached)
		waitpid(w->pid, &status, 0); // the pidfd says that it has ended
	w->handler->end(w, status);
	free_worker(w);
}

static int launch(struct worker *w, const char *program, int sock, struct error *err)
{
	int ends[2];
	if (chan_pair(ends, err) < 0)
		return -1;
	_cleanup_close_ int theirs = ends[1];
	w->chan = ends[0];
	if (fdio_set_nonblock(w->chan, true, err) < 0)
		return -1;
	const char *argv[] = {paths_program(program), NULL};
	struct spawn_fd fds[] = {{theirs, 3}, {sock, 4}};
	struct spawn what = SPAWN_INIT;
	what.argv = argv;
	what.fds = fds;
	what.fd_count = sock >= 0 ? 2 : 1;
	what.new_session = true;
	what.oom_score = "-900"; // and CRIU, which departure starts: others go first
	return spawn_start(&what, &w->pid, &w->pidfd, err);
}

static struct worker *new_worker(struct daemon *d, const struct worker_handler *handler, void *arg,
				 struct error *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	if (w)
		*w = (struct worker){.d = d,
				     .handler = handler,
				     .arg = arg,
				     .chan = -1,
				     .pidfd = -1,
				     .given = -1};
	else
		error_set(err, ERR_NOMEM, "no memory for a process");
	return w;
}

static int watch(struct worker *w, struct error *err)
{
	w->pid_start = proc_start_time(w->pid);
	if (w->chan >= 0)
		w->chan_watch =
			loop_add(w->d->loop, w->chan, POLLIN, DEADLINE_NEVER, on_channel, w);
	w->pid_watch = loop_add(w->d->loop, w->pidfd, POLLIN, DEADLINE_NEVER, on_end, w);
	return (w->chan_watch || w->chan < 0) && w->pid_watch
		       ? 0
		       : error_set(err, ERR_NOMEM, "no memory for a process");
}

struct worker *worker_start(struct daemon *d, const char *program, int sock,
			    const struct worker_handler *handler, void *arg, struct error *err)
{
	struct worker *w = new_worker(d, handler, arg, err);
	if (!w)
		return NULL;
	if (launch(w, program, sock, err) < 0) {
		free_worker(w);
		return NULL;
	}
	if (watch(w, err) == 0)
		return w;
	worker_kill(w);
	waitpid(w->pid, NULL, 0);
	free_worker(w);
	return NULL;
}

struct worker *worker_attach(struct daemon *d, pid_t pid, int pidfd, int chan,
			     const struct worker_handler *handler, void *arg, struct error *err)
{
	struct worker *w = new_worker(d, handler, arg, err);
	if (!w) {
		close(pidfd);
		if (chan >= 0)
			close(chan);
		return NULL;
	}
	w->attached = true;
	w->pid = pid;
	w->pidfd = pidfd;
	w->chan = chan;
	if ((chan < 0 || fdio_set_nonblock(chan, true, err) == 0) && watch(w, err) == 0)
		return w;
	free_worker(w);
	return NULL;
}

void worker_mute(struct worker *w)
{
	close_channel(w);
}

static int send_message(struct worker *w, json_t *message, const int *fds, size_t count,
			struct error *err)
{
	_cleanup_json_ json_t *owned = message;
	if (!owned)
		return error_set(err, ERR_NOMEM, "no memory for a message");
	if (w->chan < 0)
		return error_set(err, ERR_UNREACHABLE, "the process has gone");
	return chan_send(w->chan, owned, fds, count, err);
}

int worker_send(struct worker *w, json_t *message, struct error *err)
{
	return send_message(w, message, NULL, 0, err);
}

int worker_send_fd(struct worker *w, json_t *message, int fd, struct error *err)
{
	return send_message(w, message, &fd, 1, err);
}

void worker_kill(struct worker *w)
{
	syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
}
