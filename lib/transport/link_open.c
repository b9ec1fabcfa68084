// SPDX-License-Identifier: Apache-2.0
#include "lib/base/cleanup.h"
#include "lib/transport/dial.h"
#include "lib/transport/link_inner.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static int make_ready(struct link *link, struct error *err)
{
	link->pending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->ready = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event in = {.events = EPOLLIN};
	if (link->pending < 0 || link->ready < 0 ||
	    epoll_ctl(link->ready, EPOLL_CTL_ADD, link->pending, &in) < 0 ||
	    epoll_ctl(link->ready, EPOLL_CTL_ADD, link->mover.channel, &in) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot watch a connection");
	return 0;
}

static int wait_up(struct link *link, deadline_t deadline)
{
	struct error err;
	while (link_pump(link) == 0 && !link->up) {
		int ready = link_wait_channel(link, POLLIN, deadline);
		if (ready < 0)
			return -1;
		if (ready == 0) {
			error_set(&err, ERR_DEADLINE, "no secure connection in time");
			return link_fail(link, &err);
		}
	}
	// The peer may be gone again by now: what it sent first is still to be received.
	return link->up ? 0 : -1;
}

// ---- agreeing on the seal: nothing else passes meanwhile
static int say_seal(struct link *link, struct error *err)
{
	_cleanup_buf_ struct buf step = BUF_INIT(SEAL_STEP_MAX);
	int said = seal_say(link->seal, &step, err);
	if (said <= 0)
		return said;
	const struct ring_note note = {
		.kind = RING_CONTROL, .type = WIRE_SEAL, .length = (uint32_t)step.length};
	return link_tell(link, &note, step.data) < 0 ? link_report(link, err) : 1;
}

static int hear_seal(struct link *link, deadline_t deadline, struct error *err)
{
	while (link_pump(link) == 0 && !link->seals)
		if (link_wait_channel(link, POLLIN, deadline) == 0)
			return error_set(err, ERR_DEADLINE, "%s: no SEAL in time", link->label);
	return link->seals ? 0 : link_report(link, err);
}

static void give_credit_back(struct link *link)
{
	const struct ring_note taken = {.kind = RING_CONTROL_TAKEN};
	for (; link->seals; link->seals--)
		if (!error_is_set(&link->failure))
			link_tell(link, &taken, NULL); // a failure is reported by the next call
}

static int agree_on_seal(struct link *link, deadline_t deadline, struct error *err)
{
	while (!link->sealed) {
		int said = say_seal(link, err);
		if (said < 0)
			return -1;
		link->sealed = seal_peer(link->seal) != NULL;
		if (!said && !link->sealed && hear_seal(link, deadline, err) < 0)
			return -1;
		give_credit_back(link);
	}
	if (!strcmp(seal_peer(link->seal), link->peer))
		return 0;
	return error_set(err, ERR_PEER_UNTRUSTED, "%s: it is host %s by its seal, %s by TLS",
			 link->label, seal_peer(link->seal), link->peer);
}

static int check_name(struct link *link, const char *peer_name, struct error *err)
{
	if (!peer_name || !strcmp(peer_name, link->peer))
		return 0;
	return error_set(err, ERR_PEER_UNTRUSTED, "%s: it is host %s, expected was %s", link->label,
			 link->peer, peer_name);
}

// What a link is to be.
struct opening {
	int sock;            // connected; -1: to address
	const char *address; // connecting side
	const char *label;
	const char *peer;
	bool join;
	const uint8_t *token; // of a move whose further connection it is; NULL
	const struct link_tls *tls;
	deadline_t deadline;
};

static int connect_and_greet(const struct opening *o, struct error *err)
{
	uint8_t preamble[WIRE_PREAMBLE];
	_cleanup_close_ int sock = dial(o->address, o->deadline, err);
	if (sock < 0)
		return error_wrap(err, "%s", o->label);
	if (o->token)
		wire_preamble_put_bulk(preamble, o->token);
	else
		wire_preamble_put(preamble, o->join ? WIRE_KIND_JOIN : WIRE_KIND_CONTROL);
	if (send(sock, preamble, sizeof(preamble), MSG_NOSIGNAL) != sizeof(preamble))
		return error_sys(err, ERR_PEER_UNREACHABLE, errno, "%s: cannot send", o->label);
	return take_fd(&sock);
}

static int start_mover(struct link *link, const struct opening *o, const struct identity *identity,
		       struct error *err)
{
	_cleanup_close_ int dialled = o->address ? connect_and_greet(o, err) : -1;
	const int sock = o->address ? dialled : o->sock;
	if (sock < 0 || dial_set_options(sock, err) < 0)
		return -1;
	const struct mover_plan plan = {.sock = sock,
					.accepting = !o->address,
					.join = o->join,
					.peer = o->peer,
					.fingerprint = o->tls->fingerprint,
					.identity = identity};
	return mover_start(&plan, &link->mover, err);
}

static int open_link(struct link *link, const struct opening *o, struct error *err)
{
	__attribute__((cleanup(identity_free))) struct identity identity = {0};
	if (identity_make(o->tls, !o->address, o->join, &identity, err) < 0)
		return -1;
	// Without a certificate (to be refused by the peer) there is nothing to seal with.
	if (!o->join && o->tls->cert && !(link->seal = seal_open(!o->address, o->tls, err)))
		return -1;
	if (start_mover(link, o, &identity, err) < 0 || make_ready(link, err) < 0)
		return -1;
	if (wait_up(link, o->deadline) < 0)
		return link_report(link, err);
	if (!o->join && (!link->seal || agree_on_seal(link, o->deadline, err) < 0))
		return link->seal ? -1
				  : error_set(err, ERR_CERTIFICATE,
					      "this host has no certificate to show");
	return check_name(link, o->peer, err);
}

static struct link *open_new(const struct opening *o, struct error *err)
{
	struct link *link = calloc(1, sizeof(*link));
	if (!link) {
		error_set(err, ERR_NOMEM, "no memory for a connection");
		return NULL;
	}
	link->mover = (struct mover){.channel = -1, .pidfd = -1};
	link->ready = link->pending = -1;
	link->join = o->join;
	snprintf(link->label, sizeof(link->label), "%s", o->label);
	if (open_link(link, o, err) == 0)
		return link;
	link_close(link);
	return NULL;
}

struct link *link_connect(const char *address, const char *peer_name, const struct link_tls *tls,
			  bool join, deadline_t deadline, struct error *err)
{
	char label[320];
	if (peer_name && pki_name_check(peer_name, err) < 0)
		return NULL;
	if (!peer_name && !join) {
		error_set(err, ERR_INTERNAL, "a connection needs the name of its peer");
		return NULL;
	}
	snprintf(label, sizeof(label), "%s at %s", peer_name ? peer_name : "cluster", address);
	return open_new(&(struct opening){.sock = -1,
					  .address = address,
					  .label = label,
					  .peer = peer_name,
					  .join = join,
					  .tls = tls,
					  .deadline = deadline},
			err);
}

struct link *link_connect_further(const char *address, const char *peer_name,
				  const struct link_tls *tls, const uint8_t *token,
				  deadline_t deadline, struct error *err)
{
	char label[320];
	if (pki_name_check(peer_name, err) < 0)
		return NULL;
	snprintf(label, sizeof(label), "%s at %s", peer_name, address);
	return open_new(&(struct opening){.sock = -1,
					  .address = address,
					  .label = label,
					  .peer = peer_name,
					  .token = token,
					  .tls = tls,
					  .deadline = deadline},
			err);
}

struct link *link_accept(int sock, bool join, const struct link_tls *tls, deadline_t deadline,
			 struct error *err)
{
	_cleanup_close_ int owned = sock;
	char label[320], host[NI_MAXHOST], port[NI_MAXSERV];
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	if (getpeername(owned, (struct sockaddr *)&address, &length) < 0 ||
	    getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(host, sizeof(host), "?"), port[0] = 0;
	snprintf(label, sizeof(label), "connection from %.200s port %s", host, port);
	return open_new(&(struct opening){.sock = owned,
					  .label = label,
					  .join = join,
					  .tls = tls,
					  .deadline = deadline},
			err);
}
