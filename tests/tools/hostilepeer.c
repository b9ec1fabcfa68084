// SPDX-License-Identifier: Apache-2.0
// A member of the cluster that misbehaves: hostilepeer ADDRESS PEER ACT, with the certificates of
// this host. Prints what it is told and ends with 0 when the other side ended the connection.
#include "images/peer.pb-c.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/transport/dial.h"
#include "lib/transport/link.h"
#include "relocd/move/talk.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define WAIT_MS 20000

static struct error err;

static int die(const char *what)
{
	fprintf(stderr, "hostilepeer: %s: %s\n", what, err.message);
	return 1;
}

static int send_message(struct link *link, uint16_t type, const ProtobufCMessage *message)
{
	uint8_t bytes[4096];
	if (protobuf_c_message_get_packed_size(message) > sizeof(bytes))
		return -1;
	return link_send(link, type, bytes, protobuf_c_message_pack(message, bytes), &err);
}

static int say_hello(struct link *link, uint32_t protocol, const char *host)
{
	Wpar__Hello hello = WPAR__HELLO__INIT;
	hello.protocol = protocol;
	hello.host = (char *)host;
	hello.version = (char *)"9.9";
	return send_message(link, WIRE_HELLO, &hello.base);
}

static int send_decision(struct link *link, uint16_t type)
{
	Wpar__Decision decision = WPAR__DECISION__INIT;
	decision.move = (char *)"m-hostile";
	decision.epoch = 7;
	return send_message(link, type, &decision.base);
}

static int send_data(struct link *link, uint16_t type)
{
	uint8_t *slot = link_slot(link, deadline_in_ms(WAIT_MS), &err);
	if (!slot)
		return -1;
	memset(slot, 0xa5, 100);
	return link_send_slot(link, type, slot, 100, &err);
}

static int act(struct link *link, const char *name, const char *host)
{
	static const uint16_t control[] = {WIRE_ROUND,  WIRE_ROUND_ACK, WIRE_FROZEN, WIRE_MANIFEST,
					   WIRE_COMMIT, WIRE_RELEASED,  WIRE_ABORT};
	static const uint16_t data[] = {WIRE_CHUNK, WIRE_PAGES, WIRE_HELD};
	if (!strcmp(name, "version"))
		return say_hello(link, 99, host);
	if (!strcmp(name, "name"))
		return say_hello(link, TALK_PROTOCOL, "hostZ");
	if (!strcmp(name, "silent-commit"))
		return send_decision(link, WIRE_COMMIT);
	if (say_hello(link, TALK_PROTOCOL, host) < 0)
		return -1;
	if (!strcmp(name, "garbage"))
		return link_send(link, WIRE_OFFER, "\xff\xff\xff\xff", 4, &err);
	for (size_t i = 0; i < ARRAY_SIZE(control); i++)
		if (!strcmp(name, wire_name(control[i])))
			return send_decision(link, control[i]);
	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		if (!strcmp(name, wire_name(data[i])))
			return send_data(link, data[i]);
	return error_set(&err, ERR_USAGE, "no act %s", name);
}

// 0: it was ended by the other side.
static int listen_to_the_end(struct link *link)
{
	struct link_message message;
	int got;
	while ((got = link_recv(link, deadline_in_ms(WAIT_MS), &message, &err)) == 1) {
		printf("%s\n", wire_name(message.type));
		link_done(link, &message);
	}
	printf("%s\n", got ? err.message : "still open");
	return got ? 0 : 1;
}

// The right preamble and then no TLS, or a token of nobody's.
static int without_tls(const char *address, bool token)
{
	static const char text[] = "OFFER m-1 give me everything, in plain text if you please\r\n";
	uint8_t preamble[WIRE_PREAMBLE], guess[WIRE_TOKEN] = "of another move";
	char answer[256];
	if (token)
		wire_preamble_put_bulk(preamble, guess);
	else
		wire_preamble_put(preamble, WIRE_KIND_CONTROL);
	_cleanup_close_ int sock = dial(address, deadline_in_ms(WAIT_MS), &err);
	if (sock < 0 || fdio_set_nonblock(sock, false, &err) < 0)
		return die("dial");
	if (send(sock, preamble, sizeof(preamble), MSG_NOSIGNAL) < 0 ||
	    send(sock, text, sizeof(text) - 1, MSG_NOSIGNAL) < 0)
		return 0; // closed already
	for (;;) {
		if (fdio_wait(sock, POLLIN, deadline_in_ms(WAIT_MS), &err) != 1)
			return die("still open");
		if (recv(sock, answer, sizeof(answer), 0) <= 0)
			return 0;
	}
}

int main(int argc, char **argv)
{
	const struct link_tls tls = {.ca = "/etc/relocd/ca.pem",
				     .cert = "/etc/relocd/host.pem",
				     .key = "/etc/relocd/host.key"};
	char host[64];
	if (argc != 4 || gethostname(host, sizeof(host)) < 0) {
		fprintf(stderr, "usage: hostilepeer ADDRESS PEER ACT\n");
		return 2;
	}
	if (!strcmp(argv[3], "plain") || !strcmp(argv[3], "token"))
		return without_tls(argv[1], !strcmp(argv[3], "token"));
	struct link *link =
		link_connect(argv[1], argv[2], &tls, false, deadline_in_ms(WAIT_MS), &err);
	if (!link)
		return die("connect");
	int status = act(link, argv[3], host) < 0 ? die(argv[3]) : listen_to_the_end(link);
	link_close(link);
	return status;
}
