// SPDX-License-Identifier: Apache-2.0
// Connections of peers: the arrival processes that serve them, and the questions they ask.
#ifndef RELOCD_ARRIVALS_H
#define RELOCD_ARRIVALS_H

#include "relocd/supervisor/moves.h"

#define ARRIVALS_MAX 16 // connections served at once

// Starts an arrival for an accepted connection whose preamble was read; `from` is the peer's
// numeric IP address. The socket stays the caller's. With the lock held.
int arrival_begin(struct daemon *d, int sock, const char *from, bool join, struct error *err);

// With the lock held: name and uuid are free here for a partition that comes with this epoch, but
// for a trace of it. ERR_NAME_TAKEN.
int arrival_check_free(struct daemon *d, const struct partition_def *def, uint64_t epoch,
		       struct error *err);

// With the lock held: what the end of an arrival ("done", "aborted", "broken", "in-doubt") that
// did not tell it makes of the partition.
void arrival_settle(struct move *m, const char *outcome, const char *reason);

// An arrival that an earlier relocd started; m is its move, NULL when it has reserved nothing yet.
// `pidfd` and `chan` (-1: it is only watched) are taken over. With the lock held.
int arrival_attach(struct daemon *d, struct move *m, pid_t pid, int pidfd, int chan,
		   struct error *err);

#endif
