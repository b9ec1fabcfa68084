// SPDX-License-Identifier: Apache-2.0
// Faults that are ordered in a file: who may order them, that each strikes once, and what it does.
#include "lib/base/fault.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/registry/decision.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/wpar-fault-XXXXXX";

static void order(const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/faults", folder);
	assert_int_equal(fdio_replace_file(path, text, strlen(text), 0600, NULL), 0);
}

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	setenv("RELOCD_ETCDIR", folder, 1);
	char run[64];
	snprintf(run, sizeof(run), "%s/run", folder);
	setenv("RELOCD_RUNDIR", run, 1);
	return mkdir(run, 0700);
}

static int drop_folder(void **state)
{
	(void)state;
	fault_begin(NULL);
	return fdio_remove_tree(AT_FDCWD, folder, NULL);
}

// Each test begins without orders, and with nothing that has struck.
static int begin(void **state)
{
	char path[64];
	(void)state;
	snprintf(path, sizeof(path), "%s/run/faults", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/faults", folder);
	unlink(path);
	fault_begin("departure");
	return 0;
}

static void nothing_happens_without_orders(void **state)
{
	struct error err = {0};
	(void)state;
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, &err), FAULT_NONE);
	assert_false(error_is_set(&err));
	order("departure:phase:final error\n");
	fault_begin(NULL); // nor in processes that have none
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, &err), FAULT_NONE);
}

static char *read_struck(void)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/run/faults", folder);
	return fdio_read_file(AT_FDCWD, path, 4096, NULL);
}

static void an_order_strikes_its_point_once(void **state)
{
	struct error err = {0};
	(void)state;
	order("# a drill\n\narrival:phase:final error\n  departure:send:manifest:after error\n");
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, &err), FAULT_NONE);
	assert_int_equal(fault_at(FAULT_SEND, "MANIFEST", FAULT_BEFORE, &err), FAULT_NONE);
	assert_int_equal(fault_at(FAULT_SEND, "MANIFEST", FAULT_AFTER, &err), FAULT_ERROR);
	assert_int_equal(err.id, ERR_FAULT);
	assert_non_null(strstr(err.message, "departure:send:manifest:after"));
	assert_int_equal(fault_at(FAULT_SEND, "MANIFEST", FAULT_AFTER, &err), FAULT_NONE);
	_cleanup_free_ char *struck = read_struck();
	char line[96];
	snprintf(line, sizeof(line), "departure:send:manifest:after error %d\n", (int)getpid());
	assert_string_equal(struck, line);
	order("departure:send:manifest:after drop-link\n"); // another one
	assert_int_equal(fault_at(FAULT_SEND, "MANIFEST", FAULT_AFTER, &err), FAULT_DROP_LINK);
}

static void orders_that_others_may_write_are_not_obeyed(void **state)
{
	char path[64], other[64];
	(void)state;
	order("departure:phase:final error\n");
	snprintf(path, sizeof(path), "%s/faults", folder);
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, NULL), FAULT_NONE);
	assert_int_equal(chmod(path, 0602), 0);
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, NULL), FAULT_NONE);
	assert_int_equal(chmod(path, 0600), 0);
	snprintf(other, sizeof(other), "%s/elsewhere", folder);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, NULL), FAULT_NONE);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, NULL), FAULT_ERROR);
}

static void nonsense_is_no_order(void **state)
{
	static const char *const lines[] = {
		"departure:phase:final\n",
		"departure:phase:final explode\n",
		"departure:phase:finale error\n",
		"departure:phase:fin error\n",
		"# departure:phase:final error\n",
		"error departure:phase:final\n",
		"departure:phase:final delay never\n",
		"departure:phase:final delay -5\n",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		order(lines[i]);
		assert_int_equal(fault_at(FAULT_PHASE, "final", FAULT_BEFORE, NULL), FAULT_NONE);
	}
}

// How a process ends, or is stopped, at that order.
static int status_with(const char *line)
{
	int status;
	order(line);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fault_at(FAULT_CRIU, "post-dump", FAULT_BEFORE, NULL);
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	if (WIFSTOPPED(status)) {
		int after;
		assert_int_equal(kill(pid, SIGCONT), 0);
		assert_int_equal(waitpid(pid, &after, 0), pid);
		assert_true(WIFEXITED(after) && WEXITSTATUS(after) == 7);
	}
	return status;
}

static void a_process_is_killed_stopped_or_delayed(void **state)
{
	(void)state;
	int killed = status_with("departure:criu:post-dump:before kill\n");
	assert_true(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL);
	int stopped = status_with("departure:criu:post-dump:before stop\n");
	assert_true(WIFSTOPPED(stopped) && WSTOPSIG(stopped) == SIGSTOP);
	int64_t began = clock_now_ns();
	int delayed = status_with("departure:criu:post-dump:before delay 200\n");
	assert_true(WIFEXITED(delayed) && clock_ms_since(began) >= 200);
}

// ---- in records ---------------------------------------------------------------------------------

static enum decision_type read_back(void)
{
	uint64_t epoch;
	return decision_read(folder, "m-1", DECISION_DEPARTURE, &epoch);
}

static void a_record_is_not_made(const char *line, int sys)
{
	struct error err = {0};
	struct decision *d = decision_create(folder, "m-1", DECISION_DEPARTURE, 1, "p", &err);
	assert_non_null(d);
	order(line);
	assert_int_equal(decision_append(d, DECISION_FINAL, &err), -1);
	assert_int_equal(err.sys, sys);
	assert_int_equal(decision_last(d), DECISION_OPENED);
	assert_int_equal(read_back(), DECISION_OPENED); // half of one counts as none
	assert_int_equal(decision_append(d, DECISION_FINAL, &err), 0);
	assert_int_equal(read_back(), DECISION_FINAL);
	decision_close(d, true);
}

static void records_fail_as_ordered(void **state)
{
	(void)state;
	a_record_is_not_made("departure:record:final:before error\n", 0);
	a_record_is_not_made("departure:record:final:before no-space\n", ENOSPC);
	a_record_is_not_made("departure:record:final:before short-write\n", EIO);
}

// Half of it is on the disk, and nobody is there to see to it.
static void a_torn_record_was_not_made(void **state)
{
	struct error err = {0};
	int status;
	(void)state;
	order("departure:record:final:before torn\n");
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct decision *d =
			decision_create(folder, "m-1", DECISION_DEPARTURE, 1, "p", NULL);
		decision_append(d, DECISION_FINAL, NULL);
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(read_back(), DECISION_OPENED);
	struct decision *d = decision_open(folder, "m-1", DECISION_DEPARTURE, &err);
	assert_non_null(d);
	assert_int_equal(decision_append(d, DECISION_ABORT, &err), 0);
	decision_close(d, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_happens_without_orders, begin),
		cmocka_unit_test_setup(an_order_strikes_its_point_once, begin),
		cmocka_unit_test_setup(orders_that_others_may_write_are_not_obeyed, begin),
		cmocka_unit_test_setup(nonsense_is_no_order, begin),
		cmocka_unit_test_setup(a_process_is_killed_stopped_or_delayed, begin),
		cmocka_unit_test_setup(records_fail_as_ordered, begin),
		cmocka_unit_test_setup(a_torn_record_was_not_made, begin),
	};
	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
