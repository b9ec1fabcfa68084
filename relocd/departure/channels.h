// SPDX-License-Identifier: Apache-2.0
// The connections of a move that pages travel over: the control link, and further ones, each with a
// mover of its own on both sides, so that encryption uses more than one processor.
//
// Pages that may arrive in any order go where a slot is free. What has to keep its order goes over
// the control link alone, behind a MARK on every connection: the peer handles what came before it
// on any of them first (wpar-protocol(7)).
#ifndef RELOCD_DEPARTURE_CHANNELS_H
#define RELOCD_DEPARTURE_CHANNELS_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/transport/link.h"
#include "relocd/move/share.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define CHANNELS_MAX SHARE_STREAMS_MAX

struct channels {
	struct link *link[CHANNELS_MAX]; // the first is the control link, which is not ours
	size_t count;                    // 0: not opened yet
	size_t last;                     // that gave a slot
	size_t most;                     // to be used at once; 0: all
	bool spread;                     // others than the first have got pages since the last mark
	uint32_t marks;
	const char *move;
	uint64_t epoch;
};

struct channels_peer {
	const char *address, *name;
	const struct link_tls *tls;
	const uint8_t *token; // NULL: it takes no further connections
};
// Connects `streams` - 1 times; what cannot be connected is logged, and done without.
void channels_open(struct channels *c, struct link *control, const char *move, uint64_t epoch,
		   unsigned streams, const struct channels_peer *peer);

// A free slot and the link that it is of; `in_order`: of the control link. As link_slot.
void *channels_slot(struct channels *c, bool in_order, struct link **of, deadline_t deadline,
		    struct error *err);
// Hands over PAGES. What is in order arrives behind all that was handed over before.
int channels_send(struct channels *c, struct link *of, bool in_order, void *slot, size_t length,
		  struct error *err);
// What follows on any connection is handled behind all that was sent on the others.
int channels_mark(struct channels *c, struct error *err);

// Whether nothing is under way on any of them.
bool channels_idle(const struct channels *c);

// What to poll for free slots.
size_t channels_poll(const struct channels *c, struct pollfd fds[CHANNELS_MAX]);

// Closes the further ones.
void channels_close(struct channels *c);

#endif
