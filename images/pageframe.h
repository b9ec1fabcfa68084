// SPDX-License-Identifier: Apache-2.0
// What begins a PAGES message of the peer protocol: one run of pages of one destination; its bytes
// follow. A frame of no pages announces a destination that may stay empty.
//
// There are four kinds of frames:
//   plain   no kind's flag: pages as CRIU dumps them, sorted by address, each once; contents and
//           entry of the page map in one. Flags PRESENT, or PRESENT|LAZY.
//   ROUND   contents of pages of one round: any order, overwriting what came before; not yet part
//           of the page map. PRESENT may be set and means nothing more.
//   ROUND|ZERO  the same, and the contents are zeroes: no data.
//   MAP     an entry of the final page map: these pages, as they are now, belong to it. No data.
//           Sorted and disjoint; after the last ROUND of its destination. PRESENT, or PRESENT|LAZY.
//           A message may hold many such headers one behind the other, and nothing else.
// PRESENT|LAZY: CRIU may restore them on demand (private anonymous, not locked, not hugetlb).
//
// The data of plain and ROUND frames may be compressed (LZ4 or ZSTD, not both) as one block each;
// `pages` says how much it is in truth, at most PAGEFRAME_PAGES_MAX like an uncompressed one.
//
// The digest of a destination is over all its frames in their order: digest_page_entry(), without
// PAGEFRAME_COMPRESSED, then the data if it has any, uncompressed. The number of pages in the
// manifest is that of the pages that came with data, each time that they came.
#ifndef WPAR_IMAGES_PAGEFRAME_H
#define WPAR_IMAGES_PAGEFRAME_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGEFRAME_HEADER    32 // four little-endian 64-bit numbers
#define PAGEFRAME_PAGE      4096u
#define PAGEFRAME_PAGES_MAX 63           // with data: what a message has room for (WIRE_DATA_MAX)
#define PAGEFRAME_END       (1ull << 56) // above all addresses: five levels of page tables

// The low byte is CRIU's PE_*.
#define PAGEFRAME_LAZY    0x2u
#define PAGEFRAME_PRESENT 0x4u
#define PAGEFRAME_ROUND   0x100u
#define PAGEFRAME_ZERO    0x200u
#define PAGEFRAME_MAP     0x400u
#define PAGEFRAME_LZ4     0x1000u
#define PAGEFRAME_ZSTD    0x2000u

#define PAGEFRAME_COMPRESSED (PAGEFRAME_LZ4 | PAGEFRAME_ZSTD)

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

// Is this a combination of flags, address and length that the list above has, with `data` bytes
// behind the header? ERR_PROTOCOL says what is wrong. Order and limits are the page store's.
int pageframe_check(const struct pageframe *frame, size_t data, struct error *err);

#endif
