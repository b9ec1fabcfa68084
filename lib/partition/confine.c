// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/confine.h"

#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"
#include "lib/partition/rlimit.h"
#include "lib/partition/seccomp.h"
#include "lib/partition/strv.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int set_rlimits(const struct partition_process *p, struct error *err)
{
	for (size_t i = 0; i < p->rlimit_count; i++) {
		struct rlimit limit = {p->rlimits[i].soft, p->rlimits[i].hard};
		if (setrlimit(p->rlimits[i].resource, &limit) < 0)
			return error_sys(err, ERR_LAUNCH, errno, "cannot set %s",
					 rlimit_name(p->rlimits[i].resource));
	}
	return 0;
}

static int set_user(const struct confine_user *user, struct error *err)
{
	if (setgroups(user->group_count, user->groups) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot set the groups");
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot become group %u", user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot become user %u", user->uid);
	return 0;
}

int confine_apply(const struct partition_def *def, const struct confine_user *user,
		  struct error *err)
{
	const struct partition_process *p = &def->process;
	if (set_rlimits(p, err) < 0 || caps_bound(p->capabilities, err) < 0)
		return -1;
	// A filter may be loaded with CAP_SYS_ADMIN, which is gone soon, or with no_new_privs.
	if (!p->no_new_privileges && seccomp_apply(def->seccomp, p->capabilities, err) < 0)
		return -1;
	if (set_user(user, err) < 0 || caps_apply(p->capabilities, user->uid, err) < 0)
		return -1;
	if (!p->no_new_privileges)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot set no_new_privs");
	return seccomp_apply(def->seccomp, p->capabilities, err);
}

int confine_reset(struct error *err)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &plain, NULL); // fails for SIGKILL and the like, as it should
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (syscall(SYS_close_range, 3U, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) < 0)
		return error_sys(err, ERR_LAUNCH, errno, "cannot mark descriptors");
	return 0;
}

// As execvp(3), but with the PATH of the environment that is given. EACCES wins over ENOENT.
static int exec_in_path(char *const *args, char *const *env)
{
	const char *path = strv_env_get(env, "PATH");
	int failed = ENOENT;
	for (const char *at = path ? path : "/usr/bin:/bin"; *at;) {
		char candidate[PATH_MAX];
		size_t length = strcspn(at, ":");
		int n = snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)length, at, args[0]);
		at += length + (at[length] == ':');
		if (!length || n >= (int)sizeof(candidate))
			continue;
		execve(candidate, args, env);
		if (errno != ENOENT && errno != ENOTDIR)
			failed = errno;
		if (failed != ENOENT && failed != EACCES)
			break;
	}
	return failed;
}

int confine_exec(char *const *args, char *const *env, struct error *err)
{
	int failed;
	if (strchr(args[0], '/')) {
		execve(args[0], args, env);
		failed = errno;
	} else {
		failed = exec_in_path(args, env);
	}
	return error_sys(err, ERR_LAUNCH, failed, "cannot run %s", args[0]);
}
