// SPDX-License-Identifier: Apache-2.0
// What relocate prints while a move runs and at its end, for people, for programs and for cron.
#include "wparctl/follow.h"

#include "tests/unit/fake_relocd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *events; // of the move; NULL: they never end
static const char *later;  // what they are when they are asked for again; NULL: the same

static void chunk(int fd, const char *text)
{
	char head[32];
	snprintf(head, sizeof(head), "%zx\r\n", strlen(text));
	fake_write(fd, head, strlen(head));
	fake_write(fd, text, strlen(text));
	fake_write(fd, "\r\n", 2);
}

static void serve_move(struct fake *fake, int fd)
{
	static const char stream[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	char byte;
	if (!strstr(fake->request, "/events")) {
		fake_answer(fake, "200 OK",
			    "{\"schema\":1,\"data\":{\"id\":\"m-1\",\"partition\":\"db1\","
			    "\"from\":\"hostA\",\"to\":\"hostB\",\"state\":\"running\"}}");
		fake_write(fd, fake->answer, strlen(fake->answer));
		return;
	}
	fake_write(fd, stream, strlen(stream));
	if (events)
		chunk(fd, events);
	if (later)
		events = later;
	while (!events && read(fd, &byte, 1) > 0)
		;
	fake_write(fd, "0\r\n\r\n", 5);
}

#define DONE                                                                                      \
	"{\"event\":\"phase\",\"phase\":\"validate\"}\n"                                          \
	"{\"event\":\"phase\",\"phase\":\"final\"}\n"                                             \
	"{\"event\":\"progress\",\"phase\":\"final\",\"bytes\":5,\"total_bytes\":10}\n"           \
	"{\"event\":\"done\",\"result\":{\"move\":\"m-1\",\"partition\":\"db1\",\"from\":"        \
	"\"hostA\",\"to\":\"hostB\",\"downtime_ms\":41.26,\"total_ms\":812.4,"                    \
	"\"transferred_bytes\":1048576,\"phases\":{\"validate\":12.34,\"precopy\":0.0,\"final\":" \
	"30}}}\n"

#define FAILED                                                                             \
	"{\"event\":\"failed\",\"outcome\":\"refused\",\"error\":{\"code\":\"WPAR-V021\"," \
	"\"message\":\"fd 7 of pid 12 is an io_uring instance\",\"hint\":\"disable it\"}," \
	"\"result\":null}\n"

static char out_text[8192], err_text[4096];

static int redirect(int fd)
{
	int kept = dup(fd), file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	assert_true(kept >= 0 && file >= 0);
	fflush(NULL);
	dup2(file, fd);
	close(file);
	return kept;
}

static void take_back(int fd, int kept, char *text, size_t size)
{
	fflush(NULL);
	ssize_t n = pread(fd, text, size - 1, 0);
	text[n > 0 ? n : 0] = 0;
	dup2(kept, fd);
	close(kept);
}

// Follows move m-1; what was printed is in out_text and err_text.
static int follow(struct fake *fake, struct ctl ctl, const char *what)
{
	struct error err;
	events = what;
	fake->serve = serve_move;
	fake->hang_up = true;
	follow_patience_ms = later ? 5000 : 0; // nobody will come back
	ctl.wpar = wpar_open(fake->path, &err);
	assert_non_null(ctl.wpar);
	int out = redirect(STDOUT_FILENO), errors = redirect(STDERR_FILENO);
	int code = follow_move(&ctl, "m-1");
	take_back(STDERR_FILENO, errors, err_text, sizeof(err_text));
	take_back(STDOUT_FILENO, out, out_text, sizeof(out_text));
	wpar_close(ctl.wpar);
	return code;
}

static void a_line_for_each_phase_and_a_table(void **state)
{
	assert_int_equal(follow(*state, (struct ctl){0}, DONE), 0);
	assert_string_equal(out_text, "db1: hostA -> hostB: validate\n"
				      "db1: hostA -> hostB: final\n"
				      "PHASE        MS\n"
				      "validate   12.3\n"
				      "final      30.0\n"
				      "downtime   41.3\n"
				      "total     812.4\n"
				      "db1: moved from hostA to hostB in 812.4 ms, downtime 41.3 "
				      "ms, 1 MiB transferred\n");
	assert_string_equal(err_text, "");
}

static void one_line_when_quiet(void **state)
{
	assert_int_equal(follow(*state, (struct ctl){.quiet = true}, DONE), 0);
	assert_ptr_equal(strstr(out_text, "db1: moved from hostA"), out_text);
	assert_ptr_equal(strchr(out_text, '\n'), out_text + strlen(out_text) - 1);
}

static void a_terminal_gets_a_line_that_goes_away(void **state)
{
	assert_int_equal(follow(*state, (struct ctl){.terminal = true}, DONE), 0);
	const char *line = strstr(out_text, "\rdb1  hostA -> hostB   final   [#########---------]");
	assert_non_null(line);
	assert_non_null(strstr(line, "\r\x1b[KPHASE"));
}

static void the_last_json_line_is_the_result(void **state)
{
	assert_int_equal(follow(*state, (struct ctl){.json = true}, DONE), 0);
	char *last = out_text;
	for (char *next; (next = strchr(last, '\n')) && next[1];)
		last = next + 1;
	json_t *line = json_loads(last, 0, NULL);
	json_t *data = json_object_get(line, "data");
	assert_int_equal(json_integer_value(json_object_get(line, "schema")), 1);
	assert_string_equal(json_text(data, "outcome"), "done");
	assert_string_equal(json_text(data, "partition"), "db1");
	assert_true(json_amount(data, "downtime_ms") > 41);
	assert_int_equal(json_integer_value(json_object_get(data, "transferred_bytes")), 1 << 20);
	json_decref(line);
}

static void a_failure_has_its_class(void **state)
{
	assert_int_equal(follow(*state, (struct ctl){0}, FAILED), ERROR_CLASS_REFUSED);
	assert_string_equal(err_text,
			    "wparctl: db1: fd 7 of pid 12 is an io_uring instance (WPAR-V021)\n"
			    "  hint: disable it\n");
	assert_int_equal(follow(*state, (struct ctl){.json = true}, FAILED), ERROR_CLASS_REFUSED);
	json_t *line = json_loads(out_text, 0, NULL);
	json_t *error = json_array_get(json_object_get(line, "errors"), 0);
	assert_string_equal(json_text(error, "code"), "WPAR-V021");
	assert_string_equal(json_text(error, "move"), "m-1");
	assert_string_equal(json_text(error, "partition"), "db1");
	assert_string_equal(json_text(json_object_get(error, "details"), "outcome"), "refused");
	json_decref(line);
}

static void an_end_without_a_word_is_no_success(void **state)
{
	int code = follow(*state, (struct ctl){0}, "{\"event\":\"phase\",\"phase\":\"final\"}\n");
	assert_int_equal(code, ERROR_CLASS_FAILED);
	assert_non_null(strstr(err_text, "wparctl wait m-1"));
}

// Another relocd tells all from the beginning, and the end has the time of what was told before.
static void the_end_is_taken_from_the_next_relocd(void **state)
{
	later = "{\"event\":\"checks\",\"time\":\"2026-01-01T00:00:00.001Z\"}\n"
		"{\"event\":\"failed\",\"outcome\":\"refused\",\"time\":\"2026-01-01T00:00:00."
		"001Z\"}"
		"\n";
	int code = follow(*state, (struct ctl){0},
			  "{\"event\":\"checks\",\"time\":\"2026-01-01T00:00:00.001Z\"}\n");
	later = NULL;
	assert_int_equal(code, ERROR_CLASS_FAILED);
	assert_non_null(strstr(err_text, "move m-1 ended without a reason (refused)"));
}

static void *interrupt_soon(void *arg)
{
	usleep(100000);
	pthread_kill(*(pthread_t *)arg, SIGINT);
	return NULL;
}

static void ctrl_c_detaches(void **state)
{
	pthread_t self = pthread_self(), other;
	assert_int_equal(pthread_create(&other, NULL, interrupt_soon, &self), 0);
	int code = follow(*state, (struct ctl){0}, NULL);
	pthread_join(other, NULL);
	assert_int_equal(code, EXIT_DETACHED);
	assert_string_equal(err_text, "move m-1 goes on; wparctl wait m-1 | cancel m-1\n");
}

static void several_results_have_one_code(void **state)
{
	(void)state;
	struct tally tally = {0};
	tally_add(&tally, 0);
	assert_int_equal(tally_code(&tally), 0);
	tally_add(&tally, 3);
	assert_int_equal(tally_code(&tally), 11);
	tally = (struct tally){0};
	tally_add(&tally, 3);
	tally_add(&tally, 3);
	assert_int_equal(tally_code(&tally), 3);
	tally_add(&tally, 5);
	assert_int_equal(tally_code(&tally), 1);
}

static void errors_name_what_where_why(void **state)
{
	(void)state;
	struct error err = {0};
	error_set(&err, ERR_BRIDGE_MISSING, "hostB has no \x1b[2Jbridge\n");
	error_at(&err, "hostB", "db1", NULL);
	char *text = out_error_text(NULL, &err);
	assert_ptr_equal(
		strstr(text, "wparctl: db1: hostB has no ?[2Jbridge? (WPAR-N002)\n  hint: "), text);
	free(text);
	error_set(&err, ERR_NAME_UNKNOWN, "db1: there is none");
	text = out_error_text("db1", &err); // not twice
	assert_ptr_equal(strstr(text, "wparctl: db1: there is none (WPAR-P003)\n"), text);
	free(text);
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_start, fake_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKE(a_line_for_each_phase_and_a_table),
		WITH_FAKE(one_line_when_quiet),
		WITH_FAKE(a_terminal_gets_a_line_that_goes_away),
		WITH_FAKE(the_last_json_line_is_the_result),
		WITH_FAKE(a_failure_has_its_class),
		WITH_FAKE(an_end_without_a_word_is_no_success),
		WITH_FAKE(the_end_is_taken_from_the_next_relocd),
		WITH_FAKE(ctrl_c_detaches),
		cmocka_unit_test(several_results_have_one_code),
		cmocka_unit_test(errors_name_what_where_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
