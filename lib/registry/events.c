// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/events.h"

#include "lib/base/cleanup.h"
#include "lib/registry/inner.h"

#include <string.h>

#define PRUNED_KEY "events-pruned" // in meta

static void cleanup_statement(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}

#define _cleanup_statement_ __attribute__((cleanup(cleanup_statement)))

static sqlite3_stmt *prepare(struct registry *r, const char *sql, struct error *err)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(registry_db(r), sql, -1, &s, NULL) != SQLITE_OK)
		registry_fail(r, "read the events", err);
	return s;
}

static int run(struct registry *r, const char *sql, struct error *err)
{
	if (sqlite3_exec(registry_db(r), sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return registry_fail(r, "write the events", err);
}

static int read_number(struct registry *r, const char *sql, int64_t *number, struct error *err)
{
	_cleanup_statement_ sqlite3_stmt *s = prepare(r, sql, err);
	if (!s)
		return -1;
	int rc = sqlite3_step(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return registry_fail(r, "read the events", err);
	*number = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	return 0;
}

int registry_events_span(struct registry *r, int64_t *last, int64_t *pruned, struct error *err)
{
	char text[32] = "0";
	if (registry_meta_get(r, PRUNED_KEY, text, sizeof(text), err) < 0)
		return -1;
	*pruned = strtoll(text, NULL, 10);
	return read_number(r, "SELECT seq FROM sqlite_sequence WHERE name = 'events'", last, err);
}

// ---- write --------------------------------------------------------------------------------------

static void bind_text(sqlite3_stmt *s, int at, const json_t *event, const char *key)
{
	const char *text = json_string_value(json_object_get(event, key));
	if (text)
		sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
	else
		sqlite3_bind_null(s, at);
}

static void bind_data(sqlite3_stmt *s, int at, const json_t *data)
{
	char *text = json_is_object(data) ? json_dumps(data, JSON_COMPACT) : NULL;
	if (text)
		sqlite3_bind_text(s, at, text, -1, free);
	else
		sqlite3_bind_null(s, at);
}

static int add_each(struct registry *r, const json_t *events, struct error *err)
{
	static const char *const texts[] = {"time", "kind", "event", "partition", "move"};
	_cleanup_statement_ sqlite3_stmt *s = prepare(r,
						      "INSERT INTO events (seq, time, kind, event, "
						      "partition, move, data, asked) VALUES "
						      "(?, ?, ?, ?, ?, ?, ?, ?)",
						      err);
	size_t i;
	json_t *event;
	if (!s)
		return -1;
	json_array_foreach (events, i, event) {
		sqlite3_reset(s);
		sqlite3_bind_int64(s, 1, json_integer_value(json_object_get(event, "seq")));
		for (int n = 0; n < (int)ARRAY_SIZE(texts); n++)
			bind_text(s, 2 + n, event, texts[n]);
		bind_data(s, 7, json_object_get(event, "data"));
		bind_data(s, 8, json_object_get(event, "asked"));
		if (sqlite3_step(s) != SQLITE_DONE)
			return registry_fail(r, "write an event", err);
	}
	return 0;
}

int registry_events_add(struct registry *r, const json_t *events, struct error *err)
{
	if (run(r, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	if (add_each(r, events, err) == 0 && run(r, "COMMIT", err) == 0)
		return 0;
	sqlite3_exec(registry_db(r), "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

// ---- read ---------------------------------------------------------------------------------------

static json_t *text_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	return text ? json_string(text) : json_null();
}

static json_t *object_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	json_t *object = text ? json_loads(text, 0, NULL) : NULL;
	return object ? object : json_null();
}

json_t *registry_read_event(sqlite3_stmt *s)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seq",
			 (json_int_t)sqlite3_column_int64(s, 0), "time", text_of(s, 1), "kind",
			 text_of(s, 2), "event", text_of(s, 3), "partition", text_of(s, 4), "move",
			 text_of(s, 5), "data", object_of(s, 6), "asked", object_of(s, 7));
}

static void bind_query(sqlite3_stmt *s, const struct registry_events_query *query, int64_t limit)
{
	sqlite3_bind_int64(s, 1, query->after);
	sqlite3_bind_text(s, 2, query->kind, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 3, query->but, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 4, limit);
}

#define MATCHES "seq > ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR kind <> ?3)"

json_t *registry_events_list(struct registry *r, const struct registry_events_query *query,
			     struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			"SELECT " REGISTRY_EVENT_COLUMNS " FROM events WHERE " MATCHES
			" ORDER BY seq LIMIT ?4",
			err);
	if (!s)
		return NULL;
	bind_query(s, query, query->limit);
	int rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		json_array_append_new(list, registry_read_event(s));
	if (rc == SQLITE_DONE)
		return take_ptr(list);
	registry_fail(r, "read the events", err);
	return NULL;
}

int registry_events_before_last(struct registry *r, const struct registry_events_query *query,
				unsigned count, int64_t *after, struct error *err)
{
	_cleanup_statement_ sqlite3_stmt *s = prepare(
		r, "SELECT seq FROM events WHERE " MATCHES " ORDER BY seq DESC LIMIT 1 OFFSET ?4",
		err);
	if (!s)
		return -1;
	bind_query(s, query, count);
	int rc = sqlite3_step(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return registry_fail(r, "read the events", err);
	*after = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : query->after;
	return 0;
}

// ---- prune --------------------------------------------------------------------------------------

// The highest number that has to go: times rise with numbers, but for a clock that was set back.
static int find_pruned(struct registry *r, const char *oldest, unsigned keep, int64_t *pruned,
		       struct error *err)
{
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			"SELECT max(coalesce((SELECT max(seq) FROM events WHERE time < ?1), 0), "
			"coalesce((SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?2), "
			"0))",
			err);
	if (!s)
		return -1;
	sqlite3_bind_text(s, 1, oldest, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 2, keep);
	if (sqlite3_step(s) != SQLITE_ROW)
		return registry_fail(r, "read the events", err);
	*pruned = sqlite3_column_int64(s, 0);
	return 0;
}

static int delete_until(struct registry *r, const char *sql, int64_t number, struct error *err)
{
	_cleanup_statement_ sqlite3_stmt *s = prepare(r, sql, err);
	if (!s)
		return -1;
	sqlite3_bind_int64(s, 1, number);
	return sqlite3_step(s) == SQLITE_DONE ? 0 : registry_fail(r, "prune the events", err);
}

static int prune(struct registry *r, const char *oldest, unsigned keep, struct error *err)
{
	char text[32];
	int64_t pruned = 0;
	if (find_pruned(r, oldest, keep, &pruned, err) < 0)
		return -1;
	if (!pruned)
		return 0;
	snprintf(text, sizeof(text), "%lld", (long long)pruned);
	if (delete_until(r, "DELETE FROM events WHERE seq <= ?", pruned, err) < 0)
		return -1;
	return registry_meta_put(r, PRUNED_KEY, text, err);
}

int registry_events_prune(struct registry *r, const char *oldest, unsigned keep,
			  unsigned keep_reads, struct error *err)
{
	if (run(r, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	if (prune(r, oldest, keep, err) == 0 &&
	    delete_until(r,
			 "DELETE FROM events WHERE kind = 'audit' AND event <> 'change' AND seq <= "
			 "(SELECT seq FROM events WHERE kind = 'audit' AND event <> 'change' "
			 "ORDER BY seq DESC LIMIT 1 OFFSET ?)",
			 keep_reads, err) == 0 &&
	    run(r, "COMMIT", err) == 0)
		return 0;
	sqlite3_exec(registry_db(r), "ROLLBACK", NULL, NULL, NULL);
	return -1;
}
