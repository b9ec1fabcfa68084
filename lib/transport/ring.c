// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/ring.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct ring_note) == 12, "no padding in what crosses the channel");
_Static_assert(LINK_SLOTS < 32, "the ledger has a bit a slot");

#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SEALS_READ (SEALS | F_SEAL_FUTURE_WRITE)

#define FROM_MOVER_SIZE (RING_ROW + URING_MEMORY)

static int make_memory(size_t size, struct error *err)
{
	_cleanup_close_ int fd = memfd_create("wpar-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make the ring of a connection");
	return take_fd(&fd);
}

static uint8_t *map_row(int memory, bool writable)
{
	// Populated now: page faults would otherwise fall into the first round of a move.
	void *at = mmap(NULL, RING_ROW, writable ? PROT_READ | PROT_WRITE : PROT_READ,
			MAP_SHARED | MAP_POPULATE, memory, 0);
	return at == MAP_FAILED ? NULL : at;
}

static int map(struct ring *ring, const struct ring_memory *memory, bool mover, struct error *err)
{
	*ring = (struct ring){.to_mover = map_row(memory->to_mover, !mover),
			      .from_mover = map_row(memory->from_mover, mover)};
	if (ring->to_mover && ring->from_mover)
		return 0;
	error_sys(err, ERR_SYSTEM, errno, "cannot map the ring of a connection");
	ring_unmap(ring);
	return -1;
}

int ring_make(struct ring *ring, struct ring_memory *memory, struct error *err)
{
	*ring = (struct ring){0};
	*memory = (struct ring_memory){make_memory(RING_ROW, err), -1};
	if (memory->to_mover >= 0)
		memory->from_mover = make_memory(FROM_MOVER_SIZE, err);
	if (memory->from_mover >= 0 && map(ring, memory, false, err) == 0) {
		if (fcntl(memory->to_mover, F_ADD_SEALS, SEALS_READ) == 0 &&
		    fcntl(memory->from_mover, F_ADD_SEALS, SEALS) == 0)
			return 0;
		error_sys(err, ERR_SYSTEM, errno, "cannot seal the ring of a connection");
		ring_unmap(ring);
	}
	ring_memory_close(memory);
	return -1;
}

void ring_memory_close(struct ring_memory *memory)
{
	cleanup_close(&memory->to_mover);
	cleanup_close(&memory->from_mover);
	*memory = (struct ring_memory){-1, -1};
}

static bool is_sealed(int memory, int seals)
{
	int have = fcntl(memory, F_GET_SEALS);
	return have >= 0 && (have & seals) == seals;
}

int ring_take(struct ring *ring, const struct ring_memory *memory, struct error *err)
{
	*ring = (struct ring){0};
	if (!is_sealed(memory->to_mover, SEALS_READ) || !is_sealed(memory->from_mover, SEALS))
		return error_set(err, ERR_INTERNAL, "the ring of a connection is not sealed");
	return map(ring, memory, true, err);
}

void ring_unmap(struct ring *ring)
{
	if (ring->to_mover)
		munmap(ring->to_mover, RING_ROW);
	if (ring->from_mover)
		munmap(ring->from_mover, RING_ROW);
	*ring = (struct ring){0};
}

static bool has_payload(uint8_t kind)
{
	return kind == RING_CONTROL || kind == RING_UP || kind == RING_FAILED;
}

enum ring_result ring_send(int channel, const struct ring_note *note, const void *payload,
			   struct error *err)
{
	struct iovec parts[2] = {
		{.iov_base = (void *)note, .iov_len = sizeof(*note)},
		{.iov_base = (void *)payload,
		 .iov_len = has_payload(note->kind) ? note->length : 0},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	for (;;) {
		if (sendmsg(channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return RING_DONE;
		if (errno == EAGAIN || errno == ENOBUFS)
			return RING_NONE;
		if (errno == EPIPE || errno == ECONNRESET)
			return RING_CLOSED;
		if (errno != EINTR) {
			error_sys(err, ERR_SYSTEM, errno, "cannot send to the other process");
			return RING_ERROR;
		}
	}
}

int ring_check(const struct ring_note *note, size_t payload, bool from_mover, struct error *err)
{
	bool direction_fits = true;
	switch (note->kind) {
	case RING_CONTROL:
	case RING_DATA:
		if (wire_check(note->type, note->length, err) < 0)
			return -1;
		if (wire_is_data(note->type) != (note->kind == RING_DATA))
			return error_set(err, ERR_PROTOCOL, "%s came the wrong way",
					 wire_name(note->type));
		break;
	case RING_CONTROL_TAKEN:
		break;
	case RING_SLOTS_TAKEN:
		if (!note->slot || note->slot >= 1U << LINK_SLOTS)
			return error_set(err, ERR_PROTOCOL, "slots %#x do not exist", note->slot);
		break;
	case RING_FLUSH:
		direction_fits = !from_mover;
		break;
	case RING_FLUSHED:
		direction_fits = from_mover;
		break;
	case RING_UP:
	case RING_FAILED:
		direction_fits = from_mover && note->length <= RING_TEXT_MAX;
		break;
	default:
		direction_fits = false;
	}
	if (!direction_fits || note->zero ||
	    payload != (has_payload(note->kind) ? note->length : 0))
		return error_set(err, ERR_PROTOCOL, "a note of kind %u is malformed", note->kind);
	if (note->kind == RING_DATA && note->slot >= LINK_SLOTS)
		return error_set(err, ERR_PROTOCOL, "slot %u does not exist", note->slot);
	return 0;
}

enum ring_result ring_recv(int channel, bool from_mover, struct ring_note *note, void *payload,
			   struct error *err)
{
	struct iovec parts[2] = {
		{.iov_base = note, .iov_len = sizeof(*note)},
		{.iov_base = payload, .iov_len = WIRE_CONTROL_MAX},
	};
	// No room for descriptors: the kernel drops what somebody tries to pass.
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t n;
	do
		n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET)); // reset: queued packets come next
	if (n < 0 && errno == EAGAIN)
		return RING_NONE;
	if (n < 0) {
		error_sys(err, ERR_SYSTEM, errno, "cannot receive from the other process");
		return RING_ERROR;
	}
	if (n == 0)
		return RING_CLOSED;
	if ((size_t)n < sizeof(*note) || message.msg_flags & MSG_TRUNC) {
		error_set(err, ERR_PROTOCOL, "a note of %zd bytes has no valid length", n);
		return RING_ERROR;
	}
	return ring_check(note, (size_t)n - sizeof(*note), from_mover, err) < 0 ? RING_ERROR
										: RING_DONE;
}

static const enum error_id failures[] = {
	[RING_FAILURE_LOCAL] = ERR_SYSTEM,
	[RING_FAILURE_CERTIFICATE] = ERR_CERTIFICATE,
	[RING_FAILURE_ADDRESS] = ERR_USAGE,
	[RING_FAILURE_UNREACHABLE] = ERR_PEER_UNREACHABLE,
	[RING_FAILURE_UNTRUSTED] = ERR_PEER_UNTRUSTED,
	[RING_FAILURE_PROTOCOL] = ERR_PROTOCOL,
};

enum error_id ring_failure_error(uint16_t failure)
{
	return failure && failure < ARRAY_SIZE(failures) ? failures[failure] : ERR_PROTOCOL;
}

enum ring_failure ring_failure_of(const struct error *err)
{
	for (unsigned i = RING_FAILURE_LOCAL; i < ARRAY_SIZE(failures); i++)
		if (failures[i] == err->id)
			return (enum ring_failure)i;
	return RING_FAILURE_LOCAL;
}

int ring_ledger_free_slot(const struct ring_ledger *ledger)
{
	for (int i = 0; i < LINK_SLOTS; i++)
		if (!(ledger->lent & 1U << i))
			return i;
	return -1;
}

void ring_ledger_sent(struct ring_ledger *ledger, const struct ring_note *note)
{
	switch (note->kind) {
	case RING_CONTROL:
		ledger->controls_lent++;
		break;
	case RING_DATA:
		ledger->lent |= 1U << note->slot;
		break;
	case RING_CONTROL_TAKEN:
		ledger->controls_held--;
		break;
	case RING_SLOTS_TAKEN:
		ledger->held &= ~note->slot;
		break;
	case RING_FLUSH:
		ledger->flushes++;
		break;
	case RING_FLUSHED:
		ledger->flushes--;
		break;
	default:
		break;
	}
}

int ring_ledger_received(struct ring_ledger *ledger, const struct ring_note *note,
			 struct error *err)
{
	const uint32_t bit = 1U << (note->slot % 32);
	bool fits = true;
	switch (note->kind) {
	case RING_CONTROL:
		fits = ledger->controls_held++ < LINK_CREDIT;
		break;
	case RING_DATA:
		fits = !(ledger->held & bit);
		ledger->held |= bit;
		break;
	case RING_CONTROL_TAKEN:
		fits = ledger->controls_lent-- > 0;
		break;
	case RING_SLOTS_TAKEN:
		fits = (ledger->lent & note->slot) == note->slot;
		ledger->lent &= ~note->slot;
		break;
	case RING_FLUSH:
		fits = ledger->flushes++ < RING_FLUSHES_MAX;
		break;
	case RING_FLUSHED:
		fits = ledger->flushes-- > 0;
		break;
	default:
		break;
	}
	return fits ? 0
		    : error_set(err, ERR_PROTOCOL, "a note of kind %u was not to be expected",
				note->kind);
}
