// SPDX-License-Identifier: Apache-2.0
// Which tasks of a page store (pagestore.h) can get their private memory on demand. CRIU decides by
// the mapping whether it registers a userfaultfd, and by the flags of a page whether it restores it
// itself: where the two do not agree a page would be lost, so both are looked at here.
#ifndef WPAR_IMAGES_LAZYPLAN_H
#define WPAR_IMAGES_LAZYPLAN_H

#include "images/pagestore.h"
#include "lib/base/error.h"

#include <stdbool.h>

struct lazyplan_task {
	uint32_t vpid;
	struct lazymap_run *runs;
	size_t count;
	uint64_t pages; // of all runs
};

struct lazyplan {
	struct lazyplan_task *tasks;
	size_t count;
	uint64_t pages;  // of all tasks
	uint64_t shared; // of these, at addresses that an earlier task has as well
};

// Of a store that is sealed.
int lazyplan_read(const struct pagestore *store, struct lazyplan *plan, struct error *err);
void lazyplan_free(struct lazyplan *plan);

// Whether all of it may be on demand, as the images mm-*.img of the folder have it: `why` says
// otherwise why not, as a sentence. `limit`: bytes that the tasks may have; 0: none. Tasks that
// were forked share pages until one of them writes; CRIU finds them again when it restores all, but
// on demand each gets its own.
bool lazyplan_fits(const struct lazyplan *plan, int dirfd, uint64_t limit, char *why, size_t size);

#endif
