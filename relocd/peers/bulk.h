// SPDX-License-Identifier: Apache-2.0
// Further connections of a move: each begins with a token, made of the move's id and epoch and a
// secret of this relocd, and is handed to that move's arrival.
#ifndef RELOCD_BULK_H
#define RELOCD_BULK_H

#include "lib/transport/wire.h"
#include "relocd/daemon/daemon.h"

// The token of a move, the same for the life of this relocd.
int bulk_token(const char *move, uint64_t epoch, uint8_t token[WIRE_TOKEN], struct error *err);

// With the lock held. Gives the socket to the arrival whose move the token is of; it stays the
// caller's. Takes as long for every token. ERR_DENIED: there is no such move.
int bulk_hand_over(struct daemon *d, int sock, const uint8_t token[WIRE_TOKEN], struct error *err);

#endif
