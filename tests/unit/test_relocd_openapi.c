// SPDX-License-Identifier: Apache-2.0
// The description of the control API, held to what there is, both ways: the routes of relocd, the
// functions of libwpar as they really ask, the verbs of wparctl.
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/client/wpar.h"
#include "relocd/api/openapi.h"

#include "tests/unit/fake_relocd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

static const json_t *paths(void)
{
	const json_t *all = json_object_get(openapi_document(), "paths");
	assert_true(json_object_size(all) > 10);
	return all;
}

static bool lists(const json_t *list, const char *word)
{
	size_t i;
	json_t *each;
	json_array_foreach (list, i, each)
		if (!strcmp(json_string_value(each), word))
			return true;
	return false;
}

// Calls `each` for every operation, with its method in capitals.
static void for_each_operation(void (*each)(const char *method, const char *path,
					    const json_t *operation, void *arg),
			       void *arg)
{
	const char *path, *key;
	json_t *item, *operation;
	json_object_foreach ((json_t *)paths(), path, item)
		json_object_foreach (item, key, operation) {
			char method[16] = "";
			if (!strcmp(key, "parameters"))
				continue;
			for (size_t i = 0; i < sizeof(method) - 1 && key[i]; i++)
				method[i] = (char)(key[i] - 'a' + 'A');
			each(method, path, operation, arg);
		}
}

// ---- routes -------------------------------------------------------------------------------------

static void every_route_is_described(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_route_count; i++) {
		const struct route *route = &api_routes[i];
		const json_t *operation = openapi_operation(route->method, route->path);
		if (!operation)
			fail_msg("openapi.json lacks %s %s", route->method, route->path);
		const char *role = json_string_value(json_object_get(operation, "x-role"));
		if (!role || strcmp(role, role_name(route->role)) != 0)
			fail_msg("%s %s needs the role %s, openapi.json says %s", route->method,
				 route->path, role_name(route->role), role ? role : "nothing");
	}
}

static bool is_route(const char *method, const char *path)
{
	const struct route *route;
	char param[ROUTE_PARAM_MAX], plain[256];
	snprintf(plain, sizeof(plain), "%s", path);
	for (char *open = strchr(plain, '{'); open; open = strchr(open, '{')) {
		char *close = strchr(open, '}');
		assert_non_null(close);
		*open = 'x';
		memmove(open + 1, close + 1, strlen(close));
	}
	return route_find(api_routes, api_route_count, method, plain, param, &route) == ROUTE_OK;
}

static void check_operation(const char *method, const char *path, const json_t *operation,
			    void *arg)
{
	json_t *ids = arg;
	const char *id = json_string_value(json_object_get(operation, "operationId"));
	if (!is_route(method, path))
		fail_msg("openapi.json describes %s %s, which is no route", method, path);
	if (!id || json_object_get(ids, id))
		fail_msg("%s %s: operationId %s is missing or there twice", method, path,
			 id ? id : "");
	json_object_set_new(ids, id, json_true());
	assert_non_null(json_string_value(json_object_get(operation, "summary")));
	const json_t *answers = json_object_get(operation, "responses");
	assert_non_null(json_object_get(answers, "403"));
	assert_non_null(json_object_get(answers, "default"));
	if (!strcmp(method, "POST") && !json_object_get(answers, "101") &&
	    !json_object_get(operation, "requestBody"))
		fail_msg("%s %s: its body is not described", method, path);
}

static void every_operation_is_a_route(void **state)
{
	(void)state;
	_cleanup_json_ json_t *ids = json_object();
	for_each_operation(check_operation, ids);
	assert_int_equal(json_object_size(ids), api_route_count);
}

// Every "$ref" leads somewhere in the document.
static void check_references(const json_t *value)
{
	const char *key;
	json_t *each;
	size_t i;
	json_object_foreach ((json_t *)value, key, each) {
		if (!strcmp(key, "$ref")) {
			_cleanup_free_ char *path = strdup(json_string_value(each));
			const json_t *at = openapi_document();
			assert_memory_equal(path, "#/", 2);
			for (char *word = strtok(path + 2, "/"); word; word = strtok(NULL, "/"))
				at = json_object_get(at, word);
			if (!at)
				fail_msg("%s leads nowhere", json_string_value(each));
		}
		check_references(each);
	}
	json_array_foreach ((json_t *)value, i, each)
		check_references(each);
}

static void the_document_is_sound(void **state)
{
	(void)state;
	const json_t *document = openapi_document();
	assert_string_equal(json_string_value(json_object_get(document, "openapi")), "3.1.0");
	const json_t *info = json_object_get(document, "info");
	assert_string_equal(json_string_value(json_object_get(info, "version")), WPAR_VERSION);
	check_references(document);
	assert_null(openapi_operation("GET", "/v1/nothing"));
	assert_null(openapi_operation("PUT", "/v1/version"));
	assert_null(openapi_operation("GET", "/v1/partitions/"));
}

// ---- functions ----------------------------------------------------------------------------------

// What a function of the library asks is looked up in the document: its operation has to name it.
struct asking {
	struct fake *fake;
	struct wpar *wpar;
	json_t *asked; // functions, as keys
};

static const json_t *operation_asked(const char *request, char *line, size_t size)
{
	const struct route *route;
	char param[ROUTE_PARAM_MAX], method[16], path[512];
	if (sscanf(request, "%15s %511[^ ?]", method, path) != 2)
		return NULL;
	snprintf(line, size, "%s %s", method, path);
	if (route_find(api_routes, api_route_count, method, path, param, &route) != ROUTE_OK)
		return NULL;
	return openapi_operation(method, route->path);
}

static void check_asked(struct asking *a, const char *function)
{
	char line[600];
	const json_t *operation = operation_asked(a->fake->request, line, sizeof(line));
	if (!operation)
		fail_msg("%s asks %s, which is no operation", function, line);
	if (!lists(json_object_get(operation, "x-function"), function))
		fail_msg("openapi.json does not say that %s asks %s", function, line);
	json_object_set_new(a->asked, function, json_true());
	a->fake->request[0] = 0;
}

#define ASK(function, ...)                                           \
	do {                                                         \
		struct wpar_error err_;                              \
		if (function(a.wpar, __VA_ARGS__, &err_) < 0)        \
			fail_msg("%s: %s", #function, err_.message); \
		check_asked(&a, #function);                          \
	} while (0)

static void drop(json_t **value)
{
	json_decref(*value);
	*value = NULL;
}

static void ask_relocd(struct asking a)
{
	json_t *data = NULL;
	ASK(wpar_version, &data);
	drop(&data);
	ASK(wpar_health, &data);
	drop(&data);
	ASK(wpar_ready, &data);
	drop(&data);
	ASK(wpar_openapi, &data);
	drop(&data);
}

static void ask_partitions(struct asking a)
{
	json_t *data = NULL;
	ASK(wpar_partitions, true, "Active", &data);
	drop(&data);
	ASK(wpar_partition, "db1", &data);
	drop(&data);
	ASK(wpar_create, json_object(), &data);
	drop(&data);
	ASK(wpar_start, "db1");
	ASK(wpar_stop, "db1", 1000, false);
	ASK(wpar_restart, "db1", -1, true);
	ASK(wpar_set, "db1", json_object(), NULL, &data);
	drop(&data);
	ASK(wpar_rename, "db1", "db2");
	ASK(wpar_remove, "db1", WPAR_REMOVE_FORCE | WPAR_REMOVE_VOLUMES);
	ASK(wpar_validate, "db1", json_array(), json_object(), &data);
	drop(&data);
}

static void ask_moves(struct asking a)
{
	json_t *data = NULL;
	ASK(wpar_relocate, "db1", "hostB", json_object(), &data);
	drop(&data);
	ASK(wpar_moves, &data);
	drop(&data);
	ASK(wpar_history, "db1", "2026-01-31T08:00:00Z", true, &data);
	drop(&data);
	ASK(wpar_move, "m-1", &data);
	drop(&data);
	ASK(wpar_cancel, "m-1");
	ASK(wpar_recover, "m-1", NULL, &data);
	drop(&data);
	ASK(wpar_adopt, NULL, "hostA", "why", &data);
	drop(&data);
}

static void ask_hosts(struct asking a)
{
	json_t *data = NULL;
	ASK(wpar_hosts, &data);
	drop(&data);
	ASK(wpar_host, "hostB", &data);
	drop(&data);
	ASK(wpar_cordon, "hostB", "why");
	ASK(wpar_uncordon, "hostB");
	ASK(wpar_check_host, "hostB", &data);
	drop(&data);
	ASK(wpar_cluster_init, &data);
	drop(&data);
	ASK(wpar_cluster_add_host, "hostB", "10.0.0.2", &data);
	drop(&data);
	ASK(wpar_cluster_join, "token", &data);
	drop(&data);
	ASK(wpar_cluster_status, &data);
	drop(&data);
	ASK(wpar_cluster_renew, NULL, false, &data);
	drop(&data);
	ASK(wpar_cluster_revoke, "hostB", "why", &data);
	drop(&data);
	ASK(wpar_cluster_remove_host, "hostB", true, "why", &data);
	drop(&data);
	ASK(wpar_cluster_trust_local, "why", &data);
	drop(&data);
}

// A stream asks when it is first read.
static void finish_stream(struct asking a, const char *function, struct wpar_stream *stream)
{
	json_t *event = NULL;
	wpar_stream_event(stream, -1, deadline_in_ms(5000), &event, NULL);
	json_decref(event);
	wpar_stream_close(stream);
	check_asked(&a, function);
}

static void ask_streams(struct asking a)
{
	struct wpar_stream *stream;
	assert_int_equal(wpar_events(a.wpar, 7, true, &stream, NULL), 0);
	finish_stream(a, "wpar_events", stream);
	assert_int_equal(wpar_move_events(a.wpar, "m-1", &stream, NULL), 0);
	finish_stream(a, "wpar_move_events", stream);
	assert_int_equal(wpar_move_events_after(a.wpar, "m-1", 3, &stream, NULL), 0);
	finish_stream(a, "wpar_move_events_after", stream);
	assert_int_equal(wpar_logs(a.wpar, "db1", true, NULL, &stream, NULL), 0);
	finish_stream(a, "wpar_logs", stream);
	struct wpar_exec *session;
	assert_int_equal(wpar_exec(a.wpar, "db1", json_object(), &session, NULL), -1);
	check_asked(&a, "wpar_exec");
}

static void check_functions(const char *method, const char *path, const json_t *operation,
			    void *arg)
{
	const struct asking *a = arg;
	const json_t *functions = json_object_get(operation, "x-function");
	size_t i;
	json_t *each;
	if (!json_array_size(functions) && !json_object_get(operation, "x-between-hosts"))
		fail_msg("no function of libwpar for %s %s", method, path);
	json_array_foreach (functions, i, each)
		if (!json_object_get(a->asked, json_string_value(each)))
			fail_msg("%s %s: %s does not ask for it", method, path,
				 json_string_value(each));
}

// Functions that ask for nothing of their own.
static const char *const others[] = {
	"wpar_error_retryable",
	"wpar_library_version",
	"wpar_open",
	"wpar_close",
	"wpar_set_host",
	"wpar_set_key",
	"wpar_pass_fd",
	"wpar_call",
	"wpar_warnings",
	"wpar_path",
	"wpar_stream_open",
	"wpar_stream_read",
	"wpar_stream_event",
	"wpar_stream_close",
	"wpar_exec_fd",
	"wpar_exec_send",
	"wpar_exec_resize",
	"wpar_exec_pending",
	"wpar_exec_flush",
	"wpar_exec_receive",
	"wpar_exec_close",
};

static void all_functions_were_asked(const struct asking *a)
{
	char line[256];
	FILE *names = popen("sed -n 's/^WPAR_PUBLIC.*[ *]\\(wpar_[a-z_]*\\)(.*/\\1/p' "
			    "lib/client/wpar.h",
			    "r");
	unsigned count = 0;
	while (fgets(line, sizeof(line), names)) {
		line[strcspn(line, "\n")] = 0;
		bool known = json_object_get(a->asked, line);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			known = known || !strcmp(others[i], line);
		if (!known)
			fail_msg("%s is neither an operation nor among the others", line);
		count++;
	}
	pclose(names);
	assert_true(count > 50);
}

static void functions_ask_for_operations(void **state)
{
	struct fake *fake = *state;
	struct asking a = {
		.fake = fake, .wpar = wpar_open(fake->path, NULL), .asked = json_object()};
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":null}");
	fake->hang_up = true; // streams have connections of their own
	ask_relocd(a);
	ask_partitions(a);
	ask_moves(a);
	ask_hosts(a);
	ask_streams(a);
	for_each_operation(check_functions, &a);
	all_functions_were_asked(&a);
	wpar_close(a.wpar);
	json_decref(a.asked);
}

// ---- verbs --------------------------------------------------------------------------------------

static json_t *verbs_of_wparctl(void)
{
	char path[PATH_MAX], line[256];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	path[n] = 0;
	for (int up = 0; up < 3; up++)
		*strrchr(path, '/') = 0;
	strcat(path, "/bin/wparctl --help");
	FILE *help = popen(path, "r");
	json_t *verbs = json_object();
	while (fgets(line, sizeof(line), help) && strncmp(line, "options:", 8) != 0) {
		char *end = strstr(line + 2, "  ");
		if (strncmp(line, "  ", 2) != 0 || !end)
			continue;
		*end = 0;
		json_object_set_new(verbs, line + 2, json_integer(0));
	}
	pclose(help);
	assert_true(json_object_size(verbs) > 15);
	return verbs;
}

static void check_verbs(const char *method, const char *path, const json_t *operation, void *arg)
{
	static const char *const without[] = {"/healthz", "/readyz", "/v1/openapi.json"};
	json_t *verbs = arg, *each;
	const json_t *named = json_object_get(operation, "x-verbs");
	size_t i;
	bool may_lack = json_object_get(operation, "x-between-hosts");
	for (i = 0; i < ARRAY_SIZE(without); i++)
		may_lack = may_lack || !strcmp(without[i], path);
	if (!json_array_size(named) && !may_lack)
		fail_msg("no verb of wparctl for %s %s", method, path);
	json_array_foreach (named, i, each) {
		if (!json_object_get(verbs, json_string_value(each)))
			fail_msg("%s %s: wparctl has no verb %s", method, path,
				 json_string_value(each));
		json_object_set_new(verbs, json_string_value(each), json_integer(1));
	}
}

static void verbs_have_operations(void **state)
{
	(void)state;
	_cleanup_json_ json_t *verbs = verbs_of_wparctl();
	const char *verb;
	json_t *used;
	for_each_operation(check_verbs, verbs);
	json_object_foreach (verbs, verb, used)
		if (!json_integer_value(used))
			fail_msg("the verb %s has no operation", verb);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_is_described),
		cmocka_unit_test(every_operation_is_a_route),
		cmocka_unit_test(the_document_is_sound),
		cmocka_unit_test_setup_teardown(functions_ask_for_operations, fake_start,
						fake_stop),
		cmocka_unit_test(verbs_have_operations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
