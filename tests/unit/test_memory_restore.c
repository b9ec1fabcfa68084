// SPDX-License-Identifier: Apache-2.0
// When memory is restored: the words, and what they come to.
#include "lib/memory/restore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void words_are_known(void **state)
{
	(void)state;
	enum restore_wish wish;
	struct error err;
	assert_int_equal(restore_parse("auto", &wish, &err), 0);
	assert_int_equal(wish, RESTORE_AUTO);
	assert_int_equal(restore_parse("eager", &wish, &err), 0);
	assert_int_equal(wish, RESTORE_EAGER);
	assert_int_equal(restore_parse("lazy", &wish, &err), 0);
	assert_int_equal(wish, RESTORE_LAZY);
	assert_int_equal(restore_parse("Lazy", &wish, &err), -1);
	assert_int_equal(err.id, ERR_USAGE);
}

// A little memory is restored sooner than a page server is begun.
static void little_memory_does_not_pay(void **state)
{
	(void)state;
	assert_false(restore_on_demand_pays(RESTORE_AUTO, 1 << 20));
	assert_true(restore_on_demand_pays(RESTORE_AUTO, 1 << 30));
	assert_true(restore_on_demand_pays(RESTORE_LAZY, 1 << 20));
	assert_false(restore_on_demand_pays(RESTORE_EAGER, 1 << 30));
	// a wish that a later version may have
	assert_false(restore_on_demand_pays((enum restore_wish)77, 1 << 30));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_known),
		cmocka_unit_test(little_memory_does_not_pay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
