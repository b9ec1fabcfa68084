// SPDX-License-Identifier: Apache-2.0
// Moves whose own process is dead: relocd is the lifecycle owner of this side then, and does what
// the records of both sides permit (lib/registry/resolve.h).
#ifndef RELOCD_RESOLVE_H
#define RELOCD_RESOLVE_H

#include "relocd/supervisor/moves.h"

// With the lock held: in the background, until it is known what became of the move. While that
// takes, the partition is In-doubt and the peer is asked. `why`: what happened to the process.
void resolve_begin(struct move *m, const struct error *why);

// Without the lock, before anybody can ask for anything: does at once what our own records suffice
// for. True when that was all; else resolve_begin does the rest.
bool resolve_now(struct daemon *d, const char *id, const struct error *why);

// What is known here of our own side. Without the lock.
struct resolve_side;
void resolve_look(const char *id, bool incoming, const char *partition, struct resolve_side *side);

#endif
