// SPDX-License-Identifier: Apache-2.0
// What a partition is on a network, taken from its definition.
#include "lib/partition/station.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void takes_all_addresses_in_order(void **state)
{
	(void)state;
	struct error err = {0};
	char *addresses[] = {"10.77.0.50/24", "fd77::50/64", NULL};
	char *gateways[] = {"fd77::1", "10.77.0.1", NULL};
	struct partition_network network = {
		.addresses = addresses, .gateways = gateways, .mac = "02:00:0a:4d:00:32"};
	_cleanup_station_ struct station station = {0};
	assert_int_equal(station_of(&network, &station, &err), 0);
	assert_int_equal(station.address_count, 2);
	assert_int_equal(station.gateway_count, 2);
	assert_int_equal(station.gateways[0].family, AF_INET6);
	assert_int_equal(station.addresses[0].family, AF_INET);
	assert_int_equal(station.addresses[1].prefix, 64);
	assert_int_equal(station.mac.bytes[5], 0x32);
}

static void none_is_fine(void **state)
{
	(void)state;
	struct error err = {0};
	char *addresses[] = {NULL};
	struct partition_network network = {.addresses = addresses, .mac = "02:00:0a:4d:00:32"};
	_cleanup_station_ struct station station = {0};
	assert_int_equal(station_of(&network, &station, &err), 0);
	assert_int_equal(station.address_count, 0);
}

static void refuses_what_is_none(void **state)
{
	(void)state;
	struct error err = {0};
	char *addresses[] = {"10.77.0.50/24", "10.77.0.0/24", NULL}, *good[] = {NULL};
	struct partition_network network = {.addresses = addresses, .mac = "02:00:0a:4d:00:32"};
	struct partition_network no_mac = {.addresses = good};
	_cleanup_station_ struct station first = {0}, second = {0};
	assert_int_equal(station_of(&network, &first, &err), -1);
	assert_int_equal(err.id, ERR_DEFINITION);
	assert_int_equal(station_of(&no_mac, &second, &err), -1);
	assert_int_equal(err.id, ERR_DEFINITION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_all_addresses_in_order),
		cmocka_unit_test(none_is_fine),
		cmocka_unit_test(refuses_what_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
