// SPDX-License-Identifier: Apache-2.0
// A bounded list of frames, stored in the form in which it travels: for each frame u32 length of
// what follows (little endian), u16 length of the virtio_net_hdr (little endian, 10), that header,
// the frame. Private to lib/net.
#ifndef WPAR_NET_HELD_H
#define WPAR_NET_HELD_H

#include "lib/net/frame.h"

#define HELD_PREFIX 6 // the two lengths
#define HELD_FRAME  (FRAME_VNET + FRAME_MAX)

struct held {
	uint8_t *bytes;
	size_t length, max;
	size_t frames, frames_max;
	size_t dropped;
};

int held_init(struct held *held, size_t bytes_max, size_t frames_max, struct error *err);
void held_free(struct held *held);
void held_clear(struct held *held); // forgets the frames; dropped keeps counting

// Where the next frame (virtio_net_hdr first) can be written, HELD_FRAME bytes.
uint8_t *held_room(struct held *held);
// Keeps what was written there, `length` bytes with the header; counts it as dropped when it does
// not fit any more, or when the peer would refuse it.
void held_keep(struct held *held, size_t length);

// Walks the frames; *cursor starts at 0. Returns the frame behind its virtio_net_hdr, NULL at the
// end.
const uint8_t *held_next(const struct held *held, size_t *cursor, size_t *length);

// Copies whole records from *cursor on, as many as fit; 0 at the end.
size_t held_piece(const struct held *held, size_t *cursor, void *bytes, size_t room);
// Adds records that come from outside: all of them, or none (ERR_PROTOCOL).
int held_add(struct held *held, const struct frame_filter *filter, const void *bytes, size_t length,
	     struct error *err);

#endif
