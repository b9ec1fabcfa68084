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
	uint64_t criu = frame->flags & 0xff, rest = frame->flags & ~0xffull;
	uint64_t kind = rest & ~(uint64_t)PAGEFRAME_COMPRESSED;

	if (frame->pages == 0)
		return criu == 0 && (rest == 0 || rest == PAGEFRAME_MAP);
	if ((rest & PAGEFRAME_COMPRESSED) == PAGEFRAME_COMPRESSED)
		return false;
	switch (kind) {
	case 0:
		return is_entry(criu);
	case PAGEFRAME_ROUND:
		return criu == 0 || criu == PAGEFRAME_PRESENT;
	case PAGEFRAME_ROUND | PAGEFRAME_ZERO:
		return rest == kind && (criu == 0 || criu == PAGEFRAME_PRESENT);
	case PAGEFRAME_MAP:
		return rest == kind && is_entry(criu);
	default:
		return false;
	}
}

static int check_range(const struct pageframe *frame, struct error *err)
{
	if (frame->vaddr % PAGEFRAME_PAGE == 0 && frame->vaddr < PAGEFRAME_END &&
	    frame->pages <= (PAGEFRAME_END - frame->vaddr) / PAGEFRAME_PAGE)
		return 0;
	return error_set(err, ERR_PROTOCOL, "%" PRIu64 " pages at %#" PRIx64 " cannot be",
			 frame->pages, frame->vaddr);
}

static int check_length(const struct pageframe *frame, size_t data, struct error *err)
{
	uint64_t whole = frame->pages * PAGEFRAME_PAGE;
	bool fits = data == 0;

	if (pageframe_has_data(frame)) {
		bool packed = frame->flags & PAGEFRAME_COMPRESSED;

		fits = frame->pages <= PAGEFRAME_PAGES_MAX &&
		       (packed ? data > 0 && data < whole : data == whole);
	}
	if (!fits)
		return error_set(err, ERR_PROTOCOL,
				 "PAGES has %zu bytes for %" PRIu64 " pages, flags %#" PRIx64, data,
				 frame->pages, frame->flags);
	return 0;
}

int pageframe_check(const struct pageframe *frame, size_t data, struct error *err)
{
	if (!flags_ok(frame))
		return error_set(err, ERR_PROTOCOL,
				 "PAGES of %" PRIu64 " pages with flags %#" PRIx64, frame->pages,
				 frame->flags);
	if (check_range(frame, err) < 0)
		return -1;
	return check_length(frame, data, err);
}
