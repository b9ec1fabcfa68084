// SPDX-License-Identifier: Apache-2.0
#include "relocd/mover/session.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define NOTES    64 // more than the ledger lets be under way
#define REQUESTS (LINK_SLOTS + LINK_CREDIT + RING_FLUSHES_MAX + 1)

enum phase {
	PHASE_HANDSHAKE,
	PHASE_OPENING, // connecting side: the peer has not yet said that it accepts us
	PHASE_UP,
	PHASE_CLOSING, // the parent has closed; what it sent goes out
	PHASE_ENDING,  // only the last bytes go out
};

enum stage {
	STAGE_HEADER,
	STAGE_PLACE,
	STAGE_PAYLOAD,
	STAGE_DELIVER,
};

// What the parent wants sent.
struct request {
	struct ring_note note; // CONTROL, DATA or FLUSH
	uint8_t header[WIRE_HEADER];
	size_t header_done, done;
	uint8_t *bytes; // CONTROL: ours; DATA: in the ring
};

struct session {
	int channel;
	bool server, join;
	enum phase phase;
	struct ring ring;
	struct ring_ledger ledger;
	struct uring uring;
	struct tls *tls;
	struct tls_pipe in, out;

	struct request requests[REQUESTS];
	size_t request_head, request_count;
	unsigned filling; // the buffer that `out` fills; the other one is being sent
	struct {
		unsigned buffer;
		size_t at, end;
	} sending;
	uint64_t submitted, written;         // bytes of ciphertext
	uint64_t flush_at[RING_FLUSHES_MAX]; // answer FLUSHED when `written` gets there
	size_t flush_count;
	uint32_t taken; // slots of the parent's that are to go back
	struct error write_failure;

	enum stage stage;
	uint8_t header[WIRE_HEADER];
	struct wire_header frame;
	size_t have;
	uint8_t *into;
	int slot;

	struct ring_note notes[NOTES]; // for the parent, in order
	size_t note_head, note_count;
	bool channel_full;
	uint8_t control_in[WIRE_CONTROL_MAX];  // from the peer
	uint8_t control_out[WIRE_CONTROL_MAX]; // from the parent
};

// ---- to the parent ------------------------------------------------------------------------------

static int tell(struct session *s, const struct ring_note *note, const void *payload,
		struct error *err)
{
	enum ring_result sent = ring_send(s->channel, note, payload, err);
	s->channel_full = sent == RING_NONE;
	if (sent == RING_CLOSED && s->phase < PHASE_CLOSING)
		s->phase = PHASE_CLOSING;
	return sent == RING_ERROR ? -1 : sent == RING_DONE;
}

static int tell_waiting(struct session *s, struct error *err)
{
	while (s->note_count) {
		int told = tell(s, &s->notes[s->note_head], NULL, err);
		if (told <= 0)
			return told;
		s->note_head = (s->note_head + 1) % NOTES;
		s->note_count--;
	}
	return 1;
}

static int tell_later(struct session *s, const struct ring_note *note, struct error *err)
{
	if (s->note_count == NOTES)
		return error_set(err, ERR_INTERNAL, "too many notes for the parent");
	s->notes[(s->note_head + s->note_count++) % NOTES] = *note;
	ring_ledger_sent(&s->ledger, note);
	return 0;
}

static int tell_up(struct session *s, struct error *err)
{
	const char *peer = tls_peer(s->tls);
	const struct ring_note up = {.kind = RING_UP, .length = (uint32_t)strlen(peer)};
	s->phase = PHASE_UP;
	return tell(s, &up, peer, err) < 0 ? -1 : 0;
}

// ---- from the parent ----------------------------------------------------------------------------

static struct request *add_request(struct session *s, const struct ring_note *note)
{
	if (s->request_count == REQUESTS)
		return NULL;
	struct request *r = &s->requests[(s->request_head + s->request_count++) % REQUESTS];
	*r = (struct request){.note = *note};
	wire_header_put(r->header, note->type, note->length);
	return r;
}

static int take_request(struct session *s, const struct ring_note *note, struct error *err)
{
	if (note->kind == RING_CONTROL_TAKEN || note->kind == RING_SLOTS_TAKEN)
		return 0;
	struct request *r = add_request(s, note);
	if (!r)
		return error_set(err, ERR_INTERNAL, "too many requests of the parent");
	if (note->kind == RING_DATA)
		r->bytes = ring_slot(s->ring.to_mover, note->slot);
	if (note->kind != RING_CONTROL)
		return 0;
	r->bytes = malloc(note->length + 1);
	if (!r->bytes)
		return error_set(err, ERR_NOMEM, "no memory for a message");
	memcpy(r->bytes, s->control_out, note->length);
	return 0;
}

static int hear(struct session *s, struct error *err)
{
	struct ring_note note;
	enum ring_result got;
	while ((got = ring_recv(s->channel, false, &note, s->control_out, err)) == RING_DONE)
		if (ring_ledger_received(&s->ledger, &note, err) < 0 ||
		    take_request(s, &note, err) < 0)
			return -1;
	if (got == RING_CLOSED && s->phase < PHASE_CLOSING)
		s->phase = s->phase == PHASE_UP ? PHASE_CLOSING : PHASE_ENDING;
	return got == RING_ERROR ? -1 : 0;
}

// ---- to the peer --------------------------------------------------------------------------------

static void fill_buffer(struct session *s, unsigned buffer)
{
	s->filling = buffer;
	s->out.data = uring_buffer(&s->uring, buffer);
	s->out.end = 0;
}

static int begin_write(struct session *s, struct error *err)
{
	if (s->uring.busy[URING_WRITE] || s->out.end == 0)
		return 0;
	s->sending.buffer = s->filling;
	s->sending.at = 0;
	s->sending.end = s->out.end;
	s->submitted += s->out.end;
	fill_buffer(s, s->filling == 1 ? 2 : 1);
	return uring_write(&s->uring, s->sending.buffer, 0, s->sending.end, err);
}

static int answer_flushes(struct session *s, struct error *err)
{
	const struct ring_note flushed = {.kind = RING_FLUSHED};
	while (s->flush_count && s->flush_at[0] <= s->written) {
		memmove(s->flush_at, s->flush_at + 1, --s->flush_count * sizeof(s->flush_at[0]));
		if (tell_later(s, &flushed, err) < 0)
			return -1;
	}
	return 0;
}

static int wrote(struct session *s, int result, struct error *err)
{
	if (result == -EINTR || result == -EAGAIN)
		result = 0;
	if (result < 0) {
		// The reason may lie in what the peer sent before: go on reading.
		error_sys(&s->write_failure, ERR_PEER_UNREACHABLE, -result,
			  "the connection was lost");
		return 0;
	}
	s->sending.at += (size_t)result;
	s->written += (size_t)result;
	if (s->sending.at < s->sending.end)
		return uring_write(&s->uring, s->sending.buffer, s->sending.at,
				   s->sending.end - s->sending.at, err);
	// Go on with the buffer that the processor's caches hold, unless the other one was begun.
	if (s->out.end == 0)
		fill_buffer(s, s->sending.buffer);
	return answer_flushes(s, err);
}

static int send_part(struct session *s, const uint8_t *bytes, size_t length, size_t *done,
		     struct error *err)
{
	while (*done < length) {
		size_t taken = 0;
		int sent = tls_write(s->tls, bytes + *done, length - *done, &taken, err);
		if (sent <= 0)
			return sent;
		*done += taken;
	}
	return 1;
}

static int give_slots_back(struct session *s, struct error *err)
{
	const struct ring_note note = {.kind = RING_SLOTS_TAKEN, .slot = s->taken};
	if (!s->taken)
		return 0;
	s->taken = 0;
	return tell_later(s, &note, err);
}

static int give_back(struct session *s, const struct request *r, struct error *err)
{
	const struct ring_note control = {.kind = RING_CONTROL_TAKEN};
	if (r->note.kind == RING_DATA) {
		s->taken |= 1U << r->note.slot;
		return __builtin_popcount(s->taken) < RING_TAKEN_MANY ? 0 : give_slots_back(s, err);
	}
	free(r->bytes);
	// OPEN is our own, no credit of the parent's.
	return r->note.type == WIRE_OPEN ? 0 : tell_later(s, &control, err);
}

static int send_request(struct session *s, struct request *r, struct error *err)
{
	int sent = 1;
	if (r->note.kind == RING_FLUSH) {
		s->flush_at[s->flush_count++] = s->submitted + s->out.end;
		return answer_flushes(s, err) < 0 ? -1 : 1;
	}
	sent = send_part(s, r->header, WIRE_HEADER, &r->header_done, err);
	if (sent > 0)
		sent = send_part(s, r->bytes, r->note.length, &r->done, err);
	if (sent <= 0)
		return sent;
	return give_back(s, r, err) < 0 ? -1 : 1;
}

static int send_requests(struct session *s, struct error *err)
{
	while (s->request_count) {
		int sent = send_request(s, &s->requests[s->request_head], err);
		if (sent <= 0)
			return sent;
		s->request_head = (s->request_head + 1) % REQUESTS;
		s->request_count--;
	}
	return give_slots_back(s, err);
}

// ---- from the peer ------------------------------------------------------------------------------

// Steps return 1: go on, 0: blocked, -1: error.

static int read_part(struct session *s, uint8_t *bytes, size_t length, struct error *err)
{
	while (s->have < length) {
		size_t got = 0;
		int read = tls_read(s->tls, bytes + s->have, length - s->have, &got, err);
		if (read <= 0)
			return read;
		s->have += got;
	}
	return 1;
}

static int step_header(struct session *s, struct error *err)
{
	int read = read_part(s, s->header, WIRE_HEADER, err);
	if (read <= 0)
		return read;
	if (wire_header_get(s->header, &s->frame, err) < 0)
		return -1;
	s->have = 0;
	if (s->frame.type == WIRE_OPEN && s->phase == PHASE_OPENING)
		return tell_up(s, err) < 0 ? -1 : 1;
	if (s->phase == PHASE_OPENING || s->frame.type == WIRE_OPEN ||
	    (s->join && !wire_is_join(s->frame.type)))
		return error_set(err, ERR_PROTOCOL, "%s is not allowed here",
				 wire_name(s->frame.type));
	s->stage = STAGE_PLACE;
	return 1;
}

static int step_place(struct session *s)
{
	s->into = s->control_in;
	if (wire_is_data(s->frame.type)) {
		s->slot = ring_ledger_free_slot(&s->ledger);
		if (s->slot < 0)
			return 0;
		s->into = ring_slot(s->ring.from_mover, (unsigned)s->slot);
	}
	s->stage = STAGE_PAYLOAD;
	return 1;
}

static int step_deliver(struct session *s, struct error *err)
{
	struct ring_note note = {.type = s->frame.type, .length = s->frame.length};
	if (wire_is_data(s->frame.type)) {
		note.kind = RING_DATA;
		note.slot = (uint32_t)s->slot;
		return tell_later(s, &note, err) < 0 ? -1 : 1;
	}
	note.kind = RING_CONTROL;
	if (s->ledger.controls_lent >= LINK_CREDIT)
		return 0;
	int told = tell_waiting(s, err); // in order with the data
	if (told > 0)
		told = tell(s, &note, s->control_in, err);
	if (told > 0)
		ring_ledger_sent(&s->ledger, &note);
	return told;
}

static int step(struct session *s, struct error *err)
{
	int going;
	switch (s->stage) {
	case STAGE_HEADER:
		return step_header(s, err);
	case STAGE_PLACE:
		return step_place(s);
	case STAGE_PAYLOAD:
		going = read_part(s, s->into, s->frame.length, err);
		if (going > 0)
			s->stage = STAGE_DELIVER;
		return going;
	default:
		going = step_deliver(s, err);
		if (going > 0) {
			s->stage = STAGE_HEADER;
			s->have = 0;
		}
		return going;
	}
}

static int receive(struct session *s, struct error *err)
{
	int going = 1;
	while (going > 0 && (s->phase == PHASE_OPENING || s->phase == PHASE_UP))
		going = step(s, err);
	return going < 0 ? -1 : 0;
}

static int have_read(struct session *s, int result, struct error *err)
{
	if (result == -EINTR || result == -EAGAIN)
		return 0;
	if (result < 0)
		return error_sys(err, ERR_PEER_UNREACHABLE, -result, "the connection was lost");
	s->in.end += (size_t)result;
	s->in.ended = result == 0;
	return 0;
}

// ---- the loop -----------------------------------------------------------------------------------

static int handshake(struct session *s, struct error *err)
{
	int done = tls_handshake(s->tls, err);
	if (done <= 0)
		return done;
	if (!s->server) {
		s->phase = PHASE_OPENING;
		return 0;
	}
	const struct ring_note open = {.kind = RING_CONTROL, .type = WIRE_OPEN};
	add_request(s, &open);
	return tell_up(s, err);
}

static int advance(struct session *s, struct error *err)
{
	if (s->phase == PHASE_HANDSHAKE && handshake(s, err) < 0)
		return -1;
	if (s->phase == PHASE_UP || s->phase == PHASE_CLOSING) {
		if (send_requests(s, err) < 0)
			return -1;
	}
	if (receive(s, err) < 0 || tell_waiting(s, err) < 0)
		return -1;
	if (s->phase == PHASE_CLOSING && !s->request_count) {
		tls_end(s->tls);
		s->phase = PHASE_ENDING;
	}
	return 0;
}

static bool wants_input(const struct session *s)
{
	if (s->phase >= PHASE_CLOSING || tls_can_read(s->tls))
		return false;
	return s->stage == STAGE_HEADER || s->stage == STAGE_PAYLOAD;
}

// Behind what is left of a record.
static int begin_read(struct session *s, struct error *err)
{
	struct tls_pipe *in = &s->in;
	memmove(in->data, in->data + in->start, in->end - in->start);
	in->end -= in->start;
	in->start = 0;
	return uring_read(&s->uring, 0, in->end, err);
}

static int arm(struct session *s, struct error *err)
{
	const bool *busy = s->uring.busy;
	if (error_is_set(&s->write_failure))
		s->out.end = 0;
	if (begin_write(s, err) < 0)
		return -1;
	if (!busy[URING_READ] && wants_input(s) && begin_read(s, err) < 0)
		return -1;
	if (s->phase < PHASE_CLOSING && !busy[URING_CHANNEL_IN] &&
	    uring_poll(&s->uring, URING_CHANNEL_IN, err) < 0)
		return -1;
	if (s->channel_full && s->phase < PHASE_CLOSING && !busy[URING_CHANNEL_OUT] &&
	    uring_poll(&s->uring, URING_CHANNEL_OUT, err) < 0)
		return -1;
	return 0;
}

static int completed(void *argument, enum uring_tag tag, int result, struct error *err)
{
	struct session *s = argument;
	switch (tag) {
	case URING_READ:
		return have_read(s, result, err);
	case URING_WRITE:
		return wrote(s, result, err);
	case URING_CHANNEL_IN:
		return s->phase < PHASE_CLOSING ? hear(s, err) : 0;
	default:
		s->channel_full = false;
		return 0;
	}
}

static bool is_over(const struct session *s)
{
	if (s->phase < PHASE_CLOSING)
		return false;
	if (error_is_set(&s->write_failure))
		return true;
	return s->phase == PHASE_ENDING && !s->uring.busy[URING_WRITE] && s->out.end == 0;
}

static int loop(struct session *s, struct error *err)
{
	for (;;) {
		if (advance(s, err) < 0)
			return -1;
		if (is_over(s))
			return 0;
		if (arm(s, err) < 0 || uring_run(&s->uring, completed, s, err) < 0)
			return -1;
	}
}

int session_await_parent(int channel)
{
	struct pollfd p = {.fd = channel, .events = POLLOUT | POLLRDHUP};
	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -1;
	return p.revents & POLLOUT ? 0 : -1;
}

// What arrived before the failure is still the parent's.
static void deliver_rest(struct session *s)
{
	while (tell_waiting(s, NULL) == 0 && s->channel_full && s->note_count)
		if (session_await_parent(s->channel) < 0)
			return;
}

int session_run(struct session *s, struct error *err)
{
	if (loop(s, err) == 0)
		return 0;
	if (err->id == ERR_PEER_UNREACHABLE && error_is_set(&s->write_failure))
		*err = s->write_failure;
	else if (err->id != ERR_PEER_UNREACHABLE)
		tls_end(s->tls);
	// An alert is still to be sent.
	struct error ignored;
	s->phase = PHASE_ENDING;
	loop(s, &ignored);
	deliver_rest(s);
	return -1;
}

static int take_memory(struct session *s, struct error *err)
{
	const struct ring_memory memory = {RING_FD_TO_MOVER, RING_FD_FROM_MOVER};
	if (ring_take(&s->ring, &memory, err) < 0)
		return -1;
	return uring_take(&s->uring, RING_FD_URING, RING_FD_FROM_MOVER, RING_ROW, err);
}

struct session *session_open(const struct tls_setup *setup, struct error *err)
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s) {
		error_set(err, ERR_NOMEM, "no memory for a connection");
		return NULL;
	}
	s->channel = RING_FD_CHANNEL;
	s->uring.ring.ring_fd = -1;
	s->server = setup->server;
	s->join = setup->join;
	s->filling = 1;
	if (take_memory(s, err) == 0) {
		s->in = (struct tls_pipe){uring_buffer(&s->uring, 0), 0, 0, URING_BUFFER_SIZE,
					  false};
		s->out = (struct tls_pipe){uring_buffer(&s->uring, 1), 0, 0, URING_BUFFER_SIZE,
					   false};
		s->tls = tls_open(setup, &s->in, &s->out, err);
	}
	if (s->tls)
		return s;
	session_close(s);
	return NULL;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	for (; s->request_count; s->request_count--) {
		struct request *r = &s->requests[s->request_head];
		if (r->note.kind == RING_CONTROL)
			free(r->bytes);
		s->request_head = (s->request_head + 1) % REQUESTS;
	}
	uring_close(&s->uring);
	tls_close(s->tls);
	ring_unmap(&s->ring);
	free(s);
}
