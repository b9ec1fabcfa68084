// SPDX-License-Identifier: Apache-2.0
// Finding mounts below a folder.
#include "lib/partition/submount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char mountinfo[] = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
				"21 20 8:2 / /srv rw shared:1 - ext4 /dev/sda2 rw\n"
				"22 21 8:3 / /srv/data rw - ext4 /dev/sda3 rw\n"
				"23 22 8:4 / /srv/data/a\\040b\\134 rw - ext4 /dev/sda4 rw\n"
				"24 21 8:5 / /srv/database/x rw - ext4 /dev/sda5 rw\n"
				"broken";

static void assert_below(const char *folder, const char *expected)
{
	char point[64] = "";
	assert_int_equal(submount_find(mountinfo, folder, point, sizeof(point)), expected != NULL);
	assert_string_equal(point, expected ? expected : "");
}

static void finds_only_what_is_below(void **state)
{
	(void)state;
	assert_below("/", "/srv");
	assert_below("/srv", "/srv/data");
	assert_below("/srv/data", "/srv/data/a b\\");
	assert_below("/srv/data/a b\\", NULL);
	assert_below("/srv/database", "/srv/database/x");
	assert_below("/srv/dat", NULL);
	assert_below("/srv/data/a", NULL);
	assert_below("/home", NULL);
}

static void cuts_long_ones_off(void **state)
{
	(void)state;
	char point[6];
	assert_true(submount_find(mountinfo, "/srv", point, sizeof(point)));
	assert_string_equal(point, "/srv/");
	assert_false(submount_find("", "/", point, sizeof(point)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_only_what_is_below),
		cmocka_unit_test(cuts_long_ones_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
