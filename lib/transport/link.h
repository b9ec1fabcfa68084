// SPDX-License-Identifier: Apache-2.0
// A connection to a peer host, seen from the privileged side (departure, arrival, relocd's join).
//
// TLS and framing belong to a mover: an unprivileged, confined child process (libexec/mover). Bulk
// data passes through rings of slots in sealed memfds that both map; everything else through a
// SOCK_SEQPACKET channel. Nothing that the mover says is trusted: slot numbers, lengths and types
// are checked here, messages carry a seal that it cannot make (seal.h; not in a join), and a mover
// that misbehaves is an error (ERR_PROTOCOL), never a crash.
//
// A link is used by one thread at a time. The mover dies with the thread that opened the link
// (PR_SET_PDEATHSIG) and with the channel. A dead peer is noticed within about LINK_DEAD_PEER_MS,
// idle or not; a peer that lives but takes no data for that long counts as dead too.
#ifndef WPAR_TRANSPORT_LINK_H
#define WPAR_TRANSPORT_LINK_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/transport/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_SLOTS        4    // each way, WIRE_DATA_MAX bytes each: few, so that caches hold them
#define LINK_CREDIT       16   // control messages under way each way
#define LINK_DEAD_PEER_MS 5000 // TCP_USER_TIMEOUT: a frozen partition waits as long

#define SEAL_TAG         16 // bytes that the seal adds to a message
#define LINK_CONTROL_MAX (WIRE_CONTROL_MAX - SEAL_TAG)
#define LINK_DATA_MAX    (WIRE_DATA_MAX - SEAL_TAG)

struct link_tls {
	const char *ca;          // PEM files; no mover reads them
	const char *cert;        // of this host
	const char *key;         // of this host
	const char *fingerprint; // connecting side of a join only: SHA-256 of the cluster CA as in
				 // the token (pki_fingerprint); ca, cert and key are NULL then
};

struct link;

// Connects to "10.77.0.2:7470", "[fd77::2]:7470" or "name:7470", sends the preamble, and goes
// through the mutual TLS handshake. peer_name is the host name that the peer's certificate must
// carry; in a join it may be NULL (any host of the cluster with that fingerprint). Returns when
// the peer has accepted our certificate too.
// Errors: ERR_PEER_UNREACHABLE; ERR_PEER_UNTRUSTED (the sentence says which side refused and why:
// no certificate, foreign CA, expired, another name); ERR_CERTIFICATE (ours cannot be used);
// ERR_DEADLINE; ERR_USAGE (address).
struct link *link_connect(const char *address, const char *peer_name, const struct link_tls *tls,
			  bool join, deadline_t deadline, struct error *err);

// A further connection of a move, which the token is of (WIRE_TOKEN bytes); otherwise as
// link_connect.
struct link *link_connect_further(const char *address, const char *peer_name,
				  const struct link_tls *tls, const uint8_t *token,
				  deadline_t deadline, struct error *err);

// Goes on with an accepted TCP socket whose preamble was read. Takes ownership of sock, also when
// it fails. join: the client is asked for no certificate and only JOIN, JOINED and REFUSE may pass.
struct link *link_accept(int sock, bool join, const struct link_tls *tls, deadline_t deadline,
			 struct error *err);

// The authenticated name of the other host (its certificate's CN and SAN); "" when it has none
// (accepting side of a join).
const char *link_peer(const struct link *link);
// SHA-256 of the public key in its certificate, hex; "" when it has none.
const char *link_peer_key(const struct link *link);

// For poll(2): readable when link_recv may have something. It can be a false alarm: call link_recv
// with a deadline that has passed.
int link_fd(const struct link *link);

// Sends a control message (at most LINK_CONTROL_MAX bytes). Blocks while LINK_CREDIT messages are
// under way; a peer that takes none for LINK_DEAD_PEER_MS + 5 s is ERR_PEER_UNREACHABLE.
int link_send(struct link *link, uint16_t type, const void *payload, size_t length,
	      struct error *err);

// A free slot of LINK_DATA_MAX bytes for the caller to fill; the same one again until it is handed
// over. NULL: ERR_DEADLINE, or the link failed.
void *link_slot(struct link *link, deadline_t deadline, struct error *err);
// Hands it over, in order with link_send. The caller must not touch it any more, also on failure.
int link_send_slot(struct link *link, uint16_t type, void *slot, size_t length, struct error *err);

// A received message; give each back by link_done before the link is closed. The payload is our own
// copy, and its seal was right: it is what the peer's privileged side has sent.
struct link_message {
	uint16_t type;
	const uint8_t *payload;
	size_t length;
	int slot; // of the ring; -1: a control message
};

// 1: got one; 0: deadline passed; -1: the link failed or the peer closed it (ERR_PEER_UNREACHABLE).
// What arrived before the failure is handed out first.
int link_recv(struct link *link, deadline_t deadline, struct link_message *message,
	      struct error *err);
// Gives the message back; *message is emptied. At most LINK_SLOTS data messages can be held; the
// peer is stopped while they are.
void link_done(struct link *link, struct link_message *message);

// Whether no data is under way to the mover, as far as link_recv or link_slot has heard.
bool link_idle(const struct link *link);

// Waits until all that was sent is in the kernel's socket buffer. Deadline passed: ERR_DEADLINE.
int link_flush(struct link *link, deadline_t deadline, struct error *err);

// Nothing more is sent: the mover begins to end, without being waited for. Of several links, each
// before the first link_close.
void link_end(struct link *link);

// Ends the connection as a cut cable would, so that the peer notices: what is done with the link
// from now on fails.
void link_cut(const struct link *link);
// Lets the mover send what is left and close_notify, waits for it for at most 3 s, then kills it.
// NULL is fine.
void link_close(struct link *link);

static inline void link_closep(struct link **link)
{
	link_close(*link);
}
#define _cleanup_link_ __attribute__((cleanup(link_closep)))

#endif
