// SPDX-License-Identifier: Apache-2.0
// relocd.yaml: defaults, values, and what is said about mistakes.
#include "lib/base/cleanup.h"
#include "lib/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static int parse(const char *text, struct config *config, struct error *err)
{
	return config_parse("relocd.yaml", text, strlen(text), config, err);
}

static void expect_refused(const char *text, const char *sentence)
{
	struct config config;
	struct error err = {0};
	assert_int_equal(parse(text, &config, &err), -1);
	assert_int_equal(err.id, ERR_CONFIG);
	if (!strstr(err.message, sentence))
		fail_msg("\"%s\" does not say \"%s\"", err.message, sentence);
	assert_non_null(strstr(err.message, "relocd.yaml"));
}

static void defaults(void **state)
{
	(void)state;
	const char *empty[] = {"", "# nothing\n", "---\n", "{}\n"};
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		struct config config;
		struct error err = {0};
		char name[256];
		gethostname(name, sizeof(name));
		if (parse(empty[i], &config, &err) < 0)
			fail_msg("%s", err.message);
		assert_string_equal(config.host, name);
		assert_string_equal(config.listen, "[::]:7470");
		assert_string_equal(config.bridge, "br0");
		assert_int_equal(config.shared_count, 1);
		assert_string_equal(config.shared[0], "/srv/shared");
		assert_int_equal(config.moves, 4);
		assert_int_equal(config.memory_for_arrivals_percent, 80);
		assert_int_equal(config.max_downtime_ms, 100);
		assert_string_equal(config.on_diverge, "throttle-then-abort");
		assert_string_equal(config.compress, "auto");
		assert_string_equal(config.restore, "auto");
		assert_int_equal(config.bandwidth, 0);
		config_free(&config);
	}
}

static void all_values(void **state)
{
	(void)state;
	const char *text = "host: hostA\n"
			   "listen: \"10.0.0.1:7000\"\n"
			   "api: {socket: /run/x.sock, group: ops}\n"
			   "tls: {ca: my-ca.pem, cert: /pki/c.pem, key: /pki/k.pem}\n"
			   "network: {bridge: br7}\n"
			   "storage: {root: /data/relocd, shared: [/srv/a, /srv/b]}\n"
			   "criu: {path: /opt/criu, preload: none}\n"
			   "move: {max_downtime: 2s, on_diverge: abort, compress: zstd, "
			   "restore: lazy, bandwidth: 8Mbit/s}\n"
			   "limits: {moves: 2, bandwidth: 1GiB/s, memory_for_arrivals: 50%}\n";
	struct config config;
	struct error err = {0};
	if (parse(text, &config, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(config.host, "hostA");
	assert_string_equal(config.listen, "10.0.0.1:7000");
	assert_string_equal(config.api_socket, "/run/x.sock");
	assert_string_equal(config.api_group, "ops");
	assert_non_null(strstr(config.tls_ca, "/my-ca.pem"));
	assert_int_equal(config.tls_ca[0], '/');
	assert_string_equal(config.tls_cert, "/pki/c.pem");
	assert_string_equal(config.bridge, "br7");
	assert_string_equal(config.storage_root, "/data/relocd");
	assert_int_equal(config.shared_count, 2);
	assert_string_equal(config.shared[1], "/srv/b");
	assert_string_equal(config.criu, "/opt/criu");
	assert_string_equal(config.preload, "none");
	assert_int_equal(config.max_downtime_ms, 2000);
	assert_string_equal(config.on_diverge, "abort");
	assert_string_equal(config.compress, "zstd");
	assert_string_equal(config.restore, "lazy");
	assert_int_equal(config.bandwidth, 1000000);
	assert_int_equal(config.moves, 2);
	assert_int_equal(config.host_bandwidth, 1 << 30);
	assert_int_equal(config.memory_for_arrivals_percent, 50);
	config_free(&config);
}

static void unknown_keys(void **state)
{
	(void)state;
	expect_refused("host: a\nlisten_: \"[::]:1\"\n",
		       "line 2: listen_: unknown key; did you mean \"listen\"?");
	expect_refused("api:\n  socket: /x\n  grup: g\n",
		       "line 3: api.grup: unknown key; did you mean \"group\"?");
	expect_refused("zzzzzzz: 1\n", "line 1: zzzzzzz: unknown key");
	expect_refused("host: a\nhost: b\n", "line 2: host: given twice, first in line 1");
	expect_refused("host: {a: b}\n", "line 1: host: must be a text, not a map");
	expect_refused("network: br0\n", "line 1: network: must be a map, not a text");
	expect_refused("storage:\n  shared: /srv\n",
		       "line 2: storage.shared: must be a list, not a text");
}

static void what_this_version_does_not_have(void **state)
{
	(void)state;
	expect_refused("registry: {backend: etcd}\n",
		       "line 1: registry: this version of relocd does not have it");
	expect_refused("move:\n  max_downtime: 1s\nretention: {samples: 1d}\n",
		       "line 3: retention.samples: this version");
}

static void roles_and_retention(void **state)
{
	static const char text[] =
		"roles:\n  admin: [root, \"1000\"]\n  operator: [\"group:ops\"]\n"
		"  peers: viewer\nretention: {events: 7d}\n"
		"metrics: {listen: none}\n";
	struct config config;
	struct error err;
	(void)state;
	if (config_parse("", text, strlen(text), &config, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(config.admins.count, 2);
	assert_string_equal(config.admins.list[1], "1000");
	assert_string_equal(config.operators.list[0], "group:ops");
	assert_int_equal(config.viewers.count, 0);
	assert_string_equal(config.peers_role, "viewer");
	assert_string_equal(config.metrics, "");
	assert_int_equal(config.events_keep_ms, 7ll * 24 * 3600 * 1000);
	config_free(&config);
	expect_refused("roles: {admin: root}\n", "line 1: roles.admin: must be a list");
	expect_refused("roles: {admin: [\"a:b\"]}\n", "roles.admin: \"a:b\" is no user");
	expect_refused("roles: {viewer: [\"group:\"]}\n", "roles.viewer: \"group:\" is no user");
	expect_refused("roles: {peers: king}\n", "roles.peers: \"king\" is not admin");
	expect_refused("roles: {amdin: [x]}\n", "did you mean \"admin\"?");
	expect_refused("retention: {events: 10s}\n", "is not from 1h to 3650d");
	expect_refused("metrics: {listen: here}\n", "line 1: metrics.listen: \"here\" has no port");
}

static void bad_values(void **state)
{
	(void)state;
	expect_refused("host: ../a\n", "line 1: host: \"../a\" is no host name");
	expect_refused("host: \"\"\n", "line 1: host: \"\" is no host name");
	expect_refused("host: a\nlisten: nowhere\n", "line 2: listen: \"nowhere\" has no port");
	expect_refused("listen: \"::1:7470\"\n", "write IPv6 as [ADDRESS]:PORT");
	expect_refused("listen: \"[::]:0\"\n", "no port from 1 to 65535");
	expect_refused("listen: \"[::]:70000\"\n", "no port from 1 to 65535");
	expect_refused("api: {socket: relative}\n", "api.socket: \"relative\" is not an absolute");
	expect_refused("limits:\n  moves: many\n",
		       "line 2: limits.moves: \"many\" is not a number");
	expect_refused("limits: {bandwidth: fast}\n", "limits.bandwidth");
	expect_refused("limits: {moves: 0}\n", "limits.moves: must be at least 1");
	expect_refused("limits: {moves: 65}\n", "limits.moves: \"65\" is too large");
	expect_refused("limits: {memory_for_arrivals: 80}\n", "is not a percentage");
	expect_refused("limits: {memory_for_arrivals: 101%}\n", "is too large");
	expect_refused("move: {bandwidth: 100}\n", "move.bandwidth");
	expect_refused("move: {on_diverge: postcopy}\n", "move.on_diverge");
	expect_refused("move: {compress: gzip}\n", "move.compress");
	expect_refused("move: {restore: later}\n", "move.restore");
	expect_refused("move: {max_downtime: 100}\n", "move.max_downtime");
	expect_refused("move: {max_downtime: -1ms}\n", "move.max_downtime");
	expect_refused("network: {bridge: a/b}\n", "network.bridge");
	expect_refused("storage: {shared: [relative]}\n", "storage.shared: \"relative\"");
	expect_refused("storage: {shared: [{a: b}]}\n", "STRING");
	expect_refused("criu: {path: criu}\n", "criu.path: \"criu\" is neither auto");
}

static void bad_yaml(void **state)
{
	(void)state;
	expect_refused("host: a\n\tlisten: b\n", "line 2: not YAML");
	expect_refused("host: \"a\n", "not YAML");
	expect_refused("- a\n- b\n", "line 1: expected `key: value`, found a list");
	expect_refused("just words\n", "found a text");
	expect_refused("host: &x a\napi: {group: *x}\n", "line 2: aliases");
	expect_refused("[[a]]: b\n", "line 1");
	expect_refused("a: [[[[[[[[[[[[[[[[[[[[[[b]]]]]]]]]]]]]]]]]]]]]]\n", "nested deeper");
}

static void missing_file(void **state)
{
	(void)state;
	struct config config;
	struct error err = {0};
	assert_int_equal(config_load("/nonexistent/relocd.yaml", true, &config, &err), -1);
	assert_int_equal(err.id, ERR_CONFIG);
	assert_int_equal(config_load("/nonexistent/relocd.yaml", false, &config, &err), 0);
	config_free(&config);
}

static void addresses(void **state)
{
	(void)state;
	char host[256], port[8];
	assert_int_equal(config_split_address("[fd77::1]:7470", host, port, NULL), 0);
	assert_string_equal(host, "fd77::1");
	assert_string_equal(port, "7470");
	assert_int_equal(config_split_address("10.77.0.1:1", host, port, NULL), 0);
	assert_string_equal(host, "10.77.0.1");
	assert_int_equal(config_split_address(":7470", host, port, NULL), -1);
	assert_int_equal(config_split_address("a:12x", host, port, NULL), -1);
	assert_int_equal(config_split_address("a:+1", host, port, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),     cmocka_unit_test(all_values),
		cmocka_unit_test(unknown_keys), cmocka_unit_test(what_this_version_does_not_have),
		cmocka_unit_test(bad_values),   cmocka_unit_test(roles_and_retention),
		cmocka_unit_test(bad_yaml),     cmocka_unit_test(missing_file),
		cmocka_unit_test(addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
