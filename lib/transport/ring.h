// SPDX-License-Identifier: Apache-2.0
// What the privileged side of a link and its mover share: two rows of data slots in sealed memfds,
// and small notes over a SOCK_SEQPACKET channel. Both sides check every note with the same code:
// its form (ring_recv) and whether it fits what was handed over before (struct ring_ledger).
//
// The first packet to a mover is its JSON start message (chan.h); all others are notes.
#ifndef WPAR_TRANSPORT_RING_H
#define WPAR_TRANSPORT_RING_H

#include "lib/base/error.h"
#include "lib/transport/link.h"
#include "lib/transport/uring.h"
#include "lib/transport/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Descriptors of a mover.
#define RING_FD_CHANNEL    3
#define RING_FD_TO_MOVER   4 // memfd: the row that the mover only reads
#define RING_FD_FROM_MOVER 5 // memfd: the row that it writes, then URING_MEMORY bytes
#define RING_FD_URING      6
#define RING_FD_SOCKET     7 // the connection

#define RING_TEXT_MAX    1024 // payload of UP and FAILED
#define RING_FLUSHES_MAX 4    // asked for and not yet answered

enum ring_kind {
	RING_CONTROL = 1,   // both ways: a control message, payload inline
	RING_DATA,          // both ways: a slot of the sender's row is handed over
	RING_CONTROL_TAKEN, // both ways: one more control message may follow
	RING_SLOTS_TAKEN,   // both ways: the slots whose bits `slot` has are the sender's again
	RING_FLUSH,         // to the mover
	RING_FLUSHED,       // from the mover
	RING_UP,            // from the mover: handshake done; payload: the peer's name
	RING_FAILED, // from the mover, its last: type is enum ring_failure; payload: a sentence
};

enum ring_failure {
	RING_FAILURE_LOCAL = 1,   // this host cannot: ERR_SYSTEM
	RING_FAILURE_CERTIFICATE, // our files: ERR_CERTIFICATE
	RING_FAILURE_ADDRESS,     // ERR_USAGE
	RING_FAILURE_UNREACHABLE, // ERR_PEER_UNREACHABLE
	RING_FAILURE_UNTRUSTED,   // ERR_PEER_UNTRUSTED
	RING_FAILURE_PROTOCOL,    // ERR_PROTOCOL
};

struct ring_note {
	uint8_t kind;
	uint8_t zero;
	uint16_t type;
	uint32_t slot;
	uint32_t length;
};

// ---- memory
struct ring {
	uint8_t *to_mover; // LINK_SLOTS slots filled by the privileged side
	uint8_t *from_mover;
};

#define RING_ROW ((size_t)LINK_SLOTS * WIRE_DATA_MAX)

struct ring_memory {
	int to_mover, from_mover; // descriptors
};

// The parent's half. Both memfds are sealed at their size, so that neither side can make the other
// fault by truncating them, and the first one against new writable mappings (F_SEAL_FUTURE_WRITE):
// a mover cannot change what the parent is about to hash.
int ring_make(struct ring *ring, struct ring_memory *memory, struct error *err);
void ring_memory_close(struct ring_memory *memory);
// The mover's half. Refuses memfds without the seals.
int ring_take(struct ring *ring, const struct ring_memory *memory, struct error *err);
void ring_unmap(struct ring *ring);

static inline uint8_t *ring_slot(uint8_t *row, unsigned slot)
{
	return row + (size_t)slot * WIRE_DATA_MAX;
}

// ---- notes
enum ring_result {
	RING_ERROR = -1,
	RING_NONE = 0, // would block
	RING_DONE = 1,
	RING_CLOSED = 2, // the other side has gone
};

// Sends without blocking. note->length says how long payload is for CONTROL, UP and FAILED.
enum ring_result ring_send(int channel, const struct ring_note *note, const void *payload,
			   struct error *err);
// Receives without blocking and checks the form; payload has WIRE_CONTROL_MAX bytes of room.
enum ring_result ring_recv(int channel, bool from_mover, struct ring_note *note, void *payload,
			   struct error *err);
// What ring_recv checks, of a note in a packet with `payload` bytes behind it.
int ring_check(const struct ring_note *note, size_t payload, bool from_mover, struct error *err);

enum error_id ring_failure_error(uint16_t failure);
enum ring_failure ring_failure_of(const struct error *err);

// Slots go back when so many are to, or when there is nothing else to do: each note may wake a
// process.
#define RING_TAKEN_MANY (LINK_SLOTS / 2)

// ---- ledger: who holds what
struct ring_ledger {
	uint32_t lent; // bit n: slot n of our row is with the other side
	uint32_t held; // bit n: slot n of the other side's row is with us
	unsigned controls_lent, controls_held;
	unsigned flushes;
};

// A free slot of our row, or -1.
int ring_ledger_free_slot(const struct ring_ledger *ledger);
// Note what we send.
void ring_ledger_sent(struct ring_ledger *ledger, const struct ring_note *note);
// Check and note what we received: ERR_PROTOCOL when it does not fit.
int ring_ledger_received(struct ring_ledger *ledger, const struct ring_note *note,
			 struct error *err);

#endif
