// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/hooks.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"
#include "relocd/daemon/events.h"
#include "relocd/supervisor/departures.h"
#include "relocd/supervisor/queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LOOK_MS   200
#define WORDS_MAX 400

// One event, for all hooks.
struct occasion {
	struct daemon *d;
	char event[16], move[40], partition[REGISTRY_NAME_MAX];
	json_t *input;
	int64_t timeout_ms;
	bool may_refuse;
};

// NULL: that of the folder.
static char *path_of(const char *name, char path[512])
{
	snprintf(path, 512, "%s/hooks.d%s%s", paths_etc(), name ? "/" : "", name ? name : "");
	return path;
}

// ---- which --------------------------------------------------------------------------------------

static bool is_candidate(const char *name)
{
	char path[512];
	struct stat s;
	size_t length = strlen(name);
	if (name[0] == '.' || (length && name[length - 1] == '~'))
		return false;
	return lstat(path_of(name, path), &s) == 0 && (S_ISLNK(s.st_mode) || (s.st_mode & 0111)) &&
	       !S_ISDIR(s.st_mode);
}

static int select_candidate(const struct dirent *entry)
{
	return is_candidate(entry->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

bool hooks_exist(void)
{
	char path[512];
	struct dirent **names = NULL;
	int count = scandir(path_of(NULL, path), &names, select_candidate, NULL);
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return count > 0;
}

// Who can change it can do everything that root can.
static int check_owner(const char *path, mode_t kind, struct error *err)
{
	struct stat s;
	if (lstat(path, &s) < 0)
		return error_sys(err, ERR_HOOK, errno, "%s", path);
	if ((s.st_mode & S_IFMT) != kind)
		return error_set(err, ERR_HOOK, "%s is not a %s", path,
				 kind == S_IFDIR ? "folder" : "file");
	if (s.st_uid != geteuid() || (s.st_mode & 022))
		return error_set(err, ERR_HOOK, "%s is not root's alone: owner %u, mode %04o", path,
				 (unsigned)s.st_uid, (unsigned)(s.st_mode & 07777));
	return 0;
}

// ---- one hook -----------------------------------------------------------------------------------

struct running {
	pid_t pid;
	int pidfd, words; // what it writes
	char said[WORDS_MAX];
	size_t length;
};

static int open_input(const json_t *input, struct error *err)
{
	_cleanup_free_ char *text = json_dumps(input, JSON_COMPACT);
	_cleanup_close_ int fd = memfd_create("hook", MFD_CLOEXEC);
	if (!text || fd < 0)
		return error_set(err, ERR_NOMEM, "no memory for a hook");
	if (fdio_write_all(fd, text, strlen(text), err) < 0 ||
	    fdio_write_all(fd, "\n", 1, err) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	return take_fd(&fd);
}

static int start(const struct occasion *o, const char *path, struct running *r, struct error *err)
{
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
		NULL};
	const char *argv[] = {path, o->event, NULL};
	int ends[2];
	_cleanup_close_ int input = open_input(o->input, err);
	if (input < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	_cleanup_close_ int theirs = ends[1];
	*r = (struct running){.words = ends[0], .pidfd = -1};
	struct spawn_fd fds[] = {{input, 0}, {theirs, 1}, {theirs, 2}};
	struct spawn what = SPAWN_INIT;
	what.argv = argv;
	what.envp = env;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	what.new_session = true;
	if (fdio_set_nonblock(r->words, true, err) < 0 ||
	    spawn_start(&what, &r->pid, &r->pidfd, err) < 0) {
		close(take_fd(&r->words));
		return -1;
	}
	return 0;
}

// The beginning of what it says is kept; it is never made to wait for us.
static void listen_to(struct running *r)
{
	char bytes[4096];
	ssize_t n;
	while (r->words >= 0 && (n = read(r->words, bytes, sizeof(bytes))) != -1) {
		if (n == 0) {
			close(take_fd(&r->words));
			return;
		}
		size_t room = sizeof(r->said) - 1 - r->length;
		size_t taken = (size_t)n < room ? (size_t)n : room;
		memcpy(r->said + r->length, bytes, taken);
		r->length += taken;
	}
}

static bool is_wanted(const struct occasion *o)
{
	daemon_lock(o->d);
	const struct move *m = move_find(o->d, o->move);
	bool wanted = !o->d->stopping && (!o->may_refuse || (m && !m->finished));
	daemon_unlock(o->d);
	return wanted;
}

// 1 ended, 0 not in time, -1 nobody waits for it any more.
static int await(const struct occasion *o, struct running *r)
{
	deadline_t deadline = deadline_in_ms(o->timeout_ms);
	for (;;) {
		struct pollfd fds[] = {{r->pidfd, POLLIN, 0}, {r->words, POLLIN, 0}};
		deadline_t look = deadline_earlier(deadline, deadline_in_ms(LOOK_MS));
		poll(fds, 2, deadline_poll_ms(look));
		listen_to(r);
		if (fds[0].revents)
			return 1;
		if (deadline_passed(deadline))
			return 0;
		if (!is_wanted(o))
			return -1;
	}
}

// One line of plain text.
static char *words_of(struct running *r)
{
	while (r->length && (unsigned char)r->said[r->length - 1] <= ' ')
		r->length--;
	r->said[r->length] = 0;
	for (char *c = r->said; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	return r->said;
}

static int judge(const struct occasion *o, const char *name, struct running *r, int ended,
		 int status, struct error *err)
{
	const char *said = words_of(r);
	if (ended < 0)
		return error_set(err, ERR_HOOK, "%s was not waited for", name);
	if (!ended)
		return error_set(err, ERR_HOOK, "%s did not end within %lld ms%s%s", name,
				 (long long)o->timeout_ms, *said ? ": " : "", said);
	if (status)
		return error_set(err, ERR_HOOK, "%s %s%s%s (status %d)", name,
				 o->may_refuse ? "refuses the move" : "failed", *said ? ": " : "",
				 said, spawn_exit_code(status));
	return 0;
}

static int run_one(const struct occasion *o, const char *name, struct error *err)
{
	char path[512];
	struct running r;
	int status = 0;
	if (check_owner(path_of(name, path), S_IFREG, err) < 0 || start(o, path, &r, err) < 0)
		return -1;
	int ended = await(o, &r);
	bool left = ended < 0 && !o->may_refuse; // relocd ends: it goes on by itself
	if (ended <= 0 && !left) {
		kill(-r.pid, SIGKILL);
		kill(r.pid, SIGKILL);
	}
	if (!left)
		spawn_wait(r.pid, &status, NULL);
	close(r.pidfd);
	if (r.words >= 0)
		close(r.words);
	return judge(o, name, &r, ended, status, err);
}

// ---- all of them --------------------------------------------------------------------------------

static void note_failure(const struct occasion *o, const char *name, const struct error *why)
{
	log_warn("move %s: hook of %s: %s", o->move, o->event, why->message);
	daemon_lock(o->d);
	events_add(o->d, "move", "hook-failed", o->partition, o->move,
		   json_pack("{s:s, s:s, s:s}", "hook", name, "for", o->event, "message",
			     why->message));
	daemon_unlock(o->d);
}

// A refusal ends it; what fails after a move keeps no other from being told.
static int run_names(const struct occasion *o, struct dirent **names, int count, struct error *err)
{
	int failed = 0;
	for (int i = 0; i < count && !(failed && o->may_refuse); i++)
		if (run_one(o, names[i]->d_name, err) < 0) {
			note_failure(o, names[i]->d_name, err);
			failed = -1;
		}
	return failed;
}

static int run_all(const struct occasion *o, struct error *err)
{
	char path[512];
	struct dirent **names = NULL;
	int count = scandir(path_of(NULL, path), &names, select_candidate, by_name);
	int failed = count > 0 ? check_owner(path, S_IFDIR, err) : 0;
	if (failed)
		note_failure(o, "hooks.d", err);
	else
		failed = run_names(o, names, count, err);
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return failed;
}

static json_t *input_of(const struct move *m, const char *event)
{
	json_t *input =
		json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:O?, s:O?, s:O?, s:O?}",
			  "schema", 1, "event", event, "host", m->daemon->config.host, "side",
			  m->incoming ? "destination" : "source", "move", m->row.id, "partition",
			  m->row.partition, "from", m->row.source, "to", m->row.target, "epoch",
			  (json_int_t)m->row.epoch, "asked", m->row.asked, "options",
			  m->row.options, "result", m->row.result, "error", m->row.error);
	if (m->finished)
		json_object_set_new(input, "outcome", json_string(m->row.state));
	return input;
}

// With the lock held.
static bool take_occasion(struct daemon *d, const char *event, const char *id, struct occasion *o)
{
	const struct move *m = move_find(d, id);
	*o = (struct occasion){.d = d,
			       .timeout_ms = d->config.hook_timeout_ms,
			       .may_refuse = !strcmp(event, "pre-move")};
	if (!m)
		return false;
	snprintf(o->event, sizeof(o->event), "%s", event);
	snprintf(o->move, sizeof(o->move), "%s", id);
	snprintf(o->partition, sizeof(o->partition), "%s", m->row.partition);
	o->input = input_of(m, event);
	return o->input;
}

// ---- before -------------------------------------------------------------------------------------

static void after_before(struct daemon *d, const char *id, int failed, const struct error *why)
{
	struct move *m = move_find(d, id);
	struct error err;
	if (!m)
		return;
	m->hooking = false;
	if (m->finished) // cancelled meanwhile: those who know of it learn its end
		hooks_after(m);
	else if (d->stopping)
		m->hooked = false; // it stays queued, and is asked about again
	else if (failed)
		departure_drop(m, why);
	else if (departure_leave_queue(m, &err) < 0)
		departure_drop(m, &err);
	queue_next(d);
}

static void before(struct daemon *d, const char *id)
{
	struct occasion o;
	struct error why = {0};
	int failed = -1;
	daemon_lock(d);
	bool there = take_occasion(d, "pre-move", id, &o);
	daemon_unlock(d);
	if (there)
		failed = run_all(&o, &why);
	else
		error_set(&why, ERR_NOMEM, "no memory for the hooks");
	error_at(&why, d->config.host, o.partition, NULL);
	daemon_lock(d);
	after_before(d, id, failed, &why);
	daemon_unlock(d);
	json_decref(o.input);
}

int hooks_before(struct move *m, struct error *err)
{
	_cleanup_json_ json_t *event = json_pack("{s:s, s:s}", "event", "phase", "phase", "hooks");
	if (daemon_thread(m->daemon, before, m->row.id, err) < 0)
		return -1;
	m->hooking = m->hooked = true;
	move_event(m, event);
	return 0;
}

// ---- after --------------------------------------------------------------------------------------

// "post-move m-1f3a09"
static void tell(struct daemon *d, const char *what)
{
	char event[16];
	struct occasion o;
	struct error why;
	size_t length = strcspn(what, " ");
	snprintf(event, sizeof(event), "%.*s", (int)length, what);
	daemon_lock(d);
	bool there = take_occasion(d, event, what + length + 1, &o);
	daemon_unlock(d);
	if (there)
		run_all(&o, &why);
	json_decref(o.input);
}

static void begin(struct daemon *d, const char *event, const char *move)
{
	char what[REGISTRY_NAME_MAX];
	struct error err;
	snprintf(what, sizeof(what), "%s %s", event, move);
	if (hooks_exist() && daemon_thread(d, tell, what, &err) < 0)
		log_error_of(&err, what);
}

void hooks_after(const struct move *m)
{
	bool done = !strcmp(m->row.state, "done");
	if (m->hooking || !strcmp(m->row.state, "in-doubt") || (m->incoming ? !done : !m->hooked))
		return;
	begin(m->daemon, done ? "post-move" : "move-failed", m->row.id);
}

void hooks_in_doubt(struct daemon *d, const char *move)
{
	begin(d, "in-doubt", move);
}
