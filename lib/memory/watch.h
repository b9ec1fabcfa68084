// SPDX-License-Identifier: Apache-2.0
// What happens to mappings of shared memory, beyond the writes that the kernel marks in page
// tables: the kernel tells it through the userfaultfds of the tasks that have them (userfaultfd(2):
// UFFD_EVENT_FORK, _REMAP, _REMOVE, _UNMAP). It lets the task wait until that has been read, so a
// thread of ours reads all the time, also while the tasks are frozen.
//
// A child that is forked gets a userfaultfd of its own by that, which is kept: all that is
// registered in its parent is registered in it from its first instruction on.
#ifndef WPAR_MEMORY_WATCH_H
#define WPAR_MEMORY_WATCH_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct watch;

struct watch *watch_new(struct error *err); // NULL: ERR_SYSTEM, ERR_NOMEM
// Ends the thread and closes all userfaultfds, which takes a while: 30 ms for each GB and task.
void watch_free(struct watch *w);

// Takes a userfaultfd with events (arm_watch()), of that process, also on error.
int watch_add(struct watch *w, int uffd, pid_t pid, uint64_t start_time, struct error *err);
// How many there are of that process, whose address space is still there.
size_t watch_count(struct watch *w, pid_t pid, uint64_t start_time);

struct watch_news {
	// Marks have gone with their page tables: an address space has ended (exit, exec), or
	// mappings have been removed or moved. All that was written before that is in memory now.
	bool lost;
	// Contents are dropped, now or soon (MADV_REMOVE, MADV_DONTNEED): no mark tells that, and
	// nothing tells when it is done. Stays true.
	bool dropped;
	size_t tasks;    // userfaultfds that were added and have an address space
	size_t children; // address spaces of children that were forked
};

// What was told since the last call, and what there is now.
void watch_take(struct watch *w, struct watch_news *news);

#endif
