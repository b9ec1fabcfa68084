// SPDX-License-Identifier: Apache-2.0
// What a network namespace holds, and what has changed in it.
#include "lib/net/contents.h"

#include "lib/base/cleanup.h"
#include "lib/net/neighbour.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void reads_a_namespace(void **state)
{
	(void)state;
	_cleanup_json_ json_t *lines = contents_read(-1, NULL), *again = contents_read(-1, NULL);
	size_t i, loopbacks = 0, settings = 0;
	json_t *line;
	json_array_foreach (lines, i, line) {
		loopbacks += !strncmp(json_string_value(line), "interface lo (", 14);
		settings += !strncmp(json_string_value(line), "setting net/", 12);
	}
	assert_int_equal(loopbacks, 1);
	assert_true(settings > 20);
	assert_int_equal(contents_compare(lines, again, NULL), 0);
}

// The keeper of a partition that has just arrived changes them for some seconds.
static void leaves_out_what_is_hurried(void **state)
{
	(void)state;
	size_t i;
	json_t *line;
	_cleanup_json_ json_t *lines = contents_read(-1, NULL);
	json_array_foreach (lines, i, line)
		assert_null(strstr(json_string_value(line), "/mcast_solicit"));
	assert_true(neighbour_hurries("net/ipv4/neigh/eth0/mcast_solicit"));
	assert_true(neighbour_hurries("net/ipv6/neigh/eth0/retrans_time_ms"));
	assert_true(neighbour_hurries("net/ipv6/neigh/eth0/retrans_time"));
	assert_false(neighbour_hurries("net/ipv4/neigh/eth0/app_solicit"));
	assert_false(neighbour_hurries("net/ipv4/conf/eth0/mcast_solicit"));
	assert_false(neighbour_hurries("net"));
}

static void expect(const char *before, const char *now, const char *sentence)
{
	struct error err = {0};
	_cleanup_json_ json_t *a =
		json_pack("[s, s, s]", "address 10.0.0.1/24 on eth0", before, "setting net/x = 1");
	_cleanup_json_ json_t *b =
		json_pack("[s, s, s]", "address 10.0.0.1/24 on eth0", now, "setting net/x = 1");
	assert_int_equal(contents_compare(a, b, &err), sentence ? -1 : 0);
	if (!sentence)
		return;
	assert_int_equal(err.id, ERR_NETWORK_EXTRA);
	assert_string_equal(err.message, sentence);
}

static void names_what_has_changed(void **state)
{
	(void)state;
	expect("route default via 10.0.0.9 on eth0", "route default via 10.0.0.9 on eth0", NULL);
	expect("setting net/a = 1", "setting net/a = 2",
	       "the setting net/a has been changed from 1 to 2");
	expect("setting net/a = 3", "setting net/a = 2",
	       "the setting net/a has been changed from 3 to 2");
	expect("setting net/a = 1", "setting net/b = 2", NULL); // came and went with a module
	expect("interface eth0 (x)", "interface dummy0 (y)",
	       "interface dummy0 (y) is in its network and not part of its definition");
	expect("interface eth0 (x)", "route 1.2.3.0/24 on eth0",
	       "interface eth0 (x) has been taken away or changed inside it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_namespace),
		cmocka_unit_test(leaves_out_what_is_hurried),
		cmocka_unit_test(names_what_has_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
