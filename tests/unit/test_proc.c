// SPDX-License-Identifier: Apache-2.0
// Who a process is.
#include "lib/base/proc.h"

#include "lib/base/spawn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void stays_the_same_and_tells_apart(void **state)
{
	(void)state;
	uint64_t mine = proc_start_time(getpid());
	assert_true(mine > 0);
	usleep(30000); // more than a clock tick
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	assert_true(proc_start_time(child) > mine);
	assert_int_equal(proc_start_time(getpid()), mine);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(proc_start_time(child), 0);
}

static void a_name_cannot_forge_it(void **state)
{
	(void)state;
	uint64_t mine = proc_start_time(getpid());
	assert_int_equal(prctl(PR_SET_NAME, "x) S 1 2 3"), 0);
	assert_int_equal(proc_start_time(getpid()), mine);
}

static void nobody_is_waited_for_beyond_the_deadline(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	assert_false(spawn_wait_until(child, deadline_in_ms(20)));
	kill(child, SIGKILL);
	assert_true(spawn_wait_until(child, deadline_in_ms(10000)));
	assert_int_equal(proc_start_time(child), 0); // reaped
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays_the_same_and_tells_apart),
		cmocka_unit_test(a_name_cannot_forge_it),
		cmocka_unit_test(nobody_is_waited_for_beyond_the_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
