// SPDX-License-Identifier: Apache-2.0
#include "lib/base/units.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// A decimal number without sign and exponent: whole + fraction / divisor. Not strtod(3), which
// follows the locale and rounds. Returns what follows the number, NULL when there is none.
struct decimal {
	uint64_t whole, fraction, divisor;
};

static const char *read_decimal(const char *text, struct decimal *number)
{
	*number = (struct decimal){.divisor = 1};
	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(number->whole, 10, &number->whole) ||
		    __builtin_add_overflow(number->whole, (uint64_t)(*text - '0'), &number->whole))
			return NULL;
	if (*text != '.')
		return text;
	if (!isdigit((unsigned char)*++text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		if (number->divisor >= 1000000000)
			continue; // finer than anything here
		number->fraction = number->fraction * 10 + (uint64_t)(*text - '0');
		number->divisor *= 10;
	}
	return text;
}

// number * unit, fractions of one dropped; -1 past 63 bits.
static int scale(const struct decimal *number, uint64_t unit, uint64_t *value)
{
	unsigned __int128 wide = (unsigned __int128)number->whole * unit +
				 (unsigned __int128)number->fraction * unit / number->divisor;
	if (wide > INT64_MAX)
		return -1;
	*value = (uint64_t)wide;
	return 0;
}

int units_parse_size(const char *text, uint64_t *bytes, struct error *err)
{
	static const char letters[] = "KMGT";
	struct decimal number;
	uint64_t unit = 1;
	const char *rest = read_decimal(text, &number);
	if (rest && *rest) {
		const char *letter = strchr(letters, toupper((unsigned char)*rest));
		if (letter) {
			unit <<= 10 * (letter - letters + 1);
			rest += strncasecmp(rest + 1, "i", 1) ? 1 : 2;
		}
		if (toupper((unsigned char)*rest) == 'B')
			rest++;
		else if (letter && toupper((unsigned char)rest[-1]) == 'I')
			rest = NULL; // "5Gi": half a unit
	}
	if (!rest || *rest || scale(&number, unit, bytes) < 0)
		return error_set(err, ERR_USAGE,
				 "\"%s\" is not a size: a number and K, M, G or T is wanted", text);
	return 0;
}

int units_parse_duration(const char *text, uint64_t *ms, struct error *err)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	struct decimal number;
	const char *rest = read_decimal(text, &number);
	for (size_t i = 0; rest && i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(rest, units[i].name) && !scale(&number, units[i].ms, ms))
			return 0;
	if (rest && !*rest && !number.whole && !number.fraction) {
		*ms = 0;
		return 0;
	}
	return error_set(err, ERR_USAGE,
			 "\"%s\" is not a duration: a number and ms, s, m, h or d is wanted", text);
}

int units_parse_rate(const char *text, uint64_t *bytes, struct error *err)
{
	static const struct {
		const char *name;
		uint64_t bits;
	} units[] = {{"bit/s", 1},
		     {"kbit/s", 1000},
		     {"Mbit/s", 1000000},
		     {"Gbit/s", 1000000000},
		     {"B/s", 8},
		     {"KiB/s", 8ull << 10},
		     {"MiB/s", 8ull << 20},
		     {"GiB/s", 8ull << 30},
		     {"K/s", 8ull << 10},
		     {"M/s", 8ull << 20},
		     {"G/s", 8ull << 30}};
	struct decimal number;
	const char *rest = read_decimal(text, &number);
	bool zero = rest && !number.whole && !number.fraction;
	uint64_t bits = 0;
	bool known = zero && !*rest;
	for (size_t i = 0; rest && i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(rest, units[i].name))
			known = scale(&number, units[i].bits, &bits) == 0;
	// Less than a byte a second is no rate, and must not turn into "no limit".
	if (!known || (!zero && bits < 8))
		return error_set(err, ERR_USAGE, "\"%s\" is not a rate: 120MiB/s or 1Gbit/s is one",
				 text);
	*bytes = bits / 8;
	return 0;
}

int units_parse_cpus(const char *text, uint32_t *millis, struct error *err)
{
	struct decimal number;
	uint64_t value = 0;
	const char *rest = read_decimal(text, &number);
	if (!rest || *rest || scale(&number, 1000, &value) < 0 || value < 10 || value > INT32_MAX)
		return error_set(err, ERR_USAGE,
				 "\"%s\" is not a number of processors: 0.01 or more is wanted",
				 text);
	*millis = (uint32_t)value;
	return 0;
}

static const char *const size_units[] = {"B", "KiB", "MiB", "GiB", "TiB"};

static unsigned unit_of(uint64_t bytes)
{
	unsigned unit = 0;
	// 1000 of a unit would take four digits: the next one then.
	for (double value = (double)bytes; value >= 999.5 && unit < 4; value /= 1024)
		unit++;
	return unit;
}

static void format_in(char *text, size_t size, uint64_t bytes, unsigned unit)
{
	double value = (double)bytes / (double)(1ULL << (10 * unit));
	snprintf(text, size, unit == 0 || value >= 99.95 || value == 0 ? "%.0f" : "%.1f", value);
}

char *units_format_size(char text[UNITS_TEXT_MAX], uint64_t bytes)
{
	unsigned unit = unit_of(bytes);
	char number[24];
	if (bytes % (1ULL << (10 * unit)) == 0)
		snprintf(number, sizeof(number), "%llu",
			 (unsigned long long)(bytes >> (10 * unit)));
	else
		format_in(number, sizeof(number), bytes, unit);
	snprintf(text, UNITS_TEXT_MAX, "%s %s", number, size_units[unit]);
	return text;
}

char *units_format_part(char text[UNITS_TEXT_MAX], uint64_t bytes, uint64_t total)
{
	unsigned unit = unit_of(total);
	char part[16], whole[16];
	format_in(part, sizeof(part), bytes, unit);
	format_in(whole, sizeof(whole), total, unit);
	snprintf(text, UNITS_TEXT_MAX, "%s/%s %s", part, whole, size_units[unit]);
	return text;
}

char *units_format_ms(char text[UNITS_TEXT_MAX], double ms)
{
	if (ms < 999.95) {
		snprintf(text, UNITS_TEXT_MAX, "%.1f ms", ms);
	} else if (ms < 59995) {
		snprintf(text, UNITS_TEXT_MAX, "%.2f s", ms / 1000);
	} else {
		unsigned long long s = (unsigned long long)(ms / 1000 + 0.5);
		if (s < 3600)
			snprintf(text, UNITS_TEXT_MAX, "%llum%02llus", s / 60, s % 60);
		else
			snprintf(text, UNITS_TEXT_MAX, "%lluh%02llum", s / 3600, s / 60 % 60);
	}
	return text;
}

char *units_format_clock(char text[UNITS_TEXT_MAX], uint64_t seconds)
{
	unsigned long long s = seconds;
	if (s < 3600)
		snprintf(text, UNITS_TEXT_MAX, "%llu:%02llu", s / 60, s % 60);
	else
		snprintf(text, UNITS_TEXT_MAX, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
	return text;
}
