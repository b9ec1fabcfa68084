// SPDX-License-Identifier: Apache-2.0
// What the control API promises of requests: done once with a key, answered with a tag, audited;
// bundles that come as descriptors; events that can be followed and resumed. Needs no root.
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/client/wpar.h"
#include "lib/registry/once.h"
#include "relocd/api/api.h"
#include "relocd/daemon/events.h"
#include "relocd/partitions/partitions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
	char folder[64], socket[128], rootfs[128];
	struct daemon d;
	struct wpar *wpar;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = {0};
	char config[128];
	strcpy(f->folder, "/tmp/test_requests.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	snprintf(f->socket, sizeof(f->socket), "%s/relocd.sock", f->folder);
	snprintf(f->rootfs, sizeof(f->rootfs), "%s/rootfs", f->folder);
	snprintf(config, sizeof(config), "host: hostA\nroles: {admin: [\"%u\"]}\n",
		 (unsigned)geteuid());
	assert_int_equal(mkdir(f->rootfs, 0755), 0);
	if (config_parse("", config, strlen(config), &f->d.config, &err) < 0 ||
	    daemon_open(&f->d, &err) < 0 || api_start(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	f->wpar = wpar_open(f->socket, NULL);
	assert_non_null(f->wpar);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	wpar_close(f->wpar);
	assert_true(api_stop(&f->d));
	partitions_free(&f->d);
	daemon_close(&f->d);
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

static json_t *definition(const struct fixture *f, const char *name)
{
	return json_pack("{s:{s:s, s:s, s:{s:[s]}}}", "definition", "name", name, "rootfs",
			 f->rootfs, "process", "args", "/bin/true");
}

static json_t *create(struct fixture *f, json_t *body)
{
	struct wpar_error err;
	json_t *made = NULL;
	if (wpar_create(f->wpar, body, &made, &err) < 0)
		fail_msg("%s", err.message);
	return made;
}

static void expect_error(int got, const struct wpar_error *err, enum error_id id)
{
	assert_int_equal(got, -1);
	if (error_id_of(err->code) != id)
		fail_msg("%s (%s)", err->message, err->code);
}

// ---- once ---------------------------------------------------------------------------------------

static void a_key_makes_it_once(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	json_t *second = NULL;
	assert_int_equal(wpar_set_key(f->wpar, "k1", &err), 0);
	_cleanup_json_ json_t *first = create(f, definition(f, "db1"));
	assert_int_equal(wpar_set_key(f->wpar, "k1", &err), 0);
	assert_int_equal(wpar_create(f->wpar, definition(f, "db1"), &second, &err), 0);
	assert_true(json_equal(first, second));
	json_decref(second);
	// The key is used up by one call; without it the name is taken, with another one as well.
	expect_error(wpar_create(f->wpar, definition(f, "db1"), NULL, &err), &err, ERR_NAME_TAKEN);
	wpar_set_key(f->wpar, "k2", &err);
	expect_error(wpar_create(f->wpar, definition(f, "db1"), NULL, &err), &err, ERR_NAME_TAKEN);
	// Other content under the same key.
	wpar_set_key(f->wpar, "k1", &err);
	expect_error(wpar_create(f->wpar, definition(f, "db2"), NULL, &err), &err, ERR_KEY_REUSED);
	wpar_set_key(f->wpar, "k1", &err);
	expect_error(wpar_start(f->wpar, "db1", &err), &err, ERR_KEY_REUSED);
	assert_int_equal(wpar_set_key(f->wpar, "with space", &err), -1);
	assert_int_equal(wpar_set_key(f->wpar, "", &err), -1);
}

static void an_error_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	json_t *body = definition(f, "db1");
	json_object_set_new(json_object_get(body, "definition"), "rootfs", json_string("/nowhere"));
	wpar_set_key(f->wpar, "k1", &err);
	expect_error(wpar_create(f->wpar, body, NULL, &err), &err, ERR_ROOTFS_MISSING);
	wpar_set_key(f->wpar, "k1", &err);
	json_decref(create(f, definition(f, "db1")));
}

// relocd ended between the begin and the answer.
static void a_lost_request_is_not_repeated(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	struct registry_once once;
	char caller[16];
	wpar_set_key(f->wpar, "k1", &err);
	json_decref(create(f, definition(f, "db1")));
	snprintf(caller, sizeof(caller), "%d", (int)geteuid());
	daemon_lock(&f->d);
	assert_int_equal(registry_once_get(f->d.registry, caller, "k1", &once, NULL), 1);
	assert_int_equal(once.status, 201);
	json_decref(once.answer);
	assert_int_equal(registry_once_end(f->d.registry, caller, "k1", 0, NULL, NULL), 0);
	assert_int_equal(registry_once_begin(f->d.registry, caller, "k1", once.digest, NULL), 0);
	daemon_unlock(&f->d);
	wpar_set_key(f->wpar, "k1", &err);
	expect_error(wpar_create(f->wpar, definition(f, "db1"), NULL, &err), &err, ERR_KEY_UNKNOWN);
}

struct racer {
	struct fixture *f;
	json_t *made;
	int result;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	struct wpar_error err;
	struct wpar *wpar = wpar_open(r->f->socket, &err);
	wpar_set_key(wpar, "race", &err);
	r->result = wpar_create(wpar, definition(r->f, "db1"), &r->made, &err);
	wpar_close(wpar);
	return NULL;
}

static void of_many_at_once_one_is_done(void **state)
{
	struct fixture *f = *state;
	struct racer racers[8];
	pthread_t threads[8];
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		racers[i] = (struct racer){.f = f};
		pthread_create(&threads[i], NULL, race, &racers[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++) {
		assert_int_equal(racers[i].result, 0);
		assert_true(json_equal(racers[0].made, racers[i].made));
	}
	for (size_t i = 0; i < ARRAY_SIZE(racers); i++)
		json_decref(racers[i].made);
}

// ---- changes ------------------------------------------------------------------------------------

static void a_change_meets_what_was_seen(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	_cleanup_json_ json_t *seen = create(f, definition(f, "db1")), *now = NULL;
	assert_int_equal(
		wpar_set(f->wpar, "db1", json_pack("{s:i}", "priority", 7), seen, &now, &err), 0);
	assert_true(json_integer_value(json_object_get(now, "revision")) >
		    json_integer_value(json_object_get(seen, "revision")));
	expect_error(wpar_set(f->wpar, "db1", json_pack("{s:i}", "priority", 8), seen, NULL, &err),
		     &err, ERR_CONFLICT);
	assert_int_equal(err.error_class, WPAR_BUSY);
	assert_int_equal(
		wpar_set(f->wpar, "db1", json_pack("{s:i}", "priority", 8), now, NULL, &err), 0);
	assert_int_equal(wpar_rename(f->wpar, "db1", "db2", &err), 0);
	assert_int_equal(wpar_remove(f->wpar, "db2", 0, &err), 0);
}

// ---- descriptors --------------------------------------------------------------------------------

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_bundle(const struct fixture *f, const char *root, char dir[200])
{
	char path[256], text[1024];
	snprintf(dir, 200, "%s/bundle", f->folder);
	mkdir(dir, 0755);
	snprintf(path, sizeof(path), "%s/root", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/config.json", dir);
	snprintf(text, sizeof(text),
		 "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"%s\"},\"process\":{\"args\":[\"/"
		 "x\"],"
		 "\"cwd\":\"/\",\"user\":{\"uid\":0,\"gid\":0}},\"linux\":{\"namespaces\":["
		 "{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"},"
		 "{\"type\":\"network\"}]}}",
		 root);
	write_file(path, text);
	return open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int create_bundle(struct fixture *f, int folder, const char *bundle, json_t **made,
			 struct wpar_error *err)
{
	if (folder >= 0)
		assert_int_equal(wpar_pass_fd(f->wpar, folder, err), 0);
	return wpar_create(f->wpar, json_pack("{s:s, s:s}", "name", "db1", "bundle", bundle), made,
			   err);
}

static void a_bundle_comes_as_a_descriptor(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	char dir[200], expected[256];
	_cleanup_json_ json_t *made = NULL;
	_cleanup_close_ int folder = make_bundle(f, "root", dir);
	// The path by which it was opened need not be open to others, nor be there for relocd.
	if (create_bundle(f, folder, "fd:0", &made, &err) < 0)
		fail_msg("%s", err.message);
	snprintf(expected, sizeof(expected), "%s/root", dir);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(made, "definition"), "rootfs")),
		expected);
	// Descriptors are of one request; further ones on the same handle go on as usual.
	assert_int_equal(wpar_remove(f->wpar, "db1", 0, &err), 0);
	expect_error(create_bundle(f, -1, "fd:0", NULL, &err), &err, ERR_USAGE);
	expect_error(create_bundle(f, folder, "fd:1", NULL, &err), &err, ERR_USAGE);
	expect_error(create_bundle(f, folder, "fd:x", NULL, &err), &err, ERR_USAGE);
}

static void a_bundle_does_not_reach_out(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	char dir[200], link[256], real[256];
	int folder = make_bundle(f, "out", dir);
	snprintf(link, sizeof(link), "%s/out", dir);
	assert_int_equal(symlink("../rootfs", link), 0);
	expect_error(create_bundle(f, folder, "fd:0", NULL, &err), &err, ERR_BUNDLE);
	unlink(link);
	assert_int_equal(symlink("/", link), 0);
	expect_error(create_bundle(f, folder, "fd:0", NULL, &err), &err, ERR_BUNDLE);
	// A link that stays inside is fine, and the path is where it leads.
	unlink(link);
	assert_int_equal(symlink("root", link), 0);
	_cleanup_json_ json_t *made = NULL;
	assert_int_equal(create_bundle(f, folder, "fd:0", &made, &err), 0);
	snprintf(link, sizeof(link), "%s/config.json", dir);
	snprintf(real, sizeof(real), "%s/config", f->folder);
	assert_int_equal(rename(link, real), 0);
	assert_int_equal(symlink("../config", link), 0);
	expect_error(create_bundle(f, folder, "fd:0", NULL, &err), &err, ERR_BUNDLE_SYNTAX);
	close(folder);
	// Something else than a folder.
	folder = open("/dev/null", O_RDONLY | O_CLOEXEC);
	expect_error(create_bundle(f, folder, "fd:0", NULL, &err), &err, ERR_BUNDLE_SYNTAX);
	close(folder);
}

// ---- events and audit ---------------------------------------------------------------------------

static json_t *next_event(struct wpar_stream *stream)
{
	struct wpar_error err;
	json_t *event = NULL;
	deadline_t deadline = deadline_in_ms(10000);
	enum wpar_next next = wpar_stream_event(stream, -1, deadline, &event, &err);
	if (next == WPAR_NEXT_ERROR)
		fail_msg("%s", err.message);
	return next == WPAR_NEXT_DATA ? event : NULL;
}

static bool is_event(const json_t *event, const char *kind, const char *what)
{
	return event && !strcmp(json_string_value(json_object_get(event, "kind")), kind) &&
	       !strcmp(json_string_value(json_object_get(event, "event")), what);
}

static void events_are_followed_and_resumed(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	struct wpar_stream *stream;
	assert_int_equal(wpar_events(f->wpar, 0, true, &stream, &err), 0);
	json_decref(create(f, definition(f, "db1")));
	json_t *event = next_event(stream);
	while (event && !is_event(event, "partition", "created")) {
		json_decref(event);
		event = next_event(stream);
	}
	assert_string_equal(json_string_value(json_object_get(event, "partition")), "db1");
	assert_string_equal(json_string_value(json_object_get(event, "host")), "hostA");
	int64_t seq = json_integer_value(json_object_get(event, "seq"));
	json_decref(event);
	wpar_stream_close(stream);
	// What happened meanwhile comes first, nothing twice.
	assert_int_equal(wpar_remove(f->wpar, "db1", 0, &err), 0);
	assert_int_equal(wpar_events(f->wpar, seq, false, &stream, &err), 0);
	bool removed = false;
	while ((event = next_event(stream))) {
		assert_true(json_integer_value(json_object_get(event, "seq")) > seq);
		removed = removed || is_event(event, "partition", "removed");
		json_decref(event);
	}
	assert_true(removed);
	wpar_stream_close(stream);
	assert_int_equal(wpar_events(f->wpar, 1000000, false, &stream, &err), 0);
	assert_int_equal(wpar_stream_event(stream, -1, deadline_in_ms(10000), &event, &err),
			 WPAR_NEXT_ERROR);
	assert_int_equal(error_id_of(err.code), ERR_EVENTS_PRUNED);
	wpar_stream_close(stream);
	expect_error(wpar_call(f->wpar, "GET", "/v1/events?after=x", NULL, 5000, NULL, &err), &err,
		     ERR_USAGE);
	expect_error(wpar_call(f->wpar, "GET", "/v1/events?kind=x", NULL, 5000, NULL, &err), &err,
		     ERR_USAGE);
}

static void every_request_is_audited(void **state)
{
	struct fixture *f = *state;
	struct wpar_error err;
	struct wpar_stream *stream;
	static const char *const expected[] = {"read", "change", "refused"};
	json_decref(create(f, definition(f, "db1")));
	wpar_call(f->wpar, "GET", "/v1/version", NULL, 5000, NULL, &err);
	expect_error(wpar_call(f->wpar, "GET", "/v1/no\"thing", NULL, 5000, NULL, &err), &err,
		     ERR_USAGE);
	assert_int_equal(wpar_stream_open(f->wpar, "/v1/events?kind=audit", &stream, &err), 0);
	unsigned seen[3] = {0};
	json_t *event;
	while ((event = next_event(stream))) {
		const json_t *data = json_object_get(event, "data");
		assert_int_equal(json_integer_value(json_object_get(data, "uid")), geteuid());
		assert_int_equal(json_integer_value(json_object_get(data, "pid")), getpid());
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
			seen[i] += is_event(event, "audit", expected[i]);
		if (is_event(event, "audit", "refused")) {
			assert_string_equal(json_string_value(json_object_get(data, "path")),
					    "/v1/no\\x22thing");
			assert_int_equal(json_integer_value(json_object_get(data, "status")), 404);
		}
		json_decref(event);
	}
	wpar_stream_close(stream);
	assert_int_equal(seen[0], 1); // ours comes after what it asked for
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 1);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_key_makes_it_once),
		TEST(an_error_is_not_kept),
		TEST(a_lost_request_is_not_repeated),
		TEST(of_many_at_once_one_is_done),
		TEST(a_change_meets_what_was_seen),
		TEST(a_bundle_comes_as_a_descriptor),
		TEST(a_bundle_does_not_reach_out),
		TEST(events_are_followed_and_resumed),
		TEST(every_request_is_audited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
