// SPDX-License-Identifier: Apache-2.0
// One address space that is being tracked: of one process, between two execs.
#ifndef WPAR_MEMORY_TRACK_SPACE_H
#define WPAR_MEMORY_TRACK_SPACE_H

#include "lib/memory/maps.h"
#include "lib/memory/track.h"
#include "lib/memory/track_copy.h"
#include "lib/memory/track_ranges.h"
#include "lib/memory/vmflags.h"

struct space {
	pid_t pid;
	uint64_t start_time; // tells it from a later process of that pid
	pid_t inner;         // pid inside the partition
	int uffd;            // -1: not armed
	bool seen;           // listed in this round
	bool fresh;          // for the first time
	bool shares;         // there are others, with which it may have pages in common
	bool refused;        // it could not be armed in this round
	bool direct;         // it has files open with O_DIRECT
	bool mighty;         // it, or what it may run, can open mappings of others
	unsigned threads;
	struct ranges last;  // what the last round copied
	struct ranges known; // pages of tracked mappings that all rounds have found

	// Of its mappings at the beginning of the last round, if it is large.
	struct vmflags flags;
	uint64_t locked; // kB, then
};

// A process being looked at: everything anew in each round, since an exec changes all of it.
struct space_view {
	int proc;    // /proc/PID
	int pagemap; // and in it
	int mem;
	uint64_t locked, resident; // kB
	uint64_t own;              // kB in memory or swapped out that belong to no file
	struct maps maps;
};

// 1, or 0 when the process has ended (or has no memory, as a zombie); close the view in any case.
// `final`: find out which mappings are locked, too, and drop the flags that were noted if they are
// not those of its mappings any more.
int space_look(struct space *s, bool final, struct space_view *view, struct error *err);
// Notes the flags of the mappings of a large process, for the end.
void space_note_flags(struct space *s, const struct space_view *view);
// How many mappings have other flags now than were noted; 0 also when nothing was.
size_t space_flags_changed(const struct space *s);
void space_leave(struct space_view *view);
#define _cleanup_view_ __attribute__((cleanup(space_leave)))

// How long it may take to stop a thread of it, in milliseconds.
#define SPACE_ARM_MS 1000

// Registers what is new; arms it first where that is needed. 1 armed, 0 not: `why` says it.
int space_arm(struct space *s, const struct space_view *view, struct track_round *round,
	      struct error *why);

// Protects and copies what was written. `swapped`: in the wrong order.
int space_copy(struct space *s, const struct space_view *view, bool swapped, struct copier *c,
	       struct track_round *round, struct error *err);

int space_dirty(const struct space_view *view, uint64_t *pages, struct error *err);

// A list that grows, of what there is in the end.
struct entries {
	struct track_entry *list;
	size_t count, room;
};

int entries_add(struct entries *entries, const struct track_entry *entry, struct error *err);

// The last copy, and the list of all pages.
int space_final(struct space *s, const struct space_view *view, struct copier *c,
		struct entries *entries, struct track_round *round, struct error *err);

uint64_t space_destination(const struct space *s);
void space_free(struct space *s);

#endif
