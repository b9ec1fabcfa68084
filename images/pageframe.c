// SPDX-License-Identifier: Apache-2.0
#include "images/pageframe.h"

#include <endian.h>
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
