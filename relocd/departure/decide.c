// SPDX-License-Identifier: Apache-2.0
// From the vote to the end: READY, commit record, COMMIT, RUNNING, release.
#include "relocd/departure/departure.h"

#include "lib/base/log.h"
#include "relocd/move/query.h"
#include "relocd/move/sockets.h"
#include "relocd/move/steps.h"
#include "relocd/move/talk.h"

#include <string.h>

#define READY_MS     30000 // and more for much memory
#define RUNNING_MS   30000
#define ASK_MS       30000 // how long the peer is asked what became of the move; then relocd asks
#define ASK_EVERY_MS 1000
#define OUTCOME_MS   10000 // how long a peer that goes on is asked whether it runs there
#define LOOK_MS      200
#define KILL_MS      20000

int departure_await_vote(struct departure *d, struct error *err)
{
	struct link_message message;
	if (departure_send_list(d, err) < 0)
		return -1;
	deadline_t deadline = deadline_in_ms(READY_MS + talk_restore_ms(d->sent_bytes));
	if (departure_wait(d, WIRE_READY, deadline, &message, err) < 0)
		return -1;
	Wpar__Decision *ready = talk_read_decision(&message, d->move, d->epoch, err);
	link_done(d->link, &message);
	if (!ready)
		return -1;
	d->restore_ms = ready->restore_ms;
	wpar__decision__free_unpacked(ready, NULL);
	// The vote counts only while the original is certainly frozen.
	if (cgroup_is_frozen(d->cgroup, err) != 1)
		return error_set(err, ERR_INTERNAL, "the original is not frozen at the commit");
	report_listen(&d->report); // the last moment for a cancel
	return report_may_go_on(&d->report, err);
}

int departure_commit(struct departure *d, struct error *err)
{
	struct talk_decision commit = {
		.move = d->move, .epoch = d->epoch, .frozen_ms = clock_ms_since(d->frozen_ns)};
	return talk_decision(d->link, WIRE_COMMIT, &commit, err);
}

int departure_await_running(struct departure *d, struct error *err)
{
	struct link_message message;
	if (departure_wait(d, WIRE_RUNNING, deadline_in_ms(RUNNING_MS), &message, err) < 0)
		return -1;
	Wpar__Decision *running = talk_read_decision(&message, d->move, d->epoch, err);
	link_done(d->link, &message);
	if (!running)
		return -1;
	d->switch_ms = running->switch_ms;
	wpar__decision__free_unpacked(running, NULL);
	return EVENT_RUNS;
}

// From RESUMING on the original is of no use, whatever became of it there; but it is told. Clients
// do not wait for us any more.
static int await_outcome(struct departure *d, enum query_outcome outcome)
{
	deadline_t deadline = deadline_in_ms(OUTCOME_MS);
	struct error err;
	while (outcome == QUERY_OPEN && !deadline_passed(deadline)) {
		report_pause(&d->report, deadline_in_ms(LOOK_MS));
		query_peer(d->peer_address, d->peer, d->host, &d->tls, d->move, d->epoch, &outcome,
			   &err);
	}
	if (outcome == QUERY_OPEN)
		log_warn("%s goes on with %s and does not say whether it runs", d->peer, d->move);
	return outcome == QUERY_LOST ? EVENT_LOST : EVENT_RUNS;
}

int departure_ask(struct departure *d, struct error *err)
{
	deadline_t deadline = deadline_in_ms(ASK_MS);
	log_error_of(err, "waiting for the peer to run the partition");
	link_cut(d->link); // one that waits for us there would wait long
	while (!deadline_passed(deadline)) {
		enum query_outcome outcome;
		enum decision_type last = query_peer(d->peer_address, d->peer, d->host, &d->tls,
						     d->move, d->epoch, &outcome, err);
		log_info("%s says of %s: %s", d->peer, d->move, decision_name(last));
		if (last == DECISION_RESUMING)
			return await_outcome(d, outcome);
		if (last == DECISION_REFUSED || last == DECISION_GIVEN_UP) {
			error_set(err, ERR_MOVE_FAILED,
				  "%s was given the partition and could not run it", d->peer);
			return EVENT_NEVER_RAN;
		}
		report_pause(&d->report, deadline_in_ms(ASK_EVERY_MS));
	}
	return error_set(err, ERR_IN_DOUBT,
			 "%s was given the partition and does not say whether it runs", d->peer);
}

// Nobody waits for us any more: time to look again at what was taken as it had been a moment
// before.
static void check_flags(const struct departure *d)
{
	size_t changed =
		d->memory && d->engine->flags_changed ? d->engine->flags_changed(d->memory) : 0;
	if (changed)
		log_warn("%zu mappings got other flags (madvise, mlock) just before the freeze: "
			 "their "
			 "copies have the former ones",
			 changed);
}

// By CRIU's own answer to post-dump, or by its cgroup.
int departure_kill(struct departure *d, struct error *err)
{
	struct criu_event event = {0};
	d->downtime_ms = clock_ms_since(d->frozen_ns);
	check_flags(d);
	if (keeper_release(d->keeper, err) < 0)
		log_error_of(err, "keeper");
	if (criu_rpc_answer(d->rpc, true, err) < 0)
		log_error_of(err, "end of the dump");
	d->dumped = false;
	while (criu_rpc_next(d->rpc, deadline_in_ms(KILL_MS), &event, err) == 0 &&
	       event.type == CRIU_EVENT_NOTIFY)
		if (criu_rpc_answer(d->rpc, true, err) < 0)
			break;
	if (cgroup_kill(d->cgroup, deadline_in_ms(KILL_MS), err) < 0)
		log_error_of(err, "killing the original");
	d->frozen = false;
	d->cable.pulled = false; // what the holds still have is the other host's business now
	sockets_forget(d->move);
	return EVENT_KILLED;
}

int departure_kill_lost(struct departure *d, struct error *err)
{
	d->lost = true;
	return departure_kill(d, err);
}

int departure_release(struct departure *d, struct error *err)
{
	struct talk_decision released = {.move = d->move, .epoch = d->epoch};
	if (talk_decision(d->link, WIRE_RELEASED, &released, err) < 0)
		log_warn("%s was not told of the release: %s", d->peer, err->message);
	if (keeper_wait_gone(d->keeper, deadline_in_ms(KILL_MS), err) < 0)
		log_error_of(err, "end of the keeper");
	cgroup_close(d->cgroup);
	d->cgroup = NULL;
	if (cgroup_remove(d->def->name, deadline_in_ms(KILL_MS), err) < 0)
		log_error_of(err, "removing the control groups");
	departure_unprepare(d);
	return 0;
}
