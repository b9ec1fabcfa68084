// SPDX-License-Identifier: Apache-2.0
#include "images/pageintake.h"

#include "images/pageframe.h"

#include <lz4.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <zstd.h>

struct pageintake {
	size_t max;
	ZSTD_DCtx *zstd;
	uint8_t *unpacked; // `max` bytes
};

struct pageintake *pageintake_new(size_t message_max, struct error *err)
{
	struct pageintake *in = calloc(1, sizeof(*in));
	if (in) {
		in->max = message_max;
		in->zstd = ZSTD_createDCtx();
		in->unpacked = malloc(message_max);
	}
	if (in && in->zstd && in->unpacked)
		return in;
	pageintake_free(in);
	error_set(err, ERR_NOMEM, "no memory to take pages in");
	return NULL;
}

void pageintake_free(struct pageintake *in)
{
	if (!in)
		return;
	ZSTD_freeDCtx(in->zstd);
	free(in->unpacked);
	free(in);
}

// One frame at the beginning of `length` bytes; returns how many of them it has.
static ssize_t take_frame(struct pagestore *store, bool rounds_only, const uint8_t *bytes,
			  size_t length, uint64_t *stored, struct error *err)
{
	struct pageframe frame;
	if (length < PAGEFRAME_HEADER)
		return error_set(err, ERR_PROTOCOL, "%zu bytes of PAGES are no frame", length);
	pageframe_get(bytes, &frame);
	if (pageframe_check(&frame, err) < 0)
		return -1;
	if (rounds_only && !(frame.flags & PAGEFRAME_ROUND))
		return error_set(err, ERR_PROTOCOL, "pages of no round before the end");
	length -= PAGEFRAME_HEADER;
	if (!pageframe_has_data(&frame))
		return pagestore_frame(store, &frame, err) < 0 ? -1 : PAGEFRAME_HEADER;
	if (frame.pages > length / PAGEFRAME_PAGE)
		return error_set(err, ERR_PROTOCOL, "PAGES has %zu bytes for %llu pages", length,
				 (unsigned long long)frame.pages);
	size_t data = frame.pages * PAGEFRAME_PAGE;
	if (pagestore_frame(store, &frame, err) < 0 ||
	    pagestore_write(store, bytes + PAGEFRAME_HEADER, data, err) < 0)
		return -1;
	*stored += data;
	return (ssize_t)(PAGEFRAME_HEADER + data);
}

static int64_t take_frames(struct pagestore *store, bool rounds_only, const uint8_t *bytes,
			   size_t length, struct error *err)
{
	uint64_t stored = 0;
	do {
		ssize_t used = take_frame(store, rounds_only, bytes, length, &stored, err);
		if (used < 0)
			return -1;
		bytes += used;
		length -= (size_t)used;
	} while (length > 0);
	return (int64_t)stored;
}

// Neither writes more than `whole` bytes, whatever the data says.
static int unpack(struct pageintake *in, bool zstd, const uint8_t *packed, size_t length,
		  size_t whole, struct error *err)
{
	bool done =
		zstd ? ZSTD_decompressDCtx(in->zstd, in->unpacked, whole, packed, length) == whole
		     : LZ4_decompress_safe((const char *)packed, (char *)in->unpacked, (int)length,
					   (int)whole) == (int)whole;
	return done ? 0 : error_set(err, ERR_PROTOCOL, "packed PAGES do not unpack");
}

int64_t pageintake_take(struct pageintake *in, struct pagestore *store, bool rounds_only,
			const void *message, size_t length, struct error *err)
{
	const uint8_t *bytes = message;
	struct pageframe header;
	if (length < PAGEFRAME_HEADER || length > in->max)
		return error_set(err, ERR_PROTOCOL, "PAGES has %zu bytes", length);
	pageframe_get(bytes, &header);
	if (!(header.flags & PAGEFRAME_PACKED))
		return take_frames(store, rounds_only, bytes, length, err);
	length -= PAGEFRAME_HEADER;
	size_t whole = pageframe_unpacked(&header, length, in->max, err);
	if (whole == 0)
		return -1;
	if (unpack(in, header.flags == PAGEFRAME_ZSTD, bytes + PAGEFRAME_HEADER, length, whole,
		   err) < 0)
		return -1;
	return take_frames(store, rounds_only, in->unpacked, whole, err);
}
