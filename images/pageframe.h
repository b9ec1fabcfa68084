// SPDX-License-Identifier: Apache-2.0
// What a PAGES message of the peer protocol holds: frames, one behind the other. A frame is a
// header for one run of pages of one destination, and their bytes where it brings contents. There
// are four kinds:
//   plain   no kind's flag: pages as CRIU dumps them, sorted by address, each once; contents and
//           entry of the page map in one. Flags PRESENT, or PRESENT|LAZY.
//   ROUND   contents of pages of one round: any order, overwriting what came before; not yet part
//           of the page map. PRESENT may be set and means nothing more.
//   ROUND|ZERO  the same, and the contents are zeroes: no data.
//   MAP     an entry of the final page map: these pages, as they are now, belong to it. No data.
//           Sorted and disjoint; after the last ROUND of its destination. PRESENT, or PRESENT|LAZY.
// PRESENT|LAZY: CRIU may restore them on demand (private anonymous, not locked, not hugetlb).
// A frame of no pages, flags 0 or MAP, announces a destination that may stay empty.
//
// Or the message is packed: one header with LZ4 or ZSTD alone in its flags, the length of what is
// inside in place of the address, and zeroes; then, as one block, a message of the kind above, no
// longer than it could be by itself.
//
// The number of pages in the manifest is that of the pages that came with data, each time that they
// came. Packing makes no difference to it. Whether the bytes are those that were sent is the link's
// business (lib/transport/seal.h).
#ifndef WPAR_IMAGES_PAGEFRAME_H
#define WPAR_IMAGES_PAGEFRAME_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGEFRAME_HEADER    32 // four little-endian 64-bit numbers
#define PAGEFRAME_PAGE      4096u
#define PAGEFRAME_PAGES_MAX 63           // with data: what a message has room for (LINK_DATA_MAX)
#define PAGEFRAME_END       (1ull << 56) // above all addresses: five levels of page tables

// The low byte is CRIU's PE_*.
#define PAGEFRAME_LAZY    0x2u
#define PAGEFRAME_PRESENT 0x4u
#define PAGEFRAME_ROUND   0x100u
#define PAGEFRAME_ZERO    0x200u
#define PAGEFRAME_MAP     0x400u
#define PAGEFRAME_LZ4     0x1000u
#define PAGEFRAME_ZSTD    0x2000u

#define PAGEFRAME_PACKED (PAGEFRAME_LZ4 | PAGEFRAME_ZSTD)

struct pageframe {
	uint64_t destination; // dst_id of CRIU's page server protocol: id << 8 | type
	uint64_t vaddr;       // in a shared segment: the offset
	uint64_t pages;
	uint64_t flags;
};

void pageframe_put(uint8_t bytes[PAGEFRAME_HEADER], const struct pageframe *frame);
void pageframe_get(const uint8_t bytes[PAGEFRAME_HEADER], struct pageframe *frame);

// Does it bring contents, as bytes behind its header?
bool pageframe_has_data(const struct pageframe *frame);

// Is this a combination of flags, address and length that the list above has? ERR_PROTOCOL says
// what is wrong. A packed message's header is none. Order and limits are the page store's.
int pageframe_check(const struct pageframe *frame, struct error *err);

// How many bytes the packed message with this header has when unpacked; `packed` bytes are behind
// the header. 0: ERR_PROTOCOL, or more than `max`.
size_t pageframe_unpacked(const struct pageframe *header, size_t packed, size_t max,
			  struct error *err);

#endif
