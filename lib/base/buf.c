// SPDX-License-Identifier: Apache-2.0
#include "lib/base/buf.h"

#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){.max = buf->max};
}

uint8_t *buf_reserve(struct buf *buf, size_t more, struct error *err)
{
	if (more > buf->max - buf->length) {
		error_set(err, ERR_PROTOCOL, "more than %zu bytes where no more are allowed",
			  buf->max);
		return NULL;
	}
	if (buf->length + more > buf->room) {
		size_t room = buf->room ? buf->room : 256;
		while (room < buf->length + more)
			room *= 2;
		uint8_t *data = realloc(buf->data, room);
		if (!data) {
			error_set(err, ERR_NOMEM, "no memory for a buffer of %zu bytes", room);
			return NULL;
		}
		buf->data = data;
		buf->room = room;
	}
	return buf->data + buf->length;
}

int buf_append(struct buf *buf, const void *bytes, size_t length, struct error *err)
{
	if (!length)
		return 0; // an empty buffer has no place to give
	uint8_t *to = buf_reserve(buf, length, err);
	if (!to)
		return -1;
	memcpy(to, bytes, length);
	buf->length += length;
	return 0;
}

void buf_consume(struct buf *buf, size_t length)
{
	memmove(buf->data, buf->data + length, buf->length - length);
	buf->length -= length;
}
