// SPDX-License-Identifier: Apache-2.0
// Names of partitions.
#include "lib/partition/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void accepts_plain_names(void **state)
{
	(void)state;
	static const char *const good[] = {"a", "A9", "0", "redis-1", "db_1.example", "x.", "a-"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct error err = {0};
		assert_int_equal(name_check(good[i], &err), 0);
		assert_false(error_is_set(&err));
	}
}

static void refuses_what_could_leave_a_folder(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",    ".",    "..",   "a..b",     "../x",        "a/b",   "/etc", "-rf", "_x",
		"a b", "a\nb", "a\tb", "\x1b[31m", "caf\xc3\xa9", "a\x7f", "a:b",  "a*"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct error err = {0};
		assert_int_equal(name_check(bad[i], &err), -1);
		assert_int_equal(err.id, ERR_NAME_INVALID);
	}
	assert_int_equal(name_check(NULL, NULL), -1);
}

static void knows_the_longest_name(void **state)
{
	(void)state;
	char name[66];
	memset(name, 'x', sizeof(name));
	name[NAME_MAX_LENGTH] = 0;
	assert_int_equal(name_check(name, NULL), 0);
	name[NAME_MAX_LENGTH] = 'x';
	name[NAME_MAX_LENGTH + 1] = 0;
	assert_int_equal(name_check(name, NULL), -1);
}

static void shows_control_characters_escaped(void **state)
{
	(void)state;
	struct error err = {0};
	name_check("a\x1b[2Jb", &err);
	assert_null(strchr(err.message, '\x1b'));
	assert_non_null(strstr(err.message, "\\x1b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_plain_names),
		cmocka_unit_test(refuses_what_could_leave_a_folder),
		cmocka_unit_test(knows_the_longest_name),
		cmocka_unit_test(shows_control_characters_escaped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
