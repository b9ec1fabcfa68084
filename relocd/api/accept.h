// SPDX-License-Identifier: Apache-2.0
// Connections to the control socket, from accept to the HTTP server: how many a user may have, and
// the descriptors that come ahead of a request.
//
// A client sends descriptors (unix(7), SCM_RIGHTS) with an empty line before its first request,
// which HTTP skips (RFC 9112 section 2.2). Looking at a message without taking it (MSG_PEEK)
// duplicates its descriptors; the server's own recv(2) then takes the bytes and drops the
// originals.
#ifndef RELOCD_ACCEPT_H
#define RELOCD_ACCEPT_H

#include "lib/base/error.h"
#include "relocd/api/roles.h"

#define ACCEPT_FDS_MAX 8 // with one connection

struct acceptor;

// Serves the listening socket (taken over, also on failure) in a thread: `serve` gets each
// connection as its own; false: it could not be served and has been closed. *made is there before
// the first of them; NULL on failure.
int acceptor_start(int listener, struct roles *roles, bool (*serve)(void *arg, int sock), void *arg,
		   struct acceptor **made, struct error *err);
// Takes no more connections.
void acceptor_quiet(struct acceptor *a);
// After all connections have ended.
void acceptor_free(struct acceptor *a);

// A duplicate of the n-th descriptor that came with this connection, the caller's; -1: there is
// none.
int acceptor_descriptor(struct acceptor *a, int sock, unsigned n);
// The request that they came for has been answered.
void acceptor_drop_descriptors(struct acceptor *a, int sock);
// The server is about to close it.
void acceptor_closed(struct acceptor *a, int sock);

#endif
