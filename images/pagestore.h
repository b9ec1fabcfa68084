// SPDX-License-Identifier: Apache-2.0
// The page store of a destination: takes frames (images/pageframe.h) as they arrive and leaves the
// image files that an unmodified CRIU restores from, pagemap-*.img and pages-*.img, flat (no
// parent).
//
// Each destination has a store file. Plain frames are appended to it, sorted by address, as CRIU
// dumps them. What rounds bring is written where the page has its place, the first time at the end,
// so that all of them together take the room of one. In the end the MAP frames alone say which
// pages there are: what a round brought and no MAP frame names is left out, and a page that is
// named and never came is refused. Plain and MAP entries of one destination may not overlap; rounds
// do not change plain pages.
//
// Data beyond the limit is refused. What it is given must be checked already, and in memory that
// nobody else can write to (lib/transport/link.h hands out such).
#ifndef WPAR_IMAGES_PAGESTORE_H
#define WPAR_IMAGES_PAGESTORE_H

#include "images/lazymap.h"
#include "images/pageframe.h"
#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define PAGESTORE_PAGE 4096u

// Flags of an entry, CRIU's PE_*. A flat store takes PRESENT with or without LAZY.
enum pagestore_flags { PAGESTORE_LAZY = 2, PAGESTORE_PRESENT = 4 };

// dst_id = id << 8 | type; a task's id is its pid inside the partition.
enum pagestore_type { PAGESTORE_TASK = 1, PAGESTORE_SHMEM = 2 };

struct pagestore_limits {
	uint64_t bytes;   // of pages stored, and of pages mapped; all destinations together
	uint64_t entries; // all destinations together, after merging
	size_t destinations;
	uint64_t entry_pages; // longer runs are written as several; 0: PAGESTORE_ENTRY_PAGES
};

// CRIU takes entries below 1 GiB only.
#define PAGESTORE_ENTRY_PAGES (1u << 17)

struct pagestore;

// Makes a store in the folder `dirfd`, which is duplicated. The folder should be a tmpfs.
struct pagestore *pagestore_open(int dirfd, const struct pagestore_limits *limits,
				 struct error *err);

// Allocates and touches the pages file of a destination ahead of the freeze: fresh memory is the
// slowest part of storing. What is not needed in the end is cut off.
int pagestore_expect(struct pagestore *s, uint64_t dst_id, uint64_t bytes, struct error *err);

// Begins an entry; exactly nr_pages * PAGESTORE_PAGE bytes of data must follow by
// pagestore_write() before the next one. A destination is complete without any entry too.
int pagestore_begin(struct pagestore *s, uint64_t dst_id, struct error *err);
int pagestore_add(struct pagestore *s, uint64_t dst_id, uint64_t vaddr, uint64_t nr_pages,
		  uint32_t flags, struct error *err);
// The next bytes of the entry, in pieces of any length.
int pagestore_write(struct pagestore *s, const void *bytes, size_t length, struct error *err);

// The same for a frame of any kind, which pageframe_check() has passed. If it has data, that
// follows by pagestore_write().
int pagestore_frame(struct pagestore *s, const struct pageframe *frame, struct error *err);

enum pagestore_mode {
	// Everything is restored before the first instruction. Where the store file has the order
	// of the map it becomes the pages image as it is; otherwise it is sorted in place.
	PAGESTORE_EAGER,
	// LAZY pages of tasks stay in the store file, wherever they lie: nothing is copied. It
	// becomes lazy-<vpid>.pages, with lazy-<vpid>.map (images/lazymap.h; of each task); page
	// maps have these pages as LAZY alone, and the pages images are without them.
	PAGESTORE_LAZY_KEPT,
};

// Nothing more comes: makes the page maps. ERR_PROTOCOL when a page that is mapped never came.
// Destinations that were expected and not begun are forgotten.
int pagestore_seal(struct pagestore *s, struct error *err);

// After that: the runs of a destination, a task, that may be kept; the caller frees them. Others
// have none.
int pagestore_lazy_runs(const struct pagestore *s, size_t index, struct lazymap_run **runs,
			size_t *count, struct error *err);

// Writes the images; seals it if need be.
int pagestore_finish(struct pagestore *s, enum pagestore_mode mode, struct error *err);

uint64_t pagestore_bytes(const struct pagestore *s);

// Destinations in the order of their first entry, by index; and how many pages came with data, each
// time that they came.
size_t pagestore_count(const struct pagestore *s);
uint64_t pagestore_destination(const struct pagestore *s, size_t index);
uint64_t pagestore_came(const struct pagestore *s, size_t index);

// Closes it; the files stay.
void pagestore_free(struct pagestore *s);

static inline void pagestore_freep(struct pagestore **s)
{
	pagestore_free(*s);
}
#define _cleanup_pagestore_ __attribute__((cleanup(pagestore_freep)))

#endif
