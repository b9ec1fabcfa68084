// SPDX-License-Identifier: Apache-2.0
// Where peers connect. relocd reads the 32-byte preamble, compares it, and hands the connection to
// a fresh arrival process, or by its token to the arrival of a move; it reads nothing else from the
// network. How often a source may come: ratelimit.h.
#ifndef RELOCD_LISTENER_H
#define RELOCD_LISTENER_H

#include "relocd/daemon/daemon.h"

#define LISTENER_PENDING_MAX    64   // connections whose preamble is not there yet; the oldest goes
#define LISTENER_PENDING_SOURCE 16   // of them from one source
#define LISTENER_PREAMBLE_MS    2000 // after this they are closed

// With the lock held.
int listener_start(struct daemon *d, struct error *err);
void listener_stop(struct daemon *d);

#endif
