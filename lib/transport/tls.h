// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 between hosts without touching a socket: ciphertext goes in and out through two plain
// buffers that the caller fills and empties (the mover: io_uring's registered buffers).
//
// Both sides present a certificate that a host of the cluster has signed (identity.h), or in a join
// only the accepting one.
// AES-128-GCM is preferred: the fastest where it matters (AES-NI), see TLS_CIPHERS in tls.c.
// libssl shakes hands; the records behind that are made and opened by record.h, without copies.
#ifndef WPAR_TRANSPORT_TLS_H
#define WPAR_TRANSPORT_TLS_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_setup {
	bool server, join;
	const char *ca, *chain, *key; // PEM texts of struct identity
	const char *fingerprint;      // client of a join
	const char *peer;             // name that the peer must carry; NULL: any
};

// Ciphertext from start to end. `in` is filled by the caller and `ended` set at the end of the
// stream; `out` is filled by tls_* at end, up to room. A record is opened when all of it is in
// `in`: the caller has to move what is left there to its beginning before it is full, and gives it
// room for TLS_RECORD_MAX bytes at least.
#define TLS_RECORD_MAX (5 + 16384 + 256)

struct tls_pipe {
	uint8_t *data;
	size_t start, end, room;
	bool ended;
};

struct tls;

// The pipes must outlive it; the texts need not. Opens no file. ERR_CERTIFICATE.
struct tls *tls_open(const struct tls_setup *setup, struct tls_pipe *in, struct tls_pipe *out,
		     struct error *err);
void tls_close(struct tls *tls);

// All of these: 1 done, 0 needs more input or room for output, -1 error. A refused or refusing peer
// is ERR_PEER_UNTRUSTED; an ended stream ERR_PEER_UNREACHABLE; the alert for the peer is in `out`.
int tls_handshake(struct tls *tls, struct error *err);
int tls_read(struct tls *tls, void *bytes, size_t room, size_t *got, struct error *err);
// May take a part only (*taken).
int tls_write(struct tls *tls, const void *bytes, size_t length, size_t *taken, struct error *err);
// Whether tls_handshake or tls_read have something to do; if not, they need more input.
bool tls_can_read(const struct tls *tls);
// Puts close_notify into `out`, unless an alert is there that says more.
void tls_end(struct tls *tls);

// Name in the peer's certificate, "" for a peer without; valid after the handshake.
const char *tls_peer(const struct tls *tls);

#endif
