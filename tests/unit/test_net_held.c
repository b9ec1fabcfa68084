// SPDX-License-Identifier: Apache-2.0
// The list of held frames: its bounds, its form on the wire, and what it refuses from a peer.
#include "lib/net/held.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static const struct mac own = {{0x02, 0, 0x0a, 0x4d, 0, 0x32}};
static const struct frame_filter filter = {.mac = {{0x02, 0, 0x0a, 0x4d, 0, 0x32}}};

static size_t write_frame(uint8_t *room, uint8_t mark, size_t length)
{
	memset(room, 0, FRAME_VNET + length);
	memcpy(room + FRAME_VNET, own.bytes, 6);
	room[FRAME_VNET + length - 1] = mark;
	return FRAME_VNET + length;
}

static void keep(struct held *held, uint8_t mark, size_t length)
{
	held_keep(held, write_frame(held_room(held), mark, length));
}

static void keeps_order_and_bytes(void **state)
{
	(void)state;
	struct held held;
	size_t cursor = 0, length;
	assert_int_equal(held_init(&held, 100000, 10, NULL), 0);
	for (uint8_t i = 1; i <= 3; i++)
		keep(&held, i, 60u + i);
	assert_int_equal(held.frames, 3);
	for (uint8_t i = 1; i <= 3; i++) {
		const uint8_t *frame = held_next(&held, &cursor, &length);
		assert_non_null(frame);
		assert_int_equal(length, FRAME_VNET + 60 + i);
		assert_int_equal(frame[length - 1], i);
	}
	assert_null(held_next(&held, &cursor, &length));
	held_free(&held);
}

static void drops_the_newest_past_either_bound(void **state)
{
	(void)state;
	struct held held;
	assert_int_equal(held_init(&held, 100000, 3, NULL), 0);
	for (uint8_t i = 1; i <= 5; i++)
		keep(&held, i, 60);
	assert_int_equal(held.frames, 3);
	assert_int_equal(held.dropped, 2);
	held_free(&held);
	size_t record = HELD_PREFIX + FRAME_VNET + 60;
	assert_int_equal(held_init(&held, 2 * record, 10, NULL), 0);
	for (uint8_t i = 1; i <= 5; i++)
		keep(&held, i, 60);
	assert_int_equal(held.frames, 2);
	assert_int_equal(held.length, 2 * record);
	assert_int_equal(held.dropped, 3);
	keep(&held, 9, FRAME_MAX); // the room for one more is always there
	assert_int_equal(held.dropped, 4);
	held_clear(&held);
	keep(&held, 1, 60);
	assert_int_equal(held.frames, 1);
	assert_int_equal(held.dropped, 4);
	held_free(&held);
}

static void travels_in_pieces_of_whole_records(void **state)
{
	(void)state;
	struct held from, to;
	uint8_t piece[200];
	size_t cursor = 0, length, pieces = 0;
	assert_int_equal(held_init(&from, 100000, 100, NULL), 0);
	assert_int_equal(held_init(&to, 100000, 100, NULL), 0);
	for (uint8_t i = 0; i < 7; i++)
		keep(&from, i, 60);
	while ((length = held_piece(&from, &cursor, piece, sizeof(piece)))) {
		assert_int_equal(length % (HELD_PREFIX + FRAME_VNET + 60), 0);
		assert_int_equal(held_add(&to, &filter, piece, length, NULL), 0);
		pieces++;
	}
	assert_int_equal(pieces, 4); // two records in each, one in the last
	assert_int_equal(to.frames, 7);
	assert_int_equal(to.length, from.length);
	assert_memory_equal(to.bytes, from.bytes, to.length);
	held_free(&from);
	held_free(&to);
}

// One good record, and one that `spoil` has changed: neither is taken.
static void refuses(void (*spoil)(uint8_t *record, size_t *length))
{
	struct held from, to;
	struct error err = {0};
	uint8_t bytes[400];
	size_t cursor = 0, record = HELD_PREFIX + FRAME_VNET + 60, length = record;
	assert_int_equal(held_init(&from, 1000, 10, NULL), 0);
	assert_int_equal(held_init(&to, 1000, 10, NULL), 0);
	keep(&from, 1, 60);
	keep(&from, 2, 60);
	assert_int_equal(held_piece(&from, &cursor, bytes, sizeof(bytes)), 2 * record);
	spoil(bytes + record, &length);
	assert_int_equal(held_add(&to, &filter, bytes, record + length, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(to.frames, 0);
	assert_int_equal(to.length, 0);
	held_free(&from);
	held_free(&to);
}

static void cut_within_lengths(uint8_t *record, size_t *length)
{
	(void)record;
	*length = HELD_PREFIX - 1;
}

static void cut_within_frame(uint8_t *record, size_t *length)
{
	(void)record;
	(*length)--;
}

static void too_long(uint8_t *record, size_t *length)
{
	(void)length;
	memset(record, 0xff, 4);
}

static void too_short(uint8_t *record, size_t *length)
{
	*length = 4 + 2 + FRAME_VNET + FRAME_MIN - 1;
	record[0] = (uint8_t)(*length - 4);
}

static void zero_length(uint8_t *record, size_t *length)
{
	*length = HELD_PREFIX;
	memset(record, 0, 4);
}

static void other_header(uint8_t *record, size_t *length)
{
	(void)length;
	record[4] = 12;
}

static void damaged_header(uint8_t *record, size_t *length)
{
	(void)length;
	record[HELD_PREFIX] = 0x40;
}

static void for_somebody_else(uint8_t *record, size_t *length)
{
	(void)length;
	record[HELD_PREFIX + FRAME_VNET + 5] ^= 1;
}

static void refuses_damage_whole(void **state)
{
	(void)state;
	refuses(cut_within_lengths);
	refuses(cut_within_frame);
	refuses(too_long);
	refuses(too_short);
	refuses(zero_length);
	refuses(other_header);
	refuses(damaged_header);
	refuses(for_somebody_else);
}

static void refuses_more_than_the_bounds(void **state)
{
	(void)state;
	struct held from, few, small;
	struct error err = {0};
	assert_int_equal(held_init(&from, 1000, 10, NULL), 0);
	assert_int_equal(held_init(&few, 1000, 2, NULL), 0);
	assert_int_equal(held_init(&small, 100, 10, NULL), 0);
	for (uint8_t i = 0; i < 3; i++)
		keep(&from, i, 60);
	assert_int_equal(held_add(&few, &filter, from.bytes, from.length, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(held_add(&small, &filter, from.bytes, from.length, &err), -1);
	assert_int_equal(few.frames + small.frames, 0);
	held_free(&from);
	held_free(&few);
	held_free(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order_and_bytes),
		cmocka_unit_test(drops_the_newest_past_either_bound),
		cmocka_unit_test(travels_in_pieces_of_whole_records),
		cmocka_unit_test(refuses_damage_whole),
		cmocka_unit_test(refuses_more_than_the_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
