// SPDX-License-Identifier: Apache-2.0
// PID 1 of system partitions that have a command: `init -- COMMAND ARG...`. Reaps orphans, passes
// signals on to the command, and when that ends takes the rest down and exits with its status.
// Static and without our libraries: it runs in any root filesystem and travels with the partition.
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REST_MS 5000 // for the other processes, from SIGTERM to SIGKILL

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
#define FORWARDED_COUNT (sizeof(forwarded) / sizeof(*forwarded))

static bool is_forwarded(int signal)
{
	for (size_t i = 0; i < FORWARDED_COUNT; i++)
		if (forwarded[i] == signal)
			return true;
	return false;
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static pid_t start(char **args, const sigset_t *old_mask)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	setsid();
	sigprocmask(SIG_SETMASK, old_mask, NULL);
	execvp(args[0], args);
	int failed = errno;
	fprintf(stderr, "init: cannot run %s: %s\n", args[0], strerror(failed));
	_exit(failed == ENOENT ? 127 : 126);
}

// Reaps whatever has ended. True when `wanted` was among it, with its status; *any: children
// remain.
static bool reap(pid_t wanted, int *status, bool *any)
{
	bool found = false;
	int one;
	pid_t pid;
	while ((pid = waitpid(-1, &one, WNOHANG | __WALL)) > 0) {
		if (pid != wanted)
			continue;
		*status = one;
		found = true;
	}
	*any = pid == 0;
	return found;
}

// Waits for signals until the command has ended.
static int watch(pid_t command, const sigset_t *set)
{
	int status = 0;
	bool any;
	for (;;) {
		int signal = sigwaitinfo(set, NULL);
		if (signal > 0 && is_forwarded(signal))
			kill(command, signal);
		if (reap(command, &status, &any) || !any)
			return status;
	}
}

static double seconds_since(const struct timespec *start_time)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start_time->tv_sec) +
	       (double)(now.tv_nsec - start_time->tv_nsec) / 1e9;
}

static void end_the_rest(const sigset_t *set)
{
	struct timespec start_time, step = {.tv_nsec = 50 * 1000 * 1000};
	int status;
	bool any = true;
	clock_gettime(CLOCK_MONOTONIC, &start_time);
	reap(0, &status, &any);
	if (any)
		kill(-1, SIGTERM);
	while (any && seconds_since(&start_time) * 1000 < REST_MS) {
		sigtimedwait(set, NULL, &step);
		reap(0, &status, &any);
	}
	// The kernel kills what is left with the pid namespace, but only after we are gone.
	if (any)
		kill(-1, SIGKILL);
}

int main(int argc, char **argv)
{
	sigset_t set, old_mask;
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return puts("init " WPAR_VERSION) < 0;
	if (argc < 3 || strcmp(argv[1], "--") != 0) {
		fprintf(stderr, "usage: init -- COMMAND [ARG...]  (PID 1 of a system partition)\n");
		return 2;
	}
	// sigwaitinfo only gets what is blocked; dispositions are not inherited as ignored for
	// PID 1.
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &old_mask);
	pid_t command = start(argv + 2, &old_mask);
	if (command < 0) {
		fprintf(stderr, "init: cannot fork: %s\n", strerror(errno));
		return 126;
	}
	int status = watch(command, &set);
	end_the_rest(&set);
	return exit_code(status);
}
