// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/priority.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>

#define NICE      10        // a tenth of the weight of what runs as usual: sched(7)
#define LOOK_NS   100000000 // ticks of /proc/stat are 10 ms
#define STAT_MAX  (1u << 20)
#define BUSY      0.05 // of the processors' time left over: there is none
#define LEISURELY 0.15
#define SLOWER    0.5
#define FASTER    1.5

static struct {
	deadline_t until; // 0: it has not stepped back yet
	bool yields, lowered;
	double rate, least;
	int64_t looked_ns;
	uint64_t idle, all; // then, of /proc/stat
} state;

// proc(5): user nice system idle iowait irq softirq steal, of all processors.
static bool look(uint64_t *idle, uint64_t *all)
{
	uint64_t t[8] = {0};
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, "/proc/stat", STAT_MAX, NULL);
	if (!text || sscanf(text,
			    "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
			    " %" SCNu64 " %" SCNu64 " %" SCNu64,
			    &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) != 8)
		return false;
	*idle = t[3] + t[4];
	*all = 0;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		*all += t[i];
	return true;
}

static bool can_raise(void)
{
	cap_flag_value_t value = CAP_CLEAR;
	cap_t caps = cap_get_proc();
	if (caps) {
		cap_get_flag(caps, CAP_SYS_NICE, CAP_EFFECTIVE, &value);
		cap_free(caps);
	}
	return value == CAP_SET;
}

bool priority_yield(double rate, double least)
{
	if (state.until)
		return false;
	state.until = deadline_in_ms(PRIORITY_YIELD_MS);
	state.rate = rate > least ? rate : least;
	state.least = least;
	state.looked_ns = clock_now_ns();
	state.yields = look(&state.idle, &state.all);
	state.lowered = can_raise() && setpriority(PRIO_PGRP, 0, NICE) == 0;
	return true;
}

void priority_resume(void)
{
	if (state.lowered && setpriority(PRIO_PGRP, 0, 0) < 0)
		log_warn("cannot take the usual priority back: %s", strerror(errno));
	state.lowered = state.yields = false;
}

double priority_adapt(double rate, double least, double idle)
{
	if (idle < BUSY)
		rate *= SLOWER;
	else if (idle > LEISURELY)
		rate *= FASTER;
	return rate > least ? rate : least;
}

double priority_rate(void)
{
	int64_t now = clock_now_ns();
	uint64_t idle, all;
	if (state.until && deadline_passed(state.until))
		priority_resume();
	if (!state.yields)
		return 0;
	if (now - state.looked_ns > LOOK_NS && look(&idle, &all) && all > state.all) {
		double share = (double)(idle - state.idle) / (double)(all - state.all);
		state.rate = priority_adapt(state.rate, state.least, share);
		state.idle = idle;
		state.all = all;
		state.looked_ns = now;
	}
	return state.rate;
}
