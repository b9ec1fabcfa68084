// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/wire.h"

#include "lib/base/cleanup.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <string.h>

enum {
	DATA = 1,
	JOIN = 2,
};

static const struct {
	const char *name;
	unsigned traits;
} types[] = {
	[WIRE_OPEN] = {"OPEN", 0},
	[WIRE_HELLO] = {"HELLO", 0},
	[WIRE_OFFER] = {"OFFER", 0},
	[WIRE_CHECKS] = {"CHECKS", 0},
	[WIRE_ARRANGED] = {"ARRANGED", 0},
	[WIRE_ROUND] = {"ROUND", 0},
	[WIRE_ROUND_ACK] = {"ROUND_ACK", 0},
	[WIRE_FROZEN] = {"FROZEN", 0},
	[WIRE_OBJECT] = {"OBJECT", 0},
	[WIRE_CHUNK] = {"CHUNK", DATA},
	[WIRE_OBJECT_END] = {"OBJECT_END", 0},
	[WIRE_PAGES] = {"PAGES", DATA},
	[WIRE_MANIFEST] = {"MANIFEST", 0},
	[WIRE_HELD] = {"HELD", DATA},
	[WIRE_READY] = {"READY", 0},
	[WIRE_REFUSE] = {"REFUSE", JOIN},
	[WIRE_COMMIT] = {"COMMIT", 0},
	[WIRE_RUNNING] = {"RUNNING", 0},
	[WIRE_RELEASED] = {"RELEASED", 0},
	[WIRE_ABORT] = {"ABORT", 0},
	[WIRE_QUERY] = {"QUERY", 0},
	[WIRE_STATE] = {"STATE", 0},
	[WIRE_PING] = {"PING", 0},
	[WIRE_JOIN] = {"JOIN", JOIN},
	[WIRE_JOINED] = {"JOINED", JOIN},
	[WIRE_CALL] = {"CALL", 0},
	[WIRE_REPLY] = {"REPLY", 0},
	[WIRE_STREAM] = {"STREAM", 0},
	[WIRE_TAKEN] = {"TAKEN", 0},
	[WIRE_END] = {"END", 0},
	[WIRE_SEAL] = {"SEAL", 0},
	[WIRE_WANT] = {"WANT", 0},
	[WIRE_BLOB] = {"BLOB", 0},
	[WIRE_UPPER] = {"UPPER", DATA},
	[WIRE_UPPER_END] = {"UPPER_END", 0},
	[WIRE_MARK] = {"MARK", 0},
};

static const char preamble_magic[8] = {'W', 'P', 'A', 'R', '/', '1', '\r', '\n'};

static bool is_known(uint16_t type)
{
	return type < ARRAY_SIZE(types) && types[type].name;
}

const char *wire_name(uint16_t type)
{
	return is_known(type) ? types[type].name : "?";
}

bool wire_is_data(uint16_t type)
{
	return type < ARRAY_SIZE(types) && types[type].traits & DATA;
}

bool wire_is_join(uint16_t type)
{
	return type < ARRAY_SIZE(types) && types[type].traits & JOIN;
}

int wire_check(uint16_t type, size_t length, struct error *err)
{
	if (type == WIRE_OPEN || !is_known(type))
		return error_set(err, ERR_PROTOCOL, "message type %u is not known", type);
	size_t max = wire_is_data(type) ? WIRE_DATA_MAX : WIRE_CONTROL_MAX;
	if (length > max)
		return error_set(err, ERR_PROTOCOL,
				 "a %s message of %zu bytes is over the limit of %zu",
				 wire_name(type), length, max);
	return 0;
}

void wire_header_put(uint8_t bytes[WIRE_HEADER], uint16_t type, uint32_t length)
{
	uint32_t l = htole32(length);
	uint16_t t = htole16(type);
	memcpy(bytes, &l, 4);
	memcpy(bytes + 4, &t, 2);
	memset(bytes + 6, 0, 2);
}

int wire_header_get(const uint8_t bytes[WIRE_HEADER], struct wire_header *header, struct error *err)
{
	uint32_t length;
	uint16_t type;
	memcpy(&length, bytes, 4);
	memcpy(&type, bytes + 4, 2);
	*header = (struct wire_header){.length = le32toh(length), .type = le16toh(type)};
	if (bytes[6] || bytes[7])
		return error_set(err, ERR_PROTOCOL, "the reserved field of a frame is not zero");
	if (header->type == WIRE_OPEN && header->length == 0)
		return 0;
	return wire_check(header->type, header->length, err);
}

#define TOKEN_AT (WIRE_PREAMBLE - WIRE_TOKEN)

void wire_preamble_put(uint8_t bytes[WIRE_PREAMBLE], enum wire_kind kind)
{
	memset(bytes, 0, WIRE_PREAMBLE);
	memcpy(bytes, preamble_magic, sizeof(preamble_magic));
	bytes[sizeof(preamble_magic)] = (uint8_t)kind;
}

void wire_preamble_put_bulk(uint8_t bytes[WIRE_PREAMBLE], const uint8_t token[WIRE_TOKEN])
{
	wire_preamble_put(bytes, WIRE_KIND_BULK);
	memcpy(bytes + TOKEN_AT, token, WIRE_TOKEN);
}

const uint8_t *wire_preamble_token(const uint8_t bytes[WIRE_PREAMBLE])
{
	return bytes + TOKEN_AT;
}

int wire_preamble_get(const uint8_t bytes[WIRE_PREAMBLE], enum wire_kind *kind, struct error *err)
{
	static const enum wire_kind kinds[] = {WIRE_KIND_CONTROL, WIRE_KIND_JOIN, WIRE_KIND_BULK};
	bool known = false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint8_t expected[WIRE_PREAMBLE];
		wire_preamble_put(expected, kinds[i]);
		size_t length = kinds[i] == WIRE_KIND_BULK ? TOKEN_AT : WIRE_PREAMBLE;
		if (CRYPTO_memcmp(bytes, expected, length) == 0) {
			*kind = kinds[i];
			known = true;
		}
	}
	return known ? 0 : error_set(err, ERR_PROTOCOL, "not a relocd peer: the preamble is wrong");
}
