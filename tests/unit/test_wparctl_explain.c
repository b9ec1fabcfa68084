// SPDX-License-Identifier: Apache-2.0
// The picture of a move: what is in it, and that nothing which a host says breaks it.
#include "wparctl/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PHASES                                                                        \
	"\"phases\":{\"validate\":200,\"prepare\":80,\"precopy\":860,\"freeze\":0.5," \
	"\"final\":38,\"restore\":41,\"commit\":0.5,\"switch\":3,\"release\":90},"    \
	"\"downtime_ms\":83,\"total_ms\":1313,\"transferred_bytes\":1073741824,"      \
	"\"engine\":\"track\",\"limited_by\":\"the link\""
#define MOVE(result) \
	"{\"id\":\"m-1\",\"partition\":\"db1\",\"from\":\"A\",\"to\":\"B\",\"result\":{" result "}}"

static char *drawn(const char *json)
{
	char *text = NULL;
	size_t length = 0;
	json_t *move = json_loads(json, 0, NULL);
	assert_non_null(move);
	FILE *f = open_memstream(&text, &length);
	explain_draw(f, move);
	fclose(f);
	json_decref(move);
	assert_true(!strncmp(text, "<svg ", 5) && !strcmp(text + length - 7, "</svg>\n"));
	return text;
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in the picture", part);
}

static void shows_phases_rounds_and_rates(void **state)
{
	(void)state;
	char *text = drawn(MOVE(PHASES
				",\"rounds\":["
				"{\"round\":1,\"ms\":700,\"bytes\":1048576,\"link_rate_bytes\":4e8,"
				"\"dirty_rate_bytes\":1e8,\"cpu_percent\":100},"
				"{\"round\":2,\"ms\":150,\"bytes\":1024,\"link_rate_bytes\":4e8,"
				"\"dirty_rate_bytes\":2e7,\"cpu_percent\":35}]"));
	has(text, "db1 from A to B");
	has(text, "pre-copy");
	has(text, "downtime 83.0 ms");
	has(text, "limited by the link");
	has(text, "cpu 35%");
	has(text, "500 MiB/s");
	has(text, "round 2: 1 KiB in 150.0 ms, processors at 35 %");
	has(text, "From freeze to resume");
	has(text, "commit 0.5 ms");
	free(text);
}

static void needs_no_rounds(void **state)
{
	(void)state;
	char *text = drawn(MOVE(PHASES ",\"rounds\":[]"));
	has(text, "downtime 83.0 ms");
	assert_null(strstr(text, "rounds"));
	free(text);
}

// A move that failed before it froze anything, and what no host should say.
static void bears_anything(void **state)
{
	static const char *const moves[] = {
		"{}",
		"{\"result\":{\"phases\":{\"validate\":20}}}",
		MOVE("\"phases\":7,\"rounds\":8"),
		MOVE(PHASES ",\"rounds\":[1,null,{}]"),
		MOVE(PHASES ",\"rounds\":[{\"ms\":1e300,\"link_rate_bytes\":1e300}]"),
		MOVE("\"phases\":{\"precopy\":-1,\"final\":1e308,\"restore\":1e308}"),
	};
	(void)state;
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		free(drawn(moves[i]));
	char *text = drawn("{\"partition\":\"<script>&\",\"result\":{}}");
	assert_null(strstr(text, "<script>"));
	has(text, "&lt;script&gt;&amp;");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_phases_rounds_and_rates),
		cmocka_unit_test(needs_no_rounds),
		cmocka_unit_test(bears_anything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
