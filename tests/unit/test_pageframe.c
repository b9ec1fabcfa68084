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

static bool takes(uint64_t vaddr, uint64_t pages, uint64_t flags)
{
	const struct pageframe frame = {0x101, vaddr, pages, flags};
	struct error err = {0};
	bool ok = pageframe_check(&frame, &err) == 0;
	assert_int_equal(ok, !error_is_set(&err));
	assert_true(ok || err.id == ERR_PROTOCOL);
	return ok;
}

static void takes_what_there_is(void **state)
{
	(void)state;
	assert_true(takes(0, 0, 0));
	assert_true(takes(0, 0, PAGEFRAME_MAP));
	assert_true(takes(0x1000, 1, PAGEFRAME_PRESENT));
	assert_true(takes(0x1000, 63, PAGEFRAME_PRESENT | PAGEFRAME_LAZY));
	assert_true(takes(0x1000, 2, PAGEFRAME_ROUND));
	assert_true(takes(0x1000, 2, PAGEFRAME_ROUND | PAGEFRAME_PRESENT));
	assert_true(takes(0x1000, 1ull << 30, PAGEFRAME_ROUND | PAGEFRAME_ZERO));
	assert_true(takes(0x1000, 1ull << 30, PAGEFRAME_MAP | PAGEFRAME_PRESENT));
	assert_true(takes(0x1000, 1, PAGEFRAME_MAP | PAGEFRAME_PRESENT | PAGEFRAME_LAZY));
	assert_true(takes(PAGEFRAME_END - 4096, 1, PAGEFRAME_PRESENT));
}

static void refuses_other_flags(void **state)
{
	(void)state;
	static const uint64_t bad[] = {
		0,
		1,
		PAGEFRAME_LAZY,
		PAGEFRAME_PRESENT | 1,
		PAGEFRAME_PRESENT | 8,
		PAGEFRAME_PRESENT | 0x800,
		PAGEFRAME_PRESENT | 1ull << 32,
		PAGEFRAME_PRESENT | PAGEFRAME_LZ4,
		PAGEFRAME_ZERO,
		PAGEFRAME_ZERO | PAGEFRAME_PRESENT,
		PAGEFRAME_MAP,
		PAGEFRAME_MAP | PAGEFRAME_LAZY,
		PAGEFRAME_MAP | PAGEFRAME_ROUND | PAGEFRAME_PRESENT,
		PAGEFRAME_MAP | PAGEFRAME_ZERO | PAGEFRAME_PRESENT,
		PAGEFRAME_ROUND | PAGEFRAME_LAZY | PAGEFRAME_PRESENT,
		PAGEFRAME_ROUND | PAGEFRAME_ZSTD,
		UINT64_MAX,
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(takes(0x1000, 1, bad[i]));
	// What announces a destination says nothing else.
	assert_false(takes(0, 0, PAGEFRAME_PRESENT));
	assert_false(takes(0, 0, PAGEFRAME_ROUND));
	assert_false(takes(0, 0, PAGEFRAME_MAP | PAGEFRAME_PRESENT));
	assert_false(takes(0, 0, PAGEFRAME_LZ4));
}

static void refuses_other_addresses(void **state)
{
	(void)state;
	assert_false(takes(1, 1, PAGEFRAME_PRESENT));
	assert_false(takes(PAGEFRAME_END, 1, PAGEFRAME_PRESENT));
	assert_false(takes(PAGEFRAME_END - 4096, 2, PAGEFRAME_PRESENT));
	assert_false(takes(UINT64_MAX - 4095, 1, PAGEFRAME_PRESENT));
	assert_false(takes(0x1000, PAGEFRAME_END / 4096, PAGEFRAME_MAP | PAGEFRAME_PRESENT));
	assert_false(takes(0x1000, UINT64_MAX, PAGEFRAME_ROUND | PAGEFRAME_ZERO));
}

// The length inside, with so many bytes behind the header, where 1000 are the most.
static size_t unpacked(uint64_t inside, uint64_t flags, size_t packed)
{
	const struct pageframe header = {0, inside, 0, flags};
	struct error err = {0};
	size_t length = pageframe_unpacked(&header, packed, 1000, &err);
	assert_int_equal(length == 0, error_is_set(&err));
	return length;
}

static void says_what_a_packed_message_has(void **state)
{
	(void)state;
	const struct pageframe other = {0x101, 100, 0, PAGEFRAME_LZ4},
			       pages = {0, 100, 1, PAGEFRAME_LZ4};
	struct error err;
	assert_int_equal(unpacked(1000, PAGEFRAME_LZ4, 1), 1000);
	assert_int_equal(unpacked(33, PAGEFRAME_ZSTD, 32), 33);
	assert_int_equal(unpacked(1000, PAGEFRAME_LZ4, 0), 0);
	assert_int_equal(unpacked(1000, PAGEFRAME_LZ4, 1000), 0); // what for?
	assert_int_equal(unpacked(1001, PAGEFRAME_LZ4, 100), 0);  // a bomb
	assert_int_equal(unpacked(UINT64_MAX, PAGEFRAME_ZSTD, 100), 0);
	assert_int_equal(unpacked(1000, PAGEFRAME_PACKED, 100), 0);
	assert_int_equal(unpacked(1000, PAGEFRAME_LZ4 | PAGEFRAME_ROUND, 100), 0);
	assert_int_equal(pageframe_unpacked(&other, 10, 1000, &err), 0);
	assert_int_equal(pageframe_unpacked(&pages, 10, 1000, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(is_four_little_endian_numbers),
					   cmocka_unit_test(takes_what_there_is),
					   cmocka_unit_test(refuses_other_flags),
					   cmocka_unit_test(refuses_other_addresses),
					   cmocka_unit_test(says_what_a_packed_message_has)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
