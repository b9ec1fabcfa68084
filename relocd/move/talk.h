// SPDX-License-Identifier: Apache-2.0
// Peer protocol messages over a link: packing by protobuf-c.
#ifndef RELOCD_MOVE_TALK_H
#define RELOCD_MOVE_TALK_H

#include "images/digest.h"
#include "images/peer.pb-c.h"
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/transport/link.h"

#include <stdbool.h>

#define TALK_PROTOCOL 2
#define TALK_SLOT_MS  30000 // how long the peer may take nothing before the move is given up

// How long a restore of that many bytes may take on a slow host, in milliseconds, beside what takes
// the same time always.
int64_t talk_restore_ms(uint64_t bytes);

// Sends any protobuf message.
int talk_send(struct link *link, uint16_t type, const ProtobufCMessage *message, struct error *err);

// HELLO in both directions; the peer's claimed host must be the certificate's. The peer's Hello is
// returned in *hello (free with wpar__hello__free_unpacked). Fails with ERR_VERSION for another
// protocol.
int talk_hello(struct link *link, const char *host, const char *address, deadline_t deadline,
	       Wpar__Hello **hello, struct error *err);

// A Decision message (FROZEN .. ABORT) of this move; `why` may be NULL.
struct talk_decision {
	const char *move;
	uint64_t epoch;
	const struct error *why;
	double restore_ms, switch_ms, frozen_ms; // of READY, RUNNING, COMMIT
	const uint8_t *token; // of ARRANGED: WIRE_TOKEN bytes; NULL: no further connections
};
int talk_decision(struct link *link, uint16_t type, const struct talk_decision *d,
		  struct error *err);
// Unpacks one and checks that it is of this move and epoch. Free with
// wpar__decision__free_unpacked.
Wpar__Decision *talk_read_decision(const struct link_message *message, const char *move,
				   uint64_t epoch, struct error *err);

// ROUND and ROUND_ACK of this move.
int talk_round(struct link *link, uint16_t type, const char *move, uint64_t epoch, uint32_t number,
	       struct error *err);
// ERR_PROTOCOL unless it is of this move and epoch and has this number.
int talk_check_round(const struct link_message *message, const char *move, uint64_t epoch,
		     uint32_t number, struct error *err);

// MARK of this move.
int talk_mark(struct link *link, const char *move, uint64_t epoch, uint32_t number,
	      struct error *err);
// ERR_PROTOCOL unless it is of this move and epoch and has this number.
int talk_check_mark(const struct link_message *message, const char *move, uint64_t epoch,
		    uint32_t number, struct error *err);

// The error that a REFUSE or ABORT carries. Returns -1.
int talk_reason(const Wpar__Decision *decision, const char *peer, struct error *err);

// A free slot as by link_slot. A peer that takes nothing until the deadline is as good as dead,
// whichever end notices first: ERR_PEER_UNREACHABLE, as when the connection is lost.
void *talk_slot(struct link *link, deadline_t deadline, struct error *err);

// Sends an object: OBJECT, CHUNKs, OBJECT_END with its digest.
int talk_send_object(struct link *link, const char *name, const void *bytes, uint64_t length,
		     struct digest *digest, struct error *err);

#endif
