// SPDX-License-Identifier: Apache-2.0
// The sandbox of movers and auditors: each forbidden thing is tried in a process of its own, which
// must be killed for it; what they live on must work.
#include "lib/base/cleanup.h"
#include "lib/base/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static const int calls[] = {__NR_recvfrom, __NR_io_uring_enter};

// Ends with 0 when act() returned, 99 when the sandbox could not be closed; else by a signal.
static int in_sandbox(void (*act)(void), bool drop)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct error err;
		if ((drop && sandbox_drop(&err) < 0) ||
		    sandbox_close(calls, ARRAY_SIZE(calls), &err) < 0)
			_exit(99);
		act();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void do_open(void)
{
	open("/etc/passwd", O_RDONLY);
}

static void do_open_for_writing(void)
{
	open("/tmp/sandbox", O_RDWR | O_CREAT, 0600);
}

static void do_socket(void)
{
	socket(AF_INET, SOCK_STREAM, 0);
}

static void do_unix_socket(void)
{
	socket(AF_UNIX, SOCK_STREAM, 0);
}

static void do_connect(void)
{
	struct sockaddr address = {.sa_family = AF_INET};
	connect(3, &address, sizeof(address));
}

static void do_execve(void)
{
	execl("/bin/true", "true", NULL);
}

static void do_fork(void)
{
	if (fork() == 0)
		_exit(0);
}

static void do_ptrace(void)
{
	ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static void do_read_memory_of_parent(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)do_ptrace, 1};
	syscall(__NR_process_vm_readv, getppid(), &here, 1, &there, 1, 0);
}

static void do_io_uring_setup(void)
{
	struct io_uring_params params = {0};
	syscall(__NR_io_uring_setup, 4, &params);
}

static void do_io_uring_register(void)
{
	syscall(__NR_io_uring_register, 3, IORING_REGISTER_FILES, NULL, 0);
}

static void do_mmap_executable(void)
{
	mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_mprotect_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void do_setuid(void)
{
	syscall(__NR_setuid, 0);
}

static void do_kill(void)
{
	kill(getppid(), 0);
}

static void do_mount(void)
{
	syscall(__NR_mount, "none", "/", "tmpfs", 0UL, NULL);
}

static void do_unshare(void)
{
	syscall(__NR_unshare, 0x10000000);
}

static void do_write_elsewhere(void)
{
	if (write(STDOUT_FILENO, "x", 1) < 0)
		_exit(1);
}

static const struct {
	const char *name;
	void (*act)(void);
} forbidden[] = {
	{"open", do_open},
	{"open for writing", do_open_for_writing},
	{"socket", do_socket},
	{"unix socket", do_unix_socket},
	{"connect", do_connect},
	{"execve", do_execve},
	{"fork", do_fork},
	{"ptrace", do_ptrace},
	{"process_vm_readv", do_read_memory_of_parent},
	{"io_uring_setup", do_io_uring_setup},
	{"io_uring_register", do_io_uring_register},
	{"mmap PROT_EXEC", do_mmap_executable},
	{"mprotect PROT_EXEC", do_mprotect_executable},
	{"setuid", do_setuid},
	{"kill", do_kill},
	{"mount", do_mount},
	{"unshare", do_unshare},
	{"write", do_write_elsewhere},
};

static void test_what_is_forbidden_kills(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		int status = in_sandbox(forbidden[i].act, false);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: status %#x", forbidden[i].name, (unsigned)status);
	}
}

static void do_live(void)
{
	static const char text[] = "";
	char *memory = malloc(8 << 20);
	struct timespec now;
	if (!memory)
		_exit(1);
	memset(memory, 1, 8 << 20);
	free(memory);
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (write(STDERR_FILENO, text, 0) < 0)
		_exit(2);
	char byte;
	recv(-1, &byte, 1, 0);
}

static void test_what_is_needed_works(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(do_live, false), 0);
	assert_int_equal(in_sandbox(do_live, true), 0);
}

static void check_dropped(void)
{
	struct rlimit core, processes;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		_exit(1);
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max ||
	    getrlimit(RLIMIT_NPROC, &processes) < 0 || processes.rlim_max)
		_exit(2);
	if (getuid() == 0 || geteuid() == 0 || setuid(0) == 0)
		_exit(3);
	_exit(0);
}

static void test_a_user_with_nothing(void **state)
{
	int status;
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: not root, there is no user to change from\n");
		skip();
	}
	pid_t pid = fork();
	if (pid == 0) {
		struct error err;
		if (sandbox_drop(&err) < 0)
			_exit(99);
		check_dropped();
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_forbidden_kills),
		cmocka_unit_test(test_what_is_needed_works),
		cmocka_unit_test(test_a_user_with_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
