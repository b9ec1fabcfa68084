// SPDX-License-Identifier: Apache-2.0
// Moves that wait: until fewer leave this host (limits: moves) and go to the same one (limits:
// moves_per_link), for the hooks that may refuse them, or for a place at their destination. The
// greatest priority goes first, then who has waited longest. The queue is in the registry: a relocd
// that is started again goes on with it.
#ifndef RELOCD_QUEUE_H
#define RELOCD_QUEUE_H

#include "relocd/supervisor/moves.h"

// With the lock held, all of them.

// Whether a new move has to wait.
bool queue_is_due(const struct move *m);
// Puts a move into it: as one that is new, or one that an earlier relocd left there.
int queue_add(struct move *m, struct error *err);
void queue_resume(struct move *m);
// Sets off those for which there is room now.
void queue_next(struct daemon *d);
// Whether a move of the partition waits.
bool queue_has(const struct daemon *d, const char *partition);
// Takes a move back whose destination has no place for it yet, if `event`, its last, says so.
bool queue_again(struct move *m, const json_t *event);

// Whether one more may arrive (limits: arrivals): ERR_ARRIVALS_FULL.
int queue_check_arrivals(const struct daemon *d, struct error *err);

#endif
