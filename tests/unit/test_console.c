// SPDX-License-Identifier: Apache-2.0
// Console logs: form, long lines, rotation, following.
#include "lib/partition/console.h"

#include "lib/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test_console.XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	char path[96];
	snprintf(path, sizeof(path), "%s/console.log", folder);
	remove(path);
	snprintf(path, sizeof(path), "%s/console.log.1", folder);
	remove(path);
	return remove(folder);
}

static void put(struct console *console, int stream, const char *text)
{
	console_put(console, stream, text, strlen(text));
}

static void expect(struct console_reader *reader, const char *stream, const char *text)
{
	struct console_line line;
	assert_int_equal(console_reader_next(reader, &line, NULL), 1);
	assert_string_equal(line.stream, stream);
	assert_int_equal(line.length, strlen(text));
	assert_memory_equal(line.text, text, line.length);
	assert_int_equal(line.time[10], 'T');
}

static void expect_end(struct console_reader *reader)
{
	struct console_line line;
	assert_int_equal(console_reader_next(reader, &line, NULL), 0);
}

static void keeps_lines_of_both_streams(void **state)
{
	(void)state;
	struct console *console = console_open(folder, CONSOLE_SIZE_MAX, NULL);
	assert_non_null(console);
	put(console, 0, "one\ntw");
	put(console, 1, "problem\n");
	put(console, 0, "o\n\nunfinished");
	console_close(console);
	struct console_reader *reader = console_reader_open(folder, NULL, NULL);
	expect(reader, "stdout", "one\n");
	expect(reader, "stderr", "problem\n");
	expect(reader, "stdout", "two\n");
	expect(reader, "stdout", "\n");
	expect(reader, "stdout", "unfinished");
	expect_end(reader);
	console_reader_close(reader);
}

static void cuts_long_lines_into_parts(void **state)
{
	(void)state;
	static char text[CONSOLE_LINE_MAX + 10], first[CONSOLE_LINE_MAX + 1];
	memset(text, 'x', sizeof(text) - 2);
	text[sizeof(text) - 2] = '\n';
	memset(first, 'x', CONSOLE_LINE_MAX);
	struct console *console = console_open(folder, CONSOLE_SIZE_MAX, NULL);
	put(console, 0, text);
	put(console, 0, "next\n");
	console_close(console);
	struct console_reader *reader = console_reader_open(folder, NULL, NULL);
	expect(reader, "stdout", first);
	expect(reader, "stdout", "xxxxxxxx\n");
	expect(reader, "stdout", "next\n");
	console_reader_close(reader);
}

static void follows_over_a_rotation(void **state)
{
	(void)state;
	struct console *console = console_open(folder, 4096, NULL);
	struct console_reader *reader = console_reader_open(folder, NULL, NULL);
	char line[64], path[96];
	struct stat st;
	expect_end(reader);
	for (int i = 0; i < 150; i++) {
		snprintf(line, sizeof(line), "this is line number %d\n", i);
		put(console, i & 1, line);
		if (i % 10)
			continue;
		// The reader keeps up: nothing is lost between the files.
		for (int k = i ? i - 9 : 0; k <= i; k++) {
			snprintf(line, sizeof(line), "this is line number %d\n", k);
			expect(reader, k & 1 ? "stderr" : "stdout", line);
		}
		expect_end(reader);
	}
	snprintf(path, sizeof(path), "%s/console.log", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 4096);
	snprintf(path, sizeof(path), "%s/console.log.1", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 4096);
	console_reader_close(reader);
	console_close(console);
}

static void begins_at_a_time(void **state)
{
	(void)state;
	char path[96];
	snprintf(path, sizeof(path), "%s/console.log", folder);
	FILE *file = fopen(path, "w");
	fputs("2026-01-01T00:00:00.000Z stdout F old\n"
	      "damaged\n"
	      "2026-01-02T00:00:00.000Z stdout F new\n",
	      file);
	fclose(file);
	struct console_reader *reader =
		console_reader_open(folder, "2026-01-01T12:00:00.000Z", NULL);
	expect(reader, "stdout", "new\n");
	expect_end(reader);
	console_reader_close(reader);
}

static void an_absent_log_is_empty(void **state)
{
	(void)state;
	struct console_reader *reader = console_reader_open("/nonexistent/folder", NULL, NULL);
	assert_non_null(reader);
	expect_end(reader);
	console_reader_close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keeps_lines_of_both_streams, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(cuts_long_lines_into_parts, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(follows_over_a_rotation, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(begins_at_a_time, make_folder, remove_folder),
		cmocka_unit_test(an_absent_log_is_empty),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
