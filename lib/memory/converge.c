// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/converge.h"

#include "lib/base/cleanup.h"

#include <string.h>

#define TELLING_BYTES (16u << 20) // a round of less says more about latency than about the link
#define PROGRESS      0.7  // a round is of use when it leaves less than that of the one before
#define FELT          0.2  // a downtime that is so much longer is hardly felt to be
#define PATIENCE      2    // rounds of no use that are borne without throttling
#define LITTLE_MS     4    // a shorter time of sending is not worth a round
#define WAVERING      1.25 // from round to round what is left differs by so much

static const struct {
	const char *name;
	enum converge_policy policy;
} policies[] = {{"throttle-then-abort", CONVERGE_THROTTLE_THEN_ABORT},
		{"throttle-then-stop", CONVERGE_THROTTLE_THEN_STOP},
		{"stop", CONVERGE_STOP},
		{"abort", CONVERGE_ABORT}};

// Of the processor time that the partition used before.
static const unsigned steps[] = {60, 35, 20, 10, 5};

int converge_policy_of(const char *name, enum converge_policy *policy, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		if (!strcmp(policies[i].name, name)) {
			*policy = policies[i].policy;
			return 0;
		}
	return error_set(err, ERR_USAGE,
			 "\"%s\" is not throttle-then-abort, throttle-then-stop, stop or abort",
			 name);
}

void converge_begin(struct converge *c, const struct converge_goal *goal)
{
	*c = (struct converge){.goal = *goal, .cpu_percent = 100};
}

double converge_limit_ms(const struct converge *c, double frozen_ms)
{
	double left = c->goal.max_downtime_ms - c->goal.fixed_ms - frozen_ms;
	return left > CONVERGE_LEAST_MS ? left : CONVERGE_LEAST_MS;
}

// How long it took to send. While the link had something to do, it does not matter what we did.
static double sending_ms(const struct converge_round *r)
{
	double searched_ms = r->scan_ms < r->idle_ms ? r->scan_ms : r->idle_ms;
	double ms = r->ms - r->paused_ms - searched_ms;
	return ms > 0.1 ? ms : 0.1;
}

static void measure(struct converge *c, struct converge_round *r)
{
	if (r->plain_bytes)
		c->link_rate =
			(double)r->plain_bytes * 1000 / (r->plain_ms > 0.1 ? r->plain_ms : 0.1);
	else if (r->bytes >= TELLING_BYTES || c->link_rate == 0)
		c->link_rate = (double)(r->bytes ? r->bytes : 1) * 1000 / sending_ms(r);
	r->link_rate = c->link_rate;
	r->dirty_rate = (double)r->dirty_bytes * 1000 / (r->ms > 0.1 ? r->ms : 0.1);
	// Written behind the back of who counted: half of it, for half of the pages were still to
	// be looked at.
	double missed = r->dirty_rate * r->look_ms / 1000 / 2;
	r->send_ms = ((double)r->dirty_bytes + missed) * 1000 / c->link_rate;
	r->memory_ms = r->frozen_ms + r->send_ms;
	r->downtime_ms = c->goal.fixed_ms + r->memory_ms;
}

static enum converge_next diverge(struct converge *c)
{
	enum converge_policy policy = c->goal.policy;
	bool throttles =
		policy == CONVERGE_THROTTLE_THEN_ABORT || policy == CONVERGE_THROTTLE_THEN_STOP;
	c->diverged = true;
	if (throttles && c->steps < ARRAY_SIZE(steps)) {
		c->cpu_percent = steps[c->steps++];
		c->stalled = 0;
		return CONVERGE_THROTTLE;
	}
	return policy == CONVERGE_STOP || policy == CONVERGE_THROTTLE_THEN_STOP ? CONVERGE_FREEZE
										: CONVERGE_GIVE_UP;
}

// Beside what no round can shorten so much hardly matters: pages are sent while others are still
// compared, and where the wanted downtime is out of reach anyway, a fifth more is not worth slowing
// anybody down.
static double hardly_felt_ms(const struct converge *c, const struct converge_round *r)
{
	double certain_ms = c->goal.fixed_ms + r->frozen_ms, part_ms = certain_ms * FELT;
	if (certain_ms <= c->goal.max_downtime_ms || part_ms < r->frozen_ms)
		return r->frozen_ms;
	return part_ms;
}

// The wanted downtime can be kept. A round that has little to copy costs nobody anything: while
// each leaves much less than the one before, the downtime becomes shorter than it has to be.
static enum converge_next polish(struct converge *c, const struct converge_round *r, bool useful)
{
	if (r->send_ms <= LITTLE_MS || !useful || c->polished == CONVERGE_POLISH_MAX)
		return CONVERGE_FREEZE;
	c->polished++;
	return CONVERGE_AGAIN;
}

enum converge_next converge_after(struct converge *c, struct converge_round *r)
{
	// The first one copied everything: what it leaves says nothing yet.
	bool useful = r->number == 1 || (double)r->dirty_bytes < PROGRESS * (double)c->last_dirty;
	measure(c, r);
	c->last_dirty = r->dirty_bytes;
	double limit_ms = converge_limit_ms(c, r->frozen_ms);
	if (r->send_ms <= (c->polished ? limit_ms * WAVERING : limit_ms))
		return polish(c, r, useful);
	c->stalled = useful ? 0 : c->stalled + 1;
	if (r->number >= CONVERGE_ROUNDS_MAX)
		c->steps = ARRAY_SIZE(steps);
	else if (c->stalled < (c->steps ? 1 : PATIENCE))
		return CONVERGE_AGAIN;
	return r->send_ms <= hardly_felt_ms(c, r) ? CONVERGE_FREEZE : diverge(c);
}
