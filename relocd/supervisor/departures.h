// SPDX-License-Identifier: Apache-2.0
// Moves away from this host: checks, the departure process, and what its end means.
#ifndef RELOCD_DEPARTURES_H
#define RELOCD_DEPARTURES_H

#include "relocd/supervisor/moves.h"

// Starts a move, or queues it while as many run as may (limits: moves); host NULL: back to where
// it came from. `options` (may be NULL) is what the caller asked for: max_downtime_ms, deadline_ms,
// engine, end_exec; `asked` (may be NULL) who that is. With the lock held.
int departure_begin(struct daemon *d, const char *partition, const char *host,
		    const json_t *options, const json_t *asked, char id[40], struct error *err);

// Sets off a move that was queued, if it still may. With the lock held.
int departure_leave_queue(struct move *m, struct error *err);
// Ends a move that has not been set off: aborted. With the lock held.
void departure_drop(struct move *m, const struct error *why);

// Asks each host (JSON array of names; empty or NULL: all others) whether the partition could go
// there in a move with these options (NULL: none). Without the lock; returns
// {"rows":[{"host","checks","ok","error"}]}, NULL on error.
json_t *departure_validate(struct daemon *d, const char *partition, const json_t *hosts,
			   const json_t *options, struct error *err);

// With the lock held: what the end of a departure ("done", "aborted", "refused", "broken",
// "in-doubt", "lost": at the destination) makes of the partition; `epoch` is the last that was
// used.
void departure_settle(struct move *m, const char *outcome, const char *reason, uint64_t epoch);
// That end as a state of the move: "lost" is "broken" on both hosts.
const char *departure_outcome(const char *end);
// The registry has the end and nobody will ask again: removes the decision file.
void departure_drop_record(const struct move *m);

// A departure that an earlier relocd started: `pidfd` and `chan` (-1: it is only watched) are taken
// over. With the lock held.
int departure_attach(struct move *m, pid_t pid, int pidfd, int chan, struct error *err);

#endif
