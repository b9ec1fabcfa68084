// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/history.h"

#include "lib/base/cleanup.h"
#include "lib/registry/inner.h"

static void cleanup_statement(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}

#define _cleanup_statement_ __attribute__((cleanup(cleanup_statement)))

static sqlite3_stmt *prepare(struct registry *r, const char *sql,
			     const struct registry_history *query, struct error *err)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(registry_db(r), sql, -1, &s, NULL) != SQLITE_OK) {
		registry_fail(r, "read the history", err);
		return NULL;
	}
	sqlite3_bind_text(s, 1, query->of, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 2, query->since, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int(s, 3, query->failed);
	sqlite3_bind_int64(s, 4, query->limit);
	return s;
}

int registry_history_moves(struct registry *r, const struct registry_history *query,
			   struct registry_move **moves, size_t *count, struct error *err)
{
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			"SELECT " REGISTRY_MOVE_COLUMNS " FROM moves WHERE "
			"(?1 IS NULL OR partition = ?1 OR id = ?1) AND "
			"(?2 IS NULL OR started >= ?2) AND "
			"(NOT ?3 OR state NOT IN ('queued', 'running', 'done')) "
			"ORDER BY started DESC LIMIT ?4",
			query, err);
	return s ? registry_collect_moves(r, s, moves, count, err) : -1;
}

// What happens to a partition while it moves is the move's.
#define DECISIONS                                                     \
	"(kind = 'move' AND event IN ('kept', 'given-up') OR "        \
	"kind = 'partition' AND event IN ('adopted', 'disowned') OR " \
	"kind = 'host' AND event = 'trust-local')"
#define OF_THE_PARTITION                                                                   \
	"(kind = 'partition' AND ?1 IS NOT NULL AND "                                      \
	"NOT (event IN ('state', 'created', 'removed') AND move IS NOT NULL) AND "         \
	"NOT (event = 'state' AND json_extract(data, '$.from') IN ('Moving', 'Arriving') " \
	"AND json_extract(data, '$.to') IN ('Active', 'Departed')))"

json_t *registry_history_events(struct registry *r, const struct registry_history *query,
				struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			"SELECT " REGISTRY_EVENT_COLUMNS " FROM events WHERE "
			"(?1 IS NULL OR partition = ?1 OR move = ?1) AND "
			"(?2 IS NULL OR time >= ?2) AND "
			"(" DECISIONS " OR " OF_THE_PARTITION ") AND "
			"(NOT ?3 OR event = 'state' AND "
			"json_extract(data, '$.to') IN ('Failed', 'Broken', 'In-doubt')) "
			"ORDER BY seq DESC LIMIT ?4",
			query, err);
	if (!s)
		return NULL;
	int rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		json_array_append_new(list, registry_read_event(s));
	if (rc == SQLITE_DONE)
		return take_ptr(list);
	registry_fail(r, "read the history", err);
	return NULL;
}

#define PAST                                                                          \
	"(SELECT id FROM moves WHERE state NOT IN ('queued', 'running', 'in-doubt') " \
	"AND ended < ?1 AND id NOT IN (SELECT move FROM partitions))"

// Children first: they are found by the move.
static int delete_past(struct registry *r, const char *oldest, struct error *err)
{
	static const char *const all[] = {
		"DELETE FROM move_events WHERE move IN " PAST,
		"DELETE FROM records WHERE move IN " PAST,
		"DELETE FROM moves WHERE id IN " PAST,
	};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		_cleanup_statement_ sqlite3_stmt *s = NULL;
		if (sqlite3_prepare_v2(registry_db(r), all[i], -1, &s, NULL) != SQLITE_OK)
			return registry_fail(r, "prune the moves", err);
		sqlite3_bind_text(s, 1, oldest, -1, SQLITE_TRANSIENT);
		if (sqlite3_step(s) != SQLITE_DONE)
			return registry_fail(r, "prune the moves", err);
	}
	return sqlite3_changes(registry_db(r));
}

int registry_history_prune(struct registry *r, const char *oldest, struct error *err)
{
	sqlite3 *db = registry_db(r);
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return registry_fail(r, "prune the moves", err);
	int removed = delete_past(r, oldest, err);
	if (removed >= 0 && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return removed;
	if (removed >= 0)
		registry_fail(r, "prune the moves", err);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}
