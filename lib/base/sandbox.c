// SPDX-License-Identifier: Apache-2.0
#include "lib/base/sandbox.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 32
#define HEAP_MAX  (512ul << 20)

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool sandbox_has_user(void)
{
	return getpwnam(SANDBOX_USER) != NULL;
}

static int drop_bounding(struct error *err)
{
	for (cap_value_t cap = 0; CAP_IS_SUPPORTED(cap); cap++)
		if (cap_drop_bound(cap) < 0)
			return error_sys(err, ERR_SYSTEM, errno,
					 "cannot drop a capability from the bounding set");
	return 0;
}

static int become_nobody(struct error *err)
{
	const struct passwd *user = getpwnam(SANDBOX_USER);
	if (!user)
		user = getpwnam(SANDBOX_USER_LACKED);
	if (!user || user->pw_uid == 0)
		return error_set(err, ERR_SYSTEM,
				 "there is no user " SANDBOX_USER " or " SANDBOX_USER_LACKED);
	const uid_t uid = user->pw_uid;
	const gid_t gid = user->pw_gid;
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make empty namespaces");
	if (drop_bounding(err) < 0)
		return -1;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot become user %u", (unsigned)uid);
	return 0;
}

static int drop_capabilities(struct error *err)
{
	cap_t none = cap_init();
	if (!none || cap_set_proc(none) < 0 || cap_reset_ambient() < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot give up capabilities");
		cap_free(none);
		return -1;
	}
	cap_free(none);
	return 0;
}

static int limit(struct error *err)
{
	static const struct {
		int resource;
		rlim_t most;
	} limits[] = {
		{RLIMIT_CORE, 0},        {RLIMIT_FSIZE, 0},    {RLIMIT_NPROC, 0},
		{RLIMIT_MEMLOCK, 0},     {RLIMIT_MSGQUEUE, 0}, {RLIMIT_NOFILE, FILES_MAX},
		{RLIMIT_DATA, HEAP_MAX},
	};
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct rlimit most = {limits[i].most, limits[i].most};
		if (SANITIZED && limits[i].resource == RLIMIT_DATA)
			continue; // the shadow of AddressSanitizer alone is larger
		if (setrlimit((__rlimit_resource_t)limits[i].resource, &most) < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot lower a limit");
	}
	return 0;
}

int sandbox_drop(struct error *err)
{
	if (geteuid() == 0 && become_nobody(err) < 0)
		return -1;
	if (drop_capabilities(err) < 0 || limit(err) < 0)
		return -1;
	// After the change of user, which resets the last two of them (prctl(2)).
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot confine the process");
	return 0;
}

// ---- system calls -------------------------------------------------------------------------------

static const int computing[] = {
	__NR_brk,           __NR_munmap,          __NR_mremap,      __NR_madvise, __NR_futex,
	__NR_clock_gettime, __NR_gettimeofday,    __NR_getrandom,   __NR_exit,    __NR_exit_group,
	__NR_rt_sigreturn,  __NR_rt_sigprocmask,  __NR_sched_yield, __NR_getpid,  __NR_gettid,
	__NR_close,         __NR_restart_syscall,
#ifdef __NR_time
	__NR_time,
#endif
};

// Memory that can be written and executed is what an attack would need next.
static int allow_memory(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp no_exec = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, __NR_mmap, 1, &no_exec);
	if (!failed)
		failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, __NR_mprotect, 1, &no_exec);
	return failed;
}

static int allow_stderr(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp is_stderr = SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO);
	int failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, __NR_write, 1, &is_stderr);
	if (!failed)
		failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, __NR_writev, 1, &is_stderr);
	return failed;
}

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	int failed = 0;
	for (size_t i = 0; i < count && !failed; i++)
		failed = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i], 0, NULL);
	return failed;
}

static void release(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

int sandbox_close(const int *calls, size_t count, struct error *err)
{
	// Times are told in UTC; the C library would look for /etc/localtime.
	setenv("TZ", "UTC0", 1);
	tzset();
	__attribute__((cleanup(release))) scmp_filter_ctx filter =
		seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return error_set(err, ERR_NOMEM, "no memory for a seccomp filter");
	int failed = allow(filter, computing, ARRAY_SIZE(computing));
	if (!failed)
		failed = allow(filter, calls, count);
	if (!failed)
		failed = allow_memory(filter);
	if (!failed)
		failed = allow_stderr(filter);
	if (!failed && SANITIZED) {
		static const int sanitizer[] = {__NR_sigaltstack, __NR_prctl, __NR_readlink};
		failed = allow(filter, sanitizer, ARRAY_SIZE(sanitizer));
	}
	if (!failed)
		failed = seccomp_load(filter);
	return failed ? error_sys(err, ERR_SYSTEM, -failed, "cannot load a seccomp filter") : 0;
}
