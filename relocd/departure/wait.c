// SPDX-License-Identifier: Apache-2.0
#include "relocd/departure/departure.h"

#include "relocd/move/steps.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>

#define BEAT_MS 500

// While nothing else is said to it, so that a peer that is cut off is noticed: without data under
// way TCP would not ask for seconds, and the partition stands still.
static int beat(struct departure *d, struct error *err)
{
	int64_t now = clock_now_ns();
	if (!d->frozen || now - d->beat_ns < BEAT_MS * 1000000ll)
		return 0;
	d->beat_ns = now;
	return link_send(d->link, WIRE_PING, NULL, 0, err);
}

static int poll_once(struct departure *d, deadline_t deadline, struct error *err)
{
	struct pollfd fds[2 + DEFINITION_NETWORKS_MAX] = {
		{.fd = link_fd(d->link), .events = POLLIN},
		{.fd = report_fd(&d->report), .events = POLLIN}};
	size_t count = 2 + cable_poll(&d->cable, fds + 2);
	if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
		return error_sys(err, ERR_SYSTEM, errno, "poll failed");
	report_listen(&d->report);
	return cable_collect(&d->cable, err);
}

static int take_refusal(struct departure *d, const struct link_message *message, struct error *err)
{
	Wpar__Decision *decision = talk_read_decision(message, d->move, d->epoch, err);
	if (!decision)
		return -1;
	talk_reason(decision, d->peer, err);
	wpar__decision__free_unpacked(decision, NULL);
	return -1;
}

// 1: it is what was waited for; 0: go on waiting.
static int sort_out(struct departure *d, uint16_t type, struct link_message *message,
		    struct error *err)
{
	int result = message->type == WIRE_PING ? 0
						: steps_check(&steps_departure, d->report.phase,
							      message->type, d->peer, err);
	if (result == 0 && message->type == WIRE_REFUSE)
		result = take_refusal(d, message, err);
	else if (result == 0 && message->type != WIRE_PING && message->type != type)
		result = error_set(err, ERR_PROTOCOL, "%s sent %s where %s was due", d->peer,
				   wire_name(message->type), wire_name(type));
	if (result == 0 && message->type == type)
		return 1;
	link_done(d->link, message);
	return result;
}

int departure_wait(struct departure *d, uint16_t type, deadline_t deadline,
		   struct link_message *message, struct error *err)
{
	for (;;) {
		int got = link_recv(d->link, deadline_in_ms(0), message, err);
		if (got > 0)
			got = sort_out(d, type, message, err);
		if (got)
			return got < 0 ? -1 : 0;
		if (report_may_go_on(&d->report, err) < 0)
			return -1;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "%s did not send %s in time", d->peer,
					 wire_name(type));
		deadline_t until = report_deadline(&d->report, deadline);
		if (beat(d, err) < 0 ||
		    poll_once(d, deadline_earlier(until, deadline_in_ms(BEAT_MS)), err) < 0)
			return -1;
	}
}

int departure_listen(struct departure *d, struct error *err)
{
	struct link_message message;
	int got;
	while ((got = link_recv(d->link, deadline_in_ms(0), &message, err)) > 0)
		if (sort_out(d, WIRE_OPEN, &message, err) < 0)
			return -1;
	report_listen(&d->report);
	return got < 0 ? -1 : report_may_go_on(&d->report, err);
}

void departure_reason(struct departure *d, struct error *err)
{
	struct error why;
	if (err && err->id == ERR_PEER_UNREACHABLE && departure_listen(d, &why) < 0)
		*err = why;
}
