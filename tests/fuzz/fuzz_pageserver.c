// SPDX-License-Identifier: Apache-2.0
// Any bytes into the page-server parser, in pieces of any size: it must keep within its own
// buffers, within the places it was given, and within its limits.
#include "lib/criu/pageserver.h"

#include <stdlib.h>
#include <string.h>

struct sink {
	uint8_t place[512]; // small: page data takes many turns
	size_t given;
	uint64_t data, entries;
	bool closed;
};

static int on_open(void *arg, uint64_t dst_id, struct error *err)
{
	struct sink *s = arg;

	(void)err;
	// Only a SysV segment may be number 0.
	if (s->closed || (page_dst_number(dst_id) == 0 && page_dst_type(dst_id) != PAGE_DST_SHMEM))
		abort();
	return 0;
}

static int on_pages(void *arg, uint64_t dst_id, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		    struct error *err)
{
	struct sink *s = arg;

	(void)err;
	s->entries++;
	if (s->closed || dst_id == 0 || nr_pages == 0 || nr_pages > 8 || vaddr % PAGE_BYTES ||
	    vaddr + nr_pages * PAGE_BYTES < vaddr || (flags & ~7u))
		abort();
	return 0;
}

static int on_space(void *arg, size_t want, void **buf, size_t *size, struct error *err)
{
	struct sink *s = arg;

	(void)err;
	if (want == 0 || want > 8 * PAGE_BYTES)
		abort();
	s->given = sizeof(s->place);
	*buf = s->place;
	*size = s->given;
	return 0;
}

static int on_filled(void *arg, size_t n, struct error *err)
{
	struct sink *s = arg;

	(void)err;
	s->data += n;
	if (n == 0 || n > s->given || s->data > 64 * PAGE_BYTES)
		abort();
	return 0;
}

static int on_close(void *arg, struct error *err)
{
	(void)err;
	((struct sink *)arg)->closed = true;
	return 0;
}

static const struct pageserver_ops ops = {on_open, on_pages, on_space, on_filled, on_close};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The first byte sets how large the pieces are; page data may be cut short by a repeated piece.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pageserver_limits limits = {
		.entry_pages = 8, .entries = 100, .bytes = 64 * PAGE_BYTES};
	struct error err = {0};
	struct sink sink = {0};
	size_t piece = size ? data[0] + 1u : 1;
	struct pageserver *s = pageserver_new(-1, &limits, &ops, &sink, &err);

	if (!s)
		return 0;
	for (size_t at = 1; at < size;) {
		size_t room, n = size - at < piece ? size - at : piece;
		void *buf;

		if (pageserver_window(s, &buf, &room, &err) < 0)
			break;
		if (room == 0)
			abort();
		n = n < room ? n : room;
		memcpy(buf, data + at, n);
		at += n;
		if (pageserver_fed(s, n, &err) < 0)
			break;
	}
	if (sink.entries > 100 || sink.data != pageserver_bytes(s))
		abort();
	pageserver_free(s);
	return 0;
}
