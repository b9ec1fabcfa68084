// SPDX-License-Identifier: Apache-2.0
// What begins a PAGES frame of the peer protocol: one run of pages of one destination; its bytes
// follow. A frame of no pages announces a destination that may stay empty.
#ifndef WPAR_IMAGES_PAGEFRAME_H
#define WPAR_IMAGES_PAGEFRAME_H

#include <stdint.h>

#define PAGEFRAME_HEADER 32 // four little-endian 64-bit numbers

struct pageframe {
	uint64_t destination; // dst_id of CRIU's page server protocol: id << 8 | type
	uint64_t vaddr;
	uint64_t pages;
	uint64_t flags; // CRIU's PE_*
};

void pageframe_put(uint8_t bytes[PAGEFRAME_HEADER], const struct pageframe *frame);
void pageframe_get(const uint8_t bytes[PAGEFRAME_HEADER], struct pageframe *frame);

#endif
