// SPDX-License-Identifier: Apache-2.0
// The peer protocol's framing: the preamble in front of TLS, the 8-byte frame header inside it,
// message numbers and hard limits. What the messages contain is images/peer.proto's business.
#ifndef WPAR_TRANSPORT_WIRE_H
#define WPAR_TRANSPORT_WIRE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_ALPN        "wpar/1"
#define WIRE_HEADER      8
#define WIRE_CONTROL_MAX (64 * 1024)
#define WIRE_DATA_MAX    (256 * 1024)
#define WIRE_PREAMBLE    32

// Numbers are the protocol: never renumber. Data messages travel in ring slots, all others are
// control messages.
enum wire_type {
	WIRE_OPEN = 0, // between movers only: the accepting side has accepted our certificate
	WIRE_HELLO = 1,
	WIRE_OFFER = 2,
	WIRE_CHECKS = 3,
	WIRE_ARRANGED = 4,
	WIRE_ROUND = 5,
	WIRE_ROUND_ACK = 6,
	WIRE_FROZEN = 7,
	WIRE_OBJECT = 8,      // begin: name, size
	WIRE_CHUNK = 9,       // data
	WIRE_OBJECT_END = 10, // digest
	WIRE_PAGES = 11,      // data: images/pageframe.h, then the bytes
	WIRE_MANIFEST = 12,
	WIRE_HELD = 13, // data: network frames held at the source
	WIRE_READY = 14,
	WIRE_REFUSE = 15,
	WIRE_COMMIT = 16,
	WIRE_RUNNING = 17,
	WIRE_RELEASED = 18,
	WIRE_ABORT = 19,
	WIRE_QUERY = 20,
	WIRE_STATE = 21,
	WIRE_PING = 22,
	WIRE_JOIN = 23,
	WIRE_JOINED = 24,
	WIRE_CALL = 25, // a request to the other host's control API
	WIRE_REPLY = 26,
	WIRE_STREAM = 27, // HTTP/1.1, as it is; sealed, so no data message
	WIRE_TAKEN = 28,
	WIRE_END = 29,
	WIRE_WANT = 41,      // is the image wanted?
	WIRE_BLOB = 42,      // begin of a blob of the image; CHUNKs follow
	WIRE_UPPER = 43,     // data: the layer above the image, images/folder.h
	WIRE_UPPER_END = 44, // its digest: nothing more of it comes
	WIRE_MARK = 45,      // what came before it on any connection of the move is handled first
	WIRE_SEAL = 40,      // between links only: lib/transport/seal.h
};

// "HELLO"; "?" for a number that is none.
const char *wire_name(uint16_t type);
bool wire_is_data(uint16_t type);
// Whether the type is legal in a join link, whose client has no certificate yet.
bool wire_is_join(uint16_t type);

// A message of this type and length that a caller may send or get: ERR_PROTOCOL names what is
// wrong (unknown type, over-long). WIRE_OPEN is refused: callers never see it. What a caller may
// put into a control message is shorter by the seal: LINK_CONTROL_MAX.
int wire_check(uint16_t type, size_t length, struct error *err);

// Frame header, little endian: u32 payload length, u16 type, u16 zero.
struct wire_header {
	uint32_t length;
	uint16_t type;
};

void wire_header_put(uint8_t bytes[WIRE_HEADER], uint16_t type, uint32_t length);
// Refuses what wire_check refuses, except an empty WIRE_OPEN, and a non-zero reserved field.
int wire_header_get(const uint8_t bytes[WIRE_HEADER], struct wire_header *header,
		    struct error *err);

// The 32 bytes in front of TLS: "WPAR/1\r\n", u8 kind, 7 zero bytes, 16 bytes of token (zero but
// for WIRE_KIND_BULK).
#define WIRE_TOKEN 16

enum wire_kind {
	WIRE_KIND_CONTROL = 0,
	WIRE_KIND_JOIN = 1,
	WIRE_KIND_BULK = 2, // a further connection of the move that the token is of
};

void wire_preamble_put(uint8_t bytes[WIRE_PREAMBLE], enum wire_kind kind);
void wire_preamble_put_bulk(uint8_t bytes[WIRE_PREAMBLE], const uint8_t token[WIRE_TOKEN]);
// Compares all but the token of a bulk connection, whose meaning is the caller's business; takes
// as long whatever the bytes are.
int wire_preamble_get(const uint8_t bytes[WIRE_PREAMBLE], enum wire_kind *kind, struct error *err);
const uint8_t *wire_preamble_token(const uint8_t bytes[WIRE_PREAMBLE]);

#endif
