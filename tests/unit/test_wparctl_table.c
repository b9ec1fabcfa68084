// SPDX-License-Identifier: Apache-2.0
// Tables: alignment, fitting a terminal, colours, hostile text.
#include "wparctl/table.h"
#include "wparctl/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct table_column columns[] = {
	{.title = "NAME"},
	{.title = "ADDRESSES", .flexible = true},
	{.title = "MEMORY", .right = true},
	{.title = "STATE"},
};

static struct table *sample(void)
{
	struct table *table = table_new(columns, 4);
	table_row(table, (const char *[]){"db1", "10.77.0.50/24, fd77::50/64", "512 MiB", "Active"},
		  (int[]){0, 0, 0, 32});
	table_row(table, (const char *[]){"web-frontend", "", NULL, "Defined"}, NULL);
	return table;
}

static void check(const char *wanted, unsigned width, bool colour)
{
	struct table *table = sample();
	char *text = table_text(table, width, colour);
	assert_string_equal(text, wanted);
	free(text);
	table_free(table);
}

static void aligns(void **state)
{
	(void)state;
	check("NAME          ADDRESSES                    MEMORY  STATE\n"
	      "db1           10.77.0.50/24, fd77::50/64  512 MiB  Active\n"
	      "web-frontend  -                                 -  Defined\n",
	      0, false);
}

static void cuts_what_is_flexible_first(void **state)
{
	(void)state;
	check("NAME          ADDRESSES        MEMORY  STATE\n"
	      "db1           10.77.0.50/24~  512 MiB  Active\n"
	      "web-frontend  -                     -  Defined\n",
	      46, false);
}

static void drops_columns_from_the_right(void **state)
{
	(void)state;
	check("NAME          ADDRESSES   MEMORY  STATE\n"
	      "db1           10.77.0.~  512 MiB  Active\n"
	      "web-frontend  -                -  Defined\n",
	      41, false);
	check("NAME          ADDRESSES         MEMORY\n"
	      "db1           10.77.0.50/24,~  512 MiB\n"
	      "web-frontend  -                      -\n",
	      38, false);
	check("NAME          ADDRESSES\n"
	      "db1           10.77.0.~\n"
	      "web-frontend  -\n",
	      23, false);
	check("NAME\n"
	      "db1\n"
	      "web-frontend\n",
	      5, false);
}

static void colours_without_moving_anything(void **state)
{
	(void)state;
	check("NAME          ADDRESSES                    MEMORY  STATE\n"
	      "db1           10.77.0.50/24, fd77::50/64  512 MiB  \x1b[32mActive\x1b[0m\n"
	      "web-frontend  -                                 -  Defined\n",
	      0, true);
}

static void lets_no_control_through(void **state)
{
	(void)state;
	static const char *const texts[][2] = {
		{"a\x1b[2J\nb\x7f\xc2\x9b"
		 "c \xc3\xa4",
		 "a?[2J?b??c \xc3\xa4"},
		{"\xff\xc3(\xe2\x82", "??"
				      "(??"},              // not UTF-8
		{"\xc0\x9b[2J \xed\xa0\x80", "??[2J ???"}, // too long a form, a surrogate
		{"a\xe2\x80\xae"
		 "b",
		 "a?b"}, // turns the direction around
	};
	for (size_t i = 0; i < 4; i++) {
		char *plain = text_plain(texts[i][0]);
		assert_string_equal(plain, texts[i][1]);
		free(plain);
	}
}

static void counts_characters_not_bytes(void **state)
{
	static const struct table_column two[] = {{.title = "A"}, {.title = "B"}};
	(void)state;
	struct table *table = table_new(two, 2);
	table_row(table, (const char *[]){"\xc3\xa4\xc3\xb6", "x"}, NULL);
	table_row(table, (const char *[]){"abc", "y"}, NULL);
	char *text = table_text(table, 0, false);
	assert_string_equal(text, "A    B\n\xc3\xa4\xc3\xb6   x\nabc  y\n");
	free(text);
	table_free(table);
}

static void counts_columns_not_characters(void **state)
{
	(void)state;
	assert_int_equal(text_width("abc"), 3);
	assert_int_equal(text_width("e\xcc\x81"), 1);                // combining
	assert_int_equal(text_width("\xe6\x9d\xb1\xe4\xba\xac"), 4); // wide
	assert_int_equal(text_fit("\xe6\x9d\xb1\xe4\xba\xac", 3), 3);
	assert_int_equal(text_fit("ae\xcc\x81", 2), 4);
	struct table *table = table_new(
		(struct table_column[]){{.title = "A", .flexible = true}, {.title = "B"}}, 2);
	table_row(table, (const char *[]){"\xe6\x9d\xb1\xe4\xba\xac\xe6\x9d\xb1\xe4\xba\xac", "x"},
		  NULL);
	char *text = table_text(table, 9, false);
	assert_string_equal(text, "A       B\n\xe6\x9d\xb1\xe4\xba\xac~   x\n");
	free(text);
	table_free(table);
}

static void an_empty_table_has_titles(void **state)
{
	(void)state;
	struct table *table = table_new(columns, 4);
	char *text = table_text(table, 80, false);
	assert_string_equal(text, "NAME  ADDRESSES  MEMORY  STATE\n");
	free(text);
	table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aligns),
		cmocka_unit_test(cuts_what_is_flexible_first),
		cmocka_unit_test(drops_columns_from_the_right),
		cmocka_unit_test(colours_without_moving_anything),
		cmocka_unit_test(lets_no_control_through),
		cmocka_unit_test(counts_characters_not_bytes),
		cmocka_unit_test(counts_columns_not_characters),
		cmocka_unit_test(an_empty_table_has_titles),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
