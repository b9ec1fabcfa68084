// SPDX-License-Identifier: Apache-2.0
// When to stop copying a partition that runs: after each round, from what it measured.
//
// The downtime has a fixed part (tasks, descriptors, mounts) and a memory part: what was written
// since the last round, at the rate of the last rounds. Rounds end when the memory part is at most
// max(max_downtime - fixed part, CONVERGE_LEAST_MS). Where rounds stop getting shorter before that,
// the partition writes faster than it can be copied, and the policy decides.
#ifndef WPAR_MEMORY_CONVERGE_H
#define WPAR_MEMORY_CONVERGE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CONVERGE_LEAST_MS   20
#define CONVERGE_ROUNDS_MAX 40

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
	unsigned cpu_percent; // of what the partition used before it was slowed down; 100: not
	// filled by converge_after():
	double dirty_rate, link_rate;
	double memory_ms;   // predicted, of the downtime
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
	double link_rate; // of the last round that was long enough to tell
	uint64_t last_dirty;
	unsigned stalled;     // rounds in a row that were of no use
	unsigned steps;       // of throttling
	unsigned cpu_percent; // 100 at first
	bool diverged;        // the rounds did not end by themselves
};

void converge_begin(struct converge *c, const struct converge_goal *goal);
// The longest that the memory part may take, in milliseconds.
double converge_limit_ms(const struct converge *c);
enum converge_next converge_after(struct converge *c, struct converge_round *round);

#endif
