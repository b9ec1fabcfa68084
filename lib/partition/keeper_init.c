// SPDX-License-Identifier: Apache-2.0
// The keeper's children: init, and criu when a partition arrives.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/proc.h"
#include "lib/base/spawn.h"
#include "lib/memory/pager.h"
#include "lib/partition/keeper_inner.h"
#include "lib/partition/launch.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

// ---- the console -------------------------------------------------------------------------------

static void close_console(struct keeper *k)
{
	for (int i = 0; i < 2; i++)
		if (k->console_fds[i] >= 0)
			close(take_fd(&k->console_fds[i]));
}

// Fresh pipes; the write ends are the caller's to close.
static int make_console(struct keeper *k, int write_ends[2], struct error *err)
{
	close_console(k);
	for (int i = 0; i < 2; i++) {
		int ends[2];
		struct stat st;
		write_ends[i] = -1;
		if (pipe2(ends, O_CLOEXEC) < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
		k->console_fds[i] = ends[0];
		write_ends[i] = ends[1];
		if (fstat(ends[0], &st) < 0 || fdio_set_nonblock(ends[0], true, err) < 0)
			return error_set(err, ERR_SYSTEM, "cannot set up the console");
		k->console_inodes[i] = st.st_ino;
		// A restored init reopens them as its own user, as a launched one can.
		if (fchown(ends[1], k->def->process.uid, k->def->process.gid) < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot hand over the console");
	}
	return 0;
}

void keeper_read_console(struct keeper *k, int stream)
{
	char bytes[16384];
	while (k->console_fds[stream] >= 0) {
		ssize_t n = read(k->console_fds[stream], bytes, sizeof(bytes));
		if (n > 0) {
			console_put(k->console, stream, bytes, (size_t)n);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		close(take_fd(&k->console_fds[stream]));
	}
}

// ---- init --------------------------------------------------------------------------------------

static void init_runs(struct keeper *k, pid_t pid, int pidfd)
{
	k->state = KEEPER_RUNNING;
	k->pid = pid;
	k->pidfd = pidfd;
	k->start_time = proc_start_time(pid);
	log_info("init of %s runs, pid %d", k->def->name, (int)pid);
}

static void forget_last_exit(struct keeper *k)
{
	char path[KEEPER_PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/exit.json", k->state_dir);
	unlink(path);
}

int keeper_launch(struct keeper *k, struct error *err)
{
	int ends[2] = {-1, -1}, pidfd;
	pid_t pid;
	if (k->state != KEEPER_IDLE)
		return error_set(err, ERR_WRONG_STATE, "partition %s was started already",
				 k->def->name);
	int failed = make_console(k, ends, err);
	struct launch what = {k->def, &k->stage, k->cg, ends[0], ends[1]};
	if (!failed)
		failed = launch_init(&what, &pid, &pidfd, err);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (failed) {
		close_console(k);
		return -1;
	}
	forget_last_exit(k);
	init_runs(k, pid, pidfd);
	return 0;
}

// A restored root task, forked by our criu as our child (rst_sibling).
int keeper_take_init(struct keeper *k, pid_t pid, struct error *err)
{
	siginfo_t info = {0};
	if (k->state != KEEPER_IDLE)
		return error_set(err, ERR_WRONG_STATE, "partition %s has an init already",
				 k->def->name);
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return error_sys(err, ERR_KEEPER, errno, "process %d is not the keeper's child",
				 (int)pid);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return error_sys(err, ERR_KEEPER, errno, "cannot open a pidfd of %d", (int)pid);
	forget_last_exit(k);
	init_runs(k, pid, pidfd);
	keeper_calm_down(k);
	return 0;
}

// ---- criu --------------------------------------------------------------------------------------

static char **environment_with(const char *const *extra)
{
	char **env = strv_new((const char *const *)environ);
	for (size_t i = 0; env && extra && extra[i]; i++)
		if (strv_env_set(&env, extra[i]) < 0)
			break;
	return env;
}

int keeper_spawn(struct keeper *k, const char *const *argv, const char *const *env, const int *fds,
		 const int *numbers, size_t count, pid_t *pid, struct error *err)
{
	struct spawn_fd places[FDIO_FDS_MAX + 2];
	int ends[2] = {-1, -1};
	struct spawn what = SPAWN_INIT;
	if (k->state != KEEPER_IDLE)
		return error_set(err, ERR_WRONG_STATE, "partition %s runs here", k->def->name);
	int failed = make_console(k, ends, err);
	for (size_t i = 0; i < count; i++)
		places[i] = (struct spawn_fd){fds[i], numbers[i]};
	places[count] = (struct spawn_fd){ends[0], KEEPER_CRIU_STDOUT};
	places[count + 1] = (struct spawn_fd){ends[1], KEEPER_CRIU_STDERR};
	char **environment = environment_with(env);
	what.argv = argv;
	what.envp = (const char *const *)environment;
	what.fds = places;
	what.fd_count = count + 2;
	// CRIU does not make the cgroup namespace: the restored tasks inherit this one, whose root
	// is the payload. CRIU itself must not be in reach of the partition's freezer and limits.
	what.cgroup_procs = cgroup_enter_fds(k->cg, &what.cgroup_count);
	what.unshare_flags = CLONE_NEWCGROUP;
	// CRIU sets no 0: what it restores would be spared by the OOM killer as we are.
	what.oom_score = "0";
	if (!failed)
		failed = spawn_start(&what, pid, NULL, err);
	if (!failed)
		failed = cgroup_place_put(k->place, *pid, err);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	strv_free(environment);
	return failed;
}

// ---- the reaper --------------------------------------------------------------------------------

static json_t *status_json(int status)
{
	json_t *code = WIFEXITED(status) ? json_integer(WEXITSTATUS(status)) : json_null();
	json_t *signal = WIFSIGNALED(status) ? json_integer(WTERMSIG(status)) : json_null();
	return json_pack("{s:o, s:o}", "code", code, "signal", signal);
}

json_t *keeper_exit_event(const struct keeper *k)
{
	json_t *event = status_json(k->status);
	json_object_set_new(event, "event", json_string("exit"));
	json_object_set_new(event, "time", json_string(k->exit_time));
	if (k->lost[0])
		json_object_set_new(event, "lost", json_string(k->lost));
	return event;
}

static void record_exit(struct keeper *k)
{
	char path[KEEPER_PATH_MAX + 16];
	struct error err = {0};
	_cleanup_json_ json_t *record = status_json(k->status);
	json_object_set_new(record, "time", json_string(k->exit_time));
	if (k->lost[0])
		json_object_set_new(record, "lost", json_string(k->lost));
	_cleanup_free_ char *text = json_dumps(record, JSON_COMPACT);
	snprintf(path, sizeof(path), "%s/exit.json", k->state_dir);
	if (text && fdio_replace_file(path, text, strlen(text), 0640, &err) < 0)
		log_error_of(&err, "keeping the exit status");
}

static void init_ended(struct keeper *k, int status)
{
	k->state = KEEPER_EXITED;
	k->status = status;
	clock_rfc3339(k->exit_time);
	keeper_read_console(k, 0);
	keeper_read_console(k, 1);
	console_flush(k->console);
	keeper_end_pager(k);
	if (k->released) {
		log_info("init of %s has left for another host", k->def->name);
		k->ending = true;
		return;
	}
	log_info("init of %s ended, %s %d", k->def->name,
		 WIFSIGNALED(status) ? "signal" : "exit code",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	record_exit(k);
	keeper_tell_watchers(k, keeper_exit_event(k));
}

void keeper_reap(struct keeper *k)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		if (pid == k->pid && k->state == KEEPER_RUNNING) {
			init_ended(k, status);
			continue;
		}
		if (k->pager && pid == pager_pid(k->pager)) {
			keeper_pager_ended(k, status);
			continue;
		}
		if (k->pager && pager_guard_ended(k->pager, pid))
			continue;
		json_t *event = status_json(status);
		json_object_set_new(event, "event", json_string("child"));
		json_object_set_new(event, "pid", json_integer(pid));
		keeper_tell_watchers(k, event);
	}
}
