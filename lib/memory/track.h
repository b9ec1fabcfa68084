// SPDX-License-Identifier: Apache-2.0
// Copies the memory of a running partition in rounds, from outside: pages are protected against
// writing (userfaultfd, write-protect async, armed once per task by arm.h), those written since the
// last round are found with PAGEMAP_SCAN (scan.h) and read. What is written again meanwhile is
// found by the next round. Needs Linux 6.7.
//
// Pages go to the sink as frames of images/pageframe.h with PAGEFRAME_ROUND, several of them behind
// one another in one place: header, data, header, data ... (PAGEFRAME_ZERO: no data). Nothing is
// said of pages that were given back: which pages there are in the end is in track_map().
//
// Memory of a task is tracked by the mark in its page tables, which belongs to an address space and
// lasts as long as the page does. Shared segments outlive both: a process that writes to one and
// exits or detaches between two rounds takes its marks away. So their pages are compared with a
// hash of what was sent, in each round and once more at the end, but where the marks of all tasks
// together are proved to be complete (track_marks.h).
#ifndef WPAR_MEMORY_TRACK_H
#define WPAR_MEMORY_TRACK_H

#include "lib/base/error.h"
#include "lib/criu/blank.h"
#include "lib/memory/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct track;

// The processes to be copied, as host pids in a new array for the caller to free(): asked in every
// round, since they come and go. One that has ended meanwhile is fine.
struct track_tasks {
	int (*list)(void *arg, pid_t **pids, size_t *count, struct error *err);
	void *arg;
};

struct track_round {
	uint64_t pages;        // found written since the last round (all of them in the first)
	uint64_t sent_bytes;   // page data handed to the sink
	uint64_t zero_bytes;   // of zero pages: only their place was handed over
	size_t tasks;          // copied from
	size_t armed;          // of them in this round, for the first time or after an exec
	size_t unarmed;        // could not be; all their memory travels in the final part
	uint64_t arm_ns;       // longest time that a thread stood still to be armed
	uint64_t protect_ns;   // finding and protecting written pages, all tasks together
	uint64_t copy_ns;      // reading and handing over
	uint64_t compare_ns;   // of that, comparing pages of segments that turned out unchanged
	uint64_t final_ns;     // that comparing all of them will take once all are stopped, about
	uint64_t ns;           // the whole round
	size_t trusted;        // segments of which only what has marks was compared
	char unarmed_why[160]; // of the first that could not be, as a sentence; empty: none
};

// Pages that exist at the end: `flags` are CRIU's PE_*; PE_LAZY (2) where CRIU can restore them on
// demand (private anonymous memory that is neither locked nor of huge pages).
struct track_entry {
	uint64_t destination; // id << 8 | type: 1 a task, by its pid inside; 2 a segment, by inode
	uint64_t vaddr;       // of a segment: offset
	uint64_t pages;
	uint32_t flags;
};

struct track_segment {
	uint64_t dev, inode;
	uint64_t destination;
};

// Can this kernel do it, and may this process? Otherwise why not, as a sentence.
bool track_usable(char *why, size_t size);

// `init` is the first process of the partition. Copies both structures; their args must outlive
// the track. The environment variable RELOCD_TEST_SWAP_ORDER=1 makes it copy before it protects,
// which is wrong: tests show with it that they would notice.
struct track *track_begin(pid_t init, const struct track_tasks *tasks,
			  const struct memory_sink *sink, struct error *err);

// One round. Finds new tasks and mappings, protects and copies. ERR_SYSTEM when the list of tasks
// or a page table cannot be read, and whatever the sink says.
int track_round(struct track *t, struct track_round *round, struct error *err);

// How many bytes are written now and not copied yet; protects nothing. Shared segments whose
// marks cannot be trusted are counted by what they changed in the last round.
int track_dirty(struct track *t, uint64_t *bytes, struct error *err);

// The last round, with all tasks stopped (frozen, or held by CRIU): hands over what was written
// since, and of tasks that are not armed everything. Fills track_map() and track_segments().
int track_final(struct track *t, struct track_round *round, struct error *err);

// After track_final(): every page that exists, by destination and address, disjoint, but those that
// only CRIU can tell (vdso, rings of asynchronous I/O, segments not in track_segments()).
void track_map(const struct track *t, const struct track_entry **list, size_t *count);
// The segments that were handed over, whether they have pages or not.
void track_segments(const struct track *t, const struct track_segment **list, size_t *count);

// After track_final(): the flags of the mappings of large tasks, as they were at the beginning of
// the last round, for CRIU (criu_blank_hide()). The list is the caller's to free(), the texts are
// not.
int track_flags(const struct track *t, struct criu_blank_flags **list, size_t *count,
		struct error *err);
// How many of these mappings have other flags now, while all is still stopped: takes 20 ms per GB.
size_t track_flags_changed(const struct track *t);

// Disarms all tasks, which takes about 20 ms per GB: not on the critical path. NULL is fine.
void track_end(struct track *t);

#endif
