// SPDX-License-Identifier: Apache-2.0
// Any sequence of page entries into the page store: what it accepts must give images that CRIU
// would accept, with maps sorted, disjoint, and as long as their pages.
#include "images/criu_pagemap.pb-c.h"
#include "images/pagestore.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "tests/fuzz/scratch.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { ENTRY_MAX = 5, BYTES_MAX = 64 * PAGESTORE_PAGE };

struct op {
	uint8_t kind, dst, pages, flags;
	uint16_t page;
} __attribute__((packed));

static uint64_t address(const struct op *o)
{
	// Odd kinds reach the unaligned and the very high addresses.
	if (o->kind & 2)
		return (uint64_t)o->page | ((uint64_t)o->dst << 56);
	return (uint64_t)o->page * PAGESTORE_PAGE;
}

static uint64_t destination(const struct op *o)
{
	return (uint64_t)(o->dst % 4) << 8 | (o->dst >> 4) % 4;
}

static void apply(struct pagestore *s, const struct op *o)
{
	static const uint8_t page[PAGESTORE_PAGE];
	struct error err;

	if (o->kind & 1) {
		pagestore_expect(s, destination(o), o->pages * 1000u, &err);
		return;
	}
	if (pagestore_add(s, destination(o), address(o), o->pages, o->flags % 8, &err) < 0)
		return;
	for (unsigned i = 0; i < o->pages; i++)
		if (pagestore_write(s, page, sizeof(page), &err) < 0)
			abort();
	if (pagestore_write(s, page, 1, &err) == 0)
		abort();
}

static uint64_t check_map(const uint8_t *p, size_t size)
{
	uint64_t end = 0, total = 0;
	uint32_t length;

	for (size_t at = 8, n = 0; at < size; at += 4 + length, n++) {
		Criu__PagemapEntry *e;

		memcpy(&length, p + at, 4);
		if (length > size - at - 4)
			abort();
		if (n == 0)
			continue; // the head
		e = criu__pagemap_entry__unpack(NULL, length, p + at + 4);
		if (!e || e->vaddr < end || e->nr_pages == 0 || e->nr_pages > ENTRY_MAX ||
		    e->compat_nr_pages != e->nr_pages)
			abort();
		end = e->vaddr + e->nr_pages * PAGESTORE_PAGE;
		total += e->nr_pages * PAGESTORE_PAGE;
		criu__pagemap_entry__free_unpacked(e, NULL);
	}
	return total;
}

static uint64_t check_images(int dirfd)
{
	uint64_t mapped = 0, stored = 0;
	DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	while ((e = readdir(dir))) {
		_cleanup_close_ int fd = openat(dirfd, e->d_name, O_RDONLY | O_CLOEXEC);
		struct stat st;

		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		if (strncmp(e->d_name, "pagemap-", 8) == 0) {
			_cleanup_free_ uint8_t *text = malloc((size_t)st.st_size);

			if (fdio_read_all(fd, text, (size_t)st.st_size, NULL) < 0)
				abort();
			mapped += check_map(text, (size_t)st.st_size);
		} else {
			stored += (uint64_t)st.st_size;
		}
		unlinkat(dirfd, e->d_name, 0);
	}
	closedir(dir);
	if (mapped != stored)
		abort();
	return mapped;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pagestore_limits limits = {
		.bytes = BYTES_MAX, .entries = 20, .destinations = 4, .entry_pages = ENTRY_MAX};
	struct error err;
	int dirfd = scratch_folder();
	struct pagestore *s = pagestore_open(dirfd, &limits, &err);
	struct op o;

	if (!s)
		return 0;
	for (; size >= sizeof(o); data += sizeof(o), size -= sizeof(o)) {
		memcpy(&o, data, sizeof(o));
		apply(s, &o);
	}
	if (pagestore_finish(s, PAGESTORE_EAGER, &err) < 0 ||
	    check_images(dirfd) != pagestore_bytes(s))
		abort();
	pagestore_free(s);
	return 0;
}
