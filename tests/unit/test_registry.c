// SPDX-License-Identifier: Apache-2.0
// The registry: what is written is there after reopening; migrations; damage; one-time tokens.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/registry/history.h"
#include "lib/registry/registry.h"
#include "lib/registry/schema.h"
#include "lib/registry/wal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct place {
	char folder[64];
	char path[96];
	struct registry *r;
	struct error err;
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	strcpy(p->folder, "/tmp/test_registry.XXXXXX");
	if (!mkdtemp(p->folder))
		return -1;
	snprintf(p->path, sizeof(p->path), "%s/registry.db", p->folder);
	p->r = registry_open(p->path, &p->err);
	*state = p;
	return p->r ? 0 : -1;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	registry_close(p->r);
	fdio_remove_tree(AT_FDCWD, p->folder, NULL);
	free(p);
	return 0;
}

static void reopen(struct place *p)
{
	registry_close(p->r);
	p->r = registry_open(p->path, &p->err);
	assert_non_null(p->r);
}

static void file_is_private(void **state)
{
	struct place *p = *state;
	struct stat st;
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void hosts(void **state)
{
	struct place *p = *state;
	struct registry_host host, *list;
	size_t count;
	assert_int_equal(registry_host_get(p->r, "hostB", &host, NULL), 0);
	assert_int_equal(registry_host_put(p->r, "hostB", "10.0.0.2:7470", NULL), 0);
	assert_int_equal(registry_host_put(p->r, "hostA", "10.0.0.1:7470", NULL), 0);
	assert_int_equal(registry_host_put(p->r, "hostB", "10.0.0.3:7470", NULL), 0);
	reopen(p);
	assert_int_equal(registry_host_get(p->r, "hostB", &host, NULL), 1);
	assert_string_equal(host.address, "10.0.0.3:7470");
	assert_false(host.revoked);
	assert_false(host.cordoned);
	assert_int_equal(registry_host_cordon(p->r, "hostB", "new disks", NULL), 0);
	assert_int_equal(registry_host_put(p->r, "hostB", "10.0.0.3:7470", NULL), 0);
	assert_int_equal(registry_host_get(p->r, "hostB", &host, NULL), 1);
	assert_true(host.cordoned);
	assert_string_equal(host.cordon_reason, "new disks");
	assert_int_equal(registry_host_cordon(p->r, "hostB", NULL, NULL), 0);
	assert_int_equal(registry_host_get(p->r, "hostB", &host, NULL), 1);
	assert_false(host.cordoned);
	assert_int_equal(registry_hosts(p->r, &list, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].name, "hostA");
	assert_string_equal(list[1].name, "hostB");
	free(list);
}

static int keep(struct registry_partition *p, void *arg)
{
	struct registry_partition *to = arg;
	registry_partition_clear(to);
	*to = *p;
	p->definition = p->pending = NULL;
	return 0;
}

static void partitions(void **state)
{
	struct place *p = *state;
	struct registry_partition row = {.name = "redis1",
					 .uuid = "u-1",
					 .definition = json_pack("{s:s}", "name", "redis1"),
					 .state = STATE_IN_DOUBT,
					 .reason = "peer lost",
					 .epoch = 7,
					 .move = "m-1",
					 .exit_code = -1,
					 .exit_signal = 9,
					 .revision = 3,
					 .pending = json_pack("[s]", "hostname"),
					 .came_from = "hostB",
					 .restarts = 2,
					 .arrived = 3};
	struct registry_partition found = {0};
	assert_int_equal(registry_partition_put(p->r, &row, NULL), 0);
	row.epoch = 8;
	assert_int_equal(registry_partition_put(p->r, &row, NULL), 0);
	reopen(p);
	assert_int_equal(registry_partitions(p->r, keep, &found, NULL), 0);
	assert_string_equal(found.name, "redis1");
	assert_int_equal(found.state, STATE_IN_DOUBT);
	assert_string_equal(found.reason, "peer lost");
	assert_int_equal(found.epoch, 8);
	assert_int_equal(found.exit_code, -1);
	assert_int_equal(found.exit_signal, 9);
	assert_true(json_equal(found.definition, row.definition));
	assert_int_equal(found.revision, 3);
	assert_true(json_equal(found.pending, row.pending));
	assert_string_equal(found.came_from, "hostB");
	assert_int_equal(found.restarts, 2);
	assert_int_equal(found.arrived, 3);
	registry_partition_clear(&found);
	registry_partition_clear(&row);
	assert_int_equal(registry_partition_delete(p->r, "redis1", NULL), 0);
	found = (struct registry_partition){0};
	assert_int_equal(registry_partitions(p->r, keep, &found, NULL), 0);
	assert_null(found.definition);
}

static void moves(void **state)
{
	struct place *p = *state;
	struct registry_move m = {.id = "m-1",
				  .partition = "a",
				  .source = "hostA",
				  .target = "hostB",
				  .epoch = 2,
				  .state = "running",
				  .pid = 77,
				  .pid_start = 1234,
				  .started = "2026-01-01"};
	struct registry_move found = {0}, *list;
	size_t count;
	assert_int_equal(registry_move_add(p->r, &m, NULL), 0);
	assert_int_equal(registry_move_add(p->r, &m, &p->err), -1); // ids are unique
	assert_int_equal(p->err.id, ERR_REGISTRY);
	assert_int_equal(registry_moves(p->r, true, 10, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].pid, 77);
	assert_int_equal(list[0].pid_start, 1234);
	registry_moves_free(list, count);

	_cleanup_json_ json_t *events =
		json_pack("[{s:s}, {s:s}]", "event", "phase", "event", "done");
	strcpy(m.state, "done");
	strcpy(m.ended, "2026-01-02");
	m.result = json_pack("{s:i}", "downtime_ms", 41);
	assert_int_equal(registry_move_end(p->r, &m, events, NULL), 0);
	registry_move_clear(&m);
	reopen(p);
	assert_int_equal(registry_move_get(p->r, "m-1", &found, NULL), 1);
	assert_string_equal(found.state, "done");
	assert_string_equal(found.ended, "2026-01-02");
	assert_int_equal(json_integer_value(json_object_get(found.result, "downtime_ms")), 41);
	assert_null(found.error);
	registry_move_clear(&found);
	_cleanup_json_ json_t *read = registry_move_events(p->r, "m-1", NULL);
	assert_true(json_equal(read, events));
	assert_int_equal(registry_moves(p->r, true, 10, &list, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(registry_move_get(p->r, "m-2", &found, NULL), 0);
}

static void add_past(struct place *p, const char *id, const char *state, const char *ended)
{
	struct registry_move m = {.partition = "a", .source = "hostA", .target = "hostB"};
	_cleanup_json_ json_t *events = json_pack("[{s:s}]", "event", "done");
	strcpy(m.id, id);
	strcpy(m.state, "running");
	strcpy(m.started, "2026-01-01");
	assert_int_equal(registry_move_add(p->r, &m, NULL), 0);
	strcpy(m.state, state);
	strcpy(m.ended, ended);
	assert_int_equal(registry_move_end(p->r, &m, events, NULL), 0);
	assert_int_equal(registry_record_add(p->r, id, "departure", "opened", 2, NULL), 0);
}

static void assert_known(struct place *p, const char *id, bool known)
{
	struct registry_move found = {0};
	assert_int_equal(registry_move_get(p->r, id, &found, NULL), known);
	registry_move_clear(&found);
	_cleanup_json_ json_t *events = registry_move_events(p->r, id, NULL);
	assert_int_equal(json_array_size(events), known);
}

static void old_moves_are_removed(void **state)
{
	struct place *p = *state;
	struct registry_partition named = {.name = "a",
					   .definition = json_pack("{s:s}", "name", "a"),
					   .state = STATE_MOVING,
					   .move = "m-named"};
	assert_int_equal(registry_partition_put(p->r, &named, NULL), 0);
	registry_partition_clear(&named);
	add_past(p, "m-old", "done", "2026-01-02T00:00:00.000Z");
	add_past(p, "m-named", "done", "2026-01-02T00:00:00.000Z");
	add_past(p, "m-doubt", "in-doubt", "2026-01-02T00:00:00.000Z");
	add_past(p, "m-new", "aborted", "2026-03-02T00:00:00.000Z");
	assert_int_equal(registry_history_prune(p->r, "2026-02-01T00:00:00.000Z", &p->err), 1);
	assert_known(p, "m-old", false);
	assert_known(p, "m-named", true);
	assert_known(p, "m-doubt", true);
	assert_known(p, "m-new", true);
	assert_int_equal(registry_history_prune(p->r, "2026-02-01T00:00:00.000Z", &p->err), 0);
}

static void tokens_are_used_once(void **state)
{
	struct place *p = *state;
	char address[REGISTRY_ADDRESS_MAX];
	assert_int_equal(registry_token_add(p->r, "d1", "hostB", "10.0.0.2:1", 1000, NULL), 0);
	assert_int_equal(registry_token_take(p->r, "d1", "hostC", 10, address, NULL), 0);
	assert_int_equal(registry_token_take(p->r, "d1", "hostB", 1000, address, NULL), 0);
	assert_int_equal(registry_token_take(p->r, "d1", "hostB", 999, address, NULL), 1);
	assert_string_equal(address, "10.0.0.2:1");
	assert_int_equal(registry_token_take(p->r, "d1", "hostB", 999, address, NULL), 0);
	// A new token for a host makes the old one worthless.
	assert_int_equal(registry_token_add(p->r, "d2", "hostB", "x:1", 1000, NULL), 0);
	assert_int_equal(registry_token_add(p->r, "d3", "hostB", "x:1", 1000, NULL), 0);
	assert_int_equal(registry_token_take(p->r, "d2", "hostB", 1, address, NULL), 0);
	assert_int_equal(registry_token_take(p->r, "d3", "hostB", 1, address, NULL), 1);
}

static void revoked_keys(void **state)
{
	struct place *p = *state;
	char key[REGISTRY_KEY_MAX];
	assert_int_equal(registry_host_key(p->r, "hostA", key, &p->err), 0);
	assert_int_equal(registry_host_put(p->r, "hostA", "x:1", &p->err), 0);
	assert_int_equal(registry_host_key(p->r, "hostA", key, &p->err), 1);
	assert_string_equal(key, "");
	assert_int_equal(registry_host_set_key(p->r, "hostA", "k1", &p->err), 0);
	assert_int_equal(registry_host_put(p->r, "hostA", "y:1", &p->err), 0);
	assert_int_equal(registry_host_key(p->r, "hostA", key, &p->err), 1);
	assert_string_equal(key, "k1");
	assert_int_equal(registry_revoked(p->r, "k1", &p->err), 0);
	assert_int_equal(registry_revoked_add(p->r, "k1", "hostA", "stolen", &p->err), 1);
	assert_int_equal(registry_revoked_add(p->r, "k1", "hostB", "again", &p->err), 0);
	assert_int_equal(registry_revoked(p->r, "k1", &p->err), 1);
	assert_int_equal(registry_revoked(p->r, "k2", &p->err), 0);
	assert_int_equal(registry_host_revoke(p->r, "hostA", true, &p->err), 0);
	struct registry_host host;
	assert_int_equal(registry_host_get(p->r, "hostA", &host, &p->err), 1);
	assert_true(host.revoked);
	// the key stays revoked when the host is gone
	assert_int_equal(registry_host_delete(p->r, "hostA", &p->err), 0);
	assert_int_equal(registry_host_get(p->r, "hostA", &host, &p->err), 0);
	assert_int_equal(registry_revoked(p->r, "k1", &p->err), 1);
	_cleanup_json_ json_t *list = registry_revoked_list(p->r, 10, &p->err);
	_cleanup_json_ json_t *expected = json_pack("[[s, s]]", "hostA", "k1");
	assert_true(json_equal(list, expected));
}

static void migration_copies_aside(void **state)
{
	struct place *p = *state;
	const char *steps[16];
	for (unsigned i = 0; i < schema_version; i++)
		steps[i] = schema_steps[i];
	steps[schema_version] = "CREATE TABLE more (x INTEGER)";
	char copy[128];
	struct stat st;
	sqlite3 *db;
	snprintf(copy, sizeof(copy), "%s.v%u", p->path, schema_version);
	assert_int_equal(registry_host_put(p->r, "hostA", "x", NULL), 0);
	registry_close(p->r);
	p->r = NULL;
	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(schema_migrate(db, p->path, steps, schema_version + 1, &p->err), 0);
	assert_int_equal(sqlite3_exec(db, "INSERT INTO more VALUES (1)", NULL, NULL, NULL), 0);
	sqlite3_close(db);
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	// The new file is now from the future; the copy is what it was.
	assert_null(registry_open(p->path, &p->err));
	assert_int_equal(p->err.id, ERR_REGISTRY);
	assert_non_null(strstr(p->err.message, "newer relocd"));
	struct registry_host host;
	p->r = registry_open(copy, &p->err);
	assert_non_null(p->r);
	assert_int_equal(registry_host_get(p->r, "hostA", &host, NULL), 1);
}

static int count_rows(struct registry_partition *p, void *arg)
{
	assert_int_equal(p->revision, 1);
	assert_int_equal(json_array_size(p->pending), 0);
	++*(int *)arg;
	return 0;
}

// A registry of the first version, with its partition and the events of its move.
static void first_version_is_migrated(void **state)
{
	struct place *p = *state;
	int rows = 0;
	sqlite3 *db;
	registry_close(p->r);
	p->r = NULL;
	unlink(p->path);
	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(schema_migrate(db, p->path, schema_steps, 1, &p->err), 0);
	assert_int_equal(
		sqlite3_exec(
			db,
			"INSERT INTO partitions VALUES ('db1', 'u', '{}', 'Active', '', 4, '', "
			"'', '', -1, 0, '');"
			"INSERT INTO events (time, move, event) VALUES ('t', 'm-1', '{\"a\":1}')",
			NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	p->r = registry_open(p->path, &p->err);
	assert_non_null(p->r);
	assert_int_equal(registry_partitions(p->r, count_rows, &rows, NULL), 0);
	assert_int_equal(rows, 1);
	_cleanup_json_ json_t *events = registry_move_events(p->r, "m-1", &p->err);
	assert_int_equal(json_array_size(events), 1);
}

static void meta(void **state)
{
	struct place *p = *state;
	char value[16];
	assert_int_equal(registry_meta_get(p->r, "id", value, sizeof(value), NULL), 0);
	assert_int_equal(registry_meta_put(p->r, "id", "one", NULL), 0);
	assert_int_equal(registry_meta_put(p->r, "id", "two", NULL), 0);
	reopen(p);
	assert_int_equal(registry_meta_get(p->r, "id", value, sizeof(value), NULL), 1);
	assert_string_equal(value, "two");
}

static void failed_migration_changes_nothing(void **state)
{
	struct place *p = *state;
	const char *steps[16];
	for (unsigned i = 0; i < schema_version; i++)
		steps[i] = schema_steps[i];
	steps[schema_version] = "CREATE TABLE more (x INTEGER); NONSENSE";
	sqlite3 *db;
	registry_close(p->r);
	p->r = NULL;
	assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
	assert_int_equal(schema_migrate(db, p->path, steps, schema_version + 1, &p->err), -1);
	sqlite3_close(db);
	p->r = registry_open(p->path, &p->err);
	assert_non_null(p->r);
}

static void damage_is_refused(void **state)
{
	struct place *p = *state;
	registry_close(p->r);
	p->r = NULL;
	_cleanup_close_ int fd = open(p->path, O_WRONLY | O_CLOEXEC);
	char noise[4096];
	memset(noise, 0x5a, sizeof(noise));
	assert_int_equal(pwrite(fd, noise, sizeof(noise), 4096), (ssize_t)sizeof(noise));
	assert_null(registry_open(p->path, &p->err));
	assert_int_equal(p->err.id, ERR_REGISTRY);
	assert_non_null(strstr(p->err.message, p->path));
}

// SQLite leaves out all that comes behind a frame that is damaged, without a word.
static void a_damaged_log_is_noticed(void **state)
{
	struct place *p = *state;
	char from[128], copy[128], log[136];
	struct stat st;
	snprintf(from, sizeof(from), "%s-wal", p->path);
	snprintf(copy, sizeof(copy), "%s/copy.db", p->folder);
	snprintf(log, sizeof(log), "%s-wal", copy);
	assert_false(wal_is_damaged(copy)); // none is there
	for (int i = 0; i < 5; i++)
		assert_int_equal(registry_host_put(p->r, "hostB", "10.0.0.2:7470", &p->err), 0);
	_cleanup_close_ int source = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int fd = open(log, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(source >= 0 && fd >= 0 && fstat(source, &st) == 0);
	_cleanup_free_ uint8_t *bytes = malloc((size_t)st.st_size);
	assert_int_equal(fdio_pread_all(source, bytes, (size_t)st.st_size, 0, NULL), 0);
	assert_int_equal(fdio_write_all(fd, bytes, (size_t)st.st_size, NULL), 0);
	assert_false(wal_is_damaged(copy));
	for (off_t at = 0, last = st.st_size - 4096 - 24; at < last; at += at < 200 ? 1 : 331) {
		const uint8_t flipped = bytes[at] ^ (uint8_t)(1u << at % 8);
		assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
		if (!wal_is_damaged(copy))
			fail_msg("byte %lld is not missed", (long long)at);
		assert_int_equal(pwrite(fd, bytes + at, 1, at), 1);
	}
	assert_int_equal(ftruncate(fd, st.st_size - 100), 0); // a write that was cut off
	assert_false(wal_is_damaged(copy));
	// one that was left by a relocd that was killed is read, and not complained of
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pwrite(fd, bytes, (size_t)st.st_size, 0), (ssize_t)st.st_size);
	struct registry *again = registry_open(copy, &p->err);
	assert_non_null(again);
	assert_false(registry_lost_log(again));
	registry_close(again);
}

static void states(void **state)
{
	(void)state;
	struct error err;
	enum partition_state s;
	for (int i = 0; i < STATE_COUNT; i++) {
		assert_int_equal(state_of_name(state_name((enum partition_state)i), &s), 0);
		assert_int_equal(s, i);
	}
	assert_int_equal(state_of_name("Happy", &s), -1);
	assert_int_equal(state_allows(STATE_ACTIVE, ACT_MOVE, "a", NULL), 0);
	assert_int_equal(state_allows(STATE_DEFINED, ACT_MOVE, "a", &err), -1);
	assert_int_equal(err.id, ERR_WRONG_STATE);
	assert_string_equal(err.message, "a does not run (Defined): it cannot be moved");
	assert_int_equal(state_allows(STATE_MOVING, ACT_MOVE, "a", &err), -1);
	assert_int_equal(err.id, ERR_MOVE_BUSY);
	assert_int_equal(state_allows(STATE_IN_DOUBT, ACT_START, "a", &err), -1);
	assert_int_equal(err.id, ERR_IN_DOUBT);
	assert_int_equal(state_allows(STATE_ACTIVE, ACT_REMOVE, "a", &err), -1);
	assert_int_equal(state_allows(STATE_DEPARTED, ACT_START, "a", &err), -1);
	assert_int_equal(state_allows(STATE_DEPARTED, ACT_ARRIVE, "a", NULL), 0);
	assert_int_equal(state_allows(STATE_ACTIVE, ACT_ARRIVE, "a", &err), -1);
}

static json_t *one_known(const char *name, const char *uuid, int epoch, bool runs)
{
	return json_pack("[{s:s, s:s, s:i, s:b, s:{s:s}}]", "name", name, "uuid", uuid, "epoch",
			 epoch, "runs", runs, "definition", "name", name);
}

// What a host says replaces what it said before, and nothing of another host.
static void known_of_other_hosts(void **state)
{
	struct place *p = *state;
	_cleanup_json_ json_t *old = one_known("db1", "u1", 3, true);
	_cleanup_json_ json_t *other = one_known("db1", "u1", 7, false);
	_cleanup_json_ json_t *new = one_known("db2", "u2", 4, true);
	assert_int_equal(registry_known_replace(p->r, "hostA", old, &p->err), 0);
	assert_int_equal(registry_known_replace(p->r, "hostB", other, &p->err), 0);
	_cleanup_json_ json_t *both = registry_known(p->r, NULL, "db1", &p->err);
	assert_int_equal(json_array_size(both), 2);
	const json_t *first = json_array_get(both, 0);
	assert_string_equal(json_string_value(json_object_get(first, "host")), "hostB");
	assert_false(json_is_true(json_object_get(first, "runs")));
	assert_int_equal(registry_known_replace(p->r, "hostA", new, &p->err), 0);
	reopen(p);
	_cleanup_json_ json_t *of_a = registry_known(p->r, "hostA", NULL, &p->err);
	assert_int_equal(json_array_size(of_a), 1);
	first = json_array_get(of_a, 0);
	assert_string_equal(json_string_value(json_object_get(first, "name")), "db2");
	assert_true(json_is_true(json_object_get(first, "runs")));
	assert_true(json_is_object(json_object_get(first, "definition")));
	assert_string_not_equal(json_string_value(json_object_get(first, "seen")), "");
	_cleanup_json_ json_t *left = registry_known(p->r, NULL, "db1", &p->err);
	assert_int_equal(json_array_size(left), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(file_is_private, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hosts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(partitions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(moves, set_up, tear_down),
		cmocka_unit_test_setup_teardown(old_moves_are_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tokens_are_used_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(meta, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoked_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(known_of_other_hosts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(migration_copies_aside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(first_version_is_migrated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(failed_migration_changes_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(damage_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_damaged_log_is_noticed, set_up, tear_down),
		cmocka_unit_test(states),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
