// SPDX-License-Identifier: Apache-2.0
// mover: owns one connection to a peer host on behalf of departure or arrival, without privileges.
// Descriptors and messages: lib/transport/ring.h. Not to be started by hand.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/sandbox.h"
#include "lib/base/version.h"
#include "lib/transport/dial.h"
#include "lib/transport/ring.h"
#include "relocd/mover/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

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

// What remains once the connection may speak to us: io_uring as the parent has left it, the
// channel, and the end of the connection.
static int confine(struct error *err)
{
	static const int calls[] = {
		__NR_io_uring_enter, __NR_sendmsg,  __NR_recvmsg, __NR_recvfrom,
#ifdef __NR_poll
		__NR_poll,
#endif
		__NR_ppoll,          __NR_shutdown,
	};
	return sandbox_close(calls, ARRAY_SIZE(calls), err);
}

// Nothing of what the peer sends has been read when this returns.
static struct session *prepare(const json_t *start, struct error *err)
{
	const struct tls_setup setup = {
		.server = json_is_true(json_object_get(start, "accept")),
		.join = json_is_true(json_object_get(start, "join")),
		.ca = text_of(start, "ca"),
		.chain = text_of(start, "chain"),
		.key = text_of(start, "key"),
		.fingerprint = text_of(start, "fingerprint"),
		.peer = text_of(start, "peer"),
	};
	if (sandbox_drop(err) < 0)
		return NULL;
	struct session *session = session_open(&setup, err);
	if (session && confine(err) < 0) {
		session_close(session);
		session = NULL;
	}
	return session;
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
	int result = session_run(session, err);
	session_close(session);
	dial_linger(RING_FD_SOCKET, deadline_in_ms(LINGER_MS));
	return result;
}

int main(int argc, char **argv)
{
	if (version_asked(argc, argv, "mover"))
		return 0;
	struct error err = {0};
	log_open("mover");
	signal(SIGPIPE, SIG_IGN);
	if (fcntl(RING_FD_CHANNEL, F_GETFD) < 0 || fcntl(RING_FD_SOCKET, F_GETFD) < 0) {
		log_error("it is started by relocd, not by hand");
		return 2;
	}
	if (run(&err) < 0) {
		report(&err);
		await_parent();
	}
	_exit(0); // what libraries do at their end is not in the sandbox's list
}
