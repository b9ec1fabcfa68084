// SPDX-License-Identifier: Apache-2.0
// The header of a PAGES frame is what wpar-protocol(7) says, byte for byte.
#include "images/pageframe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void is_four_little_endian_numbers(void **state)
{
	(void)state;
	const struct pageframe frame = {0x101, 0x7f0000000000, 63, 4};
	const uint8_t wanted[PAGEFRAME_HEADER] = {1, 1, 0,    0, 0, 0,  0, 0, 0, 0, 0,
						  0, 0, 0x7f, 0, 0, 63, 0, 0, 0, 0, 0,
						  0, 0, 4,    0, 0, 0,  0, 0, 0, 0};
	uint8_t bytes[PAGEFRAME_HEADER];
	struct pageframe again;
	pageframe_put(bytes, &frame);
	assert_memory_equal(bytes, wanted, sizeof(wanted));
	pageframe_get(bytes, &again);
	assert_memory_equal(&again, &frame, sizeof(frame));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(is_four_little_endian_numbers)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
