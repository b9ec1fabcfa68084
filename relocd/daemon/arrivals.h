// SPDX-License-Identifier: Apache-2.0
// Connections of peers: the arrival processes that serve them, and the questions they ask.
#ifndef RELOCD_ARRIVALS_H
#define RELOCD_ARRIVALS_H

#include "relocd/daemon/moves.h"

#define ARRIVALS_MAX 16 // connections served at once

// Starts an arrival for an accepted connection whose preamble was read; `from` is the peer's
// numeric IP address. The socket stays the caller's. With the lock held.
int arrival_begin(struct daemon *d, int sock, const char *from, bool join, struct error *err);

// An arrival of an earlier relocd, or one that ended without a word. With the lock held.
void arrival_resolve(struct move *m, const struct error *why);

#endif
