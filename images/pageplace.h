// SPDX-License-Identifier: Apache-2.0
// Where each page of one destination lies in its store file: a table like the CPU's, of five
// levels with 512 entries each, so that every lookup takes as long whatever a peer sends. Small
// where memory is dense: four bytes a page. Ranges of zeroes take no room below the level that they
// fill.
#ifndef WPAR_IMAGES_PAGEPLACE_H
#define WPAR_IMAGES_PAGEPLACE_H

#include "lib/base/error.h"

#include <stdint.h>

#define PAGEPLACE_PAGES     (1ull << 44)       // of the address space
#define PAGEPLACE_SLOTS_MAX ((1ull << 31) - 2) // of a store file: 8 TiB

enum pageplace_kind {
	PAGEPLACE_ABSENT,  // never came
	PAGEPLACE_BLANK,   // zeroes, and has no slot
	PAGEPLACE_STORED,  // in its slot
	PAGEPLACE_CLEARED, // zeroes, and its slot is a hole
};

// Pages that are alike; those with slots have consecutive ones.
struct pageplace_run {
	enum pageplace_kind kind;
	uint64_t pages; // at least 1
	uint32_t slot;  // of the first one
};

struct pageplace;

struct pageplace *pageplace_new(uint64_t nodes_max, struct error *err);
void pageplace_free(struct pageplace *p);

// The run that begins at `page`, cut off at `max` pages (at least 1); it may be shorter than it
// could be.
struct pageplace_run pageplace_look(const struct pageplace *p, uint64_t page, uint64_t max);

// Sets a run. STORED and CLEARED are for slots given by the caller; ABSENT is not for setting.
// ERR_PROTOCOL when that takes more than nodes_max tables: the pages are too scattered.
int pageplace_set(struct pageplace *p, uint64_t page, const struct pageplace_run *run,
		  struct error *err);

#endif
