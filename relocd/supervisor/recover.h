// SPDX-License-Identifier: Apache-2.0
// A move in doubt that a person looks at and may decide: `wparctl recover`.
#ifndef RELOCD_RECOVER_H
#define RELOCD_RECOVER_H

#include "relocd/api/api_handlers.h"

// api_move_recover() is POST /v1/moves/{}/recover: {} shows what both sides know and what is
// proposed; {"keep": HOST, "reason": TEXT, "peer_is_dead": bool} lets that copy run, after the
// other one was killed. Between hosts: {"look": true} for the side of this host alone, {"give_up":
// EPOCH, "reason": TEXT} kills its copy; with "uuid" that of a partition which the asking host has
// adopted (adopt.h).

// At relocd's start: tells the other side of each heuristic decision that it does not know of yet,
// until it has confirmed that its copy is dead. In the background.
void recover_begin(struct daemon *d);

// Gives the copy of this host up, as `host` has one of a later epoch than `epoch`: kills it and
// ends its move. Without the lock.
int recover_give_up(struct daemon *d, const char *move, uint64_t epoch, const char *host,
		    const char *reason, struct error *err);

#endif
