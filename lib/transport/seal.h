// SPDX-License-Identifier: Apache-2.0
// The seal on every control message of a link, between the two privileged processes: movers carry
// the messages, but cannot make, change, repeat, drop or reorder one unnoticed.
//
// Both sides agree on keys by X25519 and sign what they agreed on with their hosts' keys, which are
// certified by the cluster's CA (a sigma protocol, as TLS 1.3's):
//   1. connecting -> accepting: a public key
//   2. accepting -> connecting: a public key, certificate, signature over 1 and 2
//   3. connecting -> accepting: certificate, signature over 1 to 3
// From then on a message carries the HMAC-SHA-256, cut to SEAL_TAG bytes, of its number, type and
// payload, by a key for each direction (HKDF over all of the above).
//
// Data messages are numbered in one row with them and carry the tag of ChaCha20-Poly1305 (RFC 8439)
// over nothing, with type and number as the nonce and the payload as associated data, by keys of
// their own. It is the one check of memory between the two hosts, so it must hold against a
// captured mover, which sees all that passes: that rules out fast hashes such as XXH3, whose key
// such a mover could work out. Measured (EPYC with AVX-512, one thread): SHA-256 1.7 GB/s, BLAKE2b
// 0.96, AES-GMAC 7, Poly1305 12, XXH3 18, copying alone 50. A tag for each message, rather than one
// digest of everything, does not depend on the order in which several connections bring their
// parts, and finds what is wrong before it is stored.
#ifndef WPAR_TRANSPORT_SEAL_H
#define WPAR_TRANSPORT_SEAL_H

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/transport/link.h"

#include <stdbool.h>
#include <stdint.h>

#define SEAL_STEP_MAX 8192 // bytes of one of the three messages

struct seal;

// Reads the files of `tls`: ERR_CERTIFICATE.
struct seal *seal_open(bool server, const struct link_tls *tls, struct error *err);
void seal_close(struct seal *seal);

// Appends the next message of ours to *out: 1, or 0 when it is the peer's turn, or all is agreed.
int seal_say(struct seal *seal, struct buf *out, struct error *err);
// Takes the peer's next one. ERR_PROTOCOL; ERR_PEER_UNTRUSTED (sentence as TLS would say).
int seal_hear(struct seal *seal, const uint8_t *bytes, size_t length, struct error *err);
// Agreed: the host in the peer's certificate; before that NULL.
const char *seal_peer(const struct seal *seal);
// Of its certificate: SHA-256 of the public key, hex.
const char *seal_peer_key(const struct seal *seal);

// Once agreed. The tag of the next message that we send.
int seal_put(struct seal *seal, uint16_t type, const void *payload, size_t length,
	     uint8_t tag[SEAL_TAG], struct error *err);
// Checks the next one that came, the tag at its end; returns the length without it, or -1:
// ERR_PROTOCOL.
ssize_t seal_check(struct seal *seal, uint16_t type, const uint8_t *message, size_t length,
		   struct error *err);

// The same for data messages. The number is taken when the message comes (seal_count), so that the
// check can wait until somebody wants it.
int seal_put_data(struct seal *seal, uint16_t type, const void *payload, size_t length,
		  uint8_t tag[SEAL_TAG], struct error *err);
uint64_t seal_count(struct seal *seal);
// `message` must be memory that no mover can change.
ssize_t seal_check_data(struct seal *seal, uint64_t number, uint16_t type, const uint8_t *message,
			size_t length, struct error *err);

#endif
