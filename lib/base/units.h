// SPDX-License-Identifier: Apache-2.0
// Quantities as people write and read them. Sizes are powers of 1024; a duration names its unit.
#ifndef WPAR_BASE_UNITS_H
#define WPAR_BASE_UNITS_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

// "512M", "1.5G", "64KiB", "4096" (bytes). Units K M G T, a following "B" or "iB" changes nothing.
// What is not such a text, or does not fit 63 bits, is ERR_USAGE.
int units_parse_size(const char *text, uint64_t *bytes, struct error *err);

// "100ms", "10s", "1.5m", "2h", "7d" into milliseconds; "0" needs no unit.
int units_parse_duration(const char *text, uint64_t *ms, struct error *err);

// "120MiB/s" (powers of 1024) or "1Gbit/s" (powers of 1000) into bytes a second; "0" needs no unit.
int units_parse_rate(const char *text, uint64_t *bytes, struct error *err);

// "1.5" processors into thousandths; at least 0.01, which is what the kernel can limit to.
int units_parse_cpus(const char *text, uint32_t *millis, struct error *err);

#define UNITS_TEXT_MAX 32

// "812 B", "64 MiB", "1.9 GiB". Three digits at most, then a unit.
char *units_format_size(char text[UNITS_TEXT_MAX], uint64_t bytes);
// "1.9/2.3 GiB": both in the unit of the second.
char *units_format_part(char text[UNITS_TEXT_MAX], uint64_t bytes, uint64_t total);
// "41.3 ms", "1.24 s", "5m12s", "2h03m".
char *units_format_ms(char text[UNITS_TEXT_MAX], double ms);
// "0:03", "12:40", "1:02:03".
char *units_format_clock(char text[UNITS_TEXT_MAX], uint64_t seconds);

#endif
