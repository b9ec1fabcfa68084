// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/tunnel.h"

#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define PIECE 32768 // in one frame

struct tunnel {
	struct link *link;
	int sock;
	bool origin;
	size_t credit;     // what we may send
	size_t outside;    // what the peer has sent and was not told to be taken
	size_t taken;      // of that, what has been delivered
	struct buf in;     // from the peer, not yet delivered
	size_t in_cost;    // what the frames in it count
	bool peer_ended;   // END has come
	bool local_ended;  // the socket has come to its end
	deadline_t answer; // for the first bytes of the socket
	deadline_t stall;  // for it to take some
};

static size_t cost_of(size_t length)
{
	return length > TUNNEL_FRAME_MIN ? length : TUNNEL_FRAME_MIN;
}

// ---- from the peer ------------------------------------------------------------------------------

static int on_stream(struct tunnel *t, const struct link_message *message, struct error *err)
{
	if (!message->length || t->outside + cost_of(message->length) > TUNNEL_WINDOW)
		return error_set(err, ERR_PROTOCOL, "%s sends more than its window",
				 link_peer(t->link));
	if (!t->in.length)
		t->stall = deadline_in_ms(TUNNEL_STALL_MS);
	t->outside += cost_of(message->length);
	t->in_cost += cost_of(message->length);
	return buf_append(&t->in, message->payload, message->length, err);
}

static int on_taken(struct tunnel *t, const struct link_message *message, struct error *err)
{
	Wpar__Taken *taken = wpar__taken__unpack(NULL, message->length, message->payload);
	bool right = taken && taken->bytes && taken->bytes <= TUNNEL_WINDOW - t->credit;
	if (right)
		t->credit += taken->bytes;
	if (taken)
		wpar__taken__free_unpacked(taken, NULL);
	return right ? 0
		     : error_set(err, ERR_PROTOCOL, "%s took what was never sent",
				 link_peer(t->link));
}

static int take(struct tunnel *t, const struct link_message *message, struct error *err)
{
	switch (message->type) {
	case WIRE_STREAM:
		return on_stream(t, message, err);
	case WIRE_TAKEN:
		return on_taken(t, message, err);
	case WIRE_PING:
		return 0;
	case WIRE_END:
		t->peer_ended = true;
		return 0;
	default:
		return error_set(err, ERR_PROTOCOL, "message %s of %s is not legal in a call",
				 wire_name(message->type), link_peer(t->link));
	}
}

static int receive(struct tunnel *t, struct error *err)
{
	struct link_message message;
	int got = 0;
	while (!t->peer_ended && (got = link_recv(t->link, 0, &message, err)) > 0) {
		int failed = take(t, &message, err);
		link_done(t->link, &message);
		if (failed)
			return -1;
	}
	return got;
}

static int tell_taken(struct tunnel *t, struct error *err)
{
	Wpar__Taken taken = WPAR__TAKEN__INIT;
	if (t->taken < TUNNEL_WINDOW / 4 || t->peer_ended)
		return 0;
	taken.bytes = (uint32_t)t->taken;
	t->outside -= t->taken;
	t->taken = 0;
	return talk_send(t->link, WIRE_TAKEN, &taken.base, err);
}

static int deliver(struct tunnel *t, struct error *err)
{
	while (t->in.length && !t->local_ended) {
		ssize_t n = send(t->sock, t->in.data, t->in.length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			t->local_ended = true; // it has closed: nobody wants the rest
			break;
		}
		buf_consume(&t->in, (size_t)n);
		t->stall = deadline_in_ms(TUNNEL_STALL_MS);
	}
	if (!t->in.length) {
		t->taken += t->in_cost;
		t->in_cost = 0;
	}
	return tell_taken(t, err);
}

// ---- from the socket ----------------------------------------------------------------------------

static size_t may_send(const struct tunnel *t)
{
	return t->credit < TUNNEL_FRAME_MIN ? 0 : t->credit;
}

// One frame of what waits there; nothing waits while it is being read.
static int send_some(struct tunnel *t, struct error *err)
{
	uint8_t bytes[PIECE];
	size_t room = may_send(t) < sizeof(bytes) ? may_send(t) : sizeof(bytes);
	ssize_t n = recv(t->sock, bytes, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		t->local_ended = true;
		return 0;
	}
	t->answer = DEADLINE_NEVER;
	t->credit -= cost_of((size_t)n);
	return link_send(t->link, WIRE_STREAM, bytes, (size_t)n, err);
}

// ---- both ---------------------------------------------------------------------------------------

static bool over(const struct tunnel *t)
{
	return t->local_ended || (t->peer_ended && !t->in.length);
}

static int wait_for_something(struct tunnel *t, struct error *err)
{
	struct pollfd fds[] = {{.fd = t->sock}, {.fd = link_fd(t->link), .events = POLLIN}};
	deadline_t deadline = t->answer;
	if (t->in.length) {
		fds[0].events |= POLLOUT;
		deadline = deadline_earlier(deadline, t->stall);
	}
	if (!t->peer_ended && may_send(t))
		fds[0].events |= POLLIN;
	if (!fds[0].events && !t->origin)
		fds[0].fd = -1; // a socket that has been closed would not let us sleep
	if (t->peer_ended)
		fds[1].fd = -1;
	if (deadline_passed(deadline))
		return error_set(err, ERR_DEADLINE, "%s",
				 t->in.length ? "nobody takes what has come"
					      : "the call was not answered in time");
	if (poll(fds, 2, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
		return error_sys(err, ERR_SYSTEM, errno, "poll failed");
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR) && (fds[0].events & POLLIN))
		return send_some(t, err);
	if (t->origin && (fds[0].revents & POLLHUP))
		t->local_ended = true;
	return 0;
}

int tunnel_run(struct link *link, int sock, bool origin, deadline_t first, struct error *err)
{
	struct tunnel t = {.link = link,
			   .sock = sock,
			   .origin = origin,
			   .credit = TUNNEL_WINDOW,
			   .in = BUF_INIT(TUNNEL_WINDOW),
			   .answer = first};
	int failed = 0;
	while (!failed) {
		failed = receive(&t, err) < 0 || deliver(&t, err) < 0;
		if (failed || over(&t))
			break;
		failed = wait_for_something(&t, err) < 0;
	}
	buf_free(&t.in);
	if (failed)
		return -1;
	if (link_send(link, WIRE_END, "", 0, err) < 0)
		return t.peer_ended ? 0 : -1; // it has gone after its END
	return 0;
}
