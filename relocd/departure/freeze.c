// SPDX-License-Identifier: Apache-2.0
// FREEZE: stop the tasks, pull the cable, hold what comes for them. And back.
#include "relocd/departure/departure.h"

#include "lib/base/log.h"
#include "lib/net/backlog.h"
#include "lib/partition/sessions.h"
#include "relocd/move/talk.h"

#define FREEZE_MS       5000
#define SESSIONS_MS     5000
#define ACCEPT_TRIES    4
#define ACCEPT_PAUSE_MS 10

// CRIU cannot dump a connection that nobody accepted yet: let the program run on a moment and
// accept it.
static int freeze_with_empty_backlog(struct departure *d, struct error *err)
{
	struct backlog backlog;
	for (int i = 0; i < ACCEPT_TRIES; i++) {
		if (cgroup_freeze(d->cgroup, deadline_in_ms(FREEZE_MS), err) < 0 ||
		    backlog_waiting(d->backlog, &backlog, err) < 0)
			return -1;
		if (!backlog.waiting)
			return 0;
		log_info("%u connections wait to be accepted (%s): running on for %d ms",
			 backlog.waiting, backlog.where, ACCEPT_PAUSE_MS);
		if (cgroup_thaw(d->cgroup, err) < 0)
			return -1;
		clock_sleep_ms(ACCEPT_PAUSE_MS);
	}
	return error_set(err, ERR_PENDING,
			 "%u connections wait to be accepted (%s) and the program does not accept "
			 "them",
			 backlog.waiting, backlog.where);
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
	report_phase(&d->report, PHASE_FREEZE);
	if (end_sessions(d, err) < 0 || departure_sink_bound(d, err) < 0)
		return -1;
	d->frozen = true; // from here on a thaw does no harm
	squeeze_settle(d->squeeze);
	d->frozen_ns = clock_now_ns();
	if (freeze_with_empty_backlog(d, err) < 0 ||
	    sessions_check(d->cgroup, d->status.pid, err) < 0 ||
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
