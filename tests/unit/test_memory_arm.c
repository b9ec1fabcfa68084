// SPDX-License-Identifier: Apache-2.0
// Arming tasks from outside: that it works on every kind of task, and that the task does not
// notice.
#include "lib/base/cleanup.h"
#include "lib/memory/arm.h"
#include "lib/memory/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define TIMES   50 // a task is armed, so that a wrong moment is met
#define ARM_MS  10000
#define WAIT_MS 10000

// ---- children -----------------------------------------------------------------------------------

struct child {
	pid_t pid;
	int out; // what it writes
};

// Runs `body` in a child; it writes 'r' when it is ready.
static struct child start(void (*body)(int out))
{
	int ends[2];
	char ready = 0;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		body(ends[1]);
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &ready, 1), 1);
	assert_int_equal(ready, 'r');
	return (struct child){pid, ends[0]};
}

static void end(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->out);
}

static char next_byte(const struct child *c)
{
	char byte = 0;
	struct pollfd p = {c->out, POLLIN, 0};
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	return read(c->out, &byte, 1) == 1 ? byte : 0;
}

static int arm(pid_t pid, struct error *err)
{
	int uffd = -1;
	uint64_t stopped;
	int got = arm_task(pid, deadline_in_ms(ARM_MS), &uffd, &stopped, err);
	if (got != 1)
		return got;
	assert_true(uffd >= 0);
	assert_int_equal(fcntl(uffd, F_GETFD), FD_CLOEXEC);
	close(uffd);
	return 1;
}

static void arms(pid_t pid)
{
	struct error err = {0};
	int got = arm(pid, &err);
	if (got != 1)
		fail_msg("not armed (%d): %s", got, err.message);
}

static void arms_often(pid_t pid)
{
	for (int i = 0; i < TIMES; i++)
		arms(pid);
}

static size_t open_files(pid_t pid)
{
	char path[64];
	size_t n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	while (dir && readdir(dir))
		n++;
	return n;
}

static char state_of(pid_t pid)
{
	char path[32], text[256] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f))
		return 0;
	char *name_end = strrchr(text, ')');
	return name_end ? name_end[2] : 0;
}

// ---- bodies -------------------------------------------------------------------------------------

static void wait_for_ever(int out)
{
	assert_int_equal(write(out, "r", 1), 1);
	for (;;)
		pause();
}

// Computes in registers; a changed one shows.
static void compute(int out)
{
	if (write(out, "r", 1) != 1)
		_exit(1);
	for (;;) {
		uint64_t a = 1, b = 2, c = 3, d = 4, n = 20000000;
		__asm__ volatile("1: add $1, %0\n add $2, %1\n add $3, %2\n add $4, %3\n"
				 "dec %4\n jnz 1b\n"
				 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(n)
				 :
				 : "cc");
		bool well = a == 20000001 && b == 40000002 && c == 60000003 && d == 80000004;
		if (write(out, well ? "." : "x", 1) != 1)
			_exit(1);
	}
}

static void *spin(void *arg)
{
	volatile uint64_t *n = arg;
	for (;;)
		(*n)++;
	return NULL;
}

static void *wait_too(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void threads(int out)
{
	static uint64_t counters[8];
	for (int i = 0; i < 8; i++) {
		pthread_t t;
		pthread_create(&t, NULL, i ? wait_too : spin, &counters[i]);
	}
	wait_for_ever(out);
}

// One second of sleep, interrupted: it must not return earlier, with an error, or much later.
static void sleeper(int out)
{
	if (write(out, "r", 1) != 1)
		_exit(1);
	for (;;) {
		struct timespec second = {1, 0}, from, to;
		clock_gettime(CLOCK_MONOTONIC, &from);
		int got = nanosleep(&second, NULL);
		clock_gettime(CLOCK_MONOTONIC, &to);
		int64_t ms =
			(to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
		if (write(out, got == 0 && ms >= 1000 && ms < 3000 ? "." : "x", 1) != 1)
			_exit(1);
	}
}

static void reader(int out)
{
	int ends[2];
	char byte;
	if (pipe(ends) < 0 || write(out, "r", 1) != 1)
		_exit(1);
	ssize_t n = read(ends[0], &byte, 1);
	printf("read returned %zd %d\n", n, errno);
	if (write(out, "x", 1) != 1)
		_exit(1);
}

static void epoll_waiter(int out)
{
	struct epoll_event event;
	int epoll = epoll_create1(0);
	if (epoll < 0 || write(out, "r", 1) != 1)
		_exit(1);
	epoll_wait(epoll, &event, 1, -1);
	if (write(out, "x", 1) != 1)
		_exit(1);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

// Answers each SIGUSR1 of its parent with a byte, and must have an unchanged mask.
static void counter(int out)
{
	struct sigaction act = {.sa_handler = count_signal};
	sigset_t mask, now;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGUSR1, &act, NULL);
	if (write(out, "r", 1) != 1)
		_exit(1);
	for (int told = 0;;) {
		sigprocmask(SIG_SETMASK, NULL, &now);
		if (memcmp(&now, &mask, 8) != 0 && write(out, "x", 1) != 1)
			_exit(1);
		for (; told < signals; told++)
			if (write(out, ".", 1) != 1)
				_exit(1);
	}
}

static void ignores_traps(int out)
{
	signal(SIGTRAP, SIG_IGN);
	if (write(out, "r", 1) != 1)
		_exit(1);
	for (;;) {
		struct sigaction now;
		sigaction(SIGTRAP, NULL, &now);
		if (now.sa_handler != SIG_IGN && write(out, "x", 1) != 1)
			_exit(1);
	}
}

static void without_files(int out)
{
	struct rlimit limit = {64, 64};
	setrlimit(RLIMIT_NOFILE, &limit);
	while (dup(out) >= 0)
		;
	wait_for_ever(out);
}

// As the profiles of containers do: userfaultfd is EPERM.
static void filtered(int out)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(code), code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(1);
	if (write(out, "r", 1) != 1)
		_exit(1);
	for (;; usleep(1000))
		if (syscall(SYS_userfaultfd, 1) != -1 && write(out, "x", 1) != 1)
			_exit(1);
}

// ---- tests --------------------------------------------------------------------------------------

static int usable(void **state)
{
	(void)state;
	if (arm_usable() && scan_usable())
		return 0;
	print_message("skipped: this kernel has no asynchronous write-protection\n");
	exit(0);
}

static void leaves_nothing_open(void **state)
{
	(void)state;
	struct child c = start(wait_for_ever);
	size_t before = open_files(c.pid), mine = open_files(getpid());
	arms_often(c.pid);
	assert_int_equal(open_files(c.pid), before);
	assert_int_equal(open_files(getpid()), mine);
	end(&c);
}

static void keeps_registers(void **state)
{
	(void)state;
	struct child c = start(compute);
	for (int i = 0; i < 5; i++) {
		arms_often(c.pid);
		assert_int_equal(next_byte(&c), '.');
	}
	end(&c);
}

static void arms_with_threads(void **state)
{
	(void)state;
	struct child c = start(threads);
	arms_often(c.pid);
	end(&c);
}

static void keeps_a_sleep(void **state)
{
	(void)state;
	struct child c = start(sleeper);
	arms_often(c.pid);
	assert_int_equal(next_byte(&c), '.');
	end(&c);
}

static void keeps_a_call(void **state)
{
	(void)state;
	void (*const bodies[])(int) = {reader, epoll_waiter};
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct child c = start(bodies[i]);
		arms_often(c.pid);
		struct pollfd p = {c.out, POLLIN, 0};
		assert_int_equal(poll(&p, 1, 50), 0);
		end(&c);
	}
}

static void loses_no_signal(void **state)
{
	(void)state;
	struct child c = start(counter);
	for (int i = 0; i < TIMES; i++) {
		kill(c.pid, SIGUSR1);
		kill(c.pid, SIGUSR2);
		arms(c.pid);
		assert_int_equal(next_byte(&c), '.');
	}
	end(&c);
}

static void keeps_an_ignored_trap(void **state)
{
	(void)state;
	struct child c = start(ignores_traps);
	arms_often(c.pid);
	struct pollfd p = {c.out, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 20), 0);
	end(&c);
}

// Asynchronously: what comes in the middle is met often enough.
static void survives_stop_and_continue(void **state)
{
	(void)state;
	struct child c = start(compute);
	pid_t teaser = fork();
	if (teaser == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			kill(c.pid, SIGSTOP);
			usleep(200);
			kill(c.pid, SIGCONT);
			usleep(200);
		}
	}
	arms_often(c.pid);
	arms_often(c.pid);
	kill(teaser, SIGKILL);
	waitpid(teaser, NULL, 0);
	kill(c.pid, SIGCONT);
	for (int i = 0; i < 3; i++)
		assert_int_equal(next_byte(&c), '.');
	end(&c);
}

static void leaves_a_stopped_task_stopped(void **state)
{
	(void)state;
	struct child c = start(compute);
	kill(c.pid, SIGSTOP);
	waitpid(c.pid, NULL, WUNTRACED);
	arms_often(c.pid);
	for (int i = 0; i < 100 && state_of(c.pid) != 'T'; i++)
		usleep(1000);
	assert_int_equal(state_of(c.pid), 'T');
	kill(c.pid, SIGCONT);
	assert_int_equal(next_byte(&c), '.');
	end(&c);
}

static void arms_without_free_files(void **state)
{
	(void)state;
	struct child c = start(without_files);
	struct error err = {0};
	struct rlimit limit;
	int got = arm(c.pid, &err);
	// Raising the limit of another takes CAP_SYS_RESOURCE.
	if (got < 0)
		assert_non_null(strstr(err.message, "descriptors"));
	assert_int_equal(prlimit(c.pid, RLIMIT_NOFILE, NULL, &limit), 0);
	assert_int_equal(limit.rlim_cur, 64);
	assert_int_equal(limit.rlim_max, 64);
	end(&c);
}

static void arms_behind_a_filter(void **state)
{
	(void)state;
	struct child c = start(filtered);
	struct error err = {0};
	int got = arm(c.pid, &err);
	// Suspending a filter takes CAP_SYS_ADMIN.
	if (geteuid() == 0)
		assert_int_equal(got, 1);
	else if (got != 1)
		assert_non_null(strstr(err.message, "seccomp"));
	struct pollfd p = {c.out, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 20), 0);
	end(&c);
}

static void refuses_a_traced_task(void **state)
{
	(void)state;
	struct child c = start(wait_for_ever);
	struct error err = {0};
	assert_int_equal(ptrace(PTRACE_SEIZE, c.pid, NULL, 0), 0);
	assert_int_equal(arm(c.pid, &err), -1);
	assert_int_equal(err.id, ERR_UNDUMPABLE);
	assert_non_null(strstr(err.message, "traced"));
	end(&c);
}

static void knows_ended_tasks(void **state)
{
	(void)state;
	struct error err = {0};
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	assert_int_equal(arm(pid, &err), 0);
	waitpid(pid, NULL, 0);
	assert_int_equal(arm(pid, &err), 0);
	assert_false(error_is_set(&err));
}

// It ends while it is being armed.
static void survives_an_end(void **state)
{
	(void)state;
	for (int i = 0; i < TIMES; i++) {
		struct child c = start(compute);
		pid_t killer = fork();
		if (killer == 0) {
			usleep((useconds_t)i * 20);
			kill(c.pid, SIGKILL);
			_exit(0);
		}
		struct error err = {0};
		while (arm(c.pid, &err) == 1)
			;
		if (error_is_set(&err))
			fail_msg("%s", err.message);
		waitpid(killer, NULL, 0);
		end(&c);
	}
}

static void in_vfork(int out)
{
	if (vfork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(out, "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
}

// Its only thread cannot be stopped: an error in time, and it goes on afterwards.
static void gives_up_on_what_does_not_stop(void **state)
{
	(void)state;
	struct child c = start(in_vfork);
	struct error err = {0};
	int uffd;
	uint64_t stopped;
	int64_t since = clock_now_ns();
	assert_int_equal(arm_task(c.pid, deadline_in_ms(200), &uffd, &stopped, &err), -1);
	assert_int_equal(err.id, ERR_DEADLINE);
	assert_true(clock_ms_since(since) < 1500);
	assert_int_equal(state_of(c.pid), 'D');
	kill(c.pid, SIGKILL);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	close(c.out);
}

static void tells_how_long(void **state)
{
	(void)state;
	struct child c = start(threads);
	uint64_t worst = 0, sum = 0;
	for (int i = 0; i < TIMES; i++) {
		int uffd;
		uint64_t stopped = 0;
		assert_int_equal(arm_task(c.pid, deadline_in_ms(ARM_MS), &uffd, &stopped, NULL), 1);
		close(uffd);
		assert_true(stopped > 0);
		sum += stopped;
		worst = stopped > worst ? stopped : worst;
	}
	print_message("a thread stood still for %llu us, at most %llu us\n",
		      (unsigned long long)(sum / TIMES / 1000), (unsigned long long)(worst / 1000));
	end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_nothing_open),
		cmocka_unit_test(keeps_registers),
		cmocka_unit_test(arms_with_threads),
		cmocka_unit_test(keeps_a_sleep),
		cmocka_unit_test(keeps_a_call),
		cmocka_unit_test(loses_no_signal),
		cmocka_unit_test(keeps_an_ignored_trap),
		cmocka_unit_test(survives_stop_and_continue),
		cmocka_unit_test(leaves_a_stopped_task_stopped),
		cmocka_unit_test(arms_without_free_files),
		cmocka_unit_test(arms_behind_a_filter),
		cmocka_unit_test(refuses_a_traced_task),
		cmocka_unit_test(knows_ended_tasks),
		cmocka_unit_test(survives_an_end),
		cmocka_unit_test(gives_up_on_what_does_not_stop),
		cmocka_unit_test(tells_how_long),
	};
	return cmocka_run_group_tests(tests, usable, NULL);
}
