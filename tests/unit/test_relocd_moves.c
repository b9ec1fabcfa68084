// SPDX-License-Identifier: Apache-2.0
// relocd's side of moves, with this program itself standing in for departure and arrival: what
// they say, and what their silence means, becomes states, events and records.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/registry/decision.h"
#include "relocd/supervisor/arrivals.h"
#include "relocd/supervisor/departures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define WAIT_MS 10000

// ---- the processes that relocd starts -----------------------------------------------------------

static void say(json_t *message)
{
	chan_send(3, message, NULL, 0, NULL);
	json_decref(message);
}

static json_t *result_of(const json_t *start)
{
	return json_pack("{s:O, s:f}", "move", json_object_get(start, "move"), "downtime_ms", 41.5);
}

static void say_failed(const json_t *start, const char *outcome, enum error_id id)
{
	struct error err;
	error_set(&err, id, "as the test wants it");
	say(json_pack("{s:s, s:s, s:o, s:o}", "event", "failed", "outcome", outcome, "error",
		      error_to_json(&err), "result", result_of(start)));
}

static void write_decision(const json_t *start, enum decision_type last)
{
	static const enum decision_type order[] = {DECISION_FINAL, DECISION_COMMIT,
						   DECISION_RELEASED};
	char folder[512];
	const char *move = json_string_value(json_object_get(start, "move"));
	snprintf(folder, sizeof(folder), "%s/moves", getenv("RELOCD_STATEDIR"));
	struct decision *d = decision_create(folder, move, DECISION_DEPARTURE, 2, "local", NULL);
	for (size_t i = 0; d && decision_last(d) != last && i < ARRAY_SIZE(order); i++)
		decision_append(d, order[i], NULL);
	decision_close(d, false);
}

// Other requests, as that of another share of the link, are of no interest.
static bool is_cancelled(void)
{
	bool yes = false, more = true;
	while (more && !yes) {
		_cleanup_json_ json_t *request = NULL;
		more = chan_recv(3, deadline_in_ms(WAIT_MS), &request, NULL, NULL, NULL) == 0 &&
		       request;
		const char *op = json_string_value(json_object_get(request, "op"));
		yes = op && !strcmp(op, "cancel");
	}
	return yes;
}

// The host that it is to go to says how it ends.
static int be_departure(void)
{
	_cleanup_json_ json_t *start = NULL;
	if (chan_recv(3, deadline_in_ms(WAIT_MS), &start, NULL, NULL, NULL) < 0 || !start)
		return 9;
	const char *peer =
		json_string_value(json_object_get(json_object_get(start, "peer"), "name"));
	say(json_pack("{s:s, s:s}", "event", "phase", "phase", "validate"));
	say(json_pack("{s:s, s:[{s:s, s:s}]}", "event", "checks", "checks", "check", "criu",
		      "outcome", "pass"));
	for (int i = 1; i <= 3; i++)
		say(json_pack("{s:s, s:s, s:i}", "event", "progress", "phase", "final", "bytes",
			      i));
	if (!strcmp(peer, "done"))
		say(json_pack("{s:s, s:o}", "event", "done", "result", result_of(start)));
	else if (!strcmp(peer, "refused"))
		say_failed(start, "refused", ERR_MEMORY);
	else if (!strcmp(peer, "in-doubt"))
		say_failed(start, "in-doubt", ERR_IN_DOUBT);
	else if (!strcmp(peer, "lost"))
		say_failed(start, "lost", ERR_BROKEN);
	else if (!strcmp(peer, "dies"))
		raise(SIGKILL);
	else if (!strcmp(peer, "dies-committed"))
		write_decision(start, DECISION_COMMIT);
	else if (!strcmp(peer, "dies-released"))
		write_decision(start, DECISION_RELEASED);
	else if (is_cancelled())
		say_failed(start, "aborted", ERR_CANCELLED);
	return 0;
}

static bool ask(json_t *request)
{
	return chan_call(3, request, NULL, 0, deadline_in_ms(WAIT_MS), NULL, NULL) == 0;
}

static json_t *reserve(const char *move, int epoch, const char *name, bool dry_run)
{
	return json_pack("{s:s, s:s, s:i, s:b, s:s, s:{s:s, s:s, s:s, s:{s:[s]}}}", "op", "reserve",
			 "move", move, "epoch", epoch, "dry_run", dry_run, "from", "hostB",
			 "definition", "name", name, "uuid", "7c6f1a52-0e0f-4c3b-9a39-4d7e7f7f0001",
			 "rootfs", "/srv/x", "process", "args", "/bin/true");
}

// $TEST_ARRIVAL says what comes. Exit status 0: all answers were as they must be.
static int be_arrival(void)
{
	const char *mode = getenv("TEST_ARRIVAL");
	_cleanup_json_ json_t *start = NULL;
	if (chan_recv(3, deadline_in_ms(WAIT_MS), &start, NULL, NULL, NULL) < 0 || !start)
		return 9;
	if (ask(reserve("m-in1", 3, "guest", false)))
		return 1; // before HELLO
	if (!ask(json_pack("{s:s, s:s, s:s, s:s}", "op", "peer", "name", "hostB", "key", "5a",
			   "address", "10.0.0.2:7470")))
		return 2;
	if (!strcmp(mode, "late")) // with an epoch that was used, and then with a newer one
		return ask(reserve("m-in3", 3, "guest", true)) ||
				       ask(reserve("m-in3", 2, "guest", false)) ||
				       !ask(reserve("m-in3", 4, "guest", false))
			       ? 10
			       : 0;
	if (!ask(reserve("m-in1", 3, "guest", true)) || ask(reserve("m-in1", 3, "local", true)))
		return 3; // a name that is taken here
	if (!ask(reserve("m-in1", 3, "guest", false)))
		return 4;
	if (ask(reserve("m-in2", 3, "other", false)))
		return 5; // a second one on one connection
	if (!strcmp(mode, "dies"))
		raise(SIGKILL);
	if (!strcmp(mode, "unreserve"))
		return ask(json_pack("{s:s, s:s}", "op", "unreserve", "move", "m-in1")) ? 0 : 6;
	if (ask(json_pack("{s:s, s:s, s:{}}", "op", "arrived", "move", "m-other", "definition")))
		return 7;
	return ask(json_pack("{s:s, s:s, s:i, s:{s:s}}", "op", "arrived", "move", "m-in1", "epoch",
			     3, "definition", "name", "guest"))
		       ? 0
		       : 8;
}

// ---- relocd -------------------------------------------------------------------------------------

struct fixture {
	char folder[64];
	struct daemon d;
	pthread_t loop;
};

static void *serve(void *arg)
{
	struct fixture *f = arg;
	loop_run(f->d.loop, NULL);
	return NULL;
}

static void put_self(const struct fixture *f, const char *name)
{
	char self[512], path[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = 0;
	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	assert_int_equal(symlink(self, path), 0);
}

static char *touch(const struct fixture *f, const char *name)
{
	char *path;
	assert_true(asprintf(&path, "%s/%s", f->folder, name) > 0);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	return path;
}

static void add_active(struct fixture *f, const char *name)
{
	struct registry_partition row = {.state = STATE_ACTIVE, .epoch = 1, .exit_code = -1};
	row.definition = json_pack("{s:s}", "name", name);
	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.uuid, sizeof(row.uuid), "u-%s", name);
	struct partition *p = partition_add(&f->d, &row, NULL);
	assert_non_null(p);
	p->watch = dup(0); // as if its keeper were watched
	json_decref(row.definition);
}

static int set_up(void **state)
{
	static const char *const hosts[] = {"done",           "refused",       "in-doubt", "dies",
					    "dies-committed", "dies-released", "slow",     "lost"};
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = {0};
	strcpy(f->folder, "/tmp/test_relocd.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_LIBEXECDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	put_self(f, "departure");
	put_self(f, "arrival");
	if (config_parse("", "host: hostA\n", 12, &f->d.config, &err) < 0 ||
	    daemon_open(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	free(touch(f, "ca.pem"));
	free(touch(f, "host.pem"));
	free(touch(f, "host.key"));
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		assert_int_equal(registry_host_put(f->d.registry, hosts[i], "10.0.0.9:1", NULL), 0);
	add_active(f, "local");
	assert_int_equal(pthread_create(&f->loop, NULL, serve, f), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	deadline_t deadline = deadline_in_ms(WAIT_MS);
	daemon_lock(&f->d);
	while (f->d.departures && daemon_wait(&f->d, deadline)) // those of a validation, say
		;
	f->d.stopping = true;
	loop_stop(f->d.loop);
	daemon_changed(&f->d);
	daemon_unlock(&f->d);
	pthread_join(f->loop, NULL);
	assert_true(daemon_idle(&f->d));
	moves_free(&f->d);
	partitions_free(&f->d);
	daemon_close(&f->d);
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

static void begin(struct fixture *f, const char *host, char id[40])
{
	struct error err = {0};
	daemon_lock(&f->d);
	int failed = departure_begin(&f->d, "local", host, NULL, NULL, id, &err);
	daemon_unlock(&f->d);
	if (failed)
		fail_msg("%s", err.message);
}

// Until the process has ended, too.
static void await_end(struct fixture *f, const char *id)
{
	deadline_t deadline = deadline_in_ms(WAIT_MS);
	daemon_lock(&f->d);
	struct move *m = move_find(&f->d, id);
	while (m && (!m->finished || m->worker) && daemon_wait(&f->d, deadline))
		m = move_find(&f->d, id);
	assert_non_null(m);
	assert_true(m->finished);
	daemon_unlock(&f->d);
}

static void expect(struct fixture *f, const char *id, const char *outcome,
		   enum partition_state state, uint64_t epoch)
{
	struct registry_move row;
	await_end(f, id);
	daemon_lock(&f->d);
	assert_int_equal(registry_move_get(f->d.registry, id, &row, NULL), 1);
	assert_string_equal(row.state, outcome);
	assert_true(row.pid > 0 && row.pid_start > 0);
	const struct partition *p = partition_find(&f->d, "local");
	assert_string_equal(state_name(p->row.state), state_name(state));
	assert_int_equal(p->row.epoch, epoch);
	registry_move_clear(&row);
	daemon_unlock(&f->d);
}

static void a_move_that_is_done(void **state)
{
	struct fixture *f = *state;
	char id[40];
	begin(f, "done", id);
	expect(f, id, "done", STATE_DEPARTED, 2);
	daemon_lock(&f->d);
	assert_string_equal(partition_find(&f->d, "local")->row.departed_to, "done");
	// The events: each phase, of progress only the last, and the end; the same in the registry.
	static const char *const kinds[] = {"phase", "checks", "progress", "done"};
	_cleanup_json_ json_t *kept = registry_move_events(f->d.registry, id, NULL);
	struct move *m = move_find(&f->d, id);
	uint64_t seq = 0;
	json_t *event;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		assert_int_equal(move_next_event(m, &seq, &event), 1);
		assert_string_equal(json_string_value(json_object_get(event, "event")), kinds[i]);
		assert_true(json_equal(event, json_array_get(kept, i)));
	}
	assert_int_equal(move_next_event(m, &seq, &event), -1);
	assert_int_equal(json_array_size(kept), ARRAY_SIZE(kinds));
	event = json_array_get(kept, 2);
	assert_int_equal(json_integer_value(json_object_get(event, "bytes")), 3);
	daemon_unlock(&f->d);
}

static void a_move_that_is_refused(void **state)
{
	struct fixture *f = *state;
	char id[40];
	begin(f, "refused", id);
	expect(f, id, "refused", STATE_ACTIVE, 2);
	// It can be tried again, with a newer epoch.
	begin(f, "done", id);
	expect(f, id, "done", STATE_DEPARTED, 3);
}

static void a_move_in_doubt(void **state)
{
	struct fixture *f = *state;
	char id[40];
	struct error err;
	begin(f, "in-doubt", id);
	expect(f, id, "in-doubt", STATE_IN_DOUBT, 2);
	daemon_lock(&f->d);
	assert_int_equal(departure_begin(&f->d, "local", "done", NULL, NULL, id, &err), -1);
	assert_int_equal(err.id, ERR_IN_DOUBT);
	daemon_unlock(&f->d);
}

// It is the other host's, which has it as Broken.
static void a_move_that_loses_it_there(void **state)
{
	struct fixture *f = *state;
	char id[40];
	begin(f, "lost", id);
	expect(f, id, "broken", STATE_DEPARTED, 2);
}

// Without record and without keeper nobody can know: never assume that it is gone, nor that it
// runs.
static void a_departure_that_dies(void **state)
{
	struct fixture *f = *state;
	char id[40];
	begin(f, "dies", id);
	expect(f, id, "in-doubt", STATE_IN_DOUBT, 2);
	daemon_lock(&f->d);
	const struct move *m = move_find(&f->d, id);
	const char *why = json_string_value(json_object_get(m->row.error, "message"));
	assert_string_equal(why, "the departure process was killed by signal 9");
	daemon_unlock(&f->d);
}

static void a_departure_that_dies_after_the_commit(void **state)
{
	struct fixture *f = *state;
	char id[40];
	begin(f, "dies-committed", id);
	expect(f, id, "in-doubt", STATE_IN_DOUBT, 2);
}

static void a_departure_that_dies_after_the_release(void **state)
{
	struct fixture *f = *state;
	char id[40];
	begin(f, "dies-released", id);
	expect(f, id, "done", STATE_DEPARTED, 2);
}

static void one_move_at_a_time_and_cancel(void **state)
{
	struct fixture *f = *state;
	char id[40], other[40];
	struct error err;
	begin(f, "slow", id);
	daemon_lock(&f->d);
	assert_int_equal(departure_begin(&f->d, "local", "done", NULL, NULL, other, &err), -1);
	assert_int_equal(err.id, ERR_MOVE_BUSY);
	assert_int_equal(partition_find(&f->d, "local")->row.state, STATE_MOVING);
	assert_int_equal(move_cancel(&f->d, id, &err), 0);
	daemon_unlock(&f->d);
	expect(f, id, "aborted", STATE_ACTIVE, 2);
	daemon_lock(&f->d);
	assert_int_equal(move_cancel(&f->d, id, &err), 0); // as it was asked for
	assert_int_equal(move_cancel(&f->d, "m-none", &err), -1);
	assert_int_equal(err.id, ERR_MOVE_UNKNOWN);
	daemon_unlock(&f->d);
}

static void what_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	char id[40];
	static const struct {
		const char *partition, *host;
		enum error_id id;
	} cases[] = {
		{"nobody", "done", ERR_NAME_UNKNOWN},
		{"local", "hostA", ERR_MOVE_SELF},
		{"local", "nowhere", ERR_HOST_UNKNOWN},
		{"../etc", "done", ERR_NAME_INVALID},
	};
	daemon_lock(&f->d);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err;
		assert_int_equal(departure_begin(&f->d, cases[i].partition, cases[i].host, NULL,
						 NULL, id, &err),
				 -1);
		assert_int_equal(err.id, cases[i].id);
	}
	assert_int_equal(partition_find(&f->d, "local")->row.epoch, 1);
	assert_null(f->d.moves);
	daemon_unlock(&f->d);
}

static void validation_changes_nothing(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *hosts = json_pack("[s, s, s]", "done", "refused", "nowhere");
	_cleanup_json_ json_t *report = departure_validate(&f->d, "local", hosts, NULL, NULL);
	const json_t *rows = json_object_get(report, "rows");
	assert_int_equal(json_array_size(rows), 3);
	assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "ok")));
	for (size_t i = 1; i < 3; i++) {
		const json_t *row = json_array_get(rows, i);
		const json_t *checks = json_object_get(row, "checks");
		assert_true(json_is_false(json_object_get(row, "ok")));
		const json_t *last = json_array_get(checks, json_array_size(checks) - 1);
		assert_string_equal(json_string_value(json_object_get(last, "outcome")), "fail");
	}
	daemon_lock(&f->d);
	const struct partition *p = partition_find(&f->d, "local");
	assert_int_equal(p->row.state, STATE_ACTIVE);
	assert_int_equal(p->row.epoch, 1);
	_cleanup_json_ json_t *moves = moves_json(&f->d, NULL);
	assert_int_equal(json_array_size(moves), 0);
	daemon_unlock(&f->d);
}

// ---- arrivals -----------------------------------------------------------------------------------

static struct move *arrive(struct fixture *f, const char *mode)
{
	deadline_t deadline = deadline_in_ms(WAIT_MS);
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct error err = {0};
	setenv("TEST_ARRIVAL", mode, 1);
	daemon_lock(&f->d);
	if (arrival_begin(&f->d, sock, "10.0.0.2", false, &err) < 0)
		fail_msg("%s", err.message);
	while (f->d.arrivals && daemon_wait(&f->d, deadline))
		;
	assert_int_equal(f->d.arrivals, 0);
	struct move *m = move_find(&f->d, "m-in1");
	while (m && m->resolving && daemon_wait(&f->d, deadline))
		;
	return m; // with the lock held
}

static void a_partition_that_arrives(void **state)
{
	struct fixture *f = *state;
	struct registry_host host;
	struct move *m = arrive(f, "arrived");
	assert_non_null(m);
	assert_string_equal(m->row.state, "done");
	const struct partition *p = partition_find(&f->d, "guest");
	assert_non_null(p);
	assert_int_equal(p->row.epoch, 3);
	assert_true(p->row.state == STATE_ACTIVE || p->row.state == STATE_FAILED); // no keeper here
	assert_int_equal(registry_host_get(f->d.registry, "hostB", &host, NULL), 1);
	assert_string_equal(host.address, "10.0.0.2:7470");
	daemon_unlock(&f->d);
}

static void an_arrival_that_gives_up(void **state)
{
	struct fixture *f = *state;
	struct move *m = arrive(f, "unreserve");
	assert_non_null(m);
	assert_string_equal(m->row.state, "refused");
	assert_null(partition_find(&f->d, "guest"));
	daemon_unlock(&f->d);
	// The same offer again is a replay: its move id has been used.
	m = arrive(f, "unreserve");
	assert_null(partition_find(&f->d, "guest"));
	daemon_unlock(&f->d);
}

// What a host has known of a partition it still knows when the partition is gone.
static void an_old_epoch_is_refused(void **state)
{
	static const char uuid[] = "7c6f1a52-0e0f-4c3b-9a39-4d7e7f7f0001";
	struct fixture *f = *state;
	struct registry_move row;
	arrive(f, "unreserve");
	assert_null(partition_find(&f->d, "guest"));
	assert_int_equal(partition_known_epoch(&f->d, uuid), 3);
	assert_int_equal(partition_known_epoch(&f->d, "7c6f1a52-0e0f-4c3b-9a39-4d7e7f7f0002"), 0);
	daemon_unlock(&f->d);
	arrive(f, "late");
	assert_int_equal(registry_move_get(f->d.registry, "m-in3", &row, NULL), 1);
	assert_int_equal(row.epoch, 4);
	registry_move_clear(&row);
	daemon_unlock(&f->d);
}

static void an_arrival_that_dies_before_its_vote(void **state)
{
	struct fixture *f = *state;
	deadline_t deadline = deadline_in_ms(WAIT_MS);
	struct move *m = arrive(f, "dies");
	assert_non_null(m);
	assert_string_equal(m->row.state, "aborted");
	while (partition_find(&f->d, "guest") && daemon_wait(&f->d, deadline))
		;
	assert_null(partition_find(&f->d, "guest"));
	daemon_unlock(&f->d);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	if (argc == 1 && name && !strcmp(name, "/departure"))
		return be_departure();
	if (argc == 1 && name && !strcmp(name, "/arrival"))
		return be_arrival();
	signal(SIGPIPE, SIG_IGN);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_move_that_is_done),
		TEST(a_move_that_is_refused),
		TEST(a_move_in_doubt),
		TEST(a_move_that_loses_it_there),
		TEST(a_departure_that_dies),
		TEST(a_departure_that_dies_after_the_commit),
		TEST(a_departure_that_dies_after_the_release),
		TEST(one_move_at_a_time_and_cancel),
		TEST(what_is_refused_at_once),
		TEST(validation_changes_nothing),
		TEST(a_partition_that_arrives),
		TEST(an_arrival_that_gives_up),
		TEST(an_old_epoch_is_refused),
		TEST(an_arrival_that_dies_before_its_vote),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
