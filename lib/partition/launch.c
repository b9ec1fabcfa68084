// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/launch.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/confine.h"
#include "lib/partition/inside.h"
#include "lib/partition/passwd.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LAUNCH_MS 30000

// ---- in the child ------------------------------------------------------------------------------

static int enter_groups(struct cgroup *cg, struct error *err)
{
	size_t count;
	const int *procs = cgroup_enter_fds(cg, &count);
	for (size_t i = 0; i < count; i++)
		if (write(procs[i], "0", 1) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot enter the cgroup");
	// Rooted where it is now.
	if (unshare(CLONE_NEWCGROUP) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make a cgroup namespace");
	return 0;
}

// The keeper is shielded from the OOM killer; what it starts is not.
static void forget_oom_shield(void)
{
	fdio_write_control(AT_FDCWD, "/proc/self/oom_score_adj", "0", NULL);
}

// Opened inside: CRIU can only restore files that the partition can see.
static int place_stdio(const struct launch *what, struct error *err)
{
	const struct partition_process *p = &what->def->process;
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot open /dev/null");
	// The user must be able to reopen them as /dev/stdout and /dev/stderr.
	if (fchown(what->stdout_fd, p->uid, p->gid) < 0 ||
	    fchown(what->stderr_fd, p->uid, p->gid) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot hand over the console");
	if (dup2(null, 0) < 0 || dup2(what->stdout_fd, 1) < 0 || dup2(what->stderr_fd, 2) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot place the console");
	return 0;
}

// The command line: that of the definition, below our init, or the root filesystem's own init.
static char **command_of(const struct partition_def *def)
{
	static const char *const own_init[] = {"/sbin/init", NULL};
	if (!def->process.args[0])
		return strv_new(own_init);
	if (!stage_wants_init(def))
		return strv_new((const char *const *)def->process.args);
	char **args = strv_new((const char *const[]){STAGE_INIT, "--", NULL});
	for (char **arg = def->process.args; args && *arg; arg++)
		strv_add(&args, *arg);
	return args;
}

// With a HOME, as a login would have it.
static char **environment_of(const struct partition_def *def)
{
	char **env = strv_new((const char *const *)def->process.env), home[256];
	if (!env || strv_env_get(env, "HOME"))
		return env;
	passwd_home("/", def->process.uid, home, sizeof(home));
	return strv_addf(&env, "HOME=%s", home) < 0 ? NULL : env;
}

static int become_init(const struct launch *what, struct error *err)
{
	const struct partition_def *def = what->def;
	const struct partition_process *p = &def->process;
	const struct confine_user user = {p->uid, p->gid, p->groups, p->group_count};
	setsid();
	forget_oom_shield();
	if (enter_groups(what->cg, err) < 0)
		return -1;
	umask(0);
	if (inside_mount(what->stage, def, err) < 0)
		return -1;
	umask(022);
	if (sethostname(def->hostname, strlen(def->hostname)) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot set the host name");
	if (place_stdio(what, err) < 0 || confine_reset(err) < 0)
		return -1;
	// Images name working folders that they do not have.
	if (def->image && inside_make_folder(p->cwd, err) < 0)
		return -1;
	if (chdir(p->cwd) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot change to folder %s", p->cwd);
	char **args = command_of(def), **env = environment_of(def);
	if (!args || !env)
		return error_set(err, ERR_NOMEM, "no memory for the command line");
	if (confine_apply(def, &user, err) < 0)
		return -1;
	return confine_exec(args, env, err);
}

// ---- in the parent -----------------------------------------------------------------------------

// The child writes its error before it exits; a successful exec closes the pipe.
static int await_exec(int report, struct error *err)
{
	struct error failed;
	int ready = fdio_wait(report, POLLIN, deadline_in_ms(LAUNCH_MS), err);
	if (ready < 0)
		return -1;
	if (!ready)
		return error_set(err, ERR_DEADLINE, "the partition's init did not start in %d s",
				 LAUNCH_MS / 1000);
	ssize_t n = read(report, &failed, sizeof(failed));
	if (n == 0)
		return 0;
	if (n != sizeof(failed))
		return error_set(err, ERR_LAUNCH, "the partition's init ended before it started");
	if (err)
		*err = failed;
	return -1;
}

int launch_init(const struct launch *what, pid_t *pid, int *pidfd, struct error *err)
{
	int ends[2], fd = -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	_cleanup_close_ int in = ends[0], out = ends[1];
	struct clone_args how = {
		.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWTIME |
			 CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&fd,
		.exit_signal = SIGCHLD,
	};
	*pid = (pid_t)syscall(SYS_clone3, &how, sizeof(how));
	if (*pid < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot make the namespaces");
	if (*pid == 0) {
		struct error failed = {0};
		become_init(what, &failed);
		// Less than PIPE_BUF, so it arrives whole.
		_exit(write(out, &failed, sizeof(failed)) == sizeof(failed) ? 127 : 126);
	}
	close(take_fd(&out));
	if (await_exec(in, err) < 0) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
		close(fd);
		return -1;
	}
	*pidfd = fd;
	return 0;
}
