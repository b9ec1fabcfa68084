// SPDX-License-Identifier: Apache-2.0
// /metrics and /healthz over TCP: the text is read as Prometheus does; nothing else is answered.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "relocd/api/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

struct fixture {
	char folder[64];
	struct daemon d;
};

// One that is free now.
static unsigned free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t length = sizeof(at);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&at, sizeof(at)), 0);
	getsockname(sock, (struct sockaddr *)&at, &length);
	close(sock);
	return ntohs(at.sin_port);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;
	char config[128];
	strcpy(f->folder, "/tmp/test_metrics.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	snprintf(config, sizeof(config), "host: \"host.A\"\nmetrics: {listen: \"127.0.0.1:%u\"}\n",
		 free_port());
	if (config_parse("", config, strlen(config), &f->d.config, &err) < 0 ||
	    daemon_open(&f->d, &err) < 0 || metrics_start(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	metrics_stop(&f->d);
	moves_free(&f->d);
	partitions_free(&f->d);
	daemon_close(&f->d);
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

static size_t collect(char *bytes, size_t size, size_t count, void *to)
{
	char *text = to;
	size_t have = strlen(text);
	assert_true(have + size * count < 65536);
	memcpy(text + have, bytes, size * count);
	text[have + size * count] = 0;
	return size * count;
}

static long ask(struct fixture *f, const char *method, const char *path, char text[65536])
{
	char url[128];
	long status = 0;
	CURL *easy = curl_easy_init();
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", metrics_port(&f->d), path);
	text[0] = 0;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 10000L);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, text);
	if (!strcmp(method, "HEAD"))
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (!strcmp(method, "POST"))
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "x");
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_perform(easy);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(easy);
	return status;
}

// Each line is a comment or "name{label="value",...} number"; every sample has a TYPE before it.
static void read_text(char *text)
{
	_cleanup_json_ json_t *types = json_object();
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char name[128], type[32];
		if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
			assert_null(json_object_get(types, name));
			json_object_set_new(types, name, json_string(type));
			continue;
		}
		if (line[0] == '#')
			continue;
		size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz_");
		snprintf(name, sizeof(name), "%.*s", (int)length, line);
		for (const char *const *end =
			     (const char *const[]){"_bucket", "_sum", "_count", NULL};
		     *end && !json_object_get(types, name); end++) {
			char *at = strstr(name, *end);
			if (at && !at[strlen(*end)])
				*at = 0;
		}
		if (!json_object_get(types, name))
			fail_msg("no TYPE before %s", line);
		const char *value = line + length;
		if (*value == '{') {
			value = strstr(value, "\"} ");
			assert_non_null(value);
			value += 2;
		}
		assert_int_equal(*value, ' ');
		char *end;
		strtod(value + 1, &end);
		if (*end || end == value + 1)
			fail_msg("no number: %s", line);
		if (strstr(line, "m-1"))
			fail_msg("the id of a move is a label: %s", line);
	}
	assert_true(json_object_size(types) >= 9);
}

static void expect(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no \"%s\" in:\n%s", line, text);
}

static void add_partition(struct fixture *f)
{
	struct error err;
	_cleanup_json_ json_t *definition =
		json_pack("{s:s, s:s}", "name", "db1", "type", "application");
	struct registry_partition row = {.name = "db1",
					 .uuid = "0",
					 .definition = definition,
					 .state = STATE_IN_DOUBT,
					 .exit_code = -1};
	assert_non_null(partition_add(&f->d, &row, &err));
}

static void end_move(struct fixture *f, const char *id, bool incoming, const char *state,
		     const char *class)
{
	struct registry_move row = {.partition = "db1", .source = "a", .target = "b"};
	snprintf(row.id, sizeof(row.id), "%s", id);
	struct move *m = move_add(&f->d, &row);
	m->incoming = incoming;
	move_finish(m, state,
		    json_pack("{s:f, s:I, s:{s:f, s:f}}", "downtime_ms", 30.0, "transferred_bytes",
			      (json_int_t)1000, "phases", "validate", 7.0, "freeze", 2.0),
		    class ? json_pack("{s:s, s:s}", "class", class, "message", "x") : NULL);
}

static void figures(void **state)
{
	struct fixture *f = *state;
	char text[65536];
	daemon_lock(&f->d);
	add_partition(f);
	end_move(f, "m-1", false, "done", NULL);
	end_move(f, "m-10", false, "aborted", "failed");
	end_move(f, "m-11", true, "done", NULL);
	daemon_unlock(&f->d);
	assert_int_equal(ask(f, "GET", "/metrics", text), 200);
	expect(text, "relocd_build_info{version=\"" WPAR_VERSION "\",host=\"host.A\"} 1\n");
	expect(text, "relocd_partition_info{name=\"db1\",type=\"application\",state=\"In-doubt\"} "
		     "1\n");
	expect(text, "\nrelocd_partitions_in_doubt 1\n");
	expect(text, "relocd_moves_total{kind=\"departure\",outcome=\"done\",class=\"\"} 1\n");
	expect(text, "relocd_moves_total{kind=\"departure\",outcome=\"aborted\",class=\"failed\"} "
		     "1\n");
	expect(text, "relocd_moves_total{kind=\"arrival\",outcome=\"done\",class=\"\"} 1\n");
	expect(text, "relocd_move_downtime_seconds_bucket{le=\"0.025\"} 0\n");
	expect(text, "relocd_move_downtime_seconds_bucket{le=\"0.05\"} 2\n");
	expect(text, "relocd_move_downtime_seconds_count 2\n");
	expect(text, "relocd_move_downtime_seconds_sum 0.06\n");
	expect(text,
	       "relocd_move_phase_duration_seconds_bucket{phase=\"validate\",le=\"0.01\"} 2\n");
	expect(text, "relocd_move_transferred_bytes_total 2000\n");
	expect(text, "relocd_move_queue_length 0\n");
	expect(text, "# TYPE relocd_peer_up gauge\n");
	expect(text, "# TYPE relocd_certificate_not_after_timestamp_seconds gauge\n");
	read_text(text);
}

static void only_two_paths(void **state)
{
	struct fixture *f = *state;
	char text[65536];
	assert_int_equal(ask(f, "GET", "/healthz", text), 200);
	assert_string_equal(text, "ok\n");
	assert_int_equal(ask(f, "HEAD", "/metrics", text), 200);
	assert_string_equal(text, "");
	assert_int_equal(ask(f, "GET", "/v1/partitions", text), 404);
	assert_int_equal(ask(f, "GET", "/", text), 404);
	assert_int_equal(ask(f, "GET", "/readyz", text), 404);
	assert_int_equal(ask(f, "POST", "/metrics", text), 405);
	assert_int_equal(ask(f, "DELETE", "/healthz", text), 405);
}

int main(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {TEST(figures), TEST(only_two_paths)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
