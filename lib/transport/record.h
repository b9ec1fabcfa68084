// SPDX-License-Identifier: Apache-2.0
// The records of TLS 1.3 (RFC 8446, section 5) of one direction of a connection, by the keys that
// libssl's handshake has agreed on.
//
// libssl itself copies each byte twice on either side of a record, from the caller to a buffer of
// its own and from there to a BIO: with memory that other processes have written or will read,
// these copies cost a third of what encrypting does. Here a record is made from where its bytes
// lie, into the buffer that the socket sends from, and opened from the buffer that the socket has
// filled, into where its bytes are to be. What is on the wire is the same (test_record has libssl
// at the other end).
#ifndef WPAR_TRANSPORT_RECORD_H
#define WPAR_TRANSPORT_RECORD_H

#include "lib/base/error.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_CONTENT_MAX 16384
#define RECORD_HEADER      5
#define RECORD_OVERHEAD    (RECORD_HEADER + 1 + 16) // header, type, tag: what ours add
#define RECORD_MAX         (RECORD_HEADER + RECORD_CONTENT_MAX + 256) // padded, as others may
#define RECORD_SECRET_MAX  48

// After as many records a new key is due: AES-GCM's limit of RFC 8446, 5.5, is 2^24.5.
#define RECORD_KEY_MAX (1U << 24)

enum record_type {
	RECORD_ALERT = 21,
	RECORD_HANDSHAKE = 22,
	RECORD_DATA = 23,
};

struct record_key;

// secret: the traffic secret of this direction, as long as the suite's digest. NULL: ERR_INTERNAL.
struct record_key *record_key_new(const SSL_CIPHER *suite, const uint8_t *secret, size_t length,
				  bool sending, struct error *err);
// Forgets it; NULL is fine.
void record_key_free(struct record_key *key);
// The next traffic secret takes the place of this one (KeyUpdate): ERR_INTERNAL.
int record_key_update(struct record_key *key, struct error *err);
// Records by this key so far.
uint64_t record_count(const struct record_key *key);

// Makes a record of `length` bytes, at most RECORD_CONTENT_MAX. `out` has room for RECORD_OVERHEAD
// more, and does not overlap. ERR_INTERNAL.
int record_seal(struct record_key *key, enum record_type type, const void *bytes, size_t length,
		uint8_t *out, struct error *err);

// The length of the record whose header begins at `bytes`, RECORD_MAX at most; 0: `available` bytes
// do not hold all of its header; -1: it is none (ERR_PROTOCOL).
ssize_t record_length(const uint8_t *bytes, size_t available, struct error *err);
// How many bytes a record of this length may put out.
static inline size_t record_room(size_t length)
{
	return length - RECORD_OVERHEAD;
}

// Opens a whole record as record_length has measured it into `out`, which has record_room(length)
// bytes and does not overlap. Returns the length of its content, or -1: ERR_PROTOCOL; then `out`
// may hold bytes that nobody has vouched for.
ssize_t record_open(struct record_key *key, const uint8_t *record, size_t length, uint8_t *out,
		    uint8_t *type, struct error *err);

#endif
