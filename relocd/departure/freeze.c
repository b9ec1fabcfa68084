// SPDX-License-Identifier: Apache-2.0
// FREEZE: stop the tasks, pull the cable, hold what comes for them. And back.
#include "relocd/departure/departure.h"

#include "lib/base/log.h"
#include "lib/net/backlog.h"
#include "lib/partition/sessions.h"
#include "lib/partition/undumpable.h"
#include "relocd/move/priority.h"
#include "relocd/move/talk.h"

#define FREEZE_MS       5000
#define SESSIONS_MS     5000
#define SETTLE_TRIES    16
#define SETTLE_PAUSE_MS 10

// What CRIU cannot dump, but what passes by itself: ERR_PENDING.
static int check_pending(struct departure *d, struct error *err)
{
	struct backlog backlog;
	if (backlog_waiting(d->backlog, &backlog, err) < 0)
		return -1;
	if (backlog.waiting)
		return error_set(err, ERR_PENDING,
				 "%u connections wait to be accepted (%s) and the program does not "
				 "accept them",
				 backlog.waiting, backlog.where);
	return undumpable_check_vfork(d->cgroup, err);
}

// Lets the partition run on a moment for that.
static int freeze_when_settled(struct departure *d, struct error *err)
{
	for (int i = 1;; i++) {
		d->frozen_ns = clock_now_ns();
		if (cgroup_freeze(d->cgroup, deadline_in_ms(FREEZE_MS), err) < 0)
			return -1;
		if (check_pending(d, err) == 0)
			return 0;
		if (err->id != ERR_PENDING || i == SETTLE_TRIES)
			return -1;
		log_info("%s: running on for %d ms", err->message, SETTLE_PAUSE_MS);
		if (cgroup_thaw(d->cgroup, err) < 0)
			return -1;
		clock_sleep_ms(SETTLE_PAUSE_MS);
	}
}

static int end_sessions(struct departure *d, struct error *err)
{
	size_t ended = 0;
	if (d->end_exec &&
	    sessions_end(d->cgroup, d->status.pid, deadline_in_ms(SESSIONS_MS), &ended, err) < 0)
		return -1;
	if (ended)
		log_info("%zu processes of exec sessions were ended", ended);
	return 0;
}

int departure_freeze(struct departure *d, struct error *err)
{
	struct talk_decision frozen = {.move = d->move, .epoch = d->epoch};
	if (end_sessions(d, err) < 0 || departure_sink_bound(d, err) < 0)
		return -1;
	d->frozen = true; // from here on a thaw does no harm
	priority_resume();
	squeeze_settle(d->squeeze);
	if (freeze_when_settled(d, err) < 0 || sessions_check(d->cgroup, d->status.pid, err) < 0 ||
	    departure_check_network_frozen(d, err) < 0 || departure_share_frozen(d, err) < 0)
		return -1;
	departure_speed_up(d); // CRIU has its tasks do some of the work
	if (cable_pull(&d->cable, true, err) < 0)
		return -1;
	return talk_decision(d->link, WIRE_FROZEN, &frozen, err);
}

void departure_thaw(struct departure *d)
{
	struct error err;
	departure_give_back(d);
	if (d->cable.pulled) {
		if (cable_announce(&d->cable, &err) < 0)
			log_error_of(&err, "announcement after an abort");
		cable_plug_in(&d->cable);
	}
	if (!d->frozen)
		return;
	if (cgroup_thaw(d->cgroup, &err) < 0)
		log_error_of(&err, "thaw after an abort");
	d->frozen = false;
	d->downtime_ms = clock_ms_since(d->frozen_ns);
}
