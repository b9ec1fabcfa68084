// SPDX-License-Identifier: Apache-2.0
// Keys of hosts, and those that have been revoked.
#include "lib/base/cleanup.h"
#include "lib/registry/inner.h"

#include <string.h>

// Prepares and binds texts: `count` of them. NULL: nothing was made.
static sqlite3_stmt *ask(struct registry *r, const char *sql, const char *const *texts,
			 size_t count)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(registry_db(r), sql, -1, &s, NULL) != SQLITE_OK)
		return NULL;
	for (size_t i = 0; i < count; i++)
		sqlite3_bind_text(s, (int)i + 1, texts[i], -1, SQLITE_STATIC);
	return s;
}

static int change(struct registry *r, const char *sql, const char *const *texts, size_t count,
		  struct error *err)
{
	sqlite3_stmt *s = ask(r, sql, texts, count);
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
	sqlite3_finalize(s);
	return rc == SQLITE_DONE ? 0 : registry_fail(r, "write a host", err);
}

int registry_host_revoke(struct registry *r, const char *name, bool revoked, struct error *err)
{
	const char *texts[] = {name};
	return change(r,
		      revoked ? "UPDATE hosts SET revoked = 1 WHERE name = ?"
			      : "UPDATE hosts SET revoked = 0 WHERE name = ?",
		      texts, 1, err);
}

int registry_host_delete(struct registry *r, const char *name, struct error *err)
{
	const char *texts[] = {name};
	return change(r, "DELETE FROM hosts WHERE name = ?", texts, 1, err);
}

int registry_host_set_key(struct registry *r, const char *name, const char *key, struct error *err)
{
	const char *texts[] = {name, key};
	return change(r, "UPDATE hosts SET key = ?2 WHERE name = ?1 AND key <> ?2", texts, 2, err);
}

int registry_host_key(struct registry *r, const char *name, char key[REGISTRY_KEY_MAX],
		      struct error *err)
{
	const char *texts[] = {name};
	sqlite3_stmt *s = ask(r, "SELECT key FROM hosts WHERE name = ?", texts, 1);
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
	key[0] = 0;
	if (rc == SQLITE_ROW)
		snprintf(key, REGISTRY_KEY_MAX, "%s", (const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return registry_fail(r, "read a host", err);
	return rc == SQLITE_ROW;
}

int registry_revoked_add(struct registry *r, const char *key, const char *host, const char *reason,
			 struct error *err)
{
	char time[CLOCK_TEXT_MAX];
	const char *texts[] = {key, host, reason, clock_rfc3339(time)};
	if (change(r, "INSERT OR IGNORE INTO revoked (key, host, reason, time) VALUES (?, ?, ?, ?)",
		   texts, 4, err) < 0)
		return -1;
	return sqlite3_changes(registry_db(r)) > 0;
}

int registry_revoked(struct registry *r, const char *key, struct error *err)
{
	const char *texts[] = {key};
	sqlite3_stmt *s = ask(r, "SELECT 1 FROM revoked WHERE key = ?", texts, 1);
	int rc = s ? sqlite3_step(s) : SQLITE_ERROR;
	sqlite3_finalize(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return registry_fail(r, "read the revoked keys", err);
	return rc == SQLITE_ROW;
}

json_t *registry_revoked_list(struct registry *r, unsigned limit, struct error *err)
{
	sqlite3_stmt *s =
		ask(r, "SELECT host, key FROM revoked ORDER BY time DESC LIMIT ?", NULL, 0);
	int rc = SQLITE_ERROR;
	json_t *list = json_array();
	if (s && sqlite3_bind_int64(s, 1, limit) == SQLITE_OK)
		while ((rc = sqlite3_step(s)) == SQLITE_ROW)
			json_array_append_new(list, json_pack("[s, s]", sqlite3_column_text(s, 0),
							      sqlite3_column_text(s, 1)));
	sqlite3_finalize(s);
	if (rc == SQLITE_DONE)
		return list;
	json_decref(list);
	registry_fail(r, "read the revoked keys", err);
	return NULL;
}
