// SPDX-License-Identifier: Apache-2.0
// Tables: alignment, fitting a terminal, colours, hostile text.
#include "wparctl/table.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

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

static void cuts_others_when_it_must(void **state)
{
	(void)state;
	check("NAME    ADDRESSES  MEMORY  STATE\n"
	      "db1     10.77.0.~  512 M~  Active\n"
	      "web-f~  -               -  Defin~\n",
	      33, false);
	// No narrower than the titles.
	check("NAME    ADDRESSES  MEMORY  STATE\n"
	      "db1     10.77.0.~  512 M~  Active\n"
	      "web-f~  -               -  Defin~\n",
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
	char *plain = table_plain("a\x1b[2J\nb\x7f\xc2\x9b"
				  "c \xc3\xa4");
	assert_string_equal(plain, "a?[2J?b??\x9b"
				   "c \xc3\xa4");
	free(plain);
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
		cmocka_unit_test(cuts_others_when_it_must),
		cmocka_unit_test(colours_without_moving_anything),
		cmocka_unit_test(lets_no_control_through),
		cmocka_unit_test(counts_characters_not_bytes),
		cmocka_unit_test(an_empty_table_has_titles),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
