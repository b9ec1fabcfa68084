// SPDX-License-Identifier: Apache-2.0
// When to stop copying a partition that runs: after each round, from what it measured.
//
// The downtime has a fixed part (tasks, descriptors, mounts) and a memory part: finding out what
// was written (comparing shared memory), which no further round makes less, and sending it, at the
// rate at which the last rounds were sent. Rounds end when sending takes at most max(max_downtime -
// all that is fixed, CONVERGE_LEAST_MS), and up to CONVERGE_POLISH_MAX later, while each of those
// leaves much less than the one before. Where they stop getting shorter before that, the partition
// writes faster than it can be copied, and the policy decides; but for no more than comparing takes
// anyway (pages are sent while others are still compared), or than a fifth of all that is fixed
// where that alone is too long, it is neither slowed down nor left.
#ifndef WPAR_MEMORY_CONVERGE_H
#define WPAR_MEMORY_CONVERGE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CONVERGE_LEAST_MS   20
#define CONVERGE_ROUNDS_MAX 40
#define CONVERGE_POLISH_MAX 3

enum converge_policy {
	CONVERGE_THROTTLE_THEN_ABORT, // slow its processors down, in steps; if that is of no use:
	CONVERGE_THROTTLE_THEN_STOP,
	CONVERGE_STOP,  // freeze it and copy the rest, however long that takes
	CONVERGE_ABORT, // leave it running where it is
};

// "throttle-then-abort" ...; ERR_USAGE.
int converge_policy_of(const char *name, enum converge_policy *policy, struct error *err);

struct converge_goal {
	double max_downtime_ms, fixed_ms;
	enum converge_policy policy;
};

// What one round measured. Rates in bytes a second.
struct converge_round {
	unsigned number;      // from 1
	uint64_t bytes;       // sent in it
	uint64_t zero_bytes;  // pages of zeroes, which are not sent
	uint64_t dirty_bytes; // written since it read them
	double ms;            // from its begin until the other host had it
	double paused_ms;     // of that, waited to keep a bandwidth
	double scan_ms;       // of that, finding out what to send
	double idle_ms;       // of that, nothing was under way
	double frozen_ms;     // that comparing shared memory will take while it is frozen
	double look_ms;       // after it, until dirty_bytes was known: writing went on
	uint64_t plain_bytes; // sent before other work on this host went first; 0: all
	double plain_ms;      // sending them
	unsigned cpu_percent; // of what the partition used before it was slowed down; 100: not
	// filled by converge_after():
	double dirty_rate, link_rate;
	double send_ms;     // predicted: sending what is dirty
	double memory_ms;   // predicted: the memory part of the downtime
	double downtime_ms; // predicted
};

enum converge_next {
	CONVERGE_AGAIN,
	CONVERGE_THROTTLE, // to converge.cpu_percent, then again
	CONVERGE_FREEZE,
	CONVERGE_GIVE_UP,
};

struct converge {
	struct converge_goal goal;
	double link_rate; // of the last round that was long enough to tell, of sending alone
	uint64_t last_dirty;
	unsigned stalled;     // rounds in a row that were of no use
	unsigned steps;       // of throttling
	unsigned polished;    // rounds since what is left was little enough
	unsigned cpu_percent; // 100 at first
	bool diverged;        // the rounds did not end by themselves
};

void converge_begin(struct converge *c, const struct converge_goal *goal);
// The longest that sending may take, in milliseconds, when comparing takes `frozen_ms`.
double converge_limit_ms(const struct converge *c, double frozen_ms);
enum converge_next converge_after(struct converge *c, struct converge_round *round);

#endif
