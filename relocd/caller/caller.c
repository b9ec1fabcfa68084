// SPDX-License-Identifier: Apache-2.0
// caller: one call of this host to another one's control API. relocd has the other end of the
// socket and speaks HTTP/1.1 there; here its bytes go over a link, as they are.
//
// What keeps the call from being made is answered in the same language: an HTTP answer with the
// error, so that relocd has one kind of answer to read.
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/version.h"
#include "relocd/move/known.h"
#include "relocd/move/report.h"
#include "relocd/move/talk.h"
#include "relocd/move/tunnel.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define SOCKET   4
#define REPLY_MS 15000
#define DRAIN_MS 2000

struct call {
	struct report report;
	json_t *start;
	const char *host, *address; // of ours; NULL: not known
	const char *peer, *peer_address;
	const char *user, *role;
	int connect_ms, deadline_ms;
	struct link_tls tls;
};

static int read_start(struct call *c, struct error *err)
{
	json_error_t why;
	if (report_open(&c->report, &c->start, err) < 0)
		return -1;
	if (json_unpack_ex(c->start, &why, 0,
			   "{s:s, s?s, s:{s:s, s:s}, s:{s:s, s:s, s:s}, s:s, s:s, s:i, s:i}",
			   "host", &c->host, "address", &c->address, "peer", "name", &c->peer,
			   "address", &c->peer_address, "tls", "ca", &c->tls.ca, "cert",
			   &c->tls.cert, "key", &c->tls.key, "user", &c->user, "role", &c->role,
			   "connect_ms", &c->connect_ms, "deadline_ms", &c->deadline_ms) < 0)
		return error_set(err, ERR_INTERNAL, "relocd's start message is malformed: %s",
				 why.text);
	return 0;
}

static int send_call(const struct call *c, struct link *link, struct error *err)
{
	Wpar__Call call = WPAR__CALL__INIT;
	struct known known;
	known_from_json(json_object_get(c->start, "revoked"), &known);
	call.user = (char *)c->user;
	call.role = (char *)c->role;
	call.has_deadline_ms = c->deadline_ms > 0;
	call.deadline_ms = (uint32_t)c->deadline_ms;
	call.revoked = known.list;
	call.n_revoked = known.count;
	return talk_send(link, WIRE_CALL, &call.base, err);
}

static int refused(const char *peer, const char *text, struct error *err)
{
	_cleanup_json_ json_t *why = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!why)
		return error_set(err, ERR_PEER_REFUSED, "%s refuses the call without a reason",
				 peer);
	error_from_json(err, why);
	error_at(err, peer, NULL, NULL);
	return -1;
}

static int take_reply(struct call *c, const struct link_message *message, struct error *err)
{
	Wpar__Reply *reply = message->type == WIRE_REPLY
				     ? wpar__reply__unpack(NULL, message->length, message->payload)
				     : NULL;
	if (!reply)
		return error_set(err, ERR_PROTOCOL, "the answer of %s to CALL is malformed",
				 c->peer);
	int failed = reply->error ? refused(c->peer, reply->error, err) : 0;
	if (!failed && reply->n_revoked)
		report_event(&c->report,
			     json_pack("{s:s, s:o}", "event", "revoked", "revoked",
				       known_to_json(reply->revoked, reply->n_revoked)));
	wpar__reply__free_unpacked(reply, NULL);
	return failed;
}

static int receive_reply(struct call *c, struct link *link, struct error *err)
{
	struct link_message message;
	int got = link_recv(link, deadline_in_ms(REPLY_MS), &message, err);
	if (got == 0)
		return error_set(err, ERR_DEADLINE, "%s did not answer CALL in time", c->peer);
	if (got < 0)
		return -1;
	int failed = take_reply(c, &message, err);
	link_done(link, &message);
	return failed;
}

static struct link *open_link(struct call *c, struct error *err)
{
	Wpar__Hello *hello;
	deadline_t deadline = deadline_in_ms(c->connect_ms);
	_cleanup_link_ struct link *link =
		link_connect(c->peer_address, c->peer, &c->tls, false, deadline, err);
	if (!link || talk_hello(link, c->host, c->address, deadline, &hello, err) < 0)
		return NULL;
	wpar__hello__free_unpacked(hello, NULL);
	report_event(&c->report,
		     json_pack("{s:s, s:s}", "event", "up", "key", link_peer_key(link)));
	if (known_refuse(json_object_get(c->start, "revoked"), link, err) < 0 ||
	    send_call(c, link, err) < 0 || receive_reply(c, link, err) < 0)
		return NULL;
	return take_ptr(link);
}

// The request is still coming while this is written: it is read and dropped, so that closing the
// socket does not cut the answer off.
static void drain(void)
{
	char dropped[4096];
	deadline_t deadline = deadline_in_ms(DRAIN_MS);
	while (fdio_wait(SOCKET, POLLIN, deadline, NULL) == 1 &&
	       recv(SOCKET, dropped, sizeof(dropped), MSG_DONTWAIT) > 0)
		;
}

static void answer_error(const struct call *c, struct error *why)
{
	struct error err;
	error_at(why, c->peer, NULL, NULL);
	_cleanup_json_ json_t *body =
		json_pack("{s:i, s:[o]}", "schema", 1, "errors", error_to_json(why));
	_cleanup_free_ char *text = json_dumps(body, JSON_COMPACT);
	char head[256];
	if (!text)
		return;
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\nConnection: close\r\n\r\n",
			 strlen(text));
	if (fdio_write_all(SOCKET, head, (size_t)n, &err) < 0 ||
	    fdio_write_all(SOCKET, text, strlen(text), &err) < 0 || shutdown(SOCKET, SHUT_WR) < 0)
		return; // relocd does not want it any more
	drain();
}

int main(int argc, char **argv)
{
	if (version_asked(argc, argv, "caller"))
		return 0;
	struct call c = {.report.fd = -1};
	struct error err = {0};
	log_open("caller");
	signal(SIGPIPE, SIG_IGN);
	if (read_start(&c, &err) < 0) {
		log_error_of(&err, "caller");
		return 1;
	}
	struct link *link = open_link(&c, &err);
	int failed = !link;
	if (!link)
		answer_error(&c, &err);
	else if (tunnel_run(link, SOCKET, true, DEADLINE_NEVER, &err) < 0) {
		failed = 1; // what relocd reads from the socket is cut off: it sees that
		log_debug("call to %s: %s", c.peer, err.message);
	}
	close(SOCKET);
	link_close(link);
	json_decref(c.start);
	return failed;
}
