// SPDX-License-Identifier: Apache-2.0
// Further connections of the move, which bring pages of rounds in any order. Each says first, under
// its seal, which move it is of: the token in front of it anybody on the way could have exchanged.
// A MARK holds back what follows it until it has come on all connections.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define ACCEPT_MS 5000  // a stranger who has seen the token may say nothing
#define MARK_MS   30000 // without anything on a connection that is waited for

// ---- opening ------------------------------------------------------------------------------------

static bool same_peer(const struct arrival *a, const struct link *link)
{
	return !strcmp(link_peer(link), link_peer(a->link)) &&
	       !strcmp(link_peer_key(link), link_peer_key(a->link));
}

static int accept_one(struct arrival *a, int sock, struct error *err)
{
	_cleanup_close_ int owned = sock;
	if (a->report.phase != PHASE_PRECOPY || a->marks || a->stream_count == ARRIVAL_STREAMS_MAX)
		return error_set(err, ERR_PROTOCOL, "it is not expected");
	_cleanup_link_ struct link *link =
		link_accept(take_fd(&owned), false, &a->tls, deadline_in_ms(ACCEPT_MS), err);
	if (!link)
		return -1;
	if (!same_peer(a, link))
		return error_set(err, ERR_PEER_UNTRUSTED, "it is of host %s", link_peer(link));
	a->streams[a->stream_count++] = (struct arrival_stream){.link = take_ptr(link)};
	return 0;
}

// One that is not what it should be does not disturb the others.
void arrival_streams_accept(struct arrival *a)
{
	struct error why;
	if (a->report.bulk >= 0 && accept_one(a, take_fd(&a->report.bulk), &why) < 0)
		log_warn("a further connection of this move is refused: %s", why.message);
}

// ---- messages -----------------------------------------------------------------------------------

static int bind_to_move(const struct arrival *a, struct arrival_stream *s,
			const struct link_message *message, struct error *err)
{
	if (message->type != WIRE_MARK)
		return error_set(err, ERR_PROTOCOL, "a connection of the move begins with %s",
				 wire_name(message->type));
	s->bound = true;
	return talk_check_mark(message, a->offer->move, a->offer->epoch, 0, err);
}

static int take_message(struct arrival *a, struct arrival_stream *s,
			const struct link_message *message, struct error *err)
{
	const bool open = a->report.phase == PHASE_PRECOPY || a->report.phase == PHASE_FINAL;
	if (!s->bound)
		return bind_to_move(a, s, message, err);
	if (message->type == WIRE_PAGES && open)
		return arrival_take_pages(a, true, message, err);
	if (message->type != WIRE_MARK || !open)
		return error_set(err, ERR_PROTOCOL, "%s may not come on this connection",
				 wire_name(message->type));
	s->marks++;
	return talk_check_mark(message, a->offer->move, a->offer->epoch, s->marks, err);
}

static bool is_open(const struct arrival *a, const struct arrival_stream *s)
{
	return !a->streams_done && s->marks == a->marks;
}

// 1: a message; 0: there is none.
static int step(struct arrival *a, struct arrival_stream *s, struct error *err)
{
	struct link_message message;
	int got = link_recv(s->link, deadline_in_ms(0), &message, err);
	if (got > 0 && take_message(a, s, &message, err) < 0)
		got = -1;
	link_done(s->link, &message);
	return got;
}

int arrival_streams_step(struct arrival *a, struct error *err)
{
	int some = 0;
	for (size_t i = 0; i < a->stream_count; i++) {
		int got = is_open(a, &a->streams[i]) ? step(a, &a->streams[i], err) : 0;
		if (got < 0)
			return -1;
		some |= got;
	}
	return some;
}

size_t arrival_streams_poll(const struct arrival *a, struct pollfd fds[ARRIVAL_STREAMS_MAX])
{
	for (size_t i = 0; i < a->stream_count; i++) {
		const struct arrival_stream *s = &a->streams[i];
		fds[i] = (struct pollfd){.fd = is_open(a, s) ? link_fd(s->link) : -1,
					 .events = POLLIN};
	}
	return a->stream_count;
}

// ---- marks --------------------------------------------------------------------------------------

static int wait_for(struct arrival *a, const struct arrival_stream *s, deadline_t deadline,
		    struct error *err)
{
	struct pollfd fds[2 + DEFINITION_NETWORKS_MAX] = {
		{.fd = link_fd(s->link), .events = POLLIN},
		{.fd = report_fd(&a->report), .events = POLLIN}};
	size_t count = 2 + cable_poll(&a->cable, fds + 2);
	if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
		return error_sys(err, ERR_SYSTEM, errno, "poll failed");
	if (deadline_passed(deadline))
		return error_set(err, ERR_DEADLINE, "%s did not send MARK in time",
				 link_peer(a->link));
	return cable_collect(&a->cable, err) < 0 ? -1 : arrival_check_cancel(a, err);
}

static int read_up_to_mark(struct arrival *a, struct arrival_stream *s, struct error *err)
{
	deadline_t deadline = deadline_in_ms(MARK_MS);
	while (s->marks == a->marks) {
		int got = step(a, s, err);
		if (got < 0 || (got == 0 && wait_for(a, s, deadline, err) < 0))
			return -1;
		if (got)
			deadline = deadline_in_ms(MARK_MS);
	}
	return 0;
}

// On the control link: it comes last.
int arrival_on_mark(struct arrival *a, struct error *err)
{
	if (talk_check_mark(&a->message, a->offer->move, a->offer->epoch, a->marks + 1, err) < 0)
		return -1;
	for (size_t i = 0; i < a->stream_count; i++)
		if (read_up_to_mark(a, &a->streams[i], err) < 0)
			return -1;
	a->marks++;
	return 0;
}

void arrival_streams_close(struct arrival *a)
{
	for (size_t i = 0; i < a->stream_count; i++)
		link_end(a->streams[i].link);
	while (a->stream_count)
		link_close(take_ptr(a->streams[--a->stream_count].link));
}
