// SPDX-License-Identifier: Apache-2.0
// Sizes, durations and processors: what is read, what is refused, what is written.
#include "lib/base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint64_t size_of(const char *text)
{
	uint64_t bytes = 0;
	struct error err = {0};
	if (units_parse_size(text, &bytes, &err) < 0) {
		assert_int_equal(err.id, ERR_USAGE);
		return UINT64_MAX;
	}
	return bytes;
}

static uint64_t duration_of(const char *text)
{
	uint64_t ms = 0;
	struct error err = {0};
	if (units_parse_duration(text, &ms, &err) < 0) {
		assert_int_equal(err.id, ERR_USAGE);
		return UINT64_MAX;
	}
	return ms;
}

static uint32_t cpus_of(const char *text)
{
	uint32_t millis = 0;
	struct error err = {0};
	if (units_parse_cpus(text, &millis, &err) < 0) {
		assert_int_equal(err.id, ERR_USAGE);
		return UINT32_MAX;
	}
	return millis;
}

static void reads_sizes(void **state)
{
	(void)state;
	assert_int_equal(size_of("4096"), 4096);
	assert_int_equal(size_of("0"), 0);
	assert_int_equal(size_of("512M"), 512ULL << 20);
	assert_int_equal(size_of("512m"), 512ULL << 20);
	assert_int_equal(size_of("512MB"), 512ULL << 20);
	assert_int_equal(size_of("512MiB"), 512ULL << 20);
	assert_int_equal(size_of("1.5G"), 3ULL << 29);
	assert_int_equal(size_of("2T"), 2ULL << 40);
	assert_int_equal(size_of("10B"), 10);
	assert_int_equal(size_of("0.1K"), 102);
}

static void refuses_what_is_no_size(void **state)
{
	(void)state;
	static const char *const bad[] = {"",    "M",   "-1M", "+1M",  "1X",  "1 M", "5Gi", "1.M",
					  ".5M", "1e3", "1MX", "1MBx", "0x1", "nan", "1iB"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(size_of(bad[i]), UINT64_MAX);
	assert_int_equal(size_of("9223372036854775807"), INT64_MAX);
	assert_int_equal(size_of("9223372036854775808"), UINT64_MAX);
	assert_int_equal(size_of("18446744073709551616"), UINT64_MAX);
	assert_int_equal(size_of("8388608T"), UINT64_MAX);
}

static void reads_durations(void **state)
{
	(void)state;
	assert_int_equal(duration_of("100ms"), 100);
	assert_int_equal(duration_of("10s"), 10000);
	assert_int_equal(duration_of("1.5m"), 90000);
	assert_int_equal(duration_of("2h"), 7200000);
	assert_int_equal(duration_of("7d"), 604800000);
	assert_int_equal(duration_of("0"), 0);
	assert_int_equal(duration_of("10"), UINT64_MAX);
	assert_int_equal(duration_of("10 s"), UINT64_MAX);
	assert_int_equal(duration_of("-1s"), UINT64_MAX);
	assert_int_equal(duration_of("1S"), UINT64_MAX);
	assert_int_equal(duration_of(""), UINT64_MAX);
	assert_int_equal(duration_of("99999999999999999d"), UINT64_MAX);
}

static void reads_processors(void **state)
{
	(void)state;
	assert_int_equal(cpus_of("1.5"), 1500);
	assert_int_equal(cpus_of("2"), 2000);
	assert_int_equal(cpus_of("0.01"), 10);
	assert_int_equal(cpus_of("0.009"), UINT32_MAX);
	assert_int_equal(cpus_of("0"), UINT32_MAX);
	assert_int_equal(cpus_of("two"), UINT32_MAX);
	assert_int_equal(cpus_of("1.5x"), UINT32_MAX);
}

static void writes_sizes(void **state)
{
	(void)state;
	char text[UNITS_TEXT_MAX];
	assert_string_equal(units_format_size(text, 0), "0 B");
	assert_string_equal(units_format_size(text, 812), "812 B");
	assert_string_equal(units_format_size(text, 1024), "1 KiB");
	assert_string_equal(units_format_size(text, 1000 << 10), "1.0 MiB");
	assert_string_equal(units_format_size(text, 512ULL << 20), "512 MiB");
	assert_string_equal(units_format_size(text, (64ULL << 20) + 4096), "64.0 MiB");
	assert_string_equal(units_format_size(text, 64ULL << 20), "64 MiB");
	assert_string_equal(units_format_size(text, 2040109466), "1.9 GiB");
	assert_string_equal(units_format_size(text, UINT64_MAX), "16777216 TiB");
	assert_string_equal(units_format_part(text, 2040109466, 2469606195), "1.9/2.3 GiB");
	assert_string_equal(units_format_part(text, 0, 2469606195), "0/2.3 GiB");
}

static void writes_times(void **state)
{
	(void)state;
	char text[UNITS_TEXT_MAX];
	assert_string_equal(units_format_ms(text, 41.26), "41.3 ms");
	assert_string_equal(units_format_ms(text, 999.99), "1.00 s");
	assert_string_equal(units_format_ms(text, 1240), "1.24 s");
	assert_string_equal(units_format_ms(text, 312000), "5m12s");
	assert_string_equal(units_format_ms(text, 7380000), "2h03m");
	assert_string_equal(units_format_clock(text, 3), "0:03");
	assert_string_equal(units_format_clock(text, 760), "12:40");
	assert_string_equal(units_format_clock(text, 3723), "1:02:03");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_sizes),     cmocka_unit_test(refuses_what_is_no_size),
		cmocka_unit_test(reads_durations), cmocka_unit_test(reads_processors),
		cmocka_unit_test(writes_sizes),    cmocka_unit_test(writes_times),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
