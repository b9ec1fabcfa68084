// SPDX-License-Identifier: Apache-2.0
// What the two halves of a link share: link_open.c opens one, link.c carries messages.
#ifndef WPAR_TRANSPORT_LINK_INNER_H
#define WPAR_TRANSPORT_LINK_INNER_H

#include "lib/transport/link.h"
#include "lib/transport/mover.h"
#include "lib/transport/pki.h"
#include "lib/transport/seal.h"

#define LINK_QUEUE (LINK_SLOTS + LINK_CREDIT) // the ledger lets no more in

struct link_queued {
	struct link_message message;
	uint64_t number; // of a data message, for its seal
};

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
	struct link_queued queue[LINK_QUEUE];
	size_t head, count;
	uint8_t *copies[LINK_SLOTS]; // of data messages; NULL: not needed so far
	uint32_t copies_held;        // bit n: copy n is with the caller
	uint32_t taken;              // bit n: slot n is to be given back to the mover
	struct error failure;        // once set, nothing is sent or received any more
	uint8_t packet[WIRE_CONTROL_MAX];
};

// Notes why the link has failed; the first reason stays. Returns -1.
int link_fail(struct link *link, const struct error *why);
// Copies that reason to *err. Returns -1.
int link_report(const struct link *link, struct error *err);
// Takes in all that has come. -1: the link has failed.
int link_pump(struct link *link);
// Waits for the mover to say or to take something: 1; 0: the deadline has passed; -1: the link has
// failed.
int link_wait_channel(struct link *link, short events, deadline_t deadline);
// Gives the mover a note. -1: the link has failed.
int link_tell(struct link *link, const struct ring_note *note, const void *payload);

#endif
