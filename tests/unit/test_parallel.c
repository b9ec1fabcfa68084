// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/parallel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PARTS 1000

static void count_part(void *arg, size_t part)
{
	atomic_int *counts = arg;
	atomic_fetch_add(&counts[part], 1);
}

static void does_each_part_once(void **state)
{
	static atomic_int counts[PARTS + 1];
	(void)state;
	for (size_t parts = 0; parts <= PARTS; parts = parts * 3 + 1) {
		memset(counts, 0, sizeof(counts));
		parallel_for(parts, count_part, counts);
		for (size_t i = 0; i <= PARTS; i++)
			assert_int_equal(counts[i], i < parts);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(does_each_part_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
