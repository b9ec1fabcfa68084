// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/link.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/spawn.h"
#include "lib/transport/dial.h"
#include "lib/transport/mover.h"
#include "lib/transport/pki.h"
#include "lib/transport/seal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define STALL_MS (LINK_DEAD_PEER_MS + 5000)
#define CLOSE_MS 3000
#define QUEUE    (LINK_SLOTS + LINK_CREDIT) // the ledger lets no more in

struct link {
	struct mover mover;
	int ready;   // epoll: the channel, or pending
	int pending; // eventfd: something waits in the queue, or the link has failed
	bool pending_set;
	bool join, up;
	struct seal *seal; // NULL in a join
	bool sealed;       // keys are agreed: from now on every control message carries its tag
	unsigned seals;    // SEALs heard, for which the mover has not got its credit back
	struct ring_ledger ledger;
	char peer[PKI_NAME_MAX + 1];
	char label[320]; // for sentences
	struct link_message queue[QUEUE];
	size_t head, count;
	struct error failure; // once set, nothing is sent or received any more
	uint8_t packet[WIRE_CONTROL_MAX];
};

// ---- what the mover says
static void show_pending(struct link *link)
{
	const uint64_t one = 1;
	uint64_t drained;
	bool want = link->count || error_is_set(&link->failure);
	if (want == link->pending_set)
		return;
	link->pending_set = want;
	ssize_t n = want ? write(link->pending, &one, sizeof(one))
			 : read(link->pending, &drained, sizeof(drained));
	(void)n; // an eventfd of ours takes and gives one without fail
}

static int fail(struct link *link, const struct error *why)
{
	if (!error_is_set(&link->failure)) {
		link->failure = *why;
		error_wrap(&link->failure, "%s", link->label);
	}
	return -1;
}

static int report(const struct link *link, struct error *err)
{
	if (err)
		*err = link->failure;
	return -1;
}

static void enqueue(struct link *link, const struct ring_note *note, const uint8_t *payload)
{
	link->queue[(link->head + link->count++) % QUEUE] = (struct link_message){
		.type = note->type,
		.payload = payload,
		.length = note->length,
		.slot = note->kind == RING_DATA ? (int)note->slot : -1,
	};
}

// While the seal is agreed on nothing else passes. It is taken in at once: what follows it may be
// here already and carries a tag.
static int take_seal(struct link *link, const struct ring_note *note, struct error *err)
{
	if (link->join || link->sealed || !link->seal)
		return error_set(err, ERR_PROTOCOL, "SEAL is not allowed here");
	if (seal_hear(link->seal, link->packet, note->length, err) < 0)
		return -1;
	link->sealed = seal_peer(link->seal) != NULL;
	link->seals++;
	return 0;
}

// Only what the peer's privileged side has sealed is handed on, without the seal.
static int check_seal(struct link *link, struct ring_note *note, struct error *err)
{
	if (link->join)
		return 0;
	if (!link->sealed)
		return error_set(err, ERR_PROTOCOL, "%s comes before SEAL", wire_name(note->type));
	ssize_t length = seal_check(link->seal, note->type, link->packet, note->length, err);
	if (length >= 0)
		note->length = (uint32_t)length;
	return length < 0 ? -1 : 0;
}

static int take_control(struct link *link, struct ring_note *note, struct error *err)
{
	if (note->type == WIRE_SEAL)
		return take_seal(link, note, err);
	if (check_seal(link, note, err) < 0)
		return -1;
	uint8_t *copy = malloc(note->length + 1);
	if (!copy)
		return error_set(err, ERR_NOMEM, "no memory for a message");
	memcpy(copy, link->packet, note->length);
	enqueue(link, note, copy);
	return 0;
}

// Text from the mover or the peer: one line of printable ASCII.
static void take_text(const struct link *link, const struct ring_note *note, char *text,
		      size_t room)
{
	size_t length = note->length < room ? note->length : room - 1;
	for (size_t i = 0; i < length; i++)
		text[i] = link->packet[i] >= ' ' && link->packet[i] < 127 ? (char)link->packet[i]
									  : '?';
	text[length] = 0;
}

static int take_up(struct link *link, const struct ring_note *note, struct error *err)
{
	char name[PKI_NAME_MAX + 2];
	take_text(link, note, name, sizeof(name));
	if (link->up || (name[0] && pki_name_check(name, NULL) < 0))
		return error_set(err, ERR_PROTOCOL, "the mover reports an impossible peer");
	strcpy(link->peer, name);
	link->up = true;
	return 0;
}

static int take_failure(struct link *link, const struct ring_note *note, struct error *err)
{
	char text[RING_TEXT_MAX];
	take_text(link, note, text, sizeof(text));
	return error_set(err, ring_failure_error(note->type), "%s", text);
}

static int dispatch(struct link *link, struct ring_note *note, struct error *err)
{
	if (ring_ledger_received(&link->ledger, note, err) < 0)
		return -1;
	bool message = note->kind == RING_CONTROL || note->kind == RING_DATA;
	if (message && (!link->up || (link->join && !wire_is_join(note->type))))
		return error_set(err, ERR_PROTOCOL, "%s is not allowed here",
				 wire_name(note->type));
	switch (note->kind) {
	case RING_CONTROL:
		return take_control(link, note, err);
	case RING_DATA:
		enqueue(link, note, ring_slot(link->mover.ring.from_mover, note->slot));
		return 0;
	case RING_UP:
		return take_up(link, note, err);
	case RING_FAILED:
		return take_failure(link, note, err);
	default:
		return 0; // the ledger has noted it
	}
}

// Takes in all that has come. -1: the link has failed (link->failure).
static int pump(struct link *link)
{
	struct error err = {0};
	struct ring_note note;
	enum ring_result got = RING_DONE;
	while (got == RING_DONE && !error_is_set(&link->failure)) {
		got = ring_recv(link->mover.channel, true, &note, link->packet, &err);
		if (got == RING_CLOSED)
			error_set(&err, ERR_PROTOCOL, "the mover has died");
		if (got == RING_CLOSED || got == RING_ERROR ||
		    (got == RING_DONE && dispatch(link, &note, &err) < 0))
			fail(link, &err);
	}
	show_pending(link);
	return error_is_set(&link->failure) ? -1 : 0;
}

// Waits for the mover to say or to take something: 1, 0 deadline passed, -1 link->failure.
static int wait_channel(struct link *link, short events, deadline_t deadline)
{
	struct error err;
	int ready = fdio_wait(link->mover.channel, events, deadline, &err);
	if (ready < 0) {
		fail(link, &err);
		show_pending(link);
	}
	return ready;
}

static int tell(struct link *link, const struct ring_note *note, const void *payload)
{
	const deadline_t deadline = deadline_in_ms(STALL_MS);
	struct error err = {0};
	for (;;) {
		enum ring_result sent = ring_send(link->mover.channel, note, payload, &err);
		if (sent == RING_DONE) {
			ring_ledger_sent(&link->ledger, note);
			return 0;
		}
		// Its last words may be waiting.
		if (pump(link) < 0)
			return -1;
		if (sent == RING_CLOSED)
			error_set(&err, ERR_PROTOCOL, "the mover has died");
		int ready = sent == RING_NONE ? wait_channel(link, POLLOUT | POLLIN, deadline) : 1;
		if (ready == 0)
			error_set(&err, ERR_DEADLINE, "the mover takes no messages");
		if (ready <= 0 || sent != RING_NONE) {
			fail(link, &err);
			show_pending(link);
			return -1;
		}
	}
}

// ---- opening
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
	while (pump(link) == 0 && !link->up) {
		int ready = wait_channel(link, POLLIN, deadline);
		if (ready < 0)
			return -1;
		if (ready == 0) {
			error_set(&err, ERR_DEADLINE, "no secure connection in time");
			return fail(link, &err);
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
	return tell(link, &note, step.data) < 0 ? report(link, err) : 1;
}

static int hear_seal(struct link *link, deadline_t deadline, struct error *err)
{
	while (pump(link) == 0 && !link->seals)
		if (wait_channel(link, POLLIN, deadline) == 0)
			return error_set(err, ERR_DEADLINE, "%s: no SEAL in time", link->label);
	return link->seals ? 0 : report(link, err);
}

static void give_credit_back(struct link *link)
{
	const struct ring_note taken = {.kind = RING_CONTROL_TAKEN};
	for (; link->seals; link->seals--)
		if (!error_is_set(&link->failure))
			tell(link, &taken, NULL); // a failure is reported by the next call
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
	const struct link_tls *tls;
	deadline_t deadline;
};

static int connect_and_greet(const struct opening *o, struct error *err)
{
	uint8_t preamble[WIRE_PREAMBLE];
	_cleanup_close_ int sock = dial(o->address, o->deadline, err);
	if (sock < 0)
		return error_wrap(err, "%s", o->label);
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
		return report(link, err);
	if (!o->join && (!link->seal || agree_on_seal(link, o->deadline, err) < 0))
		return link->seal ? -1
				  : error_set(err, ERR_CERTIFICATE,
					      "this host has no certificate to show");
	return check_name(link, o->peer, err);
}

static struct link *link_open(const struct opening *o, struct error *err)
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
	return link_open(&(struct opening){.sock = -1,
					   .address = address,
					   .label = label,
					   .peer = peer_name,
					   .join = join,
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
	return link_open(&(struct opening){.sock = owned,
					   .label = label,
					   .join = join,
					   .tls = tls,
					   .deadline = deadline},
			 err);
}

const char *link_peer(const struct link *link)
{
	return link->peer;
}

const char *link_peer_key(const struct link *link)
{
	return link->sealed ? seal_peer_key(link->seal) : "";
}

int link_fd(const struct link *link)
{
	return link->ready;
}

// ---- sending
static int check_outgoing(struct link *link, uint16_t type, size_t length, bool data,
			  struct error *err)
{
	if (wire_check(type, length, err) < 0)
		return -1;
	if (wire_is_data(type) != data || type == WIRE_SEAL || (link->join && !wire_is_join(type)))
		return error_set(err, ERR_INTERNAL, "%s is sent the wrong way", wire_name(type));
	return pump(link) < 0 ? report(link, err) : 0;
}

static int send_sealed(struct link *link, uint16_t type, const void *payload, size_t length,
		       struct error *err)
{
	_cleanup_free_ uint8_t *sealed = malloc(length + SEAL_TAG);
	if (!sealed)
		return error_set(err, ERR_NOMEM, "no memory for a message");
	memcpy(sealed, payload, length);
	if (link->sealed) {
		if (seal_put(link->seal, type, sealed, length, sealed + length, err) < 0)
			return -1;
		length += SEAL_TAG;
	}
	const struct ring_note note = {
		.kind = RING_CONTROL, .type = type, .length = (uint32_t)length};
	return tell(link, &note, sealed) < 0 ? report(link, err) : 0;
}

int link_send(struct link *link, uint16_t type, const void *payload, size_t length,
	      struct error *err)
{
	const deadline_t deadline = deadline_in_ms(STALL_MS);
	if (length > LINK_CONTROL_MAX)
		return error_set(err, ERR_PROTOCOL,
				 "a %s message of %zu bytes is over the limit of %d",
				 wire_name(type), length, LINK_CONTROL_MAX);
	if (check_outgoing(link, type, length, false, err) < 0)
		return -1;
	while (link->ledger.controls_lent >= LINK_CREDIT) {
		int ready = wait_channel(link, POLLIN, deadline);
		if (ready < 0 || pump(link) < 0)
			return report(link, err);
		if (ready == 0)
			return error_set(err, ERR_PEER_UNREACHABLE,
					 "%s: the peer takes no messages", link->label);
	}
	return send_sealed(link, type, payload, length, err);
}

void *link_slot(struct link *link, deadline_t deadline, struct error *err)
{
	for (;;) {
		if (pump(link) < 0) {
			report(link, err);
			return NULL;
		}
		int slot = ring_ledger_free_slot(&link->ledger);
		if (slot >= 0)
			return ring_slot(link->mover.ring.to_mover, (unsigned)slot);
		int ready = wait_channel(link, POLLIN, deadline);
		if (ready == 0)
			error_set(err, ERR_DEADLINE, "%s: the peer takes no data", link->label);
		else if (ready < 0)
			report(link, err);
		if (ready <= 0)
			return NULL;
	}
}

int link_send_slot(struct link *link, uint16_t type, void *slot, size_t length, struct error *err)
{
	size_t at = (size_t)((uint8_t *)slot - link->mover.ring.to_mover);
	if (at >= RING_ROW || at % WIRE_DATA_MAX || link->ledger.lent & 1U << at / WIRE_DATA_MAX)
		return error_set(err, ERR_INTERNAL, "this is not a free slot");
	if (check_outgoing(link, type, length, true, err) < 0)
		return -1;
	const struct ring_note note = {.kind = RING_DATA,
				       .type = type,
				       .slot = (uint32_t)(at / WIRE_DATA_MAX),
				       .length = (uint32_t)length};
	return tell(link, &note, NULL) < 0 ? report(link, err) : 0;
}

bool link_idle(const struct link *link)
{
	return !link->ledger.lent;
}

int link_flush(struct link *link, deadline_t deadline, struct error *err)
{
	const struct ring_note note = {.kind = RING_FLUSH};
	if (pump(link) < 0)
		return report(link, err);
	if (link->ledger.flushes < RING_FLUSHES_MAX && tell(link, &note, NULL) < 0)
		return report(link, err);
	while (link->ledger.flushes) {
		int ready = wait_channel(link, POLLIN, deadline);
		if (ready < 0 || pump(link) < 0)
			return report(link, err);
		if (ready == 0)
			return error_set(err, ERR_DEADLINE, "%s: the peer takes no data",
					 link->label);
	}
	return 0;
}

// ---- receiving
int link_recv(struct link *link, deadline_t deadline, struct link_message *message,
	      struct error *err)
{
	*message = (struct link_message){.slot = -1};
	for (;;) {
		int alive = pump(link);
		if (link->count) {
			*message = link->queue[link->head];
			link->head = (link->head + 1) % QUEUE;
			link->count--;
			show_pending(link);
			return 1;
		}
		if (alive < 0)
			return report(link, err);
		int ready = wait_channel(link, POLLIN, deadline);
		if (ready <= 0)
			return ready < 0 ? report(link, err) : 0;
	}
}

void link_done(struct link *link, struct link_message *message)
{
	struct ring_note note = {.kind = RING_CONTROL_TAKEN};
	if (!message->type)
		return;
	if (message->slot >= 0) {
		note.kind = RING_SLOT_TAKEN;
		note.slot = (uint32_t)message->slot;
	} else {
		free((void *)message->payload);
	}
	*message = (struct link_message){.slot = -1};
	if (!error_is_set(&link->failure))
		tell(link, &note, NULL); // a failure is reported by the next call
}

// ---- closing
static void end_mover(struct link *link)
{
	struct error err = {0};
	int status = 0;
	if (link->mover.channel >= 0)
		shutdown(link->mover.channel, SHUT_WR);
	if (fdio_wait(link->mover.pidfd, POLLIN, deadline_in_ms(CLOSE_MS), &err) != 1) {
		log_warn("%s: the mover does not end, killed", link->label);
		kill(link->mover.pid, SIGKILL);
	}
	if (spawn_wait(link->mover.pid, &status, &err) < 0)
		log_error_of(&err, link->label);
	else if (status)
		log_warn("%s: the mover ended with status %d", link->label,
			 spawn_exit_code(status));
}

void link_close(struct link *link)
{
	if (!link)
		return;
	if (link->mover.pidfd >= 0)
		end_mover(link);
	for (; link->count; link->count--, link->head = (link->head + 1) % QUEUE)
		if (link->queue[link->head].slot < 0)
			free((void *)link->queue[link->head].payload);
	cleanup_close(&link->ready);
	cleanup_close(&link->pending);
	mover_release(&link->mover);
	seal_close(link->seal);
	free(link);
}
