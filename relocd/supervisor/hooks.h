// SPDX-License-Identifier: Apache-2.0
// Programs of the administrator in ETC/hooks.d, run as HOOK EVENT with a JSON object on standard
// input, in the order of their names: before a move, which they may refuse, after it, and when a
// partition is in doubt. Never while a partition stands still, never with relocd's lock held.
#ifndef RELOCD_HOOKS_H
#define RELOCD_HOOKS_H

#include "relocd/supervisor/moves.h"

// Whether there are any. Nothing that is not executable, hidden, or ends with "~" is one.
bool hooks_exist(void);

// With the lock held, all of these.

// Runs those of pre-move for a move that is queued, which then leaves the queue or is refused.
int hooks_before(struct move *m, struct error *err);
// The move has ended: runs those of post-move or move-failed. What becomes of them changes nothing.
void hooks_after(const struct move *m);
// The partition of this move is in doubt.
void hooks_in_doubt(struct daemon *d, const char *move);

#endif
