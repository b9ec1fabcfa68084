// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/registry.h"

#include "lib/base/cleanup.h"
#include "lib/registry/inner.h"
#include "lib/registry/schema.h"
#include "lib/registry/wal.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum query {
	HOST_PUT,
	HOST_GET,
	HOST_LIST,
	HOST_CORDON,
	PARTITION_PUT,
	PARTITION_DELETE,
	PARTITION_LIST,
	MOVE_ADD,
	MOVE_BEGIN,
	MOVE_END,
	MOVE_GET,
	MOVE_LIST,
	MOVE_LIST_RUNNING,
	MOVE_EVENT_FORGET,
	MOVE_EVENT_ADD,
	MOVE_EVENT_LIST,
	RECORD_ADD,
	TOKEN_FORGET,
	TOKEN_ADD,
	TOKEN_GET,
	TOKEN_USE,
	META_GET,
	META_PUT,
	QUERY_COUNT,
};

#define PARTITION_COLUMNS                                                                       \
	"name, uuid, definition, state, reason, epoch, departed_to, move, started, exit_code, " \
	"exit_signal, revision, pending, came_from, restarts, arrived"

static const char *const queries[QUERY_COUNT] = {
	[HOST_PUT] = "INSERT INTO hosts (name, address, added, seen) VALUES (?1, ?2, ?3, ?3) "
		     "ON CONFLICT (name) DO UPDATE SET address = ?2, seen = ?3",
	[HOST_GET] = "SELECT name, address, revoked, cordoned FROM hosts WHERE name = ?",
	[HOST_LIST] = "SELECT name, address, revoked, cordoned FROM hosts ORDER BY name",
	[HOST_CORDON] = "UPDATE hosts SET cordoned = ?2 WHERE name = ?1",
	[PARTITION_PUT] = "INSERT OR REPLACE INTO partitions (" PARTITION_COLUMNS
			  ", changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[PARTITION_DELETE] = "DELETE FROM partitions WHERE name = ?",
	[PARTITION_LIST] = "SELECT " PARTITION_COLUMNS " FROM partitions ORDER BY name",
	[MOVE_ADD] = "INSERT INTO moves (" REGISTRY_MOVE_COLUMNS
		     ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?, ?)",
	[MOVE_BEGIN] = "UPDATE moves SET state = ?2, epoch = ?3, pid = ?4, pid_start = ?5, "
		       "started = ?6 WHERE id = ?1",
	[MOVE_END] = "UPDATE moves SET state = ?2, ended = ?3, result = ?4, error = ?5 "
		     "WHERE id = ?1",
	[MOVE_GET] = "SELECT " REGISTRY_MOVE_COLUMNS " FROM moves WHERE id = ?",
	[MOVE_LIST] = "SELECT " REGISTRY_MOVE_COLUMNS " FROM moves ORDER BY started DESC LIMIT ?",
	[MOVE_LIST_RUNNING] =
		"SELECT " REGISTRY_MOVE_COLUMNS " FROM moves WHERE state IN ('queued', 'running', "
		"'in-doubt') ORDER BY started DESC LIMIT ?",
	[MOVE_EVENT_FORGET] = "DELETE FROM move_events WHERE move = ?",
	[MOVE_EVENT_ADD] = "INSERT INTO move_events (time, move, event) VALUES (?, ?, ?)",
	[MOVE_EVENT_LIST] = "SELECT event FROM move_events WHERE move = ? ORDER BY seq",
	[RECORD_ADD] = "INSERT INTO records (move, side, type, epoch, time) VALUES (?, ?, ?, ?, ?)",
	[TOKEN_FORGET] = "DELETE FROM tokens WHERE name = ?",
	[TOKEN_ADD] = "INSERT INTO tokens (digest, name, address, expires) VALUES (?, ?, ?, ?)",
	[TOKEN_GET] = "SELECT address FROM tokens WHERE digest = ? AND name = ? AND expires > ?",
	[TOKEN_USE] = "DELETE FROM tokens WHERE digest = ?",
	[META_GET] = "SELECT value FROM meta WHERE key = ?",
	[META_PUT] = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
};

struct registry {
	sqlite3 *db;
	char *path;
	bool lost_log;
	sqlite3_stmt *statements[QUERY_COUNT];
};

static int fail(const struct registry *r, const char *what, struct error *err)
{
	return error_set(err, ERR_REGISTRY, "%s: cannot %s: %s", r->path, what,
			 r->db ? sqlite3_errmsg(r->db) : "no memory");
}

int registry_fail(const struct registry *r, const char *what, struct error *err)
{
	return fail(r, what, err);
}

sqlite3 *registry_db(const struct registry *r)
{
	return r->db;
}

static int exec(struct registry *r, const char *sql, struct error *err)
{
	return sqlite3_exec(r->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(r, sql, err);
}

static void bind_json(sqlite3_stmt *s, int at, const json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	if (text)
		sqlite3_bind_text(s, at, text, -1, free);
	else
		sqlite3_bind_null(s, at);
}

// A statement with its parameters: s text, i int64, j JSON; NULL texts and JSON are null.
static sqlite3_stmt *prepare(struct registry *r, enum query query, const char *types, ...)
{
	sqlite3_stmt *s = r->statements[query];
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	va_list args;
	va_start(args, types);
	for (int i = 0; types[i]; i++) {
		if (types[i] == 's')
			sqlite3_bind_text(s, i + 1, va_arg(args, const char *), -1,
					  SQLITE_TRANSIENT);
		else if (types[i] == 'i')
			sqlite3_bind_int64(s, i + 1, va_arg(args, int64_t));
		else
			bind_json(s, i + 1, va_arg(args, const json_t *));
	}
	va_end(args);
	return s;
}

// Ends a statement that gives no rows.
static int finish(struct registry *r, sqlite3_stmt *s, const char *what, struct error *err)
{
	int rc = sqlite3_step(s);
	int failed = rc == SQLITE_DONE ? 0 : fail(r, what, err);
	sqlite3_reset(s);
	return failed;
}

// 1: a row is there; 0: no more; -1. The statement is reset unless there is a row.
static int next(struct registry *r, sqlite3_stmt *s, const char *what, struct error *err)
{
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		return 1;
	int result = rc == SQLITE_DONE ? 0 : fail(r, what, err);
	sqlite3_reset(s);
	return result;
}

static void text_of(sqlite3_stmt *s, int column, char *to, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	snprintf(to, size, "%s", text ? text : "");
}

static json_t *json_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	return text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
}

static char *now(char text[CLOCK_TEXT_MAX])
{
	return clock_rfc3339(text);
}

// ---- open ---------------------------------------------------------------------------------------

static int check(struct registry *r, struct error *err)
{
	sqlite3_stmt *s;
	if (sqlite3_prepare_v2(r->db, "PRAGMA quick_check(1)", -1, &s, NULL) != SQLITE_OK)
		return fail(r, "read it", err);
	int rc = sqlite3_step(s);
	char verdict[128] = "unreadable";
	if (rc == SQLITE_ROW)
		text_of(s, 0, verdict, sizeof(verdict));
	sqlite3_finalize(s);
	if (strcmp(verdict, "ok") != 0)
		return error_set(err, ERR_REGISTRY, "%s is damaged: %s", r->path, verdict);
	return 0;
}

static int set_up(struct registry *r, struct error *err)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	mode_t mask = umask(0077);
	r->lost_log = wal_is_damaged(r->path);
	int rc = sqlite3_open_v2(r->path, &r->db, flags, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(r->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
	umask(mask);
	if (rc != SQLITE_OK)
		return fail(r, "open it", err);
	sqlite3_busy_timeout(r->db, 2000);
	if (exec(r, "PRAGMA synchronous = FULL", err) < 0 || check(r, err) < 0)
		return -1;
	if (schema_migrate(r->db, r->path, schema_steps, schema_version, err) < 0)
		return -1;
	for (unsigned i = 0; i < QUERY_COUNT; i++)
		if (sqlite3_prepare_v3(r->db, queries[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &r->statements[i], NULL) != SQLITE_OK)
			return fail(r, "prepare a statement", err);
	return 0;
}

struct registry *registry_open(const char *path, struct error *err)
{
	struct registry *r = calloc(1, sizeof(*r));
	if (!r || !(r->path = strdup(path))) {
		free(r);
		error_set(err, ERR_NOMEM, "no memory for the registry");
		return NULL;
	}
	if (set_up(r, err) == 0)
		return r;
	registry_close(r);
	return NULL;
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < QUERY_COUNT; i++)
		sqlite3_finalize(r->statements[i]);
	sqlite3_close(r->db);
	free(r->path);
	free(r);
}

bool registry_lost_log(const struct registry *r)
{
	return r->lost_log;
}

// Makes room for one more element; NULL when there is no memory.
static void *grow(void *array, size_t count, size_t size)
{
	return count & (count - 1) ? array : realloc(array, (count ? count * 2 : 1) * size);
}

// ---- hosts --------------------------------------------------------------------------------------

int registry_host_put(struct registry *r, const char *name, const char *address, struct error *err)
{
	char time[CLOCK_TEXT_MAX];
	return finish(r, prepare(r, HOST_PUT, "sss", name, address, now(time)), "write a host",
		      err);
}

static void read_host(sqlite3_stmt *s, struct registry_host *host)
{
	text_of(s, 0, host->name, sizeof(host->name));
	text_of(s, 1, host->address, sizeof(host->address));
	host->revoked = sqlite3_column_int(s, 2);
	host->cordoned = sqlite3_column_type(s, 3) != SQLITE_NULL;
	text_of(s, 3, host->cordon_reason, sizeof(host->cordon_reason));
}

int registry_host_get(struct registry *r, const char *name, struct registry_host *host,
		      struct error *err)
{
	sqlite3_stmt *s = prepare(r, HOST_GET, "s", name);
	int found = next(r, s, "read a host", err);
	if (found > 0)
		read_host(s, host);
	sqlite3_reset(s);
	return found;
}

int registry_hosts(struct registry *r, struct registry_host **hosts, size_t *count,
		   struct error *err)
{
	_cleanup_free_ struct registry_host *list = NULL;
	size_t n = 0;
	sqlite3_stmt *s = prepare(r, HOST_LIST, "");
	int more;
	while ((more = next(r, s, "read the hosts", err)) > 0) {
		struct registry_host *bigger = grow(list, n, sizeof(*list));
		if (!bigger) {
			sqlite3_reset(s);
			return error_set(err, ERR_NOMEM, "no memory for the hosts");
		}
		list = bigger;
		read_host(s, &list[n++]);
	}
	if (more < 0)
		return -1;
	*hosts = take_ptr(list);
	*count = n;
	return 0;
}

int registry_host_cordon(struct registry *r, const char *name, const char *reason,
			 struct error *err)
{
	return finish(r, prepare(r, HOST_CORDON, "ss", name, reason), "write a host", err);
}

// ---- partitions ---------------------------------------------------------------------------------

int registry_partition_put(struct registry *r, const struct registry_partition *p,
			   struct error *err)
{
	char time[CLOCK_TEXT_MAX];
	_cleanup_json_ json_t *pending = p->pending ? json_incref(p->pending) : json_object();
	sqlite3_stmt *s = prepare(
		r, PARTITION_PUT, "ssjssisssiiijsiis", p->name, p->uuid, p->definition,
		state_name(p->state), p->reason, (int64_t)p->epoch, p->departed_to, p->move,
		p->started, (int64_t)p->exit_code, (int64_t)p->exit_signal, (int64_t)p->revision,
		pending, p->came_from, (int64_t)p->restarts, (int64_t)p->arrived, now(time));
	return finish(r, s, "write a partition", err);
}

int registry_partition_rename(struct registry *r, const char *from,
			      const struct registry_partition *p, struct error *err)
{
	if (exec(r, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	if (registry_partition_delete(r, from, err) == 0 &&
	    registry_partition_put(r, p, err) == 0 && exec(r, "COMMIT", err) == 0)
		return 0;
	sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

int registry_partition_delete(struct registry *r, const char *name, struct error *err)
{
	return finish(r, prepare(r, PARTITION_DELETE, "s", name), "delete a partition", err);
}

void registry_partition_clear(struct registry_partition *p)
{
	json_decref(p->definition);
	json_decref(p->pending);
	p->definition = p->pending = NULL;
}

static int read_partition(struct registry *r, sqlite3_stmt *s, struct registry_partition *p,
			  struct error *err)
{
	char state[32];
	*p = (struct registry_partition){0};
	text_of(s, 0, p->name, sizeof(p->name));
	text_of(s, 1, p->uuid, sizeof(p->uuid));
	p->definition = json_of(s, 2);
	text_of(s, 3, state, sizeof(state));
	text_of(s, 4, p->reason, sizeof(p->reason));
	p->epoch = (uint64_t)sqlite3_column_int64(s, 5);
	text_of(s, 6, p->departed_to, sizeof(p->departed_to));
	text_of(s, 7, p->move, sizeof(p->move));
	text_of(s, 8, p->started, sizeof(p->started));
	p->exit_code = sqlite3_column_int(s, 9);
	p->exit_signal = sqlite3_column_int(s, 10);
	p->revision = (uint64_t)sqlite3_column_int64(s, 11);
	p->pending = json_of(s, 12);
	text_of(s, 13, p->came_from, sizeof(p->came_from));
	p->restarts = (unsigned)sqlite3_column_int64(s, 14);
	p->arrived = (uint64_t)sqlite3_column_int64(s, 15);
	if (p->definition && state_of_name(state, &p->state) == 0)
		return 0;
	registry_partition_clear(p);
	return error_set(err, ERR_REGISTRY, "%s: the record of partition %s is damaged", r->path,
			 p->name);
}

int registry_partitions(struct registry *r, int (*each)(struct registry_partition *p, void *arg),
			void *arg, struct error *err)
{
	sqlite3_stmt *s = prepare(r, PARTITION_LIST, "");
	int more;
	while ((more = next(r, s, "read the partitions", err)) > 0) {
		struct registry_partition p;
		int failed = read_partition(r, s, &p, err);
		if (!failed) {
			failed = each(&p, arg);
			registry_partition_clear(&p);
		}
		if (failed) {
			sqlite3_reset(s);
			return -1;
		}
	}
	return more;
}

// ---- moves --------------------------------------------------------------------------------------

int registry_move_add(struct registry *r, const struct registry_move *m, struct error *err)
{
	sqlite3_stmt *s = prepare(r, MOVE_ADD, "ssssisiisjj", m->id, m->partition, m->source,
				  m->target, (int64_t)m->epoch, m->state, (int64_t)m->pid,
				  (int64_t)m->pid_start, m->started, m->asked, m->options);
	return finish(r, s, "write a move", err);
}

int registry_move_begin(struct registry *r, const struct registry_move *m, struct error *err)
{
	sqlite3_stmt *s = prepare(r, MOVE_BEGIN, "ssiiis", m->id, m->state, (int64_t)m->epoch,
				  (int64_t)m->pid, (int64_t)m->pid_start, m->started);
	return finish(r, s, "write the beginning of a move", err);
}

static int add_events(struct registry *r, const char *move, const json_t *events, struct error *err)
{
	size_t i;
	json_t *event;
	json_array_foreach (events, i, event) {
		char time[CLOCK_TEXT_MAX];
		const char *when = json_string_value(json_object_get(event, "time"));
		sqlite3_stmt *s =
			prepare(r, MOVE_EVENT_ADD, "ssj", when ? when : now(time), move, event);
		if (finish(r, s, "write an event", err) < 0)
			return -1;
	}
	return 0;
}

int registry_move_end(struct registry *r, const struct registry_move *m, const json_t *events,
		      struct error *err)
{
	if (exec(r, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	sqlite3_stmt *s =
		prepare(r, MOVE_END, "sssjj", m->id, m->state, m->ended, m->result, m->error);
	if (finish(r, s, "write the end of a move", err) == 0 &&
	    finish(r, prepare(r, MOVE_EVENT_FORGET, "s", m->id), "replace events", err) == 0 &&
	    add_events(r, m->id, events, err) == 0 && exec(r, "COMMIT", err) == 0)
		return 0;
	sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

void registry_read_move(sqlite3_stmt *s, struct registry_move *m)
{
	text_of(s, 0, m->id, sizeof(m->id));
	text_of(s, 1, m->partition, sizeof(m->partition));
	text_of(s, 2, m->source, sizeof(m->source));
	text_of(s, 3, m->target, sizeof(m->target));
	m->epoch = (uint64_t)sqlite3_column_int64(s, 4);
	text_of(s, 5, m->state, sizeof(m->state));
	m->pid = (pid_t)sqlite3_column_int(s, 6);
	m->pid_start = (uint64_t)sqlite3_column_int64(s, 7);
	text_of(s, 8, m->started, sizeof(m->started));
	text_of(s, 9, m->ended, sizeof(m->ended));
	m->result = json_of(s, 10);
	m->error = json_of(s, 11);
	m->asked = json_of(s, 12);
	m->options = json_of(s, 13);
}

int registry_move_get(struct registry *r, const char *id, struct registry_move *m,
		      struct error *err)
{
	sqlite3_stmt *s = prepare(r, MOVE_GET, "s", id);
	int found = next(r, s, "read a move", err);
	if (found > 0)
		registry_read_move(s, m);
	sqlite3_reset(s);
	return found;
}

void registry_move_clear(struct registry_move *m)
{
	json_decref(m->result);
	json_decref(m->error);
	json_decref(m->asked);
	json_decref(m->options);
	m->result = m->error = m->asked = m->options = NULL;
}

void registry_moves_free(struct registry_move *moves, size_t count)
{
	for (size_t i = 0; i < count; i++)
		registry_move_clear(&moves[i]);
	free(moves);
}

int registry_collect_moves(struct registry *r, sqlite3_stmt *s, struct registry_move **moves,
			   size_t *count, struct error *err)
{
	struct registry_move *list = NULL;
	size_t n = 0;
	int more;
	while ((more = next(r, s, "read the moves", err)) > 0) {
		struct registry_move *bigger = grow(list, n, sizeof(*list));
		if (!bigger) {
			sqlite3_reset(s);
			more = error_set(err, ERR_NOMEM, "no memory for the moves");
			break;
		}
		list = bigger;
		registry_read_move(s, &list[n++]);
	}
	if (more < 0) {
		registry_moves_free(list, n);
		return -1;
	}
	*moves = list;
	*count = n;
	return 0;
}

int registry_moves(struct registry *r, bool open, unsigned limit, struct registry_move **moves,
		   size_t *count, struct error *err)
{
	sqlite3_stmt *s = prepare(r, open ? MOVE_LIST_RUNNING : MOVE_LIST, "i", (int64_t)limit);
	return registry_collect_moves(r, s, moves, count, err);
}

json_t *registry_move_events(struct registry *r, const char *id, struct error *err)
{
	_cleanup_json_ json_t *events = json_array();
	sqlite3_stmt *s = prepare(r, MOVE_EVENT_LIST, "s", id);
	int more;
	while ((more = next(r, s, "read the events", err)) > 0) {
		json_t *event = json_of(s, 0);
		if (event)
			json_array_append_new(events, event);
	}
	return more < 0 ? NULL : take_ptr(events);
}

int registry_record_add(struct registry *r, const char *move, const char *side, const char *type,
			uint64_t epoch, struct error *err)
{
	char time[CLOCK_TEXT_MAX];
	sqlite3_stmt *s =
		prepare(r, RECORD_ADD, "sssis", move, side, type, (int64_t)epoch, now(time));
	return finish(r, s, "write a record", err);
}

// ---- tokens -------------------------------------------------------------------------------------

int registry_token_add(struct registry *r, const char *digest, const char *name,
		       const char *address, int64_t expires, struct error *err)
{
	if (exec(r, "BEGIN IMMEDIATE", err) < 0)
		return -1;
	if (finish(r, prepare(r, TOKEN_FORGET, "s", name), "delete a token", err) == 0 &&
	    finish(r, prepare(r, TOKEN_ADD, "sssi", digest, name, address, expires),
		   "write a token", err) == 0 &&
	    exec(r, "COMMIT", err) == 0)
		return 0;
	sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

int registry_token_take(struct registry *r, const char *digest, const char *name, int64_t when,
			char address[REGISTRY_ADDRESS_MAX], struct error *err)
{
	sqlite3_stmt *s = prepare(r, TOKEN_GET, "ssi", digest, name, when);
	int found = next(r, s, "read a token", err);
	if (found > 0)
		text_of(s, 0, address, REGISTRY_ADDRESS_MAX);
	sqlite3_reset(s);
	if (found <= 0)
		return found;
	if (finish(r, prepare(r, TOKEN_USE, "s", digest), "use a token", err) < 0)
		return -1;
	return 1;
}

// ---- meta ---------------------------------------------------------------------------------------

int registry_meta_get(struct registry *r, const char *key, char *value, size_t size,
		      struct error *err)
{
	sqlite3_stmt *s = prepare(r, META_GET, "s", key);
	int found = next(r, s, "read a value", err);
	if (found > 0)
		text_of(s, 0, value, size);
	sqlite3_reset(s);
	return found;
}

int registry_meta_put(struct registry *r, const char *key, const char *value, struct error *err)
{
	return finish(r, prepare(r, META_PUT, "ss", key, value), "write a value", err);
}
