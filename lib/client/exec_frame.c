// SPDX-License-Identifier: Apache-2.0
#include "lib/client/exec_frame.h"

#include <endian.h>
#include <string.h>

static int append_one(struct buf *to, enum wpar_channel channel, const uint8_t *bytes,
		      size_t length, struct error *err)
{
	uint8_t *at = buf_reserve(to, EXEC_FRAME_HEADER + length, err);
	if (!at)
		return -1;
	uint32_t wire = htobe32((uint32_t)length);
	at[0] = (uint8_t)channel;
	memcpy(at + 1, &wire, sizeof(wire));
	if (length)
		memcpy(at + EXEC_FRAME_HEADER, bytes, length);
	to->length += EXEC_FRAME_HEADER + length;
	return 0;
}

int exec_frame_append(struct buf *to, enum wpar_channel channel, const void *bytes, size_t length,
		      struct error *err)
{
	const uint8_t *from = bytes;
	do {
		size_t part = length < EXEC_FRAME_MAX ? length : EXEC_FRAME_MAX;
		if (append_one(to, channel, from, part, err) < 0)
			return -1;
		length -= part;
		if (length)
			from += part;
	} while (length);
	return 0;
}

int exec_frame_next(const struct buf *from, struct wpar_exec_frame *frame, size_t *size,
		    struct error *err)
{
	uint32_t length;
	if (from->length < EXEC_FRAME_HEADER)
		return 0;
	memcpy(&length, from->data + 1, sizeof(length));
	length = be32toh(length);
	if (from->data[0] > WPAR_CONTROL || length > EXEC_FRAME_MAX)
		return error_set(err, ERR_PROTOCOL,
				 "an exec session carries channel %u with %u bytes, which is none",
				 from->data[0], length);
	if (from->length < EXEC_FRAME_HEADER + (size_t)length)
		return 0;
	*frame = (struct wpar_exec_frame){
		.channel = from->data[0],
		.bytes = from->data + EXEC_FRAME_HEADER,
		.length = length,
	};
	*size = EXEC_FRAME_HEADER + (size_t)length;
	return 1;
}
