// SPDX-License-Identifier: Apache-2.0
// The control API against callers that mean no good: every role at every route, bodies and paths
// that are none, over the socket as bytes. Needs no root; as root the callers are other users.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
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
#include <sys/syscall.h>
#include <sys/un.h>

#define STRANGER 54321 // an uid for callers, where we may take one

struct fixture {
	char folder[64];
	struct daemon d;
};

static uid_t caller(void)
{
	return geteuid() ? geteuid() : STRANGER;
}

static void start(struct fixture *f, const char *role)
{
	struct error err;
	char config[256];
	snprintf(config, sizeof(config),
		 "host: hostA\nroles: {%s: [\"%u\"]}\napi: {group: nosuchgroup}\n",
		 role ? role : "viewer", role ? (unsigned)caller() : STRANGER + 1);
	if (config_parse("", config, strlen(config), &f->d.config, &err) < 0 ||
	    api_start(&f->d, &err) < 0)
		fail_msg("%s", err.message);
}

static void stop(struct fixture *f)
{
	assert_true(api_stop(&f->d));
	config_free(&f->d.config);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;
	strcpy(f->folder, "/tmp/test_hostile.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(chmod(f->folder, 0755), 0);
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	if (daemon_open(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(chmod(f->folder, 0755), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	partitions_free(&f->d);
	daemon_close(&f->d);
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

// This thread alone becomes the caller for the moment of connect(2), which is what counts: the
// system call, unlike the function of the C library, is for one thread.
static int connect_as_caller(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/relocd.sock", f->folder);
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool other = !geteuid();
	if (other)
		assert_int_equal(syscall(SYS_setresuid, -1, STRANGER, -1), 0);
	int failed = connect(sock, (struct sockaddr *)&address, sizeof(address));
	if (other)
		assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
	assert_int_equal(failed, 0);
	return sock;
}

// Sends bytes and reads the answer to its end: the status, 0 when there is none.
static int tell(struct fixture *f, const char *bytes, size_t length, char answer[4096])
{
	_cleanup_close_ int sock = connect_as_caller(f);
	struct timeval wait = {.tv_sec = 20};
	size_t have = 0;
	ssize_t n;
	int status = 0;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	while (length && (n = send(sock, bytes, length, MSG_NOSIGNAL)) > 0) {
		bytes += n;
		length -= (size_t)n;
	}
	shutdown(sock, SHUT_WR);
	while (have < 4095 && (n = recv(sock, answer + have, 4095 - have, 0)) > 0)
		have += (size_t)n;
	answer[have] = 0;
	sscanf(answer, "HTTP/1.1 %d", &status);
	return status;
}

static int ask(struct fixture *f, const char *method, const char *path, const char *body,
	       char answer[4096])
{
	_cleanup_free_ char *request = NULL;
	int n = asprintf(&request,
			 "%s %s HTTP/1.1\r\nHost: relocd\r\nConnection: close\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 method, path, strlen(body), body);
	assert_true(n > 0);
	return tell(f, request, (size_t)n, answer);
}

// ---- roles --------------------------------------------------------------------------------------

static void fill(const char *route, char path[256])
{
	const char *hole = strstr(route, "{}");
	if (hole)
		snprintf(path, 256, "%.*snobody%s", (int)(hole - route), route, hole + 2);
	else
		snprintf(path, 256, "%s", route);
}

// What would be done is kept from being done by a body that is none, which is found after the role.
static void try_all_routes(struct fixture *f, enum role role)
{
	for (size_t i = 0; i < api_route_count; i++) {
		char path[256], answer[4096];
		const struct route *route = &api_routes[i];
		bool get = !strcmp(route->method, "GET");
		fill(route->path, path);
		int status = ask(f, route->method, path, get ? "" : "[]", answer);
		bool refused = status == 403 && strstr(answer, "WPAR-A002");
		if (refused != (role < route->role))
			fail_msg("%s %s as %s: %d %s", route->method, path, role_name(role), status,
				 answer);
		if (!refused && !get && status != 400)
			fail_msg("%s %s with [] as a body: %d", route->method, path, status);
	}
}

static void each_role_at_each_route(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {NULL, "viewer", "operator", "admin"};
	for (enum role role = ROLE_NONE; role <= ROLE_ADMIN; role++) {
		start(f, names[role]);
		try_all_routes(f, role);
		stop(f);
	}
}

// Who has no role does not even learn what there is.
static void strangers_learn_nothing(void **state)
{
	struct fixture *f = *state;
	char answer[4096];
	start(f, NULL);
	assert_int_equal(ask(f, "GET", "/v1/nothing", "", answer), 403);
	assert_int_equal(ask(f, "BREW", "/v1/version", "", answer), 403);
	assert_null(strstr(answer, WPAR_VERSION));
	stop(f);
}

// ---- bodies, paths, arguments -------------------------------------------------------------------

static void expect(struct fixture *f, const char *method, const char *path, const char *body,
		   int status, const char *text)
{
	char answer[4096];
	int got = ask(f, method, path, body, answer);
	if (got != status || !strstr(answer, text))
		fail_msg("%s %s %.200s: %d instead of %d and \"%s\": %s", method, path, body, got,
			 status, text, answer);
}

static void bodies(void **state)
{
	struct fixture *f = *state;
	start(f, "admin");
	static const char *const none[] = {"{",
					   "}",
					   "nonsense",
					   "{\"a\":1}{",
					   "{\"a\":1,\"a\":2}",
					   "{'a':1}",
					   "\"text\"",
					   "12",
					   "null",
					   "[]",
					   "\xff\xfe",
					   "{\"a\":\"\xff\"}",
					   "{\"a\":\"\\u0000\"}",
					   "{\"a\":1e999}"};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		expect(f, "POST", "/v1/partitions", none[i], 400, "WPAR-I005");
	static const struct {
		const char *body;
		int status;
		const char *text;
	} wrong[] = {
		{"{\"definition\":[]}", 400, "must be an object"},
		{"{\"definition\":{\"name\":7}}", 400, "name"},
		{"{\"definition\":{\"name\":\"a\",\"rootfs\":\"relative\"}}", 400, "rootfs"},
		{"{\"definition\":{\"name\":\"a\",\"rootfs\":\"/x/../y\"}}", 400, "rootfs"},
		{"{\"definition\":{\"name\":\"../a\",\"rootfs\":\"/x\"}}", 400, "WPAR-P001"},
		{"{\"definition\":{\"name\":\"a\"},\"extra\":1}", 400, "extra"},
		{"{\"bundle\":[\"/x\"]}", 400, "WPAR-I005"},
		{"{\"bundle\":\"fd:0\"}", 400, "did not come"},
		{"{\"bundle\":\"fd:99\"}", 400, "no descriptor"},
		{"{\"bundle\":\"fd:-1\"}", 400, "no descriptor"},
		{"{\"image\":\"oci:fd:7\"}", 400, "did not come"},
		{"{\"bundle\":\"../../etc\"}", 400, "WPAR-P006"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect(f, "POST", "/v1/partitions", wrong[i].body, wrong[i].status, wrong[i].text);
	expect(f, "POST", "/v1/moves", "{\"partition\":1,\"host\":\"b\"}", 400, "WPAR-I005");
	expect(f, "POST", "/v1/moves", "{\"partition\":\"a\",\"host\":\"b\",\"options\":{\"x\":1}}",
	       400, "options");
	stop(f);
}

static void large_and_deep_bodies(void **state)
{
	struct fixture *f = *state;
	start(f, "admin");
	size_t size = API_BODY_MAX + 100;
	char *body = malloc(size + 1);
	memset(body, ' ', size);
	body[size] = 0;
	memcpy(body, "{}", 2);
	expect(f, "POST", "/v1/partitions", body, 413, "larger than 1048576 bytes");
	memset(body, '[', 200000);
	body[200000] = 0;
	expect(f, "POST", "/v1/partitions", body, 400, "not JSON");
	memcpy(body, "{\"definition\":", 14);
	expect(f, "POST", "/v1/partitions", body, 400, "not JSON");
	// As deep as JSON is read at all.
	strcpy(body, "{\"definition\":{\"name\":\"a\",\"rootfs\":\"/x\",\"seccomp\":");
	size_t at = strlen(body), depth = 1500;
	memset(body + at, '[', depth);
	memset(body + at + depth, ']', depth);
	strcpy(body + at + 2 * depth, "}}");
	expect(f, "POST", "/v1/partitions", body, 400, "WPAR-P007");
	free(body);
	stop(f);
}

static void paths_and_arguments(void **state)
{
	struct fixture *f = *state;
	start(f, "admin");
	expect(f, "GET", "/v1/partitions/..%2f..%2fetc", "", 400, "WPAR-P001");
	expect(f, "GET", "/v1/partitions/%2e%2e", "", 400, "WPAR-P001");
	expect(f, "DELETE", "/v1/partitions/%2e", "", 400, "WPAR-P001");
	expect(f, "GET", "/v1/partitions/../version", "", 404, "WPAR-I005");
	expect(f, "GET", "/v1/partitions/a%00b", "", 404, "WPAR-I005");
	expect(f, "GET", "/v1/partitions/a/b/c", "", 404, "WPAR-I005");
	expect(f, "GET", "/v1/partitions/a%0ab", "", 400, "WPAR-P001");
	expect(f, "GET", "//v1/version", "", 404, "WPAR-I005");
	expect(f, "BREW", "/v1/version", "", 405, "cannot be asked with BREW");
	expect(f, "GET", "/v1/version?colour=red", "", 400, "no argument \\\"colour\\\"");
	expect(f, "DELETE", "/v1/partitions/a?forse=1", "", 400, "no argument \\\"forse\\\"");
	expect(f, "GET", "/v1/events?after=-1", "", 400, "whole number");
	expect(f, "GET", "/v1/events?last=99999999999999999999", "", 400, "whole number");
	stop(f);
}

// Bytes that are no HTTP: an answer or an end, never a hang, and the next one is served.
static void no_http(void **state)
{
	struct fixture *f = *state;
	static const char tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	static const char *const bad[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET /v1/version\r\n\r\n",
		"GET /v1/version HTTP/9.9\r\n\r\n",
		"POST /v1/partitions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}",
		"POST /v1/partitions HTTP/1.1\r\nHost: x\r\nContent-Length: "
		"99999999999999999999999\r\n\r\n{}",
		"POST /v1/partitions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		"zz\r\n{}\r\n",
		"POST /v1/partitions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
	};
	char answer[4096];
	start(f, "admin");
	assert_int_not_equal(tell(f, tls, sizeof(tls) - 1, answer), 200);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int status = tell(f, bad[i], strlen(bad[i]), answer);
		if (status >= 200 && status < 300)
			fail_msg("%s was answered: %s", bad[i], answer);
	}
	char *head = malloc(200000);
	strcpy(head, "GET /v1/version HTTP/1.1\r\nHost: ");
	memset(head + strlen(head), 'x', 150000);
	strcpy(head + 150000, "\r\n\r\n");
	assert_int_not_equal(tell(f, head, strlen(head), answer), 200);
	free(head);
	expect(f, "GET", "/v1/version", "", 200, WPAR_VERSION);
	stop(f);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_role_at_each_route), TEST(strangers_learn_nothing), TEST(bodies),
		TEST(large_and_deep_bodies),   TEST(paths_and_arguments),     TEST(no_http),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
