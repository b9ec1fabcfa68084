// SPDX-License-Identifier: Apache-2.0
// What a restore on demand takes pages from: `lazy-<vpid>.map` says where the pages of a task are
// in `lazy-<vpid>.pages`. A map is little-endian 64-bit triples: address, number of pages, offset
// in bytes. They are sorted by address and disjoint, in addresses as in the file.
#ifndef WPAR_IMAGES_LAZYMAP_H
#define WPAR_IMAGES_LAZYMAP_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define LAZYMAP_PAGE     4096u
#define LAZYMAP_RECORD   24u
#define LAZYMAP_RUNS_MAX (1u << 24)
#define LAZYMAP_NAME_MAX 32

struct lazymap_run {
	uint64_t vaddr;
	uint64_t pages;
	uint64_t offset; // in the store, bytes
};

// "lazy-12.map", "lazy-12.pages"
void lazymap_names(uint32_t vpid, char map[LAZYMAP_NAME_MAX], char pages[LAZYMAP_NAME_MAX]);

// Writes the map of a task into the folder. No runs: a task of whose memory nothing is on demand.
int lazymap_write(int dirfd, uint32_t vpid, const struct lazymap_run *runs, size_t count,
		  struct error *err);

// The runs of a map of `length` bytes over a store of `store` bytes, which the caller frees.
// ERR_PROTOCOL for what no store could have written.
int lazymap_parse(const void *bytes, size_t length, uint64_t store, struct lazymap_run **runs,
		  size_t *count, struct error *err);
// The same of an open file.
int lazymap_read(int fd, uint64_t store, struct lazymap_run **runs, size_t *count,
		 struct error *err);

#endif
