// SPDX-License-Identifier: Apache-2.0
// System call filters, applied for real in child processes.
#include "lib/partition/seccomp.h"

#include "lib/base/cleanup.h"
#include "lib/partition/caps.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

// The errno (0: none) of one call made under a filter; 255: the filter could not be loaded, 128 +
// N: killed by signal N.
static int under(const char *profile, uint64_t capabilities, long (*call)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_json_ json_t *json = json_loads(profile, JSON_DECODE_ANY, NULL);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    seccomp_apply(json, capabilities, NULL) < 0)
			_exit(255);
		errno = 0;
		long result = call();
		_exit(result < 0 ? errno : 0);
	}
	int status;
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static long call_getpid(void)
{
	return syscall(SYS_getpid);
}
static long call_io_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL);
}
static long call_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, 0);
}
static long call_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0);
}
static long call_new_namespace(void)
{
	return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
}
static long call_unshare(void)
{
	return unshare(CLONE_NEWUTS);
}
static long call_plain_fork(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	return pid;
}
static long call_vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}
static long call_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long call_unheard_of(void)
{
	return syscall(4000);
}
static long call_own_personality(void)
{
	return personality(0xffffffff);
}
static long call_odd_personality(void)
{
	return personality(ADDR_NO_RANDOMIZE);
}
static long call_chroot_null(void)
{
	return syscall(SYS_chroot, NULL);
}

#define DEFAULT "\"default\""

static void default_allows_ordinary_life(void **state)
{
	(void)state;
	assert_int_equal(under(DEFAULT, caps_default(), call_getpid), 0);
	assert_int_equal(under(DEFAULT, caps_default(), call_plain_fork), 0);
	assert_int_equal(under(DEFAULT, caps_default(), call_unix_socket), 0);
	assert_int_equal(under(DEFAULT, caps_default(), call_own_personality), 0);
}

static void default_denies_what_cannot_move_or_breaks_out(void **state)
{
	(void)state;
	assert_int_equal(under(DEFAULT, caps_default(), call_io_uring), ENOSYS);
	assert_int_equal(under(DEFAULT, caps_default(), call_userfaultfd), EPERM);
	assert_int_equal(under(DEFAULT, caps_default(), call_clone3), ENOSYS);
	assert_int_equal(under(DEFAULT, caps_default(), call_unheard_of), ENOSYS);
	assert_int_equal(under(DEFAULT, caps_default(), call_unshare), EPERM);
	assert_int_not_equal(under(DEFAULT, caps_default(), call_new_namespace), 0);
	assert_int_not_equal(under(DEFAULT, caps_default(), call_vsock), 0);
	assert_int_equal(under(DEFAULT, caps_default(), call_odd_personality), ENOSYS);
}

static void capabilities_open_calls(void **state)
{
	(void)state;
	// Past the filter the kernel itself answers EFAULT (root) or EPERM: only the former tells.
	int with = under(DEFAULT, 1ull << 18, call_chroot_null); // CAP_SYS_CHROOT
	assert_true(with == EFAULT || with == EPERM);
	assert_int_equal(under(DEFAULT, 0, call_chroot_null), EPERM);
	if (geteuid() == 0)
		assert_int_equal(with, EFAULT);
}

static void unconfined_is_no_filter(void **state)
{
	(void)state;
	assert_int_equal(under("\"unconfined\"", 0, call_unheard_of), ENOSYS);
	assert_int_not_equal(under("\"unconfined\"", 0, call_odd_personality), ENOSYS);
}

static void oci_profiles_do_what_they_say(void **state)
{
	(void)state;
	static const char deny_one[] =
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"getpid\"],"
		"\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":71}]}";
	static const char by_argument[] =
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"socket\"],"
		"\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":1,"
		"\"op\":\"SCMP_CMP_EQ\"}]}]}";
	static const char kill_it[] =
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"getpid\"],"
		"\"action\":\"SCMP_ACT_KILL_PROCESS\"}]}";
	static const char either_value[] =
		"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"socket\"],"
		"\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":0,\"value\":2,\"op\":\"SCMP_"
		"CMP_EQ\"},"
		"{\"index\":0,\"value\":1,\"op\":\"SCMP_CMP_EQ\"}]}]}";
	assert_int_equal(under(deny_one, 0, call_getpid), 71);
	assert_int_equal(under(deny_one, 0, call_unix_socket), 0);
	assert_int_equal(under(by_argument, 0, call_unix_socket), EPERM);
	assert_int_equal(under(either_value, 0, call_unix_socket), EPERM);
	assert_int_equal(under(kill_it, 0, call_getpid), 128 + SIGSYS);
}

static void refuses_profiles_it_cannot_honour(void **state)
{
	(void)state;
	static const struct {
		const char *profile, *word;
	} bad[] = {
		{"\"loose\"", "loose"},
		{"7", "object"},
		{"{}", "defaultAction"},
		{"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "SCMP_ACT_NOTIFY"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/x\"}", "listenerPath"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_VAX\"]}",
		 "VAX"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"X\"]}", "flags"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
		 "\"action\":\"SCMP_ACT_TRACE\"}]}",
		 "syscalls[0].action"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
		 "\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":6,\"value\":1,\"op\":"
		 "\"SCMP_CMP_EQ\"}]}]}",
		 "args[0].index"},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],"
		 "\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":0,\"value\":1,\"op\":\"EQ\"}]}]"
		 "}",
		 "args[0].op"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error err = {0};
		_cleanup_json_ json_t *json = json_loads(bad[i].profile, JSON_DECODE_ANY, NULL);
		assert_int_equal(seccomp_check(json, 0, &err), -1);
		assert_int_equal(err.id, ERR_DEFINITION);
		if (!strstr(err.message, bad[i].word))
			fail_msg("%s: %s", bad[i].profile, err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_allows_ordinary_life),
		cmocka_unit_test(default_denies_what_cannot_move_or_breaks_out),
		cmocka_unit_test(capabilities_open_calls),
		cmocka_unit_test(unconfined_is_no_filter),
		cmocka_unit_test(oci_profiles_do_what_they_say),
		cmocka_unit_test(refuses_profiles_it_cannot_honour),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
