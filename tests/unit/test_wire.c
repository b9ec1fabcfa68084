// SPDX-License-Identifier: Apache-2.0
// Framing: what a header and a preamble look like, and what is refused.
#include "lib/transport/wire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

static void test_header_on_the_wire(void **state)
{
	(void)state;
	const uint8_t expected[WIRE_HEADER] = {0x04, 0x03, 0x02, 0x00, WIRE_PAGES, 0, 0, 0};
	uint8_t bytes[WIRE_HEADER];
	struct wire_header header;
	wire_header_put(bytes, WIRE_PAGES, 0x020304);
	assert_memory_equal(bytes, expected, WIRE_HEADER);
	assert_int_equal(wire_header_get(bytes, &header, NULL), 0);
	assert_int_equal(header.type, WIRE_PAGES);
	assert_int_equal(header.length, 0x020304);
}

static int get(uint16_t type, uint32_t length, struct error *err)
{
	uint8_t bytes[WIRE_HEADER];
	struct wire_header header;
	wire_header_put(bytes, type, length);
	return wire_header_get(bytes, &header, err);
}

static void test_limits_of_lengths(void **state)
{
	struct error err = {0};
	(void)state;
	assert_int_equal(get(WIRE_HELLO, WIRE_CONTROL_MAX, &err), 0);
	assert_int_equal(get(WIRE_HELLO, WIRE_CONTROL_MAX + 1, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_non_null(strstr(err.message, "HELLO"));
	assert_int_equal(get(WIRE_CHUNK, WIRE_DATA_MAX, &err), 0);
	assert_int_equal(get(WIRE_CHUNK, WIRE_DATA_MAX + 1, &err), -1);
	assert_int_equal(get(WIRE_HELD, UINT32_MAX, &err), -1);
	assert_int_equal(get(WIRE_OPEN, 0, &err), 0);
	assert_int_equal(get(WIRE_OPEN, 1, &err), -1);
}

static void test_unknown_types_and_reserved_bits(void **state)
{
	struct error err = {0};
	uint8_t bytes[WIRE_HEADER];
	struct wire_header header;
	(void)state;
	assert_int_equal(get(WIRE_END + 1, 0, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(get(UINT16_MAX, 0, &err), -1);
	assert_int_equal(wire_check(WIRE_OPEN, 0, &err), -1);
	wire_header_put(bytes, WIRE_PING, 0);
	bytes[7] = 1;
	assert_int_equal(wire_header_get(bytes, &header, &err), -1);
}

static void test_every_type_has_a_name_and_a_kind(void **state)
{
	(void)state;
	for (uint16_t type = WIRE_OPEN; type <= WIRE_END; type++) {
		bool data = type == WIRE_CHUNK || type == WIRE_PAGES || type == WIRE_HELD;
		bool join = type == WIRE_JOIN || type == WIRE_JOINED || type == WIRE_REFUSE;
		assert_non_null(wire_name(type));
		assert_string_not_equal(wire_name(type), "?");
		assert_int_equal(wire_is_data(type), data);
		assert_int_equal(wire_is_join(type), join);
	}
	assert_string_equal(wire_name(WIRE_END + 1), "?");
	assert_false(wire_is_data(1000));
}

static void test_preamble(void **state)
{
	uint8_t bytes[WIRE_PREAMBLE];
	enum wire_kind kind;
	struct error err = {0};
	(void)state;
	wire_preamble_put(bytes, WIRE_KIND_JOIN);
	assert_memory_equal(bytes, "WPAR/1\r\n\x01", 9);
	assert_int_equal(wire_preamble_get(bytes, &kind, &err), 0);
	assert_int_equal(kind, WIRE_KIND_JOIN);
	wire_preamble_put(bytes, WIRE_KIND_CONTROL);
	assert_int_equal(wire_preamble_get(bytes, &kind, &err), 0);
	assert_int_equal(kind, WIRE_KIND_CONTROL);
	// Any single wrong byte is refused.
	for (unsigned i = 0; i < WIRE_PREAMBLE; i++) {
		wire_preamble_put(bytes, WIRE_KIND_CONTROL);
		bytes[i] ^= 0x80;
		assert_int_equal(wire_preamble_get(bytes, &kind, &err), -1);
		assert_int_equal(err.id, ERR_PROTOCOL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_on_the_wire),
		cmocka_unit_test(test_limits_of_lengths),
		cmocka_unit_test(test_unknown_types_and_reserved_bits),
		cmocka_unit_test(test_every_type_has_a_name_and_a_kind),
		cmocka_unit_test(test_preamble),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
