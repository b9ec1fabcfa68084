// SPDX-License-Identifier: Apache-2.0
// Where the pages of one address space are in its store, while the address space changes: sorted
// runs, and one bit a page that says whether the store is still needed for it.
#ifndef WPAR_MEMORY_PAGERMAP_H
#define WPAR_MEMORY_PAGERMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGER_PAGE 4096ull

struct pager_run {
	uint64_t vaddr, pages;
	uint64_t offset; // in the store, bytes
	uint64_t first;  // number of its first page among all pages of the store: the bit
};

static inline uint64_t pager_run_end(const struct pager_run *r)
{
	return r->vaddr + r->pages * PAGER_PAGE;
}

// The first run that ends behind `vaddr`; count when there is none.
size_t pagermap_find(const struct pager_run *runs, size_t count, uint64_t vaddr);

// What mremap(2) did: all within [from, from + length) is now at `to`. What was listed at the
// target before is gone. Writes into `out`, which has room for count + 4; returns how many.
size_t pagermap_move(const struct pager_run *runs, size_t count, uint64_t from, uint64_t to,
		     uint64_t length, struct pager_run *out);

// Bits of pages, done = 1.
bool pagerbits_test(const uint64_t *bits, uint64_t page);
// Sets [first, end); returns how many were not set before.
uint64_t pagerbits_set(uint64_t *bits, uint64_t first, uint64_t end);
// The first page in [first, end) whose bit is `set`; end: none.
uint64_t pagerbits_next(const uint64_t *bits, uint64_t first, uint64_t end, bool set);
uint64_t pagerbits_count(const uint64_t *bits, uint64_t pages); // that are set

#endif
