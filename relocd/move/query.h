// SPDX-License-Identifier: Apache-2.0
// Asks the other host what its decision file says of a move, over a connection of its own.
#ifndef RELOCD_MOVE_QUERY_H
#define RELOCD_MOVE_QUERY_H

#include "lib/registry/decision.h"
#include "lib/transport/link.h"

// What the list of moves of a host says of one.
enum query_outcome {
	QUERY_OPEN,   // nothing yet, or nothing any more
	QUERY_RUNS,   // it is the destination's
	QUERY_LOST,   // it died on the way
	QUERY_STAYED, // it is the source's
};

enum query_outcome query_outcome_of(const char *move_state); // or NULL

// The peer's last record of the move, DECISION_NONE when it has none, DECISION_UNKNOWN when it
// could not be asked (with err). *outcome (or NULL): where the record is RESUMING, or none, what
// the peer's list of moves says.
enum decision_type query_peer(const char *address, const char *peer, const char *host,
			      const struct link_tls *tls, const char *move, uint64_t epoch,
			      enum query_outcome *outcome, struct error *err);

#endif
