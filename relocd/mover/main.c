// SPDX-License-Identifier: Apache-2.0
// mover: owns one connection to a peer host on behalf of departure or arrival, without privileges.
// Descriptors and messages: lib/transport/ring.h. Not to be started by hand.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/transport/ring.h"
#include "relocd/mover/dial.h"
#include "relocd/mover/privileges.h"
#include "relocd/mover/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define START_MS  10000
#define LINGER_MS 1000

static const char *text_of(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static json_t *read_start(struct error *err)
{
	json_t *start = NULL;
	if (chan_recv(RING_FD_CHANNEL, deadline_in_ms(START_MS), &start, NULL, NULL, err) < 0)
		return NULL;
	const char *op = start ? text_of(start, "op") : NULL;
	if (op && !strcmp(op, "start"))
		return start;
	error_set(err, ERR_INTERNAL, "the first message to the mover is not its start");
	json_decref(start);
	return NULL;
}

static struct session *prepare(const json_t *start, struct error *err)
{
	const struct tls_setup setup = {
		.server = json_is_true(json_object_get(start, "accept")),
		.join = json_is_true(json_object_get(start, "join")),
		.ca = text_of(start, "ca"),
		.cert = text_of(start, "cert"),
		.key = text_of(start, "key"),
		.fingerprint = text_of(start, "fingerprint"),
		.peer = text_of(start, "peer"),
	};
	struct session *session = session_open(RING_FD_MEMORY, &setup, err);
	if (session && privileges_drop(err) < 0) {
		session_close(session);
		session = NULL;
	}
	return session;
}

static int open_socket(const json_t *start, struct error *err)
{
	uint8_t preamble[WIRE_PREAMBLE];
	const char *address = text_of(start, "address");
	const json_t *ms = json_object_get(start, "deadline_ms");
	if (!address)
		return dial_set_options(RING_FD_SOCKET, err) < 0 ? -1 : RING_FD_SOCKET;
	_cleanup_close_ int sock =
		dial(address, ms ? deadline_in_ms(json_integer_value(ms)) : DEADLINE_NEVER, err);
	if (sock < 0 || dial_set_options(sock, err) < 0)
		return -1;
	wire_preamble_put(preamble, json_is_true(json_object_get(start, "join"))
					    ? WIRE_KIND_JOIN
					    : WIRE_KIND_CONTROL);
	if (send(sock, preamble, sizeof(preamble), MSG_NOSIGNAL) != sizeof(preamble))
		return error_sys(err, ERR_PEER_UNREACHABLE, errno, "cannot send");
	return take_fd(&sock);
}

// The last thing that the parent hears; then stay until it closes, so that nothing it still sends
// fails before it has read this.
static void report(const struct error *why)
{
	const struct ring_note note = {
		.kind = RING_FAILED,
		.type = (uint16_t)ring_failure_of(why),
		.length = (uint32_t)strnlen(why->message, RING_TEXT_MAX - 1),
	};
	while (ring_send(RING_FD_CHANNEL, &note, why->message, NULL) == RING_NONE)
		if (session_await_parent(RING_FD_CHANNEL) < 0)
			break;
}

static void await_parent(void)
{
	static uint8_t dropped[WIRE_CONTROL_MAX + sizeof(struct ring_note)];
	ssize_t n;
	do
		n = recv(RING_FD_CHANNEL, dropped, sizeof(dropped), 0);
	while (n > 0 || (n < 0 && errno == EINTR));
}

static int run(struct error *err)
{
	_cleanup_json_ json_t *start = read_start(err);
	if (!start)
		return -1;
	struct session *session = prepare(start, err);
	if (!session)
		return -1;
	_cleanup_close_ int sock = open_socket(start, err);
	int result = sock < 0 ? -1 : session_run(session, RING_FD_CHANNEL, sock, err);
	session_close(session);
	if (sock >= 0)
		dial_linger(sock, deadline_in_ms(LINGER_MS));
	return result;
}

int main(void)
{
	struct error err = {0};
	log_open("mover");
	signal(SIGPIPE, SIG_IGN);
	if (fcntl(RING_FD_CHANNEL, F_GETFD) < 0 || fcntl(RING_FD_MEMORY, F_GETFD) < 0) {
		log_error("it is started by relocd, not by hand");
		return 2;
	}
	if (run(&err) < 0) {
		report(&err);
		await_parent();
	}
	return 0;
}
