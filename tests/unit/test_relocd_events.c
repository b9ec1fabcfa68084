// SPDX-License-Identifier: Apache-2.0
// The journal: numbers that only rise, resuming, following, pruning, and a registry that comes
// back.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/registry/events.h"
#include "relocd/daemon/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>

struct fixture {
	char folder[64];
	struct daemon d;
};

static void open_daemon(struct fixture *f)
{
	struct error err;
	f->d = (struct daemon){0};
	if (config_parse("", "host: hostA\n", 12, &f->d.config, &err) < 0 ||
	    daemon_open(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	daemon_lock(&f->d);
}

static void close_daemon(struct fixture *f)
{
	daemon_unlock(&f->d);
	daemon_close(&f->d);
}

// As a relocd that is started anew; the lock on its folder goes only with the process.
static void reopen(struct fixture *f)
{
	struct error err;
	char path[128];
	events_close(&f->d);
	registry_close(f->d.registry);
	snprintf(path, sizeof(path), "%s/registry.db", f->folder);
	f->d.registry = registry_open(path, &err);
	assert_non_null(f->d.registry);
	assert_int_equal(events_open(&f->d, &err), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	strcpy(f->folder, "/tmp/test_events.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

static void add(struct fixture *f, const char *kind, const char *event)
{
	events_add(&f->d, kind, event, "db1", NULL, json_pack("{s:i}", "n", 1));
}

static json_t *read_after(struct fixture *f, int64_t after, bool audit)
{
	struct events_query query = {.after = after, .audit = audit};
	struct error err;
	json_t *list = events_read(&f->d, &query, &err);
	if (!list)
		fail_msg("%s", err.message);
	return list;
}

static const char *text(const json_t *list, size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(list, i), key));
}

static json_int_t number(const json_t *list, size_t i)
{
	return json_integer_value(json_object_get(json_array_get(list, i), "seq"));
}

static void numbers_rise_and_are_resumed(void **state)
{
	struct fixture *f = *state;
	open_daemon(f);
	add(f, "partition", "created");
	add(f, "audit", "read");
	add(f, "move", "begun");
	_cleanup_json_ json_t *all = read_after(f, 0, true), *rest = read_after(f, 2, true);
	assert_int_equal(json_array_size(all), 3);
	assert_string_equal(text(all, 0, "event"), "created");
	assert_string_equal(text(all, 0, "partition"), "db1");
	assert_string_equal(text(all, 0, "host"), "hostA");
	assert_true(json_is_null(json_object_get(json_array_get(all, 0), "move")));
	assert_int_equal(json_array_size(rest), 1);
	assert_int_equal(number(rest, 0), 3);
	// Who may not see audit records has numbers with gaps, nothing else.
	_cleanup_json_ json_t *seen = read_after(f, 0, false);
	assert_int_equal(json_array_size(seen), 2);
	assert_int_equal(number(seen, 1), 3);
	close_daemon(f);
}

static void audit_records_outlive_relocd(void **state)
{
	struct fixture *f = *state;
	open_daemon(f);
	add(f, "partition", "created");
	add(f, "audit", "change");
	reopen(f); // before the second after which they are written
	_cleanup_json_ json_t *all = read_after(f, 0, true);
	assert_int_equal(json_array_size(all), 2);
	add(f, "host", "joined");
	_cleanup_json_ json_t *next = read_after(f, 2, true);
	assert_int_equal(number(next, 0), 3);
	close_daemon(f);
}

static void the_last_ones(void **state)
{
	struct fixture *f = *state;
	struct events_query query = {.audit = false};
	struct error err;
	open_daemon(f);
	for (int i = 0; i < 600; i++)
		add(f, i % 2 ? "audit" : "partition", "x");
	assert_int_equal(events_seek_last(&f->d, &query, 3, &err), 0);
	_cleanup_json_ json_t *three = events_read(&f->d, &query, &err);
	assert_int_equal(json_array_size(three), 3);
	assert_int_equal(number(three, 0), 595);
	assert_false(events_more(&f->d, &query));
	// Many are read in pieces, none twice and none left out.
	query = (struct events_query){.audit = true};
	json_int_t expected = 1;
	while (events_more(&f->d, &query)) {
		_cleanup_json_ json_t *part = events_read(&f->d, &query, &err);
		for (size_t i = 0; i < json_array_size(part); i++)
			assert_int_equal(number(part, i), expected++);
	}
	assert_int_equal(expected, 601);
	close_daemon(f);
}

static void what_is_pruned_is_gone(void **state)
{
	struct fixture *f = *state;
	struct error err;
	int64_t last, pruned;
	open_daemon(f);
	for (int i = 0; i < 20; i++)
		add(f, i < 10 ? "audit" : "partition", i < 5 ? "change" : "read");
	// Reads beyond the newest two go without a word, changes stay.
	assert_int_equal(registry_events_prune(f->d.registry, "2000", 100, 2, &err), 0);
	_cleanup_json_ json_t *fewer = read_after(f, 0, true);
	assert_int_equal(json_array_size(fewer), 5 + 2 + 10);
	assert_int_equal(number(fewer, 5), 9);
	assert_int_equal(registry_events_prune(f->d.registry, "2000", 4, 2, &err), 0);
	assert_int_equal(registry_events_span(f->d.registry, &last, &pruned, &err), 0);
	assert_int_equal(last, 20);
	assert_int_equal(pruned, 16);
	reopen(f);
	struct events_query query = {.after = 15};
	assert_null(events_read(&f->d, &query, &err));
	assert_int_equal(err.id, ERR_EVENTS_PRUNED);
	_cleanup_json_ json_t *kept = read_after(f, 16, true), *begin = read_after(f, 0, true);
	assert_int_equal(json_array_size(kept), 4);
	assert_int_equal(json_array_size(begin), 4);
	// All gone by age: numbers go on all the same.
	assert_int_equal(registry_events_prune(f->d.registry, "3000", 100, 2, &err), 0);
	add(f, "host", "joined");
	_cleanup_json_ json_t *one = read_after(f, 20, true);
	assert_int_equal(number(one, 0), 21);
	// A number that was never given: the reader has another registry in mind.
	query.after = 22;
	assert_null(events_read(&f->d, &query, &err));
	assert_int_equal(err.id, ERR_EVENTS_PRUNED);
	close_daemon(f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(numbers_rise_and_are_resumed),
		TEST(audit_records_outlive_relocd),
		TEST(the_last_ones),
		TEST(what_is_pruned_is_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
