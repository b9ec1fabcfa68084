// SPDX-License-Identifier: Apache-2.0
// Shared memory without a name (anonymous, memfd, SysV), whoever maps it.
#ifndef WPAR_MEMORY_TRACK_SEGMENT_H
#define WPAR_MEMORY_TRACK_SEGMENT_H

#include "lib/memory/track_copy.h"
#include "lib/memory/track_space.h"

#define SEGMENT_SECRET 192 // XXH3_SECRET_SIZE_MIN is 136

struct segment {
	uint64_t dev, inode;
	bool sysv;
	bool seen;        // in this round
	int fd;           // open for reading
	uint64_t *hashes; // of each page as it was sent; 0: it was not
	size_t hash_count;
	const uint8_t *view; // mapped from the first round on; NULL: it is not
	size_t view_bytes;
	struct scan_range *extents; // where it has pages, in bytes, when it was copied last
	size_t extent_count;
	uint64_t blocks;  // stat(2) st_blocks at that time
	uint64_t changed; // pages sent in the last round

	// What marks tell (track_marks.h).
	uint8_t *marks; // a bit for each page: written since the last round; NULL: is compared
	uint64_t marked_pages;
	size_t mappers; // tasks that have it mapped
	bool doubted;   // in this round
	bool fresh;     // a mapping of it was not registered until this round
	bool anchored;  // all that was written before the last round has been copied
	bool trusted;   // only pages with marks can have changed
};

struct segments {
	struct segment *list;
	size_t count;
	uint64_t dev;                   // of the kernel's file system for them
	uint8_t secret[SEGMENT_SECRET]; // of the hash: contents cannot be made to collide
};

int segments_begin(struct segments *all, struct error *err);
void segments_free(struct segments *all);

// A new round: nothing is seen yet.
void segments_forget(struct segments *all);
// Notes those that a process maps, and when `files` those it has open only. One that cannot be
// opened is left out. ERR_UNDUMPABLE when two have one number, which CRIU would mix up.
int segments_find(struct segments *all, const struct space_view *view, bool files,
		  struct error *err);
// The one of that file; NULL: not known.
struct segment *segments_at(const struct segments *all, uint64_t dev, uint64_t inode);
// Lets go of those that were not seen.
void segments_drop_unseen(struct segments *all);

// Copies what has changed of one: of what is marked, where marks are to be trusted. `stopped`:
// nobody can change or shorten it meanwhile.
int segment_copy(struct segments *all, struct segment *s, bool stopped, struct copier *c,
		 struct track_round *round, struct error *err);
// Lists its pages: those that there were when it was copied last.
int segment_list(const struct segment *s, struct entries *entries, struct error *err);

uint64_t segment_destination(const struct segment *s);

#endif
