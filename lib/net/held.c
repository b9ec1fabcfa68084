// SPDX-License-Identifier: Apache-2.0
#include "lib/net/held.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static uint32_t read_u32(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

static uint16_t read_u16(const uint8_t *bytes)
{
	uint16_t value;
	memcpy(&value, bytes, sizeof(value));
	return le16toh(value);
}

int held_init(struct held *held, size_t bytes_max, size_t frames_max, struct error *err)
{
	*held = (struct held){.max = bytes_max, .frames_max = frames_max};
	// The kernel gives pages when they are written: an unused list costs nothing.
	held->bytes = malloc(bytes_max + HELD_PREFIX + HELD_FRAME);
	if (!held->bytes)
		return error_set(err, ERR_NOMEM, "no memory for %zu bytes of held frames",
				 bytes_max);
	return 0;
}

void held_free(struct held *held)
{
	free(held->bytes);
	held->bytes = NULL;
}

void held_clear(struct held *held)
{
	held->length = held->frames = 0;
}

uint8_t *held_room(struct held *held)
{
	return held->bytes + held->length + HELD_PREFIX;
}

void held_keep(struct held *held, size_t length)
{
	uint32_t whole = htole32((uint32_t)(length + 2));
	uint16_t vnet = htole16(FRAME_VNET);
	uint8_t *record = held->bytes + held->length;
	if (!frame_vnet_valid(record + HELD_PREFIX, length - FRAME_VNET) ||
	    held->frames >= held->frames_max || held->length + HELD_PREFIX + length > held->max) {
		held->dropped++;
		return;
	}
	memcpy(record, &whole, sizeof(whole));
	memcpy(record + 4, &vnet, sizeof(vnet));
	held->length += HELD_PREFIX + length;
	held->frames++;
}

const uint8_t *held_next(const struct held *held, size_t *cursor, size_t *length)
{
	if (*cursor >= held->length)
		return NULL;
	const uint8_t *record = held->bytes + *cursor;
	*length = read_u32(record) - 2;
	*cursor += HELD_PREFIX + *length;
	return record + HELD_PREFIX;
}

size_t held_piece(const struct held *held, size_t *cursor, void *bytes, size_t room)
{
	size_t start = *cursor, end = start, length;
	while (held_next(held, cursor, &length) && *cursor - start <= room)
		end = *cursor;
	*cursor = end;
	memcpy(bytes, held->bytes + start, end - start);
	return end - start;
}

static int check_record(const struct frame_filter *filter, const uint8_t *record, size_t left,
			size_t *size, struct error *err)
{
	if (left < HELD_PREFIX)
		return error_set(err, ERR_PROTOCOL, "held frames end within a record");
	size_t whole = read_u32(record);
	if (whole < 2 + FRAME_VNET + FRAME_MIN || whole > 2 + HELD_FRAME || whole > left - 4)
		return error_set(err, ERR_PROTOCOL, "a held frame of %zu bytes with %zu left",
				 whole, left - 4);
	if (read_u16(record + 4) != FRAME_VNET)
		return error_set(err, ERR_PROTOCOL, "a held frame with a header of %u bytes",
				 read_u16(record + 4));
	const uint8_t *vnet = record + HELD_PREFIX, *frame = vnet + FRAME_VNET;
	size_t length = whole - 2 - FRAME_VNET;
	if (!frame_vnet_valid(vnet, length))
		return error_set(err, ERR_PROTOCOL, "a held frame with a damaged header");
	if (!frame_wanted(filter, frame, length))
		return error_set(err, ERR_PROTOCOL, "a held frame that is not for the partition");
	*size = 4 + whole;
	return 0;
}

int held_add(struct held *held, const struct frame_filter *filter, const void *bytes, size_t length,
	     struct error *err)
{
	size_t frames = 0, size = 0;
	for (size_t at = 0; at < length; at += size, frames++)
		if (check_record(filter, (const uint8_t *)bytes + at, length - at, &size, err) < 0)
			return -1;
	if (length > held->max - held->length || frames > held->frames_max - held->frames)
		return error_set(err, ERR_PROTOCOL,
				 "more than %zu held frames or %zu bytes of them", held->frames_max,
				 held->max);
	memcpy(held->bytes + held->length, bytes, length);
	held->length += length;
	held->frames += frames;
	return 0;
}
