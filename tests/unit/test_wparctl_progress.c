// SPDX-License-Identifier: Apache-2.0
// The progress line: its fields, what goes when there is no room, and that it never runs backwards.
#include "wparctl/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct progress begin(void)
{
	return (struct progress){.partition = "db1", .from = "hostA", .to = "hostB"};
}

static bool event(struct progress *progress, const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	assert_non_null(json);
	bool new_phase = progress_event(progress, json);
	json_decref(json);
	return new_phase;
}

static const char *line(struct progress *progress, unsigned columns)
{
	static char text[256];
	return progress_line(progress, 3, columns, text, sizeof(text));
}

static void has_the_fields_of_the_contract(void **state)
{
	struct progress p = begin();
	(void)state;
	assert_string_equal(line(&p, 100), "db1  hostA -> hostB   0:03");
	assert_true(event(&p, "{\"event\":\"phase\",\"phase\":\"validate\"}"));
	assert_string_equal(line(&p, 100), "db1  hostA -> hostB   validate   0:03");
	assert_true(event(&p, "{\"event\":\"phase\",\"phase\":\"precopy\"}"));
	assert_false(event(&p, "{\"event\":\"progress\",\"phase\":\"precopy\",\"bytes\":1288490188,"
			       "\"total_bytes\":2469606195,\"rate_bytes\":851443712}"));
	assert_string_equal(line(&p, 100), "db1  hostA -> hostB   pre-copy   "
					   "[#########---------]  1.2/2.3 GiB   812 MiB/s   0:03");
}

static void shows_rounds_and_what_they_predict(void **state)
{
	struct progress p = begin();
	(void)state;
	event(&p, "{\"event\":\"progress\",\"phase\":\"precopy\",\"bytes\":1288490188,"
		  "\"total_bytes\":2469606195,\"rate_bytes\":851443712,\"round\":3,"
		  "\"dirty_rate_bytes\":100663296,\"predicted_ms\":41.26}");
	assert_string_equal(line(&p, 140), "db1  hostA -> hostB   pre-copy round 3   "
					   "[#########---------]  1.2/2.3 GiB   812 MiB/s   "
					   "dirty 96 MiB/s   downtime ~41.3 ms   0:03");
	assert_true(event(&p, "{\"event\":\"phase\",\"phase\":\"freeze\"}"));
	assert_string_equal(line(&p, 140), "db1  hostA -> hostB   freeze   "
					   "[#########---------]  1.2/2.3 GiB   812 MiB/s   0:03");
}

static void drops_fields_from_the_right(void **state)
{
	struct progress p = begin();
	(void)state;
	event(&p, "{\"event\":\"progress\",\"phase\":\"final\",\"bytes\":1024,\"total_bytes\":2048,"
		  "\"rate_bytes\":1024}");
	static const char *const wanted[] = {
		("db1  hostA -> hostB   final   [#########---------]  1.0/2.0 KiB   1 KiB/s   "
		 "0:03"),
		"db1  hostA -> hostB   final   [#########---------]  1.0/2.0 KiB   1 KiB/s",
		"db1  hostA -> hostB   final   [#########---------]  1.0/2.0 KiB",
		"db1  hostA -> hostB   final   [#########---------]",
		"db1  hostA -> hostB   final",
		"db1  hostA -> hostB",
		"db1",
	};
	assert_string_equal(line(&p, (unsigned)strlen(wanted[0]) + 1), wanted[0]);
	for (size_t i = 1; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		assert_string_equal(line(&p, (unsigned)strlen(wanted[i - 1])), wanted[i]);
	assert_string_equal(line(&p, 2), "");
}

static unsigned filled(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += *text == '#';
	return n;
}

static void never_runs_backwards(void **state)
{
	struct progress p = begin();
	unsigned before = 0;
	(void)state;
	static const char *const events[] = {
		"{\"event\":\"progress\",\"bytes\":500,\"total_bytes\":1000}",
		"{\"event\":\"progress\",\"bytes\":400,\"total_bytes\":1000}",  // late
		"{\"event\":\"progress\",\"bytes\":600,\"total_bytes\":4000}",  // the total grew
		"{\"event\":\"phase\",\"phase\":\"final\"}",                    // a new phase
		"{\"event\":\"progress\",\"bytes\":10,\"total_bytes\":20}",     // counts anew
		"{\"event\":\"progress\",\"bytes\":4000,\"total_bytes\":4000}", // done
		"{\"event\":\"progress\",\"bytes\":5000,\"total_bytes\":4000}", // more than all
		"{\"event\":\"progress\",\"bytes\":-7,\"total_bytes\":-7}",
	};
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		uint64_t bytes = p.bytes, total = p.total;
		event(&p, events[i]);
		unsigned now = filled(line(&p, 200));
		assert_true(now >= before && now <= 18);
		assert_true(p.bytes >= bytes && p.total >= total && p.total >= p.bytes);
		before = now;
	}
	assert_int_equal(before, 18);
	assert_int_equal(p.total, 5000);
}

static void the_bar_is_full_once_all_is_copied(void **state)
{
	struct progress p = begin();
	(void)state;
	event(&p, "{\"event\":\"progress\",\"phase\":\"final\",\"bytes\":1,\"total_bytes\":9}");
	assert_true(event(&p, "{\"event\":\"phase\",\"phase\":\"restore\"}"));
	assert_string_equal(line(&p, 100), "db1  hostA -> hostB   restore   "
					   "[##################]   0:03");
}

static void ignores_what_it_does_not_know(void **state)
{
	struct progress p = begin();
	(void)state;
	assert_false(event(&p, "{\"event\":\"checks\",\"checks\":[]}"));
	assert_false(event(&p, "{}"));
	assert_false(event(&p, "{\"event\":\"phase\"}"));
	assert_false(event(&p, "{\"event\":17,\"phase\":[]}"));
	assert_string_equal(p.phase, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_the_fields_of_the_contract),
		cmocka_unit_test(shows_rounds_and_what_they_predict),
		cmocka_unit_test(drops_fields_from_the_right),
		cmocka_unit_test(never_runs_backwards),
		cmocka_unit_test(the_bar_is_full_once_all_is_copied),
		cmocka_unit_test(ignores_what_it_does_not_know),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
