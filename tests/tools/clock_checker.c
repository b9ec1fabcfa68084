// SPDX-License-Identifier: Apache-2.0
// Waits in every way that the monotonic clock offers, over and over, and watches that clock itself:
//     clock_checker FILE
// writes "ok N" to FILE (N rounds of the slowest) or "bad: WHAT". While it is moved between hosts
// the clock must not jump, nothing may end too early, and nothing may hang.
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND   1000000000ll
#define WAIT_NS  (SECOND / 2)
#define LATE_NS  (20 * SECOND) // the move itself takes its time
#define DRIFT_NS (SECOND / 5)  // between the two clocks

static char failure[200];
static atomic_int failed;

static int64_t now_on(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

static struct timespec spec(int64_t ns)
{
	return (struct timespec){ns / SECOND, ns % SECOND};
}

static void bad(const char *what, int64_t off)
{
	int none = 0;
	if (atomic_compare_exchange_strong(&failed, &none, 1))
		snprintf(failure, sizeof(failure), "bad: %s, by %lld ms", what,
			 (long long)(off / 1000000));
}

// `early`: by how much it may be that after a move.
static void judge(const char *what, clockid_t clock, int64_t due, int64_t early)
{
	int64_t late = now_on(clock) - due;
	if (late < -early || late > LATE_NS)
		bad(what, late);
}

// ---- the ways to wait: each for WAIT_NS --------------------------------------------------------

static void by_timerfd(clockid_t clock, const char *what)
{
	uint64_t times;
	int64_t due = now_on(clock) + 3 * WAIT_NS;
	const struct itimerspec when = {.it_value = spec(due)};
	int fd = timerfd_create(clock, TFD_CLOEXEC);
	timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
	while (read(fd, &times, sizeof(times)) < 0 && errno == EINTR)
		;
	// CRIU sets it again by whole seconds of the clock.
	judge(what, clock, due, SECOND);
	close(fd);
}

static void timerfd_monotonic(void)
{
	by_timerfd(CLOCK_MONOTONIC, "a timerfd of CLOCK_MONOTONIC");
}

static void timerfd_boottime(void)
{
	by_timerfd(CLOCK_BOOTTIME, "a timerfd of CLOCK_BOOTTIME");
}

static void futex(void)
{
	static uint32_t word;
	int64_t due = now_on(CLOCK_MONOTONIC) + WAIT_NS;
	const struct timespec until = spec(due);
	while (syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, &until, NULL,
		       FUTEX_BITSET_MATCH_ANY) < 0 &&
	       errno == EINTR)
		;
	judge("a futex", CLOCK_MONOTONIC, due, 0);
}

static void sleep_until(void)
{
	int64_t due = now_on(CLOCK_MONOTONIC) + WAIT_NS;
	const struct timespec until = spec(due);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	judge("an absolute sleep", CLOCK_MONOTONIC, due, 0);
}

// Interrupted it may be, as by a signal; what it sleeps it must have slept.
static void sleep_for(void)
{
	int64_t due = now_on(CLOCK_MONOTONIC) + WAIT_NS;
	const struct timespec length = spec(WAIT_NS);
	if (nanosleep(&length, NULL) == 0)
		judge("nanosleep", CLOCK_MONOTONIC, due, 0);
}

static void await_signal(int signal, const char *what, int64_t due)
{
	const struct timespec limit = spec(LATE_NS);
	sigset_t set;
	int got;
	sigemptyset(&set);
	sigaddset(&set, signal);
	while ((got = sigtimedwait(&set, NULL, &limit)) < 0 && errno == EINTR)
		;
	if (got < 0)
		bad(what, LATE_NS);
	judge(what, CLOCK_MONOTONIC, due, 0);
}

static void posix_timer(void)
{
	static timer_t timer;
	static int made;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	int64_t due = now_on(CLOCK_MONOTONIC) + WAIT_NS;
	const struct itimerspec when = {.it_value = spec(due)};
	if (!made && timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		bad("timer_create", 0);
	made = 1;
	timer_settime(timer, TIMER_ABSTIME, &when, NULL);
	await_signal(SIGRTMIN, "a POSIX timer", due);
}

static void alarm_signal(void)
{
	const struct itimerval when = {.it_value = {0, WAIT_NS / 1000}};
	int64_t due = now_on(CLOCK_MONOTONIC) + WAIT_NS;
	setitimer(ITIMER_REAL, &when, NULL);
	// An interval of real time is rounded to the tick.
	await_signal(SIGALRM, "an alarm", due - SECOND / 100);
}

// ---- together ----------------------------------------------------------------------------------

static struct way {
	void (*wait)(void);
	atomic_ulong rounds;
} ways[] = {{.wait = timerfd_monotonic}, {.wait = timerfd_boottime}, {.wait = futex},
	    {.wait = sleep_until},       {.wait = sleep_for},        {.wait = posix_timer},
	    {.wait = alarm_signal}};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static void *run(void *arg)
{
	for (struct way *way = arg;; way->rounds++)
		way->wait();
	return NULL;
}

static void watch_clocks(void)
{
	static int64_t monotonic, apart;
	int64_t now = now_on(CLOCK_MONOTONIC), boot = now_on(CLOCK_BOOTTIME);
	if (monotonic && (now < monotonic || now - monotonic > LATE_NS))
		bad("CLOCK_MONOTONIC jumped", now - monotonic);
	if (monotonic && llabs(boot - now - apart) > DRIFT_NS)
		bad("CLOCK_BOOTTIME jumped", boot - now - apart);
	apart = monotonic ? apart : boot - now;
	monotonic = now;
}

static void tell(const char *path)
{
	char next[256];
	unsigned long rounds = ways[0].rounds;
	for (size_t i = 1; i < WAYS; i++)
		if (ways[i].rounds < rounds)
			rounds = ways[i].rounds;
	snprintf(next, sizeof(next), "%s.next", path);
	FILE *f = fopen(next, "we");
	if (!f)
		return;
	if (failed)
		fprintf(f, "%s\n", failure);
	else
		fprintf(f, "ok %lu\n", rounds);
	fclose(f);
	rename(next, path);
}

int main(int argc, char **argv)
{
	sigset_t all;
	pthread_t thread;
	if (argc != 2)
		return 2;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (size_t i = 0; i < WAYS; i++)
		if (pthread_create(&thread, NULL, run, &ways[i]) != 0)
			return 1;
	for (;;) {
		const struct timespec pause = {0, 20000000};
		watch_clocks();
		tell(argv[1]);
		nanosleep(&pause, NULL);
	}
}
