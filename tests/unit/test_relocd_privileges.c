// SPDX-License-Identifier: Apache-2.0
// What relocd keeps, and that its unit says the same. Run from the top of the source tree.
#include "relocd/daemon/privileges.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/caps.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>

static uint64_t set_of_unit(void)
{
	_cleanup_free_ char *unit =
		fdio_read_file(AT_FDCWD, "scripts/systemd/relocd.service.in", 65536, NULL);
	uint64_t set = 0;
	char *save = NULL;
	assert_non_null(unit);
	char *at = strstr(unit, "\nCapabilityBoundingSet=");
	assert_non_null(at);
	at += strlen("\nCapabilityBoundingSet=");
	for (char *end = at; (end = strchr(end, '\n')); end++)
		if (end[-1] != '\\') {
			*end = 0;
			break;
		}
	for (char *word = strtok_r(at, " \\\n", &save); word;
	     word = strtok_r(NULL, " \\\n", &save)) {
		int number = caps_number(word);
		if (number < 0)
			fail_msg("the unit names %s", word);
		set |= 1ull << number;
	}
	return set;
}

static void the_unit_and_relocd_keep_the_same(void **state)
{
	(void)state;
	assert_int_equal(set_of_unit(), privileges_kept());
}

static void what_endangers_the_kernel_is_not_kept(void **state)
{
	static const int dangerous[] = {CAP_SYS_MODULE,    CAP_SYS_RAWIO,    CAP_SYS_BOOT,
					CAP_MAC_ADMIN,     CAP_MAC_OVERRIDE, CAP_SYSLOG,
					CAP_AUDIT_CONTROL, CAP_PERFMON};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(dangerous); i++)
		assert_false(privileges_kept() >> dangerous[i] & 1);
	// What partitions get by default must be ours to give.
	assert_int_equal(caps_default() & ~privileges_kept(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_unit_and_relocd_keep_the_same),
		cmocka_unit_test(what_endangers_the_kernel_is_not_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
