// SPDX-License-Identifier: Apache-2.0
// Copies a tree that changes, in rounds: the first sends all of it, each further one what has
// changed since, the last one (nothing may change it any more) makes the copy equal. What changed
// is told by inode, metadata, size and change time. A change time tells only of what came after it,
// by the grain of the kernel's clock, and of writes through a mapping only the first one after the
// page was written back: so each round writes everything back first, and what was changed after
// that moment is sent again in the next one, changed or not.
#ifndef WPAR_STORAGE_SNAPSHOT_H
#define WPAR_STORAGE_SNAPSHOT_H

#include "images/folder.h"
#include "lib/base/error.h"

#include <stdint.h>

struct snapshot;

struct snapshot_round {
	uint64_t entries, removed; // that were sent
	uint64_t bytes;            // of the stream: of large files only blocks that changed
	double ms;
};

struct snapshot *snapshot_new(struct error *err); // NULL: no memory
void snapshot_free(struct snapshot *s);           // NULL is fine

// Sends one stream (folder.h, whole) of the tree below `dirfd`. `last`: nothing is written back.
int snapshot_send(struct snapshot *s, int dirfd, bool last, const struct folder_sink *sink,
		  struct snapshot_round *round, struct error *err);

#endif
