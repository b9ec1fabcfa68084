// SPDX-License-Identifier: Apache-2.0
// The control API over its socket, asked by the client library: envelope, errors, roles, limits.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/paths.h"
#include "lib/client/wpar.h"
#include "relocd/api/api.h"
#include "relocd/partitions/partitions.h"

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
#include <sys/un.h>

struct fixture {
	char folder[64], socket[128], rootfs[128];
	struct daemon d;
	struct wpar *wpar;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = {0};
	strcpy(f->folder, "/tmp/test_api.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	snprintf(f->socket, sizeof(f->socket), "%s/relocd.sock", f->folder);
	snprintf(f->rootfs, sizeof(f->rootfs), "%s/rootfs", f->folder);
	assert_int_equal(mkdir(f->rootfs, 0755), 0);
	if (config_parse("", "host: hostA\n", 12, &f->d.config, &err) < 0 ||
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
	assert_int_equal(access(f->socket, F_OK), -1);
	partitions_free(&f->d);
	daemon_close(&f->d);
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

// As the service manager starts us: with a socket that it has opened, as descriptor 3.
static int set_up_inherited(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char pid[16];
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test_api.socket.%d",
		 (int)getpid());
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(address.sun_path, 0600), 0);
	assert_int_equal(listen(sock, 8), 0);
	assert_true(sock == 3 || dup2(sock, 3) == 3); // kept free by main
	if (sock != 3)
		close(sock);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	return set_up(state);
}

static int tear_down_inherited(void **state)
{
	struct stat st;
	char path[64];
	snprintf(path, sizeof(path), "/tmp/test_api.socket.%d", (int)getpid());
	assert_int_equal(tear_down(state), 0);
	assert_int_equal(stat(path, &st), 0); // it is not ours
	assert_int_equal(unlink(path), 0);
	return 0;
}

static int call(struct fixture *f, const char *method, const char *path, json_t *body,
		json_t **data, struct error *err)
{
	struct wpar_error why;
	memset(err, 0, sizeof(*err));
	int failed = wpar_call(f->wpar, method, path, body, 10000, data, &why);
	return failed ? error_set(err, error_id_of(why.code), "%s", why.message) : 0;
}

// Without root everybody is nobody: each request is refused, and says so.
static bool skip_unless_root(struct fixture *f)
{
	struct error err;
	if (geteuid() == 0)
		return false;
	assert_int_equal(call(f, "GET", "/v1/version", NULL, NULL, &err), -1);
	assert_int_equal(err.id, ERR_DENIED);
	return true;
}

static void expect_refused(struct fixture *f, const char *method, const char *path, json_t *body,
			   enum error_id id, const char *sentence)
{
	struct error err;
	assert_int_equal(call(f, method, path, body, NULL, &err), -1);
	if (err.id != id || !strstr(err.message, sentence))
		fail_msg("%s %s: \"%s\" (%s) instead of \"%s\"", method, path, err.message,
			 error_code(&err), sentence);
}

static void the_socket_is_private(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	assert_int_equal(stat(f->socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void the_service_managers_socket_is_served(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct stat st;
	char path[64];
	assert_null(getenv("LISTEN_FDS")); // nobody that we start takes it for its own
	assert_int_equal(access(f->socket, F_OK), -1);
	snprintf(path, sizeof(path), "/tmp/test_api.socket.%d", (int)getpid());
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	wpar_close(f->wpar);
	f->wpar = wpar_open(path, NULL);
	if (!skip_unless_root(f))
		assert_int_equal(call(f, "GET", "/v1/version", NULL, NULL, &err), 0);
}

static void version_and_health(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *version = NULL, *health = NULL;
	struct error err;
	if (skip_unless_root(f))
		return;
	assert_int_equal(call(f, "GET", "/v1/version", NULL, &version, &err), 0);
	assert_string_equal(json_string_value(json_object_get(version, "version")), WPAR_VERSION);
	assert_string_equal(json_string_value(json_object_get(version, "host")), "hostA");
	assert_int_equal(call(f, "GET", "/healthz", NULL, &health, &err), 0);
}

static void what_is_no_request(void **state)
{
	struct fixture *f = *state;
	if (skip_unless_root(f))
		return;
	expect_refused(f, "GET", "/v1/nothing", NULL, ERR_USAGE, "the API has no /v1/nothing");
	expect_refused(f, "PUT", "/v1/version", NULL, ERR_USAGE, "cannot be asked with PUT");
	expect_refused(f, "POST", "/v1/partitions", json_array(), ERR_USAGE, "not a JSON object");
	expect_refused(f, "POST", "/v1/partitions", json_object(), ERR_USAGE,
		       "needs \"definition\"");
	expect_refused(f, "POST", "/v1/moves",
		       json_pack("{s:s, s:s, s:i}", "partition", "a", "host", "b", "colour", 1),
		       ERR_USAGE, "colour");
	expect_refused(f, "GET", "/v1/partitions?state=Happy", NULL, ERR_USAGE, "not a state");
	char *big = calloc(1, API_BODY_MAX + 1);
	memset(big, 'a', API_BODY_MAX);
	expect_refused(f, "POST", "/v1/partitions", json_pack("{s:s}", "bundle", big), ERR_USAGE,
		       "larger than 1048576 bytes");
	free(big);
}

static json_t *definition(const struct fixture *f, const char *name)
{
	return json_pack("{s:{s:s, s:s, s:{s:[s]}}}", "definition", "name", name, "rootfs",
			 f->rootfs, "process", "args", "/bin/true");
}

static void create_show_remove(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *made = NULL, *list = NULL, *shown = NULL;
	struct error err;
	if (skip_unless_root(f))
		return;
	if (call(f, "POST", "/v1/partitions", definition(f, "db1"), &made, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(json_string_value(json_object_get(made, "state")), "Defined");
	expect_refused(f, "POST", "/v1/partitions", definition(f, "db1"), ERR_NAME_TAKEN,
		       "partition db1 exists");
	assert_int_equal(call(f, "GET", "/v1/partitions", NULL, &list, &err), 0);
	assert_int_equal(json_array_size(list), 1);
	assert_null(json_object_get(json_array_get(list, 0), "definition"));
	assert_int_equal(call(f, "GET", "/v1/partitions/db1", NULL, &shown, &err), 0);
	const json_t *whole = json_object_get(shown, "definition");
	assert_string_equal(json_string_value(json_object_get(whole, "owner")), "hostA");
	assert_int_equal(json_integer_value(json_object_get(whole, "epoch")), 1);
	// What does not run: stopping it is done already, logs are empty, exec and moves refused.
	struct wpar_error why;
	assert_int_equal(wpar_stop(f->wpar, "db1", -1, false, &why), 0);
	expect_refused(f, "POST", "/v1/partitions/db1/validate", NULL, ERR_WRONG_STATE,
		       "db1 does not run (Defined)");
	struct wpar_exec *session;
	assert_int_equal(
		wpar_exec(f->wpar, "db1", json_pack("{s:[s]}", "args", "ls"), &session, &why), -1);
	assert_int_equal(error_id_of(why.code), ERR_WRONG_STATE);
	assert_int_equal(wpar_remove(f->wpar, "db1", 0, &why), 0);
	expect_refused(f, "GET", "/v1/partitions/db1", NULL, ERR_NAME_UNKNOWN, "no partition db1");
}

static void what_cannot_be_created(void **state)
{
	struct fixture *f = *state;
	if (skip_unless_root(f))
		return;
	json_t *body = definition(f, "db1");
	json_object_set_new(json_object_get(body, "definition"), "rootfs",
			    json_string("/nonexistent/rootfs"));
	expect_refused(f, "POST", "/v1/partitions", body, ERR_ROOTFS_MISSING,
		       "/nonexistent/rootfs is not there");
	body = definition(f, "db1");
	json_object_set_new(
		json_object_get(body, "definition"), "networks",
		json_pack("[{s:s, s:[s]}]", "bridge", "nobridge0", "addresses", "10.99.0.2/24"));
	expect_refused(f, "POST", "/v1/partitions", body, ERR_BRIDGE_MISSING, "nobridge0");
	body = definition(f, "db1");
	json_object_set_new(json_object_get(body, "definition"), "mounts",
			    json_pack("[{s:s, s:s, s:b}]", "destination", "/d", "source",
				      "/nonexistent/volume", "volume", 1));
	expect_refused(f, "POST", "/v1/partitions", body, ERR_ROOTFS_MISSING,
		       "/nonexistent/volume");
	body = definition(f, "db1");
	json_object_set_new(
		json_object_get(body, "definition"), "mounts",
		json_pack("[{s:s, s:s}]", "destination", "/d", "source", paths_state()));
	expect_refused(f, "POST", "/v1/partitions", body, ERR_DEFINITION, "relocd's own");
	body = definition(f, "db1");
	json_object_set_new(json_object_get(body, "definition"), "mounts",
			    json_pack("[{s:s, s:s, s:b}]", "destination", "/d", "source", "../up",
				      "volume", 1));
	expect_refused(f, "POST", "/v1/partitions", body, ERR_DEFINITION, "neither an absolute");
	body = definition(f, "db1");
	json_object_set_new(body, "cap_add", json_pack("[s]", "CAP_NONSENSE"));
	expect_refused(f, "POST", "/v1/partitions", body, ERR_DEFINITION, "CAP_NONSENSE");
	static const char *const names[] = {"", "a/b", "..", "a\nb", "-x"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		expect_refused(f, "POST", "/v1/partitions", definition(f, names[i]),
			       ERR_NAME_INVALID, "");
	expect_refused(f, "POST", "/v1/partitions",
		       json_pack("{s:s}", "bundle", "/nonexistent/bundle"), ERR_BUNDLE_SYNTAX, "");
}

static json_int_t integer(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

// A merge patch over the whole, validated like a new one; one that does not run waits for nothing.
static void changes(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *made = NULL, *changed = NULL, *again = NULL, *shown = NULL;
	struct error err;
	if (skip_unless_root(f))
		return;
	assert_int_equal(call(f, "POST", "/v1/partitions", definition(f, "db1"), &made, &err), 0);
	assert_int_equal(integer(made, "revision"), 1);
	json_t *patch = json_pack("{s:{s:i, s:i}, s:[s], s:s, s:b}", "resources", "pids", 50,
				  "memory_bytes", 1 << 20, "groups", "web", "restart", "always",
				  "autostart", 1);
	if (call(f, "PATCH", "/v1/partitions/db1", patch, &changed, &err) < 0)
		fail_msg("%s", err.message);
	const json_t *now = json_object_get(changed, "definition");
	assert_int_equal(integer(json_object_get(now, "resources"), "pids"), 50);
	assert_int_equal(integer(changed, "revision"), 2);
	assert_int_equal(json_array_size(json_object_get(changed, "pending")), 0);
	assert_true(json_is_true(json_object_get(changed, "autostart")));
	// Null takes away; what is the same changes nothing.
	patch = json_pack("{s:{s:n}, s:s}", "resources", "pids", "restart", "always");
	assert_int_equal(call(f, "PATCH", "/v1/partitions/db1", patch, &again, &err), 0);
	now = json_object_get(again, "definition");
	assert_int_equal(integer(json_object_get(now, "resources"), "pids"), 0);
	assert_int_equal(integer(json_object_get(now, "resources"), "memory_bytes"), 1 << 20);
	assert_int_equal(call(f, "PATCH", "/v1/partitions/db1", json_object(), &shown, &err), 0);
	assert_true(json_equal(again, shown));
}

static void put_state(struct fixture *f, const char *name, enum partition_state state)
{
	daemon_lock(&f->d);
	partition_find(&f->d, name)->row.state = state;
	daemon_unlock(&f->d);
}

static void what_cannot_be_changed(void **state)
{
	struct fixture *f = *state;
	struct error err;
	_cleanup_json_ json_t *shown = NULL;
	if (skip_unless_root(f))
		return;
	assert_int_equal(call(f, "POST", "/v1/partitions", definition(f, "db1"), NULL, &err), 0);
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "uuid", "x"),
		       ERR_DEFINITION, "uuid cannot be changed");
	expect_refused(f, "PATCH", "/v1/partitions/db1",
		       json_pack("{s:s, s:i}", "name", "db2", "priority", 1), ERR_DEFINITION,
		       "name cannot be changed");
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "colour", "red"),
		       ERR_DEFINITION, "colour");
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:i}", "revision", 7),
		       ERR_DEFINITION, "revision");
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "rootfs", "/nowhere"),
		       ERR_ROOTFS_MISSING, "/nowhere");
	expect_refused(f, "PATCH", "/v1/partitions/db1",
		       json_pack("{s:[{s:s}]}", "networks", "bridge", "nobridge0"),
		       ERR_BRIDGE_MISSING, "nobridge0");
	expect_refused(f, "PATCH", "/v1/partitions/db2", json_pack("{s:i}", "priority", 1),
		       ERR_NAME_UNKNOWN, "no partition db2");
	put_state(f, "db1", STATE_MOVING);
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:i}", "priority", 1),
		       ERR_MOVE_BUSY, "is being moved away");
	put_state(f, "db1", STATE_ACTIVE);
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "name", "db2"),
		       ERR_WRONG_STATE, "cannot be renamed");
	put_state(f, "db1", STATE_DEFINED);
	assert_int_equal(call(f, "GET", "/v1/partitions/db1", NULL, &shown, &err), 0);
	assert_int_equal(integer(shown, "revision"), 1);
}

static void renames(void **state)
{
	struct fixture *f = *state;
	struct error err;
	_cleanup_json_ json_t *now = NULL;
	if (skip_unless_root(f))
		return;
	assert_int_equal(call(f, "POST", "/v1/partitions", definition(f, "db1"), NULL, &err), 0);
	assert_int_equal(call(f, "POST", "/v1/partitions", definition(f, "db2"), NULL, &err), 0);
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "name", "db2"),
		       ERR_NAME_TAKEN, "db2");
	expect_refused(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "name", "a/b"),
		       ERR_NAME_INVALID, "");
	assert_int_equal(call(f, "PATCH", "/v1/partitions/db1", json_pack("{s:s}", "name", "zz"),
			      &now, &err),
			 0);
	assert_string_equal(json_string_value(json_object_get(now, "name")), "zz");
	const json_t *whole = json_object_get(now, "definition");
	assert_string_equal(json_string_value(json_object_get(whole, "name")), "zz");
	assert_string_equal(json_string_value(json_object_get(whole, "hostname")), "zz");
	expect_refused(f, "GET", "/v1/partitions/db1", NULL, ERR_NAME_UNKNOWN, "db1");
}

// What GET shows makes the same partition again.
static void definitions_go_round(void **state)
{
	struct fixture *f = *state;
	struct error err;
	_cleanup_json_ json_t *first = NULL, *second = NULL;
	if (skip_unless_root(f))
		return;
	json_t *body = definition(f, "db1");
	json_object_set_new(json_object_get(body, "definition"), "dns",
			    json_pack("[s]", "10.0.0.1"));
	assert_int_equal(call(f, "POST", "/v1/partitions", body, &first, &err), 0);
	assert_int_equal(call(f, "DELETE", "/v1/partitions/db1", NULL, NULL, &err), 0);
	body = json_pack("{s:O}", "definition", json_object_get(first, "definition"));
	if (call(f, "POST", "/v1/partitions", body, &second, &err) < 0)
		fail_msg("%s", err.message);
	assert_true(json_equal(json_object_get(first, "definition"),
			       json_object_get(second, "definition")));
}

// A volume with a name is a folder that relocd makes, and removes only when that is asked for.
static void named_volumes(void **state)
{
	struct fixture *f = *state;
	struct error err;
	struct stat st;
	_cleanup_json_ json_t *made = NULL, *again = NULL;
	if (skip_unless_root(f))
		return;
	char given[160];
	snprintf(given, sizeof(given), "/tmp/test_api.given.%d", (int)getpid());
	assert_int_equal(mkdir(given, 0755), 0);
	json_t *body = definition(f, "db1");
	json_object_set_new(json_object_get(body, "definition"), "mounts",
			    json_pack("[{s:s, s:s, s:b, s:s}, {s:s, s:s, s:b}]", "destination",
				      "/data", "source", "data", "volume", 1, "storage", "copied",
				      "destination", "/given", "source", given, "volume", 1));
	if (call(f, "POST", "/v1/partitions", body, &made, &err) < 0)
		fail_msg("%s", err.message);
	const json_t *mounts = json_object_get(json_object_get(made, "definition"), "mounts");
	const char *path = json_string_value(json_object_get(json_array_get(mounts, 0), "source"));
	assert_int_equal(strncmp(path, paths_state(), strlen(paths_state())), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(call(f, "DELETE", "/v1/partitions/db1", NULL, NULL, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	body = json_pack("{s:O}", "definition", json_object_get(made, "definition"));
	assert_int_equal(call(f, "POST", "/v1/partitions", body, &again, &err), 0);
	assert_int_equal(call(f, "DELETE", "/v1/partitions/db1?volumes=1", NULL, NULL, &err), 0);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(stat(given, &st), 0); // what was given is never removed
	rmdir(given);
}

// A descriptor ahead of a request that another host would have to do.
static void open_files_stay_on_their_host(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	static const char request[] = "GET /v1/partitions?host=hostB HTTP/1.1\r\nHost: x\r\n"
				      "Connection: close\r\n\r\n";
	char answer[4096] = "";
	size_t got = 0;
	ssize_t n;
	if (skip_unless_root(f))
		return;
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", f->socket);
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(connect(sock, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(fdio_send_fds(sock, "\r\n", 2, &file, 1, NULL), 2);
	assert_int_equal(fdio_write_all(sock, request, strlen(request), NULL), 0);
	while (got < sizeof(answer) - 1 &&
	       (n = recv(sock, answer + got, sizeof(answer) - 1 - got, 0)) > 0)
		got += (size_t)n;
	assert_non_null(strstr(answer, "HTTP/1.1 400"));
	assert_non_null(strstr(answer, "open files of hostA"));
}

static void without_a_cluster(void **state)
{
	struct fixture *f = *state;
	struct error err;
	_cleanup_json_ json_t *hosts = NULL;
	if (skip_unless_root(f))
		return;
	assert_int_equal(call(f, "GET", "/v1/hosts", NULL, &hosts, &err), 0);
	assert_int_equal(json_array_size(hosts), 1); // itself
	assert_true(json_is_true(json_object_get(json_array_get(hosts, 0), "self")));
	expect_refused(f, "POST", "/v1/cluster/add-host",
		       json_pack("{s:s, s:s}", "name", "hostB", "address", "10.0.0.2"),
		       ERR_CLUSTER_NONE, "not in a cluster");
	expect_refused(f, "POST", "/v1/cluster/join", json_pack("{s:s}", "token", "nonsense"),
		       ERR_TOKEN, "");
	expect_refused(f, "GET", "/v1/moves/m-1", NULL, ERR_MOVE_UNKNOWN, "m-1");
	expect_refused(f, "GET", "/v1/moves/m-1/events", NULL, ERR_MOVE_UNKNOWN, "m-1");
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	dup2(STDIN_FILENO, 3); // nothing else gets it before the service manager's socket does
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_service_managers_socket_is_served,
						set_up_inherited, tear_down_inherited),
		TEST(the_socket_is_private),
		TEST(version_and_health),
		TEST(what_is_no_request),
		TEST(create_show_remove),
		TEST(what_cannot_be_created),
		TEST(open_files_stay_on_their_host),
		TEST(without_a_cluster),
		TEST(changes),
		TEST(what_cannot_be_changed),
		TEST(renames),
		TEST(definitions_go_round),
		TEST(named_volumes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
