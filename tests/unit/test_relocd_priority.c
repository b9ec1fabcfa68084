// SPDX-License-Identifier: Apache-2.0
// Stepping back for other work.
#include "relocd/move/priority.h"

#include "lib/base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static void slows_down_on_a_busy_host(void **state)
{
	double rate = 1e9;
	(void)state;
	for (int i = 0; i < 3; i++)
		rate = priority_adapt(rate, 3e7, 0.01);
	assert_true(rate < 2e8 && rate > 3e7);
	for (int i = 0; i < 10; i++)
		rate = priority_adapt(rate, 3e7, 0);
	assert_true(rate >= 3e7 && rate < 3.1e7);
}

static void speeds_up_on_an_idle_one(void **state)
{
	double rate = 1e7;
	(void)state;
	for (int i = 0; i < 20; i++)
		rate = priority_adapt(rate, 3e7, 0.5);
	assert_true(rate > 1e10);
	double same = priority_adapt(rate, 3e7, 0.1);
	assert_true(same >= rate && same <= rate);
}

// What it lowers is raised again; the group is ours alone.
static void yields_once_and_resumes(void **state)
{
	(void)state;
	assert_true(setpgid(0, 0) == 0 || errno == EPERM);
	assert_true(priority_rate() <= 0);
	assert_true(priority_yield(1e8, 5e7));
	int nice = getpriority(PRIO_PROCESS, 0);
	assert_true(nice == 10 || geteuid() != 0);
	clock_sleep_ms(120);
	assert_true(priority_rate() >= 5e7 && priority_rate() <= 1.6e8);
	priority_resume();
	assert_int_equal(getpriority(PRIO_PROCESS, 0), 0);
	assert_true(priority_rate() <= 0);
	assert_false(priority_yield(1e8, 5e7));
	assert_int_equal(getpriority(PRIO_PROCESS, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slows_down_on_a_busy_host),
		cmocka_unit_test(speeds_up_on_an_idle_one),
		cmocka_unit_test(yields_once_and_resumes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
