// SPDX-License-Identifier: Apache-2.0
// What was done on this host and by whom: moves, decisions of people, and what became of a
// partition, out of the moves and the journal.
#ifndef WPAR_REGISTRY_HISTORY_H
#define WPAR_REGISTRY_HISTORY_H

#include "lib/registry/registry.h"

struct registry_history {
	const char *of;    // a partition, or a move; NULL: all
	const char *since; // "2026-01-31T08:00:00", UTC: what began later; NULL: all
	bool failed;       // only what did not go well
	unsigned limit;    // the newest so many
};

// The newest first; free with registry_moves_free.
int registry_history_moves(struct registry *r, const struct registry_history *query,
			   struct registry_move **moves, size_t *count, struct error *err);
// The newest first, in the form of events.h: decisions of people; of a partition also what it was
// but as part of a move. NULL: error.
json_t *registry_history_events(struct registry *r, const struct registry_history *query,
				struct error *err);

// Removes moves that ended before `oldest` (RFC 3339), with their events and records: but not one
// that a partition still names. Returns how many, or -1.
int registry_history_prune(struct registry *r, const char *oldest, struct error *err);

#endif
