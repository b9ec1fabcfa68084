// SPDX-License-Identifier: Apache-2.0
#include "lib/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

int64_t clock_now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_realtime_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double clock_ms_since(int64_t ns)
{
	return (double)(clock_now_ns() - ns) / 1e6;
}

deadline_t deadline_in_ms(int64_t ms)
{
	return clock_now_ns() + ms * 1000000;
}

bool deadline_passed(deadline_t deadline)
{
	return deadline != DEADLINE_NEVER && clock_now_ns() >= deadline;
}

int deadline_poll_ms(deadline_t deadline)
{
	if (deadline == DEADLINE_NEVER)
		return -1;
	int64_t left = deadline - clock_now_ns();
	if (left <= 0)
		return 0;
	int64_t ms = (left + 999999) / 1000000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

deadline_t deadline_earlier(deadline_t a, deadline_t b)
{
	return a < b ? a : b;
}

void clock_sleep_ms(int64_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
		;
}

char *clock_rfc3339(char text[CLOCK_TEXT_MAX])
{
	struct timespec now;
	struct tm parts;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	size_t n = strftime(text, CLOCK_TEXT_MAX, "%FT%T", &parts);
	snprintf(text + n, CLOCK_TEXT_MAX - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
	return text;
}
