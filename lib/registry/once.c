// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/once.h"

#include "lib/base/cleanup.h"
#include "lib/registry/inner.h"

#include <time.h>

static void cleanup_statement(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}

#define _cleanup_statement_ __attribute__((cleanup(cleanup_statement)))

static sqlite3_stmt *prepare(struct registry *r, const char *sql, const char *caller,
			     const char *key, struct error *err)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(registry_db(r), sql, -1, &s, NULL) != SQLITE_OK) {
		registry_fail(r, "read the requests", err);
		return NULL;
	}
	sqlite3_bind_text(s, 1, caller, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 2, key, -1, SQLITE_TRANSIENT);
	return s;
}

static int finish(struct registry *r, sqlite3_stmt *s, struct error *err)
{
	return sqlite3_step(s) == SQLITE_DONE ? 0 : registry_fail(r, "write a request", err);
}

int registry_once_get(struct registry *r, const char *caller, const char *key,
		      struct registry_once *once, struct error *err)
{
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			"SELECT digest, status, answer FROM idempotency "
			"WHERE caller = ? AND key = ? AND time > ?",
			caller, key, err);
	if (!s)
		return -1;
	sqlite3_bind_int64(s, 3, time(NULL) - REGISTRY_ONCE_SECONDS);
	int rc = sqlite3_step(s);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return registry_fail(r, "read a request", err);
	snprintf(once->digest, sizeof(once->digest), "%s", (const char *)sqlite3_column_text(s, 0));
	once->status = sqlite3_column_int(s, 1);
	once->answer = json_loads((const char *)sqlite3_column_text(s, 2), JSON_DECODE_ANY, NULL);
	return 1;
}

static int forget_old(struct registry *r, struct error *err)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "DELETE FROM idempotency WHERE time <= %lld",
		 (long long)time(NULL) - REGISTRY_ONCE_SECONDS);
	if (sqlite3_exec(registry_db(r), sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return registry_fail(r, "forget old requests", err);
}

int registry_once_begin(struct registry *r, const char *caller, const char *key, const char *digest,
			struct error *err)
{
	if (forget_old(r, err) < 0)
		return -1;
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			"INSERT INTO idempotency (caller, key, digest, status, answer, time) "
			"VALUES (?, ?, ?, 0, 'null', ?)",
			caller, key, err);
	if (!s)
		return -1;
	sqlite3_bind_text(s, 3, digest, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 4, time(NULL));
	return finish(r, s, err);
}

int registry_once_end(struct registry *r, const char *caller, const char *key, int status,
		      const json_t *answer, struct error *err)
{
	_cleanup_free_ char *text =
		answer ? json_dumps(answer, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	_cleanup_statement_ sqlite3_stmt *s =
		prepare(r,
			status ? "UPDATE idempotency SET status = ?3, answer = ?4 "
				 "WHERE caller = ?1 AND key = ?2"
			       : "DELETE FROM idempotency WHERE caller = ?1 AND key = ?2",
			caller, key, err);
	if (!s)
		return -1;
	if (status) {
		sqlite3_bind_int(s, 3, status);
		sqlite3_bind_text(s, 4, text ? text : "null", -1, SQLITE_TRANSIENT);
	}
	return finish(r, s, err);
}
