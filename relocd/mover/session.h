// SPDX-License-Identifier: Apache-2.0
// One connection from the handshake to its end: moves frames between the ring shared with the
// privileged parent and the TLS stream, in a single thread around io_uring.
//
// Nothing in it blocks but io_uring's wait, and every queue is bounded: the parent by the ledger's
// credit, the peer by our not reading while the parent holds all slots.
#ifndef WPAR_MOVER_SESSION_H
#define WPAR_MOVER_SESSION_H

#include "lib/base/error.h"
#include "lib/transport/ring.h"
#include "lib/transport/tls.h"

struct session;

// Maps what the parent has made (descriptors: lib/transport/ring.h), turns io_uring on and reads
// the key: all that must be done before the sandbox is closed.
struct session *session_open(const struct tls_setup *setup, struct error *err);
void session_close(struct session *session);

// Runs until the parent closes the channel (0: what it had sent is on its way, with close_notify)
// or the connection fails (-1).
int session_run(struct session *session, struct error *err);

// Blocks until the channel takes notes again, however long the parent is busy with other things.
// -1: the parent has closed.
int session_await_parent(int channel);

#endif
