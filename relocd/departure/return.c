// SPDX-License-Identifier: Apache-2.0
// The way back: the partition runs on here as if nothing had been.
#include "relocd/departure/departure.h"

#include "lib/base/log.h"
#include "relocd/move/talk.h"

#define KILL_MS 20000

// First the partition runs again, then the peer is told: it can do nothing without a COMMIT, and
// telling it may take long on a link that is cut.
static bool tell_abort(struct departure *d, const struct error *why)
{
	struct error err;
	struct talk_decision abort = {.move = d->move, .epoch = d->epoch, .why = why};
	if (d->link && talk_decision(d->link, WIRE_ABORT, &abort, &err) == 0)
		return true;
	if (d->link)
		log_warn("could not tell %s of the abort: %s", d->peer, err.message);
	return false;
}

// Its processes can never run again: the addresses are free, the rest is relocd's to clear away.
static void give_up(struct departure *d)
{
	struct error err;
	departure_give_back(d);
	if (cgroup_kill(d->cgroup, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "killing what is left");
	d->frozen = false;
}

int departure_return(struct departure *d, struct error *why)
{
	struct error lost;
	departure_reason(d, why);
	bool broken = departure_undump(d, &lost) < 0;
	if (broken)
		give_up(d);
	else
		departure_thaw(d);
	departure_settle(d, tell_abort(d, why));
	departure_unprepare(d);
	if (broken)
		*why = lost;
	return broken ? -1 : 0;
}
