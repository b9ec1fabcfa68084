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
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NICE      10        // a tenth of the weight of what runs as usual: sched(7)
#define LOOK_NS   100000000 // ticks of /proc/stat are 10 ms
#define STAT_MAX  (1u << 20)
#define LIST_MAX  4096
#define MOSTLY    2.0  // times what we use: others use most
#define BUSY      0.05 // of the processors' time left over: there is none
#define LEISURELY 0.15
#define HEADROOM  0.25 // as much again as others use by now, they may need in a moment
#define SLOWER    0.5
#define FASTER    1.1
#define WAITS     0.1 // of the time: the partition feels us

#define AUTOGROUP "/proc/self/autogroup" // sched(7)

static struct {
	deadline_t until; // 0: it has not stepped back yet
	bool yields, lowered;
	bool grouped; // lowered as a session, too
	double rate, least;
	int64_t looked_ns;
	uint64_t idle, all; // then, of /proc/stat
	double own_s;       // then
	struct priority_watch watch;
	int64_t waited_us; // then
} state;

static int64_t waited_us(void)
{
	return state.watch.waited_us ? state.watch.waited_us(state.watch.arg) : -1;
}

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

static double seconds_of(clockid_t clock)
{
	struct timespec t;
	return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec / 1e9 : 0;
}

// Processor time of this process and of the children that its first thread has started.
static double own_seconds(void)
{
	char path[64], *rest;
	double sum = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	_cleanup_free_ char *list = fdio_read_file(AT_FDCWD, path, LIST_MAX, NULL);
	for (char *at = list; at; at = rest) {
		clockid_t clock;
		pid_t pid = (pid_t)strtol(at, &rest, 10);
		if (rest == at)
			break;
		sum += clock_getcpuclockid(pid, &clock) == 0 ? seconds_of(clock) : 0;
	}
	return sum;
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

static bool leads_session(void)
{
	return getsid(0) == getpid();
}

// Not on all kernels. The kernel lets a process without CAP_SYS_ADMIN do so ten times a second.
static int set_autogroup(int nice)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", nice);
	_cleanup_close_ int fd = open(AUTOGROUP, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, (size_t)n) == n ? 0 : -1;
}

void priority_lower(void)
{
	if (state.lowered || !can_raise() || setpriority(PRIO_PGRP, 0, NICE) < 0)
		return;
	state.lowered = true;
	state.grouped = leads_session() && set_autogroup(NICE) == 0;
}

static bool rises(void)
{
	return setpriority(PRIO_PGRP, 0, 0) == 0 && (!state.grouped || set_autogroup(0) == 0);
}

void priority_resume(void)
{
	if (state.lowered && !rises())
		log_warn("cannot take the usual priority back: %s", strerror(errno));
	state.lowered = state.grouped = state.yields = false;
}

bool priority_yield(double rate, double least, const struct priority_watch *watch)
{
	if (state.until)
		return false;
	state.until = deadline_in_ms(PRIORITY_YIELD_MS);
	state.rate = rate > least ? rate : least;
	state.least = least;
	state.looked_ns = clock_now_ns();
	state.own_s = own_seconds();
	if (watch)
		state.watch = *watch;
	state.waited_us = waited_us();
	state.yields = look(&state.idle, &state.all);
	priority_lower();
	return true;
}

double priority_least(double rate, double bytes)
{
	double slow = rate / PRIORITY_SLOWEST, late = bytes * 1000 / PRIORITY_YIELD_MS;
	return slow > late ? slow : late;
}

// Where nobody is left time it is others that we slow down, or ourselves: both ends of a move may
// use all of a small machine.
double priority_adapt(double rate, double least, const struct priority_use *use)
{
	double others = 1 - use->idle - use->own;
	bool crowded = others > MOSTLY * use->own, felt = use->waits > WAITS;
	double room = crowded && others * HEADROOM > LEISURELY ? others * HEADROOM : LEISURELY;
	if (felt || (use->idle < BUSY && crowded))
		rate *= SLOWER;
	else if (use->idle > room)
		rate *= FASTER;
	return rate > least ? rate : least;
}

static struct priority_use use_since(uint64_t idle, uint64_t all, double own_s, int64_t waited)
{
	double ticks = (double)(all - state.all);
	double seconds = ticks / (double)sysconf(_SC_CLK_TCK);
	bool known = waited >= 0 && state.waited_us >= 0;
	return (struct priority_use){
		.idle = (double)(idle - state.idle) / ticks,
		.own = (own_s - state.own_s) / seconds,
		.waits = known ? (double)(waited - state.waited_us) * 1000 /
					 (double)(clock_now_ns() - state.looked_ns)
			       : 0};
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
		double own_s = own_seconds();
		int64_t waited = waited_us();
		struct priority_use use = use_since(idle, all, own_s, waited);
		state.rate = priority_adapt(state.rate, state.least, &use);
		state.idle = idle;
		state.all = all;
		state.own_s = own_s;
		state.waited_us = waited;
		state.looked_ns = now;
	}
	return state.rate;
}
