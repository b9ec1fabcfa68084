// SPDX-License-Identifier: Apache-2.0
// Private to track_space.c and track_final.c.
#ifndef WPAR_MEMORY_TRACK_SPACE_INNER_H
#define WPAR_MEMORY_TRACK_SPACE_INNER_H

#include "lib/memory/track_space.h"

#define RANGES 1024 // of one scan

// A mapping whose pages may be the task's own; one whose pages are protected in rounds.
bool space_has(const struct vma *v);
bool space_tracks(const struct vma *v);

// Neighbours of one kind that are looked at with one call: mappings [first, next) of the list.
struct stretch {
	size_t first, next;
	uint64_t at, end;
	bool files;
};

// The next one behind *s, which is zero at first.
bool space_next_stretch(const struct maps *maps, bool (*fits)(const struct vma *),
			struct stretch *s);

// The number behind a key ("\nVmRSS:") of the text of a status file; 0: it is not there.
uint64_t space_number_in(const char *status, const char *key);

int space_copy_again(struct space *s, const struct space_view *view, const struct ranges *old,
		     struct copier *c, struct error *err);

// track_final.c. After a round: which pages there are in tracked mappings, as far as that is known.
int space_know(struct space *s, const struct space_view *view, struct error *err);

#endif
