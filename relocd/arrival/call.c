// SPDX-License-Identifier: Apache-2.0
// A peer calls this host's control API: relocd decides who the caller is here and serves one end of
// a socket pair; the bytes between it and the link are nobody's business here.
#include "relocd/arrival/arrival.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/move/known.h"
#include "relocd/move/talk.h"
#include "relocd/move/tunnel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define RELOCD_MS 10000

static json_t *request_of(const struct link_message *message, deadline_t *answer, struct error *err)
{
	Wpar__Call *call = wpar__call__unpack(NULL, message->length, message->payload);
	json_t *request = NULL;
	*answer = DEADLINE_NEVER;
	if (call) {
		if (call->deadline_ms)
			*answer = deadline_in_ms(call->deadline_ms);
		request = json_pack("{s:s, s:s, s:s, s:o}", "op", "call", "user", call->user,
				    "role", call->role, "revoked",
				    known_to_json(call->revoked, call->n_revoked));
		wpar__call__free_unpacked(call, NULL);
	}
	if (!request)
		error_set(err, ERR_PROTOCOL, "CALL is malformed");
	return request;
}

// relocd takes one end of a pair. Returns ours.
static int ask_relocd(struct arrival *a, json_t *request, json_t **answer, struct error *err)
{
	int ends[2];
	if (a->report.fd < 0) {
		json_decref(request);
		return error_set(err, ERR_UNREACHABLE, "relocd has gone");
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		json_decref(request);
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a pair of sockets");
	}
	_cleanup_close_ int ours = ends[0];
	_cleanup_close_ int theirs = ends[1];
	if (chan_call(a->report.fd, request, &theirs, 1, deadline_in_ms(RELOCD_MS), answer, err) <
	    0)
		return -1;
	return take_fd(&ours);
}

static int reply(struct arrival *a, const json_t *answer, const struct error *why,
		 struct error *err)
{
	Wpar__Reply message = WPAR__REPLY__INIT;
	_cleanup_json_ json_t *object = why ? error_to_json(why) : NULL;
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	struct known known;
	known_from_json(json_object_get(answer, "revoked"), &known);
	message.error = text;
	message.revoked = known.list;
	message.n_revoked = known.count;
	return talk_send(a->link, WIRE_REPLY, &message.base, err);
}

void arrival_refuse_call(struct arrival *a, const struct error *why)
{
	struct error err;
	if (reply(a, NULL, why, &err) < 0)
		log_error_of(&err, link_peer(a->link));
}

int arrival_call(struct arrival *a, const struct link_message *message)
{
	struct error err = {0};
	deadline_t first;
	_cleanup_json_ json_t *answer = NULL;
	json_t *request = request_of(message, &first, &err);
	_cleanup_close_ int sock = request ? ask_relocd(a, request, &answer, &err) : -1;
	if (sock < 0) {
		error_at(&err, a->host, NULL, NULL);
		arrival_refuse_call(a, &err);
		log_error_of(&err, link_peer(a->link));
		return 1;
	}
	// From here on relocd may end: the socket tells.
	if (reply(a, answer, NULL, &err) < 0 || tunnel_run(a->link, sock, false, first, &err) < 0) {
		log_debug("call of %s: %s", link_peer(a->link), err.message);
		return 1;
	}
	return 0;
}
