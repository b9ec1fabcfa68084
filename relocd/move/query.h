// SPDX-License-Identifier: Apache-2.0
// Asks the other host what its decision file says of a move, over a connection of its own.
#ifndef RELOCD_MOVE_QUERY_H
#define RELOCD_MOVE_QUERY_H

#include "lib/registry/decision.h"
#include "lib/transport/link.h"

enum query_outcome { QUERY_OPEN, QUERY_RUNS, QUERY_LOST };

// The peer's last record of the move, DECISION_NONE when it has none, DECISION_UNKNOWN when it
// could not be asked (with err). *outcome (or NULL): what became of the partition there after
// RESUMING, QUERY_OPEN when that is not known yet.
enum decision_type query_peer(const char *address, const char *peer, const char *host,
			      const struct link_tls *tls, const char *move, uint64_t epoch,
			      enum query_outcome *outcome, struct error *err);

#endif
