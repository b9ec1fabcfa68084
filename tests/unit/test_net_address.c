// SPDX-License-Identifier: Apache-2.0
// Addresses as people write them: what is taken, what is refused, and what comes back as text.
#include "lib/base/cleanup.h"
#include "lib/net/address.h"
#include "lib/net/hold.h"
#include "lib/net/port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void takes_what_an_interface_can_have(void **state)
{
	(void)state;
	static const char *const good[] = {"10.77.0.50/24", "192.0.2.1/31", "192.0.2.0/31",
					   "10.0.0.7/32",   "fd77::50/64",  "2001:db8::/64",
					   "fe80::1/64",    "10.0.0.1/1"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct address address;
		struct error err = {0};
		char text[ADDRESS_TEXT_MAX];
		assert_int_equal(address_parse_cidr(good[i], &address, &err), 0);
		assert_string_equal(address_format_cidr(&address, text), good[i]);
	}
}

static void refuses_the_rest(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"/",
		"10.77.0.50",
		"10.77.0.50/",
		"10.77.0.50/0",
		"10.77.0.50/33",
		"10.77.0.50/+8",
		"10.77.0.50/ 8",
		"10.77.0.50/8x",
		"10.77.0.256/24",
		"10.77.50/24",
		"10.77.0.0/24",
		"10.77.0.255/24",
		"127.0.0.1/8",
		"224.0.0.1/24",
		"0.0.0.0/8",
		"255.255.255.255/32",
		"::/64",
		"::1/128",
		"ff02::1/64",
		"fd77::50/129",
		"::ffff:10.0.0.1/96",
		"fd77:::1/64",
		"fe80::1%eth0/64",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/64"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct address address;
		struct error err = {0};
		if (address_parse_cidr(bad[i], &address, &err) != -1)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(err.id, ERR_DEFINITION);
	}
}

static void a_host_has_no_prefix(void **state)
{
	(void)state;
	struct address address;
	struct error err = {0};
	char text[ADDRESS_TEXT_MAX];
	assert_int_equal(address_parse_host("10.77.0.1", &address, &err), 0);
	assert_string_equal(address_format_cidr(&address, text), "10.77.0.1/32");
	assert_int_equal(address_parse_host("fd77::1", &address, &err), 0);
	assert_string_equal(address_format_host(&address, text), "fd77::1");
	assert_int_equal(address_parse_host("10.77.0.1/24", &address, &err), -1);
}

static bool within(const char *host, const char *network)
{
	struct address a, b;
	assert_int_equal(address_parse_host(host, &a, NULL), 0);
	assert_int_equal(address_parse_cidr(network, &b, NULL), 0);
	return address_in_network(&a, &b);
}

static void knows_the_network_of_an_address(void **state)
{
	(void)state;
	assert_true(within("10.77.0.1", "10.77.0.50/24"));
	assert_false(within("10.77.1.1", "10.77.0.50/24"));
	assert_true(within("10.77.15.1", "10.77.0.50/20"));
	assert_false(within("10.77.16.1", "10.77.0.50/20"));
	assert_true(within("fd77::1", "fd77::50/64"));
	assert_false(within("fd77:0:0:1::1", "fd77::50/64"));
	assert_false(within("fd77::1", "10.77.0.50/24"));
	assert_true(within("10.77.0.50", "10.77.0.50/32"));
}

static void reads_and_writes_a_mac(void **state)
{
	(void)state;
	static const char *const bad[] = {"",
					  "02:00:0a:4d:00",
					  "02:00:0a:4d:00:32:",
					  "02:00:0a:4d:00:3",
					  "02-00-0a-4d-00-32",
					  "02:00:0a:4d:00:3g",
					  "03:00:0a:4d:00:32",
					  "ff:ff:ff:ff:ff:ff",
					  "00:00:00:00:00:00",
					  " 2:00:0a:4d:00:32",
					  "02:00:0a:4d:00:0x3",
					  "2:00:0a:4d:00:321"};
	struct mac mac;
	char text[MAC_TEXT_MAX];
	assert_int_equal(mac_parse("02:00:0A:4d:00:32", &mac, NULL), 0);
	assert_string_equal(mac_format(&mac, text), "02:00:0a:4d:00:32");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (mac_parse(bad[i], &mac, NULL) != -1)
			fail_msg("taken: %s", bad[i]);
}

static void generated_macs_are_local_and_differ(void **state)
{
	(void)state;
	struct mac a, b;
	assert_int_equal(mac_generate(&a, NULL), 0);
	assert_int_equal(mac_generate(&b, NULL), 0);
	assert_int_equal(a.bytes[0], 0x02);
	assert_false(mac_equal(&a, &b));
}

static void interface_names_are_stable_and_differ(void **state)
{
	(void)state;
	char a[IFNAMSIZ], b[IFNAMSIZ];
	port_name("redis1", 0, a);
	assert_string_equal(a, "wp529212585921"); // other hosts and versions must find it again
	port_name("redis1", 1, b);
	assert_string_not_equal(a, b);
	port_name("redis2", 0, b);
	assert_string_not_equal(a, b);
	hold_name("redis1", 0, b);
	assert_string_not_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_an_interface_can_have),
		cmocka_unit_test(refuses_the_rest),
		cmocka_unit_test(a_host_has_no_prefix),
		cmocka_unit_test(knows_the_network_of_an_address),
		cmocka_unit_test(reads_and_writes_a_mac),
		cmocka_unit_test(generated_macs_are_local_and_differ),
		cmocka_unit_test(interface_names_are_stable_and_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
