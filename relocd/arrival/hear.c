// SPDX-License-Identifier: Apache-2.0
// What the peer says: which messages may come when is a matter of steps.def.
#include "relocd/arrival/arrival.h"

#include "lib/base/fdio.h"
#include "relocd/move/steps.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>

#define PHASE_MS 180000 // without a message of the peer

// Nothing that is decided is of another move or epoch.
static int read_decision(struct arrival *a, const struct link_message *message, struct error *err)
{
	Wpar__Decision *decision =
		talk_read_decision(message, a->offer->move, a->offer->epoch, err);
	if (!decision)
		return -1;
	if (message->type == WIRE_COMMIT)
		a->frozen_ms = decision->frozen_ms;
	if (message->type == WIRE_ABORT)
		talk_reason(decision, link_peer(a->link), err);
	wpar__decision__free_unpacked(decision, NULL);
	return 0;
}

// The event that it is.
static int read_message(struct arrival *a, const struct link_message *message, struct error *err)
{
	const char *peer = link_peer(a->link);
	if (steps_check(&steps_arrival, a->report.state, message->type, peer, err) < 0)
		return -1;
	switch (message->type) {
	case WIRE_FROZEN:
	case WIRE_MANIFEST:
	case WIRE_COMMIT:
	case WIRE_RELEASED:
	case WIRE_ABORT:
		if (read_decision(a, message, err) < 0)
			return -1;
		break;
	}
	return EVENT_MESSAGE + message->type;
}

static int wait_for_something(struct arrival *a, deadline_t deadline, struct error *err)
{
	arrival_streams_accept(a); // what relocd passed on may have been heard at any time
	struct pollfd fds[3 + ARRIVAL_STREAMS_MAX + DEFINITION_NETWORKS_MAX] = {
		{.fd = link_fd(a->link), .events = POLLIN},
		{.fd = report_fd(&a->report), .events = POLLIN},
		{.fd = a->held ? a->criu_pidfd : -1, .events = POLLIN}};
	size_t count = 3 + arrival_streams_poll(a, fds + 3);
	count += cable_poll(&a->cable, fds + count);
	if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
		return error_sys(err, ERR_SYSTEM, errno, "poll failed");
	report_listen(&a->report);
	return cable_collect(&a->cable, err);
}

// Before the vote a cancel ends the move here; afterwards only the peer can decide.
int arrival_check_cancel(struct arrival *a, struct error *err)
{
	report_listen(&a->report);
	if (!a->report.cancelled || a->report.phase >= PHASE_COMMIT)
		return 0;
	return error_set(err, ERR_CANCELLED, "the move was cancelled on %s", a->host);
}

int arrival_take_aside(struct arrival *a, const struct link_message *message, struct error *err)
{
	int event = read_message(a, message, err);
	if (event < 0 || message->type == WIRE_PING)
		return event < 0 ? -1 : 0;
	if (message->type != WIRE_ABORT)
		return error_set(err, ERR_PROTOCOL, "message %s of %s comes out of order",
				 wire_name(message->type), link_peer(a->link));
	a->heard = (unsigned)event;
	return -1;
}

int arrival_listen(struct arrival *a, struct error *err)
{
	struct link_message message;
	int got;
	report_listen(&a->report);
	while ((got = link_recv(a->link, deadline_in_ms(0), &message, err)) > 0) {
		got = arrival_take_aside(a, &message, err);
		link_done(a->link, &message);
		if (got < 0)
			return -1;
	}
	return got < 0 ? -1 : arrival_check_cancel(a, err);
}

// What CRIU holds dies with it: it must be known before anybody counts on it.
bool arrival_copy_died(struct arrival *a, struct error *err)
{
	if (!a->held || fdio_wait(a->criu_pidfd, POLLIN, deadline_in_ms(0), NULL) <= 0)
		return false;
	error_set(err, ERR_CRIU_RESTORE, "CRIU died while it held the restored partition");
	return true;
}

int arrival_hear(struct arrival *a, struct error *err)
{
	deadline_t deadline = deadline_in_ms(PHASE_MS);
	link_done(a->link, &a->message);
	for (;;) {
		int further = arrival_streams_step(a, err);
		if (further < 0)
			return -1;
		if (arrival_copy_died(a, err))
			return EVENT_DIED;
		int got = link_recv(a->link, deadline_in_ms(0), &a->message, err);
		if (got)
			return got < 0 ? -1 : read_message(a, &a->message, err);
		if (further) {
			deadline = deadline_in_ms(PHASE_MS);
			continue;
		}
		if (arrival_check_cancel(a, err) < 0)
			return -1;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "%s fell silent in phase %s",
					 link_peer(a->link), phase_name(a->report.phase));
		if (wait_for_something(a, deadline, err) < 0)
			return -1;
	}
}
