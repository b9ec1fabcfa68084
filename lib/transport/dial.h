// SPDX-License-Identifier: Apache-2.0
// The TCP side of a link: connecting, and the options that make a dead peer be noticed.
#ifndef WPAR_TRANSPORT_DIAL_H
#define WPAR_TRANSPORT_DIAL_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <stdbool.h>

// Connects to "address:port", "[address]:port" or "name:port": ERR_USAGE, ERR_PEER_UNREACHABLE.
int dial(const char *address, deadline_t deadline, struct error *err);

// Whether a machine is there: it takes a connection, or refuses it.
bool dial_somebody(const char *address, deadline_t deadline);

// TCP_NODELAY, keepalive, TCP_USER_TIMEOUT; blocking mode, which io_uring needs to wait for us.
int dial_set_options(int sock, struct error *err);

// After the last write: says so to the peer and reads its rest, so that what we sent last is not
// lost to a reset.
void dial_linger(int sock, deadline_t deadline);

#endif
