// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/link_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define STALL_MS (LINK_DEAD_PEER_MS + 5000)
#define CLOSE_MS 3000

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

int link_fail(struct link *link, const struct error *why)
{
	if (!error_is_set(&link->failure)) {
		link->failure = *why;
		error_wrap(&link->failure, "%s", link->label);
	}
	return -1;
}

int link_report(const struct link *link, struct error *err)
{
	if (err)
		*err = link->failure;
	return -1;
}

static void enqueue(struct link *link, const struct ring_note *note, const uint8_t *payload)
{
	const bool data = note->kind == RING_DATA;
	link->queue[(link->head + link->count++) % LINK_QUEUE] = (struct link_queued){
		.message = {.type = note->type,
			    .payload = payload,
			    .length = note->length,
			    .slot = data ? (int)note->slot : -1},
		.number = data ? seal_count(link->seal) : 0,
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

static int take_data(struct link *link, const struct ring_note *note, struct error *err)
{
	if (!link->sealed)
		return error_set(err, ERR_PROTOCOL, "%s comes before SEAL", wire_name(note->type));
	enqueue(link, note, ring_slot(link->mover.ring.from_mover, note->slot));
	return 0;
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
		return take_data(link, note, err);
	case RING_UP:
		return take_up(link, note, err);
	case RING_FAILED:
		return take_failure(link, note, err);
	default:
		return 0; // the ledger has noted it
	}
}

int link_pump(struct link *link)
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
			link_fail(link, &err);
	}
	show_pending(link);
	return error_is_set(&link->failure) ? -1 : 0;
}

int link_wait_channel(struct link *link, short events, deadline_t deadline)
{
	struct error err;
	int ready = fdio_wait(link->mover.channel, events, deadline, &err);
	if (ready < 0) {
		link_fail(link, &err);
		show_pending(link);
	}
	return ready;
}

int link_tell(struct link *link, const struct ring_note *note, const void *payload)
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
		if (link_pump(link) < 0)
			return -1;
		if (sent == RING_CLOSED)
			error_set(&err, ERR_PROTOCOL, "the mover has died");
		int ready =
			sent == RING_NONE ? link_wait_channel(link, POLLOUT | POLLIN, deadline) : 1;
		if (ready == 0)
			error_set(&err, ERR_DEADLINE, "the mover takes no messages");
		if (ready <= 0 || sent != RING_NONE) {
			link_fail(link, &err);
			show_pending(link);
			return -1;
		}
	}
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
	return link_pump(link) < 0 ? link_report(link, err) : 0;
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
	return link_tell(link, &note, sealed) < 0 ? link_report(link, err) : 0;
}

void link_cut(const struct link *link)
{
	syscall(SYS_pidfd_send_signal, link->mover.pidfd, SIGKILL, NULL, 0);
}

// A fault that is ordered for control messages (fault.h); a cut link is noticed as any other.
static int strike(const struct link *link, enum fault_kind kind, uint16_t type,
		  enum fault_when when, struct error *err)
{
	enum fault fault = fault_at(kind, wire_name(type), when, err);
	if (fault == FAULT_DROP_LINK)
		link_cut(link);
	return fault == FAULT_ERROR ? -1 : 0;
}

int link_send(struct link *link, uint16_t type, const void *payload, size_t length,
	      struct error *err)
{
	const deadline_t deadline = deadline_in_ms(STALL_MS);
	if (strike(link, FAULT_SEND, type, FAULT_BEFORE, err) < 0)
		return -1;
	if (length > LINK_CONTROL_MAX)
		return error_set(err, ERR_PROTOCOL,
				 "a %s message of %zu bytes is over the limit of %d",
				 wire_name(type), length, LINK_CONTROL_MAX);
	if (check_outgoing(link, type, length, false, err) < 0)
		return -1;
	while (link->ledger.controls_lent >= LINK_CREDIT) {
		int ready = link_wait_channel(link, POLLIN, deadline);
		if (ready < 0 || link_pump(link) < 0)
			return link_report(link, err);
		if (ready == 0)
			return error_set(err, ERR_PEER_UNREACHABLE,
					 "%s: the peer takes no messages", link->label);
	}
	if (send_sealed(link, type, payload, length, err) < 0)
		return -1;
	return strike(link, FAULT_SEND, type, FAULT_AFTER, err);
}

void *link_slot(struct link *link, deadline_t deadline, struct error *err)
{
	for (;;) {
		if (link_pump(link) < 0) {
			link_report(link, err);
			return NULL;
		}
		int slot = ring_ledger_free_slot(&link->ledger);
		if (slot >= 0)
			return ring_slot(link->mover.ring.to_mover, (unsigned)slot);
		int ready = link_wait_channel(link, POLLIN, deadline);
		if (ready == 0)
			error_set(err, ERR_DEADLINE, "%s: the peer takes no data", link->label);
		else if (ready < 0)
			link_report(link, err);
		if (ready <= 0)
			return NULL;
	}
}

int link_send_slot(struct link *link, uint16_t type, void *slot, size_t length, struct error *err)
{
	size_t at = (size_t)((uint8_t *)slot - link->mover.ring.to_mover);
	if (at >= RING_ROW || at % WIRE_DATA_MAX || link->ledger.lent & 1U << at / WIRE_DATA_MAX)
		return error_set(err, ERR_INTERNAL, "this is not a free slot");
	if (check_outgoing(link, type, length + SEAL_TAG, true, err) < 0 ||
	    seal_put_data(link->seal, type, slot, length, (uint8_t *)slot + length, err) < 0)
		return -1;
	const struct ring_note note = {.kind = RING_DATA,
				       .type = type,
				       .slot = (uint32_t)(at / WIRE_DATA_MAX),
				       .length = (uint32_t)(length + SEAL_TAG)};
	return link_tell(link, &note, NULL) < 0 ? link_report(link, err) : 0;
}

bool link_idle(const struct link *link)
{
	return !link->ledger.lent;
}

int link_flush(struct link *link, deadline_t deadline, struct error *err)
{
	const struct ring_note note = {.kind = RING_FLUSH};
	if (link_pump(link) < 0)
		return link_report(link, err);
	if (link->ledger.flushes < RING_FLUSHES_MAX && link_tell(link, &note, NULL) < 0)
		return link_report(link, err);
	while (link->ledger.flushes) {
		int ready = link_wait_channel(link, POLLIN, deadline);
		if (ready < 0 || link_pump(link) < 0)
			return link_report(link, err);
		if (ready == 0)
			return error_set(err, ERR_DEADLINE, "%s: the peer takes no data",
					 link->label);
	}
	return 0;
}

// ---- receiving

// The lowest free one, which is the one that the processor's caches hold.
static uint8_t *take_copy(struct link *link, struct error *err)
{
	int n = __builtin_ctz(~link->copies_held);
	if (!link->copies[n])
		link->copies[n] = malloc(WIRE_DATA_MAX);
	if (link->copies[n])
		link->copies_held |= 1U << n;
	else
		error_set(err, ERR_NOMEM, "no memory for a message");
	return link->copies[n];
}

static void give_copy_back(struct link *link, const uint8_t *copy)
{
	for (unsigned n = 0; n < LINK_SLOTS; n++)
		if (link->copies[n] == copy)
			link->copies_held &= ~(1U << n);
}

// The mover can write to the ring at any time: what is checked is a copy.
static int open_data(struct link *link, const struct link_queued *queued,
		     struct link_message *message, struct error *err)
{
	uint8_t *copy = take_copy(link, err);
	if (!copy)
		return -1;
	memcpy(copy, queued->message.payload, queued->message.length);
	*message = queued->message;
	message->payload = copy;
	ssize_t length = seal_check_data(link->seal, queued->number, message->type, copy,
					 message->length, err);
	message->length = length < 0 ? 0 : (size_t)length;
	return length < 0 ? -1 : 0;
}

static int hand_out(struct link *link, struct link_message *message, struct error *err)
{
	struct error why;
	const struct link_queued *queued = &link->queue[link->head];
	link->head = (link->head + 1) % LINK_QUEUE;
	link->count--;
	if (queued->message.slot < 0)
		*message = queued->message;
	else if (open_data(link, queued, message, &why) < 0) {
		*message = (struct link_message){.slot = -1};
		link_fail(link, &why);
	}
	show_pending(link);
	if (!message->type)
		return link_report(link, err);
	if (message->slot >= 0 ||
	    strike(link, FAULT_RECEIVE, message->type, FAULT_BEFORE, err) == 0)
		return 1;
	link_done(link, message);
	return -1;
}

static void give_slots_back(struct link *link)
{
	const struct ring_note note = {.kind = RING_SLOTS_TAKEN, .slot = link->taken};
	if (link->taken && !error_is_set(&link->failure))
		link_tell(link, &note, NULL); // a failure is reported by the next call
	link->taken = 0;
}

int link_recv(struct link *link, deadline_t deadline, struct link_message *message,
	      struct error *err)
{
	*message = (struct link_message){.slot = -1};
	for (;;) {
		int alive = link_pump(link);
		if (link->count)
			return hand_out(link, message, err);
		if (alive < 0)
			return link_report(link, err);
		if (link->taken) {
			give_slots_back(link); // which may take messages in
			continue;
		}
		int ready = link_wait_channel(link, POLLIN, deadline);
		if (ready <= 0)
			return ready < 0 ? link_report(link, err) : 0;
	}
}

void link_done(struct link *link, struct link_message *message)
{
	const struct ring_note note = {.kind = RING_CONTROL_TAKEN};
	if (!message->type)
		return;
	if (message->slot >= 0) {
		give_copy_back(link, message->payload);
		link->taken |= 1U << message->slot;
		if (__builtin_popcount(link->taken) >= RING_TAKEN_MANY)
			give_slots_back(link);
	} else {
		free((void *)message->payload);
		if (!error_is_set(&link->failure))
			link_tell(link, &note, NULL); // a failure is reported by the next call
	}
	*message = (struct link_message){.slot = -1};
}

// ---- closing
void link_end(struct link *link)
{
	if (link->mover.channel >= 0)
		shutdown(link->mover.channel, SHUT_WR);
}

static void end_mover(struct link *link)
{
	struct error err = {0};
	int status = 0;
	link_end(link);
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
	for (; link->count; link->count--, link->head = (link->head + 1) % LINK_QUEUE)
		if (link->queue[link->head].message.slot < 0)
			free((void *)link->queue[link->head].message.payload);
	for (unsigned n = 0; n < LINK_SLOTS; n++)
		free(link->copies[n]);
	cleanup_close(&link->ready);
	cleanup_close(&link->pending);
	mover_release(&link->mover);
	seal_close(link->seal);
	free(link);
}
