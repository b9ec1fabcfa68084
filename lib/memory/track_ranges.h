// SPDX-License-Identifier: Apache-2.0
// Sorted ranges of pages of one address space.
#ifndef WPAR_MEMORY_TRACK_RANGES_H
#define WPAR_MEMORY_TRACK_RANGES_H

#include "lib/base/error.h"
#include "lib/memory/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ranges {
	struct scan_range *list;
	size_t count, room;
};

// Appends; whoever wants them sorted appends in order.
int ranges_add(struct ranges *r, const struct scan_range *more, size_t count, struct error *err);
// Adds the pages of `more` to those of *r, both sorted; what touches is joined, categories are
// lost.
int ranges_merge(struct ranges *r, const struct ranges *more, struct error *err);
void ranges_free(struct ranges *r);

// Whether the kernel counts the pages of a process exactly (RssAnon, VmSwap of proc_pid_status(5)):
// Linux 6.17; before, each processor keeps some for itself. Such a kernel also takes the protection
// from pages that mremap(2) moves (6.13), so that they count as written.
bool resident_is_exact(void);

#endif
