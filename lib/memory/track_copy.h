// SPDX-License-Identifier: Apache-2.0
// Reads pages of a process or of a segment into the places of a memory_sink, as frames behind one
// another, and leaves out the contents of pages of zeroes.
#ifndef WPAR_MEMORY_TRACK_COPY_H
#define WPAR_MEMORY_TRACK_COPY_H

#include "images/pageframe.h"
#include "lib/memory/engine.h"
#include "lib/memory/scan.h"

#define COPY_PAGES 256 // read at once, at most

// Part of a run that fits into a place.
struct copy_piece {
	uint64_t vaddr;
	size_t pages;
	size_t at; // of its data, from the beginning of the place
};

enum copy_fate { COPY_KEEP, COPY_ZERO, COPY_DROP };

struct copier {
	struct memory_sink sink;
	uint8_t *place; // NULL: none
	size_t room, used;
	size_t zero_frame; // where the last frame of zeroes begins, plus 1; 0: none
	uint64_t destination;

	// What is being read: pieces behind `used`, and what becomes of each of their pages.
	struct copy_piece pieces[COPY_PAGES];
	size_t piece_count, page_count;
	uint8_t fate[COPY_PAGES];

	// Pages of a process that could not be read: they have gone.
	struct scan_range *lost;
	size_t lost_count;

	uint64_t sent_bytes, zero_bytes;
	uint64_t sink_ns; // spent in the sink
	bool failed;      // the sink, or no memory: not what was read from
};

// Who is read from.
struct copy_task {
	pid_t pid;
	int mem; // an open /proc/PID/mem: for pages that the process itself may not read
	// It may share pages with others since a fork(2). process_vm_readv(2) would give it copies
	// of its own of what is read (the kernel pins the pages), until its memory limit is
	// reached; reading `mem` does not, and takes half as long again.
	bool shares;
};

// Ranges of addresses of a process. Pages that are not there any more are noted in c->lost.
int copy_task(struct copier *c, const struct copy_task *task, uint64_t destination,
	      const struct scan_range *ranges, size_t count, struct error *err);

// Pages [start, end) of a file; choose() says of each page that was read (its contents, and its
// number in the file) what becomes of it.
int copy_file(struct copier *c, int fd, uint64_t destination, uint64_t start, uint64_t end,
	      enum copy_fate (*choose)(void *arg, const uint8_t *bytes, uint64_t page), void *arg,
	      struct error *err);

// Hands over what is in the last place; the next frame asks for a new one.
int copy_flush(struct copier *c, struct error *err);
void copy_free(struct copier *c);

bool copy_is_zero(const uint8_t page[PAGEFRAME_PAGE]);

#endif
