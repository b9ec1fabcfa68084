// SPDX-License-Identifier: Apache-2.0
// wpar-security(7) names a test for each threat, and each of them is there. Run from the top of the
// source tree.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

// "test_link:test_x" of tests/unit/test_link.c, "t-peers:test_x" of tests/system/t-peers.sh;
// without a colon the whole file.
static void expect_test(const char *name)
{
	char file[64], path[128];
	const char *colon = strchr(name, ':');
	bool unit = !strncmp(name, "test_", 5);
	snprintf(file, sizeof(file), "%.*s", colon ? (int)(colon - name) : (int)strlen(name), name);
	snprintf(path, sizeof(path), "tests/%s/%s.%s", unit ? "unit" : "system", file,
		 unit ? "c" : "sh");
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 1 << 20, NULL);
	if (!text)
		fail_msg("%s: there is no %s", name, path);
	if (!colon)
		return;
	size_t length = strlen(colon + 1);
	for (const char *at = text; (at = strstr(at, colon + 1)); at++)
		if (at > text && !isalnum((unsigned char)at[-1]) && at[-1] != '_' &&
		    at[length] == '(')
			return; // its definition
	fail_msg("%s is not in %s", colon + 1, path);
}

static void each_threat_names_tests_that_exist(void **state)
{
	_cleanup_free_ char *page = fdio_read_file(AT_FDCWD, "man/wpar-security.7", 1 << 20, NULL);
	unsigned threats = 0, named = 0, all = 0;
	char *save = NULL;
	(void)state;
	assert_non_null(page);
	char *from = strstr(page, "\n.Sh THREATS"), *to = strstr(page, "\n.Sh WHAT IS NOT");
	assert_true(from && to && from < to);
	*to = 0;
	for (char *line = strtok_r(from + 1, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char name[128];
		if (!strncmp(line, ".It ", 4)) {
			if (threats++ && !named)
				fail_msg("the threat before \"%s\" names no test", line + 4);
			named = 0;
		}
		if (threats && sscanf(line, ".Ql %127[^ ]", name) == 1) {
			expect_test(name);
			named++;
			all++;
		}
	}
	assert_true(threats >= 15 && named && all >= threats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_threat_names_tests_that_exist),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
