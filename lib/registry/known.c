// SPDX-License-Identifier: Apache-2.0
// What the partitions of the other hosts are.
#include "lib/base/cleanup.h"
#include "lib/registry/inner.h"

static const char add_sql[] =
	"INSERT OR REPLACE INTO known (host, uuid, name, epoch, runs, definition, seen)"
	" VALUES (?, ?, ?, ?, ?, ?, ?)";
static const char list_sql[] = "SELECT host, uuid, name, epoch, runs, definition, seen FROM known"
			       " WHERE (?1 IS NULL OR host = ?1) AND (?2 IS NULL OR name = ?2)"
			       " ORDER BY epoch DESC, name";

static sqlite3_stmt *prepare(struct registry *r, const char *sql)
{
	sqlite3_stmt *s = NULL;
	return sqlite3_prepare_v2(registry_db(r), sql, -1, &s, NULL) == SQLITE_OK ? s : NULL;
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

static const char *text_in(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int run(sqlite3_stmt *s)
{
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? 0 : -1;
}

static int clear(struct registry *r, const char *host)
{
	sqlite3_stmt *s = prepare(r, "DELETE FROM known WHERE host = ?");
	if (s)
		bind_text(s, 1, host);
	return run(s);
}

static int add(struct registry *r, const char *host, const json_t *one)
{
	char time[CLOCK_TEXT_MAX];
	_cleanup_free_ char *definition =
		json_dumps(json_object_get(one, "definition"), JSON_COMPACT);
	sqlite3_stmt *s = definition ? prepare(r, add_sql) : NULL;
	if (s) {
		bind_text(s, 1, host);
		bind_text(s, 2, text_in(one, "uuid"));
		bind_text(s, 3, text_in(one, "name"));
		sqlite3_bind_int64(s, 4, json_integer_value(json_object_get(one, "epoch")));
		sqlite3_bind_int(s, 5, json_is_true(json_object_get(one, "runs")));
		bind_text(s, 6, definition);
		bind_text(s, 7, clock_rfc3339(time));
	}
	return run(s);
}

static int replace(struct registry *r, const char *host, const json_t *list)
{
	size_t i;
	json_t *one;
	if (clear(r, host) < 0)
		return -1;
	json_array_foreach (list, i, one)
		if (add(r, host, one) < 0)
			return -1;
	return 0;
}

int registry_known_replace(struct registry *r, const char *host, const json_t *list,
			   struct error *err)
{
	sqlite3 *db = registry_db(r);
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return registry_fail(r, "write what other hosts have", err);
	if (replace(r, host, list) == 0 &&
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	registry_fail(r, "write what other hosts have", err);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

static json_t *read_one(sqlite3_stmt *s)
{
	json_t *definition = json_loads((const char *)sqlite3_column_text(s, 5), 0, NULL);
	return json_pack("{s:s, s:s, s:s, s:I, s:b, s:o, s:s}", "host", sqlite3_column_text(s, 0),
			 "uuid", sqlite3_column_text(s, 1), "name", sqlite3_column_text(s, 2),
			 "epoch", (json_int_t)sqlite3_column_int64(s, 3), "runs",
			 sqlite3_column_int(s, 4), "definition", definition, "seen",
			 sqlite3_column_text(s, 6));
}

json_t *registry_known(struct registry *r, const char *host, const char *name, struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	sqlite3_stmt *s = prepare(r, list_sql);
	int rc = SQLITE_ERROR;
	if (s) {
		bind_text(s, 1, host);
		bind_text(s, 2, name);
	}
	while (s && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		json_t *one = read_one(s); // NULL: its definition is damaged
		if (one)
			json_array_append_new(list, one);
	}
	sqlite3_finalize(s);
	if (rc == SQLITE_DONE)
		return take_ptr(list);
	registry_fail(r, "read what other hosts have", err);
	return NULL;
}
