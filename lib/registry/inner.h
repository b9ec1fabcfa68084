// SPDX-License-Identifier: Apache-2.0
// What the files of the registry share. Not for others.
#ifndef WPAR_REGISTRY_INNER_H
#define WPAR_REGISTRY_INNER_H

#include "lib/registry/registry.h"

#include <sqlite3.h>

// In this order, for registry_read_move.
#define REGISTRY_MOVE_COLUMNS                                                                   \
	"id, partition, source, target, epoch, state, pid, pid_start, started, ended, result, " \
	"error, asked, options"
void registry_read_move(sqlite3_stmt *s, struct registry_move *m);
// The rest of a statement's moves, which is left to the caller; on failure what was read is freed.
int registry_collect_moves(struct registry *r, sqlite3_stmt *s, struct registry_move **moves,
			   size_t *count, struct error *err);
// An event as events.h describes it, of the columns in this order.
#define REGISTRY_EVENT_COLUMNS "seq, time, kind, event, partition, move, data, asked"
json_t *registry_read_event(sqlite3_stmt *s);

sqlite3 *registry_db(const struct registry *r);
// "PATH: cannot <what>: <SQLite's reason>". Returns -1.
int registry_fail(const struct registry *r, const char *what, struct error *err);

#endif
