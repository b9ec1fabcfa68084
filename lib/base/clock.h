// SPDX-License-Identifier: Apache-2.0
// Time: the monotonic clock for waits and measurements, RFC 3339 UTC for people and records.
#ifndef WPAR_BASE_CLOCK_H
#define WPAR_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A moment on CLOCK_MONOTONIC in nanoseconds; DEADLINE_NEVER is no limit.
typedef int64_t deadline_t;
#define DEADLINE_NEVER INT64_MAX

int64_t clock_now_ns(void);        // CLOCK_MONOTONIC
int64_t clock_realtime_ns(void);   // CLOCK_REALTIME: to compare hosts, never to wait
double clock_ms_since(int64_t ns); // milliseconds passed since a clock_now_ns()

deadline_t deadline_in_ms(int64_t ms);
bool deadline_passed(deadline_t deadline);
// For poll(2): milliseconds left rounded up, 0 when passed, -1 for never.
int deadline_poll_ms(deadline_t deadline);
deadline_t deadline_earlier(deadline_t a, deadline_t b);

// Sleeps; goes on after signals.
void clock_sleep_ms(int64_t ms);

// "2026-11-23T05:09:00.123Z" into text (at least 32 bytes); returns text.
#define CLOCK_TEXT_MAX 32
char *clock_rfc3339(char text[CLOCK_TEXT_MAX]);

#endif
