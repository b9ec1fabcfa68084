// SPDX-License-Identifier: Apache-2.0
#include "images/pageframe.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

void pageframe_put(uint8_t bytes[PAGEFRAME_HEADER], const struct pageframe *frame)
{
	uint64_t wire[4] = {htole64(frame->destination), htole64(frame->vaddr),
			    htole64(frame->pages), htole64(frame->flags)};
	memcpy(bytes, wire, sizeof(wire));
}

void pageframe_get(const uint8_t bytes[PAGEFRAME_HEADER], struct pageframe *frame)
{
	uint64_t wire[4];
	memcpy(wire, bytes, sizeof(wire));
	*frame = (struct pageframe){le64toh(wire[0]), le64toh(wire[1]), le64toh(wire[2]),
				    le64toh(wire[3])};
}

bool pageframe_has_data(const struct pageframe *frame)
{
	return frame->pages > 0 && !(frame->flags & (PAGEFRAME_ZERO | PAGEFRAME_MAP));
}

static bool is_entry(uint64_t criu_flags)
{
	return criu_flags == PAGEFRAME_PRESENT ||
	       criu_flags == (PAGEFRAME_PRESENT | PAGEFRAME_LAZY);
}

static bool flags_ok(const struct pageframe *frame)
{
	uint64_t criu = frame->flags & 0xff, kind = frame->flags & ~0xffull;

	if (frame->pages == 0)
		return criu == 0 && (kind == 0 || kind == PAGEFRAME_MAP);
	switch (kind) {
	case 0:
	case PAGEFRAME_MAP:
		return is_entry(criu);
	case PAGEFRAME_ROUND:
	case PAGEFRAME_ROUND | PAGEFRAME_ZERO:
		return criu == 0 || criu == PAGEFRAME_PRESENT;
	default:
		return false;
	}
}

int pageframe_check(const struct pageframe *frame, struct error *err)
{
	if (!flags_ok(frame))
		return error_set(err, ERR_PROTOCOL,
				 "PAGES of %" PRIu64 " pages with flags %#" PRIx64, frame->pages,
				 frame->flags);
	if (frame->vaddr % PAGEFRAME_PAGE == 0 && frame->vaddr < PAGEFRAME_END &&
	    frame->pages <= (PAGEFRAME_END - frame->vaddr) / PAGEFRAME_PAGE)
		return 0;
	return error_set(err, ERR_PROTOCOL, "%" PRIu64 " pages at %#" PRIx64 " cannot be",
			 frame->pages, frame->vaddr);
}

size_t pageframe_unpacked(const struct pageframe *header, size_t packed, size_t max,
			  struct error *err)
{
	uint64_t length = header->vaddr;

	if ((header->flags == PAGEFRAME_LZ4 || header->flags == PAGEFRAME_ZSTD) &&
	    header->destination == 0 && header->pages == 0 && packed > 0 && packed < length &&
	    length <= max)
		return (size_t)length;
	error_set(err, ERR_PROTOCOL, "packed PAGES of %zu bytes for %" PRIu64 ", flags %#" PRIx64,
		  packed, length, header->flags);
	return 0;
}
