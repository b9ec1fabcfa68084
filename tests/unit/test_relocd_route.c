// SPDX-License-Identifier: Apache-2.0
// The control API's table: paths, methods, decoding, statuses; and that the table itself is sound.
#include "lib/base/cleanup.h"
#include "relocd/api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static enum route_found find(const char *method, const char *path, char *param,
			     const struct route **route)
{
	return route_find(api_routes, api_route_count, method, path, param, route);
}

static void paths(void **state)
{
	(void)state;
	char param[ROUTE_PARAM_MAX];
	const struct route *route;
	assert_int_equal(find("GET", "/v1/partitions", param, &route), ROUTE_OK);
	assert_string_equal(param, "");
	assert_int_equal(find("GET", "/v1/partitions/db1", param, &route), ROUTE_OK);
	assert_string_equal(param, "db1");
	assert_string_equal(route->path, "/v1/partitions/{}");
	assert_int_equal(find("POST", "/v1/partitions/db1/start", param, &route), ROUTE_OK);
	assert_string_equal(param, "db1");
	assert_string_equal(route->path, "/v1/partitions/{}/start");
	assert_int_equal(find("POST", "/v1/partitions/start/start", param, &route), ROUTE_OK);
	assert_string_equal(param, "start");
}

static void no_such_path(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"/",
		"",
		"/v1",
		"/v1/partitions/",
		"/v1/partitions//",
		"/v1/partitions/a/b",
		"/v1/partitions//start",
		"/v1/partitionsx",
		"/v1/partitions/a/startx",
		"/v1/partitions/%00",
		"/v1/partitions/a%00b",
		"/v2/partitions",
	};
	char param[ROUTE_PARAM_MAX], path[512];
	const struct route *route;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (find("GET", bad[i], param, &route) != ROUTE_NO_PATH)
			fail_msg("%s was found", bad[i]);
	snprintf(path, sizeof(path), "/v1/partitions/%0300d", 1);
	assert_int_equal(find("GET", path, param, &route), ROUTE_NO_PATH);
	assert_int_equal(find("PUT", "/v1/partitions/a", param, &route), ROUTE_NO_METHOD);
	assert_int_equal(find("get", "/v1/partitions/a", param, &route), ROUTE_NO_METHOD);
}

// An encoded slash is part of a name, and the name rule then refuses it.
static void encoded(void **state)
{
	(void)state;
	char param[ROUTE_PARAM_MAX];
	const struct route *route;
	assert_int_equal(find("GET", "/v1/partitions/a%2Fb", param, &route), ROUTE_OK);
	assert_string_equal(param, "a/b");
	assert_int_equal(find("GET", "/v1/partitions/%2e%2e", param, &route), ROUTE_OK);
	assert_string_equal(param, "..");
}

static void roles_are_as_documented(void **state)
{
	(void)state;
	static const struct {
		const char *method, *path;
		enum role role;
	} expected[] = {
		{"GET", "/v1/partitions", ROLE_VIEWER},
		{"POST", "/v1/partitions", ROLE_ADMIN},
		{"DELETE", "/v1/partitions/x", ROLE_ADMIN},
		{"POST", "/v1/partitions/x/start", ROLE_OPERATOR},
		{"POST", "/v1/partitions/x/exec", ROLE_ADMIN},
		{"GET", "/v1/partitions/x/logs", ROLE_ADMIN},
		{"POST", "/v1/moves", ROLE_OPERATOR},
		{"POST", "/v1/cluster/join", ROLE_ADMIN},
	};
	char param[ROUTE_PARAM_MAX];
	const struct route *route;
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(find(expected[i].method, expected[i].path, param, &route),
				 ROUTE_OK);
		assert_int_equal(route->role, expected[i].role);
	}
	// Nothing that changes anything is open to those who may only look.
	for (size_t i = 0; i < api_route_count; i++) {
		assert_true(api_routes[i].role >= ROLE_VIEWER);
		if (strcmp(api_routes[i].method, "GET") != 0)
			assert_true(api_routes[i].role >= ROLE_OPERATOR);
	}
}

static void statuses(void **state)
{
	(void)state;
	static const struct {
		enum error_id id;
		unsigned status;
	} expected[] = {
		{ERR_USAGE, 400},      {ERR_DENIED, 403},    {ERR_NAME_UNKNOWN, 404},
		{ERR_NAME_TAKEN, 409}, {ERR_MOVE_SELF, 422}, {ERR_PEER_UNREACHABLE, 502},
		{ERR_DEADLINE, 504},   {ERR_REGISTRY, 500},  {ERR_IN_DOUBT, 409},
		{ERR_CANCELLED, 409},
	};
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct error err;
		error_set(&err, expected[i].id, "x");
		assert_int_equal(route_status(&err), expected[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),    cmocka_unit_test(no_such_path),
		cmocka_unit_test(encoded),  cmocka_unit_test(roles_are_as_documented),
		cmocka_unit_test(statuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
