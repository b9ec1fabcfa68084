// SPDX-License-Identifier: Apache-2.0
// Any page map, and any changes of an address space on top of it: runs stay sorted, disjoint and
// within the store, and no page of it is lost or doubled but by what was moved onto it.
#include "images/lazymap.h"
#include "lib/base/cleanup.h"
#include "lib/memory/pagermap.h"

#include <stdlib.h>
#include <string.h>

#define STORE    (1ull << 20)
#define RUNS_MAX 4096u

struct change {
	uint16_t from, to, pages;
} __attribute__((packed));

static void check(const struct pager_run *runs, size_t count, uint64_t pages)
{
	uint64_t end = 0, sum = 0;
	for (size_t i = 0; i < count; i++) {
		const struct pager_run *r = &runs[i];
		if (r->pages == 0 || r->vaddr < end || r->first + r->pages > pages ||
		    r->offset + r->pages * PAGER_PAGE > STORE ||
		    pagermap_find(runs, count, r->vaddr) != i)
			abort();
		end = pager_run_end(r);
		sum += r->pages;
	}
	if (sum > pages)
		abort();
}

static void change(struct pager_run **runs, size_t *count, uint64_t pages, const struct change *c)
{
	uint64_t from = c->from * PAGER_PAGE, to = c->to * PAGER_PAGE;
	uint64_t length = c->pages % 64 * PAGER_PAGE;
	if (*count > RUNS_MAX || length == 0 || (from < to + length && to < from + length))
		return; // mremap(2) refuses what overlaps
	struct pager_run *out = calloc(*count + 4, sizeof(*out));
	if (!out)
		return;
	*count = pagermap_move(*runs, *count, from, to, length, out);
	free(*runs);
	*runs = out;
	check(out, *count, pages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ struct lazymap_run *list = NULL;
	size_t count, length = size ? data[0] % 16 * LAZYMAP_RECORD : 0;
	uint64_t pages = 0;
	struct error err;
	if (size < 1 + length || lazymap_parse(data + 1, length, STORE, &list, &count, &err) < 0)
		return 0;
	struct pager_run *runs = calloc(count + 1, sizeof(*runs));
	for (size_t i = 0; runs && i < count; i++) {
		runs[i] = (struct pager_run){list[i].vaddr, list[i].pages, list[i].offset, pages};
		pages += list[i].pages;
	}
	if (runs)
		check(runs, count, pages);
	for (size_t at = 1 + length; runs && size - at >= sizeof(struct change);
	     at += sizeof(struct change)) {
		struct change c;
		memcpy(&c, data + at, sizeof(c));
		change(&runs, &count, pages, &c);
	}
	free(runs);
	return 0;
}
