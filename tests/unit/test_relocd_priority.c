// SPDX-License-Identifier: Apache-2.0
// Stepping back for other work.
#include "relocd/move/priority.h"

#include "lib/base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// So many times after another.
static double adapt(double rate, double idle, double own, int looks)
{
	const struct priority_use use = {.idle = idle, .own = own};
	while (looks-- > 0)
		rate = priority_adapt(rate, 3e7, &use);
	return rate;
}

static bool is_same(double a, double b)
{
	return a >= b && a <= b;
}

static void slows_down_for_others(void **state)
{
	(void)state;
	double rate = adapt(1e9, 0.01, 0.2, 3);
	assert_true(rate < 2e8 && rate > 3e7);
	rate = adapt(rate, 0, 0.05, 10);
	assert_true(rate >= 3e7 && rate < 3.1e7);
}

// Both ends on one small machine use all of it, or one of them all that one thread can.
static void does_not_slow_down_for_itself(void **state)
{
	(void)state;
	assert_true(is_same(adapt(1e9, 0, 0.5, 10), 1e9));
	assert_true(is_same(adapt(1e9, 0.02, 0.4, 10), 1e9));
	assert_true(is_same(adapt(1e9, 0.04, 0.9, 10), 1e9));
}

// Whoever uses the processors: what counts is that the partition does not get them.
static void slows_down_when_the_partition_waits(void **state)
{
	(void)state;
	const struct priority_use waits = {.idle = 0.1, .own = 0.5, .waits = 0.3};
	const struct priority_use hardly = {.idle = 0.1, .own = 0.5, .waits = 0.05};
	assert_true(is_same(priority_adapt(1e9, 3e7, &waits), 5e8));
	assert_true(is_same(priority_adapt(4e7, 3e7, &waits), 3e7));
	assert_true(is_same(priority_adapt(1e9, 3e7, &hardly), 1e9));
}

static void speeds_up_little_by_little(void **state)
{
	(void)state;
	double rate = adapt(3e7, 0.5, 0.2, 10);
	assert_true(rate > 6e7 && rate < 1e8);
	assert_true(adapt(rate, 0.5, 0.2, 50) > 5e9);
	assert_true(is_same(adapt(rate, 0.1, 0.2, 10), rate));
}

// What is left over beside others that use much may be theirs in a moment.
static void leaves_headroom(void **state)
{
	(void)state;
	assert_true(is_same(adapt(1e8, 0.18, 0.02, 10), 1e8));
	assert_true(adapt(1e8, 0.18, 0.6, 1) > 1e8);
	assert_true(adapt(1e8, 0.3, 0.02, 1) > 1e8);
}

// Little memory is not held up for long, much of it not for ever.
static void is_done_in_time(void **state)
{
	(void)state;
	assert_true(is_same(priority_least(2.5e8, 6e7), 1e7));
	assert_true(is_same(priority_least(3e8, 3e9), 1e8));
}

// What it lowers is raised again; the group is ours alone.
static void yields_once_and_resumes(void **state)
{
	(void)state;
	assert_true(setpgid(0, 0) == 0 || errno == EPERM);
	assert_true(priority_rate() <= 0);
	assert_true(priority_yield(1e8, 5e7, NULL));
	int nice = getpriority(PRIO_PROCESS, 0);
	assert_true(nice == 10 || geteuid() != 0);
	priority_lower(); // it is already
	clock_sleep_ms(120);
	assert_true(priority_rate() >= 5e7 && priority_rate() <= 1.6e8);
	priority_resume();
	assert_int_equal(getpriority(PRIO_PROCESS, 0), 0);
	assert_true(priority_rate() <= 0);
	assert_false(priority_yield(1e8, 5e7, NULL));
	assert_int_equal(getpriority(PRIO_PROCESS, 0), 0);
}

static bool session_is_at(int nice)
{
	char name[64] = "", wanted[64];
	FILE *f = fopen("/proc/self/autogroup", "r");
	if (!f)
		return true; // no such thing here
	bool read = fgets(name, sizeof(name), f);
	fclose(f);
	snprintf(wanted, sizeof(wanted), " nice %d\n", nice);
	size_t length = strlen(name), end = strlen(wanted);
	return !read || (length > end && !strcmp(name + length - end, wanted));
}

static int lead_a_session(void)
{
	setsid();
	bool can = geteuid() == 0;
	priority_lower();
	if (can && !(getpriority(PRIO_PROCESS, 0) == 10 && session_is_at(10)))
		return 1;
	priority_resume();
	return getpriority(PRIO_PROCESS, 0) == 0 && session_is_at(0) ? 0 : 2;
}

// As departure and arrival do.
static void yields_as_a_session(void **state)
{
	(void)state;
	int status = -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(lead_a_session());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slows_down_for_others),
		cmocka_unit_test(does_not_slow_down_for_itself),
		cmocka_unit_test(slows_down_when_the_partition_waits),
		cmocka_unit_test(speeds_up_little_by_little),
		cmocka_unit_test(leaves_headroom),
		cmocka_unit_test(is_done_in_time),
		cmocka_unit_test(yields_as_a_session),
		cmocka_unit_test(yields_once_and_resumes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
