// SPDX-License-Identifier: Apache-2.0
// Requests and answers over the control socket: what is sent, how answers and failures are read.
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/client/wpar.h"

#include "tests/unit/fake_relocd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct wpar *open_at(const struct fake *fake)
{
	struct wpar_error err = {0};
	struct wpar *wpar = wpar_open(fake->path, &err);
	assert_non_null(wpar);
	return wpar;
}

static void asks_and_reads_data(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	json_t *data = NULL;
	struct wpar *wpar = open_at(fake);
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":[{\"name\":\"db1\"}]}");
	assert_int_equal(wpar_partitions(wpar, true, "Active", &data, &err), 0);
	assert_int_equal(json_array_size(data), 1);
	assert_ptr_equal(strstr(fake->request, "GET /v1/partitions?local=1&state=Active HTTP/1.1"),
			 fake->request);
	json_decref(data);
	wpar_close(wpar);
}

static void keeps_one_connection(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":null}");
	for (int i = 0; i < 3; i++)
		assert_int_equal(wpar_start(wpar, "db1", &err), 0);
	assert_int_equal(fake->connections, 1);
	wpar_close(wpar);
}

static void connects_anew_after_a_restart(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	fake->hang_up = true;
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":null}");
	assert_int_equal(wpar_start(wpar, "db1", &err), 0);
	assert_int_equal(wpar_start(wpar, "db1", &err), 0);
	assert_int_equal(fake->connections, 2);
	wpar_close(wpar);
}

static void sends_bodies(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	json_t *move = NULL;
	struct wpar *wpar = open_at(fake);
	fake_answer(fake, "202 Accepted", "{\"schema\":1,\"data\":{\"move\":\"m-1f3a\"}}");
	assert_int_equal(wpar_relocate(wpar, "db1", "hostB",
				       json_pack("{s:i}", "max_downtime_ms", 100), &move, &err),
			 0);
	assert_string_equal(json_string_value(json_object_get(move, "move")), "m-1f3a");
	assert_non_null(strstr(fake->request, "POST /v1/moves HTTP/1.1"));
	assert_non_null(strstr(fake->request, "Content-Type: application/json"));
	assert_null(strstr(fake->request, "Expect:"));
	assert_non_null(strstr(fake->request, "{\"partition\":\"db1\",\"host\":\"hostB\","
					      "\"options\":{\"max_downtime_ms\":100}}"));
	json_decref(move);
	wpar_close(wpar);
}

static void forces_a_removal(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":null}");
	assert_int_equal(wpar_remove(wpar, "db1", true, &err), 0);
	assert_ptr_equal(strstr(fake->request, "DELETE /v1/partitions/db1?force=1 HTTP/1.1"),
			 fake->request);
	wpar_close(wpar);
}

static void a_name_stays_one_segment(void **state)
{
	(void)state;
	char *path = wpar_path("/v1/partitions/%s/start", "../moves?a=b&c#d e\x01%");
	assert_string_equal(path, "/v1/partitions/..%2Fmoves%3Fa%3Db%26c%23d%20e%01%25/start");
	free(path);
	path = wpar_path("/v1/partitions/%s", "..");
	assert_string_equal(path, "/v1/partitions/%2E%2E");
	free(path);
}

static void reads_errors(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	json_t *data = NULL;
	struct wpar *wpar = open_at(fake);
	fake_answer(fake, "404 Not Found",
		    "{\"schema\":1,\"errors\":[{\"code\":\"WPAR-P003\",\"message\":\"no partition "
		    "named db9\",\"hint\":\"look\",\"partition\":\"db9\",\"host\":\"hostA\"}]}");
	assert_int_equal(wpar_partition(wpar, "db9", &data, &err), -1);
	assert_int_equal(error_id_of(err.code), ERR_NAME_UNKNOWN);
	assert_int_equal(err.error_class, WPAR_NOT_FOUND);
	assert_string_equal(err.message, "no partition named db9");
	assert_string_equal(err.hint, "look");
	assert_string_equal(err.partition, "db9");
	assert_null(data);
	wpar_close(wpar);
}

static void asks_for_a_host(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	json_t *data = NULL;
	fake_answer(fake, "200 OK",
		    "{\"schema\":1,\"data\":[],\"warnings\":[{\"code\":\"WPAR-M004\"}]}");
	assert_int_equal(wpar_set_host(wpar, "host B", &err), 0);
	assert_int_equal(wpar_partitions(wpar, true, NULL, &data, &err), 0);
	assert_ptr_equal(strstr(fake->request, "GET /v1/partitions?local=1&host=host%20B HTTP"),
			 fake->request);
	assert_int_equal(json_array_size(wpar_warnings(wpar)), 1);
	json_decref(data);
	assert_int_equal(wpar_set_host(wpar, NULL, &err), 0);
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":null}");
	assert_int_equal(wpar_start(wpar, "db1", &err), 0);
	assert_ptr_equal(strstr(fake->request, "POST /v1/partitions/db1/start HTTP"),
			 fake->request);
	assert_null(wpar_warnings(wpar));
	wpar_close(wpar);
}

static void distrusts_strange_answers(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	static const struct {
		const char *status, *body;
	} strange[] = {
		{"200 OK", "<html>hello</html>"},    {"200 OK", ""},       {"200 OK", "[1,2]"},
		{"500 Internal Server Error", "{}"}, {"503 Busy", "busy"},
	};
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		fake_answer(fake, strange[i].status, strange[i].body);
		assert_int_equal(wpar_start(wpar, "db1", &err), -1);
		assert_int_equal(error_id_of(err.code), ERR_PROTOCOL);
	}
	wpar_close(wpar);
}

static void says_when_nobody_listens(void **state)
{
	(void)state;
	struct wpar_error err = {0};
	struct wpar *wpar = wpar_open("/tmp/wpar-unit-no-such-socket", &err);
	assert_int_equal(wpar_start(wpar, "db1", &err), -1);
	assert_int_equal(error_id_of(err.code), ERR_UNREACHABLE);
	assert_non_null(strstr(err.message, "/tmp/wpar-unit-no-such-socket"));
	assert_non_null(strstr(err.message, strerror(ENOENT)));
	wpar_close(wpar);
	assert_null(wpar_open("", &err));
	assert_int_equal(error_id_of(err.code), ERR_USAGE);
}

static void answer_never(struct fake *fake, int fd)
{
	char byte;
	(void)fake;
	while (read(fd, &byte, 1) > 0)
		;
}

static void gives_up_in_time(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	fake->serve = answer_never;
	int64_t began = clock_now_ns();
	assert_int_equal(wpar_call(wpar, "GET", "/v1/version", NULL, 200, NULL, &err), -1);
	assert_int_equal(error_id_of(err.code), ERR_DEADLINE);
	assert_true(clock_ms_since(began) < 5000);
	wpar_close(wpar);
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_start, fake_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKE(asks_and_reads_data),
		WITH_FAKE(keeps_one_connection),
		WITH_FAKE(connects_anew_after_a_restart),
		WITH_FAKE(sends_bodies),
		WITH_FAKE(forces_a_removal),
		cmocka_unit_test(a_name_stays_one_segment),
		WITH_FAKE(reads_errors),
		WITH_FAKE(asks_for_a_host),
		WITH_FAKE(distrusts_strange_answers),
		cmocka_unit_test(says_when_nobody_listens),
		WITH_FAKE(gives_up_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
