// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/schema.h"

#include "lib/base/cleanup.h"

#include <sys/stat.h>

static const char first[] =
	"CREATE TABLE hosts ("
	"	name TEXT PRIMARY KEY,"
	"	address TEXT NOT NULL,"
	"	revoked INTEGER NOT NULL DEFAULT 0,"
	"	added TEXT NOT NULL,"
	"	seen TEXT"
	") STRICT;"
	"CREATE TABLE partitions ("
	"	name TEXT PRIMARY KEY,"
	"	uuid TEXT NOT NULL,"
	"	definition TEXT NOT NULL," // JSON
	"	state TEXT NOT NULL,"
	"	reason TEXT NOT NULL,"
	"	epoch INTEGER NOT NULL,"
	"	departed_to TEXT NOT NULL,"
	"	move TEXT NOT NULL," // the one that runs, or ''
	"	started TEXT NOT NULL,"
	"	exit_code INTEGER,"
	"	exit_signal INTEGER,"
	"	changed TEXT NOT NULL"
	") STRICT;"
	"CREATE TABLE moves ("
	"	id TEXT PRIMARY KEY,"
	"	partition TEXT NOT NULL,"
	"	source TEXT NOT NULL,"
	"	target TEXT NOT NULL,"
	"	epoch INTEGER NOT NULL,"
	"	state TEXT NOT NULL,"
	"	pid INTEGER NOT NULL," // of departure or arrival, with its start time: who it is
	"	pid_start INTEGER NOT NULL,"
	"	started TEXT NOT NULL,"
	"	ended TEXT,"
	"	result TEXT," // JSON
	"	error TEXT"   // JSON
	") STRICT;"
	"CREATE INDEX moves_by_start ON moves (started);"
	"CREATE TABLE records (" // a view of the decision files, never the decision
	"	move TEXT NOT NULL,"
	"	side TEXT NOT NULL,"
	"	type TEXT NOT NULL,"
	"	epoch INTEGER NOT NULL,"
	"	time TEXT NOT NULL"
	") STRICT;"
	"CREATE TABLE events ("
	"	seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"	time TEXT NOT NULL,"
	"	move TEXT NOT NULL,"
	"	event TEXT NOT NULL" // JSON
	") STRICT;"
	"CREATE INDEX events_by_move ON events (move, seq);"
	"CREATE TABLE tokens ("
	"	digest TEXT PRIMARY KEY," // SHA-256 of the secret
	"	name TEXT NOT NULL,"
	"	address TEXT NOT NULL,"
	"	expires INTEGER NOT NULL" // seconds since 1970
	") STRICT;";

static const char second[] =
	// What changed of a definition, and what of that waits for the next start (JSON object:
	// key, value).
	"ALTER TABLE partitions ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;"
	"ALTER TABLE partitions ADD COLUMN pending TEXT NOT NULL DEFAULT '[]';"
	"ALTER TABLE partitions ADD COLUMN came_from TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE partitions ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE hosts ADD COLUMN cordoned TEXT;" // why, or null
	// The events of one move are its own; `events` is what happened on this host.
	"DROP INDEX events_by_move;"
	"ALTER TABLE events RENAME TO move_events;"
	"CREATE INDEX move_events_by_move ON move_events (move, seq);"
	"CREATE TABLE events ("
	"	seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	"	time TEXT NOT NULL,"
	"	kind TEXT NOT NULL," // partition, move, host, cluster, audit
	"	event TEXT NOT NULL,"
	"	partition TEXT,"
	"	move TEXT,"
	"	data TEXT" // JSON
	") STRICT;"
	"CREATE INDEX events_by_time ON events (time);"
	"CREATE TABLE idempotency ("
	"	caller TEXT NOT NULL,"
	"	key TEXT NOT NULL,"
	"	digest TEXT NOT NULL," // SHA-256 of the request
	"	status INTEGER NOT NULL,"
	"	answer TEXT NOT NULL,"  // JSON
	"	time INTEGER NOT NULL," // seconds since 1970
	"	PRIMARY KEY (caller, key)"
	") STRICT;"
	"CREATE TABLE meta ("
	"	key TEXT PRIMARY KEY,"
	"	value TEXT NOT NULL"
	") STRICT;";

// Certificates are refused by their keys, so that a host may come back under its name with another.
static const char keys[] =
	"ALTER TABLE hosts ADD COLUMN key TEXT NOT NULL DEFAULT '';" // last seen, SHA-256
	"CREATE TABLE revoked ("
	"	key TEXT PRIMARY KEY,"
	"	host TEXT NOT NULL,"
	"	reason TEXT NOT NULL,"
	"	time TEXT NOT NULL"
	") STRICT;";

static const char asked[] =
	"ALTER TABLE moves ADD COLUMN asked TEXT;" // JSON: by whom, and when; null: not known here
	"ALTER TABLE moves ADD COLUMN options TEXT;" // JSON: how, for one that is still to begin
	"ALTER TABLE events ADD COLUMN asked TEXT;"  // JSON: who asked for what led to it
	"CREATE INDEX moves_by_partition ON moves (partition, started);"
	"CREATE INDEX events_by_partition ON events (partition, seq);";

// What the partitions of the other hosts are, as those said last: for `wparctl adopt`.
static const char known[] =
	"CREATE TABLE known ("
	"	host TEXT NOT NULL,"
	"	uuid TEXT NOT NULL,"
	"	name TEXT NOT NULL,"
	"	epoch INTEGER NOT NULL,"
	"	runs INTEGER NOT NULL,"
	"	definition TEXT NOT NULL," // JSON
	"	seen TEXT NOT NULL,"
	"	PRIMARY KEY (host, uuid)"
	") STRICT;"
	"ALTER TABLE partitions ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;"; // with that epoch

const char *const schema_steps[] = {first, second, keys, asked, known};
const unsigned schema_version = ARRAY_SIZE(schema_steps);

static int fail(sqlite3 *db, const char *path, const char *what, struct error *err)
{
	return error_set(err, ERR_REGISTRY, "%s: cannot %s: %s", path, what, sqlite3_errmsg(db));
}

static int version_of(sqlite3 *db, const char *path, unsigned *version, struct error *err)
{
	sqlite3_stmt *s;
	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) != SQLITE_OK)
		return fail(db, path, "read the version", err);
	int rc = sqlite3_step(s);
	*version = rc == SQLITE_ROW ? (unsigned)sqlite3_column_int(s, 0) : 0;
	sqlite3_finalize(s);
	return rc == SQLITE_ROW ? 0 : fail(db, path, "read the version", err);
}

static int copy_aside(sqlite3 *db, const char *path, unsigned version, struct error *err)
{
	_cleanup_free_ char *copy = NULL;
	if (asprintf(&copy, "%s.v%u", path, version) < 0) {
		copy = NULL;
		return error_set(err, ERR_NOMEM, "no memory for a path");
	}
	unlink(copy); // of a migration that did not get to its end
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", copy);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_free(sql);
	if (rc != SQLITE_OK || chmod(copy, 0600) < 0)
		return fail(db, path, "copy it aside before the migration", err);
	return 0;
}

static int run_steps(sqlite3 *db, const char *const *steps, unsigned from, unsigned to)
{
	char pragma[64];
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %u", to);
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return -1;
	for (unsigned i = from; i < to; i++)
		if (sqlite3_exec(db, steps[i], NULL, NULL, NULL) != SQLITE_OK)
			return -1;
	if (sqlite3_exec(db, pragma, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		return -1;
	return 0;
}

int schema_migrate(sqlite3 *db, const char *path, const char *const *steps, unsigned version,
		   struct error *err)
{
	unsigned now;
	if (version_of(db, path, &now, err) < 0)
		return -1;
	if (now == version)
		return 0;
	if (now > version)
		return error_set(err, ERR_REGISTRY,
				 "%s has version %u, made by a newer relocd; this one knows %u",
				 path, now, version);
	if (now && copy_aside(db, path, now, err) < 0)
		return -1;
	if (run_steps(db, steps, now, version) < 0) {
		fail(db, path, "migrate it", err);
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		return -1;
	}
	return 0;
}
