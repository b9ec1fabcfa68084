// SPDX-License-Identifier: Apache-2.0
// What the two halves of the page store share: pagestore.c takes frames in, pagestore_images.c
// writes what CRIU reads.
#ifndef WPAR_IMAGES_PAGESTORE_INNER_H
#define WPAR_IMAGES_PAGESTORE_INNER_H

#include "images/pageplace.h"
#include "images/pagestore.h"

#include <stdbool.h>

// An entry of a page map. Plain ones have consecutive slots from `slot` on; where the pages of the
// others lie the table says.
struct pagestore_run {
	uint64_t vaddr, nr_pages;
	uint32_t flags;
	uint32_t slot;
};

// Of entries whose pages the table places.
#define PAGESTORE_NO_SLOT UINT32_MAX

struct pagestore_runs {
	struct pagestore_run *run;
	size_t count, room;
	uint64_t end; // first address behind the last one
};

// Consecutive pages in consecutive slots, in the order of the map.
struct pagestore_piece {
	uint64_t vaddr, pages, slot;
	bool hole; // they read as zeroes and take no memory
	bool lazy;
};

// A slot is a page of the store file, by its number.
struct destination {
	uint64_t dst_id;
	uint32_t pages_id;
	int fd;
	bool begun;        // false: only expected so far
	uint64_t expected; // bytes touched ahead
	uint64_t size;     // of the file
	uint64_t next;     // first slot never used
	uint64_t came;     // pages that came with data
	struct pagestore_runs plain, map;
	struct pageplace *places; // NULL: no round has brought anything
	// Once sealed: both lists as one, and where all of it lies.
	struct pagestore_runs all;
	struct pagestore_piece *piece;
	size_t pieces, piece_room;
};

struct pagestore {
	int dirfd;
	struct pagestore_limits limits;
	struct destination *dst;
	size_t count;
	struct destination *open; // of the entry being written
	bool scattered;           // its pages lie where the table says
	uint64_t data_left;
	uint64_t page;               // of a scattered entry: where the next span begins
	uint64_t span_at, span_left; // bytes of the file that come next
	uint64_t bytes, mapped, entries, expected;
	bool sealed, finished;
};

void pagestore_name(const struct destination *d, char name[32]);
int pagestore_resolve(const struct pagestore *s, struct destination *d, struct error *err);
// Brings the pieces, `pages` in all, to the beginning of the store file, in their order.
int pagestore_sort(const struct destination *d, uint64_t pages, struct error *err);
int pagestore_write_images(const struct pagestore *s, struct destination *d,
			   enum pagestore_mode mode, struct error *err);

#endif
