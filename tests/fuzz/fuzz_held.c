// SPDX-License-Identifier: Apache-2.0
// Any bytes as held frames from the peer: what is taken must be frames for the partition, within
// the bounds, and come out again as the same bytes. The bytes as a frame: reading stays within
// them.
#include "lib/net/held.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 4096, FRAMES_MAX = 16 };

static struct address addresses[2];
static struct frame_filter filter = {
	.mac = {{0x02, 0, 0, 0, 0, 1}}, .addresses = addresses, .count = 2};

static void check(const struct held *held, const uint8_t *data, size_t size)
{
	size_t cursor = 0, length, frames = 0;
	const uint8_t *frame;
	if (held->length != size || held->length > BYTES_MAX || held->frames > FRAMES_MAX ||
	    (size && memcmp(held->bytes, data, size)))
		abort();
	for (; (frame = held_next(held, &cursor, &length)); frames++)
		if (length < FRAME_VNET + FRAME_MIN ||
		    !frame_vnet_valid(frame, length - FRAME_VNET) ||
		    !frame_wanted(&filter, frame + FRAME_VNET, length - FRAME_VNET))
			abort();
	if (frames != held->frames || cursor != held->length)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct held held;
	struct error err;
	struct mac who;
	addresses[0] = (struct address){.family = AF_INET, .bytes = {10, 0, 0, 1}, .prefix = 24};
	addresses[1] = (struct address){.family = AF_INET6, .bytes = {0xfd, 1}, .prefix = 64};
	if (held_init(&held, BYTES_MAX, FRAMES_MAX, &err) < 0)
		return 0;
	if (held_add(&held, &filter, data, size, &err) == 0)
		check(&held, data, size);
	else if (held.length || held.frames || err.id != ERR_PROTOCOL)
		abort();
	held_free(&held);
	frame_wanted(&filter, data, size);
	for (int i = 0; i < 2; i++)
		frame_claims(data, size, &addresses[i], &who);
	return 0;
}
