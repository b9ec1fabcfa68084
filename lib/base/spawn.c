// SPDX-License-Identifier: Apache-2.0
#include "lib/base/spawn.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LOOK_MS 5

extern char **environ;

// Descriptors are first moved above every target number, so that no dup2 overwrites one still
// needed.
static int place_fds(const struct spawn *what, int *report)
{
	int high = 3;
	for (size_t i = 0; i < what->fd_count; i++)
		if (what->fds[i].to >= high)
			high = what->fds[i].to + 1;
	int moved[64];
	if (what->fd_count > 64)
		return EINVAL;
	for (size_t i = 0; i < what->fd_count; i++)
		if ((moved[i] = fcntl(what->fds[i].from, F_DUPFD, high)) < 0)
			return errno;
	int report_moved = fcntl(*report, F_DUPFD, high);
	if (report_moved < 0)
		return errno;
	for (size_t i = 0; i < what->fd_count; i++)
		if (dup2(moved[i], what->fds[i].to) < 0)
			return errno;
	// What stays open past exec is exactly 0-2 and the named numbers.
	if (syscall(SYS_close_range, 3U, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) < 0)
		return errno;
	for (size_t i = 0; i < what->fd_count; i++)
		if (what->fds[i].to > 2 && fcntl(what->fds[i].to, F_SETFD, 0) < 0)
			return errno;
	*report = report_moved;
	return 0;
}

static void reset_signals(void)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &plain, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int seal_files(const char *writable)
{
	struct mount_attr seal = {.attr_set = MOUNT_ATTR_RDONLY};
	struct mount_attr open_again = {.attr_clr = MOUNT_ATTR_RDONLY};
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(writable, writable, NULL, MS_BIND, NULL) < 0 ||
	    mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &seal, sizeof(seal)) < 0 ||
	    mount_setattr(AT_FDCWD, writable, 0, &open_again, sizeof(open_again)) < 0)
		return errno;
	return 0;
}

static int child(const struct spawn *what, int *report)
{
	if (what->new_session)
		setsid();
	// A parent that has ended before this is seen by what it was to get from us: it has closed.
	if (what->dies_with_us && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return errno;
	reset_signals();
	if (what->oom_score)
		fdio_write_control(AT_FDCWD, "/proc/self/oom_score_adj", what->oom_score, NULL);
	for (size_t i = 0; i < what->cgroup_count; i++)
		if (write(what->cgroup_procs[i], "0", 1) < 0)
			return errno;
	if (what->netns >= 0 && setns(what->netns, CLONE_NEWNET) < 0)
		return errno;
	if (what->unshare_flags && unshare(what->unshare_flags) < 0)
		return errno;
	int failed = what->only_writable ? seal_files(what->only_writable) : 0;
	if (failed)
		return failed;
	failed = place_fds(what, report);
	if (failed)
		return failed;
	execve(what->argv[0], (char *const *)what->argv,
	       what->envp ? (char *const *)what->envp : environ);
	return errno;
}

int spawn_start(const struct spawn *what, pid_t *pid, int *pidfd, struct error *err)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pipe");
	_cleanup_close_ int in = ends[0], out = ends[1];
	*pid = fork();
	if (*pid < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot fork for %s", what->argv[0]);
	if (*pid == 0) {
		int failed = child(what, &out);
		if (write(out, &failed, sizeof(failed)) < 0)
			_exit(126);
		_exit(127);
	}
	close(take_fd(&out));
	int failed;
	ssize_t n;
	do
		n = read(in, &failed, sizeof(failed));
	while (n < 0 && errno == EINTR);
	if (n == sizeof(failed)) {
		waitpid(*pid, NULL, 0);
		return error_sys(err, ERR_SYSTEM, failed, "cannot start %s", what->argv[0]);
	}
	if (pidfd && (*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0)) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot open a pidfd of %s",
				 what->argv[0]);
	return 0;
}

int spawn_wait(pid_t pid, int *status, struct error *err)
{
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return error_sys(err, ERR_SYSTEM, errno, "cannot wait for process %d",
					 (int)pid);
	return 0;
}

bool spawn_wait_until(pid_t pid, deadline_t deadline)
{
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (deadline_passed(deadline))
			return false;
		clock_sleep_ms(LOOK_MS);
	}
	return true;
}

int spawn_exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
