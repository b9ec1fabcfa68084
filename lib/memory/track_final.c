// SPDX-License-Identifier: Apache-2.0
// The last copy of an address space, and the list of its pages. To walk all page tables for the
// list takes 5 ms per GB, all of it while nothing runs. It is not needed when the rounds have seen
// every page, and none has gone since:
//  - A page that came since it was looked at is not protected, so it counts as written and is
//  found.
//    So the pages that rounds and the last look for written ones have found, as far as they lie in
//    mappings that there are, are all that there can be.
//  - The kernel counts how many there are. If that is as many, they are just these; if not, some
//    were given back (madvise(2), munmap(2) and mmap(2) again), and the page tables are walked.
#include "lib/memory/track_space_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <stdlib.h>

#define PAGE       ((uint64_t)PAGEFRAME_PAGE)
#define PAGE_KB    (PAGE / 1024)
#define STATUS_MAX (64u << 10)

int entries_add(struct entries *e, const struct track_entry *more, struct error *err)
{
	struct track_entry *last = e->count ? &e->list[e->count - 1] : NULL;
	if (last && last->destination == more->destination && last->flags == more->flags &&
	    last->vaddr + last->pages * PAGE == more->vaddr) {
		last->pages += more->pages;
		return 0;
	}
	if (e->count == e->room) {
		size_t room = e->room ? e->room * 2 : 256;
		struct track_entry *list = reallocarray(e->list, room, sizeof(*list));
		if (!list)
			return error_set(err, ERR_NOMEM, "no memory for a map of pages");
		e->list = list;
		e->room = room;
	}
	e->list[e->count++] = *more;
	return 0;
}

// What CRIU would restore on demand: vma_entry_can_be_lazy() in its documentation's words.
static uint32_t flags_of(const struct vma *v)
{
	bool lazy = v->kind == VMA_ANONYMOUS && !v->locked && !v->huge;
	return PAGEFRAME_PRESENT | (lazy ? PAGEFRAME_LAZY : 0);
}

// The pages of one range, by mapping: the ranges of a stretch may reach over several.
static int list_range(const struct space *s, const struct maps *maps, size_t *vma,
		      const struct scan_range *range, struct entries *entries, struct error *err)
{
	for (uint64_t at = range->start; at < range->end;) {
		while (maps->list[*vma].end <= at)
			(*vma)++;
		const struct vma *v = &maps->list[*vma];
		uint64_t end = v->end < range->end ? v->end : range->end;
		struct track_entry entry = {space_destination(s), at, (end - at) / PAGE,
					    flags_of(v)};
		if (entries_add(entries, &entry, err) < 0)
			return -1;
		at = end;
	}
	return 0;
}

// What must be copied of what there is: what is written, or may be. `copied`: all that counts as
// written has been.
static size_t pick_written(const struct space *s, bool copied, const struct scan_range *found,
			   size_t count, struct scan_range *picked, struct track_round *round)
{
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		bool written = found[i].categories & SCAN_WRITTEN;
		bool safe = s->uffd >= 0 && found[i].categories & SCAN_ARMED && !written;
		if (safe || (copied && written))
			continue;
		picked[n++] = found[i];
		round->pages += (found[i].end - found[i].start) / PAGE;
	}
	return n;
}

// ---- by a walk of the page tables ---------------------------------------------------------------

static int walk_stretch(struct space *s, const struct space_view *view, bool copied,
			struct stretch *at, struct copier *c, struct entries *entries,
			struct track_round *round, struct error *err)
{
	struct scan_range found[RANGES], written[RANGES];
	const struct copy_task task = {s->pid, view->mem, s->shares};
	size_t vma = at->first;
	while (at->at < at->end) {
		size_t count = RANGES;
		int64_t since = clock_now_ns();
		if (scan_next(view->pagemap, SCAN_LIST, at->files, &at->at, at->end, 0, found,
			      &count, err) < 0)
			return -1;
		int64_t found_at = clock_now_ns();
		round->protect_ns += (uint64_t)(found_at - since);
		for (size_t i = 0; i < count; i++)
			if (list_range(s, &view->maps, &vma, &found[i], entries, err) < 0)
				return -1;
		size_t n = pick_written(s, copied, found, count, written, round);
		if (copy_task(c, &task, space_destination(s), written, n, err) < 0)
			return -1;
		round->copy_ns += (uint64_t)(clock_now_ns() - found_at);
	}
	return 0;
}

// ---- by what rounds have found ------------------------------------------------------------------

// Finds pages, copies them with `c`, and keeps them in *found.
static int take_stretch(struct space *s, const struct space_view *view, enum scan_what what,
			struct stretch *at, struct copier *c, struct ranges *found,
			struct track_round *round, struct error *err)
{
	struct scan_range part[RANGES];
	const struct copy_task task = {s->pid, view->mem, s->shares};
	while (at->at < at->end) {
		size_t count = RANGES;
		int64_t since = clock_now_ns();
		if (scan_next(view->pagemap, what, at->files, &at->at, at->end, 0, part, &count,
			      err) < 0)
			return -1;
		int64_t found_at = clock_now_ns();
		if (ranges_add(found, part, count, err) < 0 ||
		    (c && copy_task(c, &task, space_destination(s), part, count, err) < 0))
			return -1;
		if (!round)
			continue;
		round->protect_ns += (uint64_t)(found_at - since);
		round->copy_ns += (uint64_t)(clock_now_ns() - found_at);
		for (size_t i = 0; i < count; i++)
			round->pages += (part[i].end - part[i].start) / PAGE;
	}
	return 0;
}

static bool is_code(const struct vma *v)
{
	return space_has(v) && !space_tracks(v);
}

// Copies what was written; *all becomes every page that there can be.
static int take_written(struct space *s, const struct space_view *view, struct copier *c,
			struct ranges *all, struct track_round *round, struct error *err)
{
	struct ranges code = {0};
	struct stretch at = {0};
	int got = 0;
	while (got == 0 && space_next_stretch(&view->maps, space_tracks, &at))
		got = take_stretch(s, view, SCAN_DIRTY, &at, c, all, round, err);
	at = (struct stretch){0};
	while (got == 0 && space_next_stretch(&view->maps, is_code, &at))
		got = take_stretch(s, view, SCAN_LIST, &at, c, &code, round, err);
	if (got == 0 &&
	    (ranges_merge(all, &s->known, err) < 0 || ranges_merge(all, &code, err) < 0))
		got = -1;
	ranges_free(&code);
	return got;
}

// The part of each range that lies in a mapping that fits: a list of them, and how many pages that
// are that the kernel counts. `entries` NULL: only how many.
static int within(const struct space *s, const struct maps *maps, bool (*fits)(const struct vma *),
		  const struct ranges *all, struct entries *entries, uint64_t *pages,
		  struct error *err)
{
	size_t r = 0;
	*pages = 0;
	for (size_t i = 0; i < maps->count; i++) {
		const struct vma *v = &maps->list[i];
		while (r < all->count && all->list[r].end <= v->start)
			r++;
		for (size_t k = r; fits(v) && k < all->count && all->list[k].start < v->end; k++) {
			struct scan_range part = all->list[k];
			size_t vma = i;
			part.start = part.start > v->start ? part.start : v->start;
			part.end = part.end < v->end ? part.end : v->end;
			*pages += v->huge ? 0 : (part.end - part.start) / PAGE;
			if (entries && list_range(s, maps, &vma, &part, entries, err) < 0)
				return -1;
		}
	}
	return 0;
}

// 1, or 0 when that is not all, or not certain.
static int list_by_rounds(const struct space *s, const struct space_view *view,
			  const struct ranges *all, struct entries *entries, struct error *err)
{
	size_t from = entries->count;
	uint64_t pages;
	if (!resident_is_exact() || within(s, &view->maps, space_has, all, NULL, &pages, err) < 0 ||
	    pages * PAGE_KB != view->own)
		return 0;
	if (within(s, &view->maps, space_has, all, entries, &pages, err) < 0) {
		entries->count = from;
		return -1;
	}
	return 1;
}

// Pages may have gone that former rounds found: then they are looked for anew, while it runs.
int space_know(struct space *s, const struct space_view *view, struct error *err)
{
	struct stretch at = {0};
	uint64_t pages;
	_cleanup_free_ char *status = NULL;
	if (!resident_is_exact())
		return 0;
	if (ranges_merge(&s->known, &s->last, err) < 0 ||
	    within(s, &view->maps, space_tracks, &s->known, NULL, &pages, err) < 0)
		return -1;
	status = fdio_read_file(view->proc, "status", STATUS_MAX, NULL);
	if (!status || pages * PAGE_KB <= space_number_in(status, "\nRssAnon:") +
						  space_number_in(status, "\nVmSwap:"))
		return 0;
	s->known.count = 0;
	while (space_next_stretch(&view->maps, space_tracks, &at))
		if (take_stretch(s, view, SCAN_LIST, &at, NULL, &s->known, NULL, err) < 0)
			return -1;
	return 0;
}

// ---- the end ------------------------------------------------------------------------------------

static int by_start(const void *a, const void *b)
{
	const struct scan_range *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

// Without the pages that could not be read: guard pages look like swapped ones before 6.15.
static int cut_lost(struct entries *entries, size_t from, const struct copier *c, struct error *err)
{
	struct entries kept = {0};
	size_t lost = 0;
	for (size_t i = from; i < entries->count; i++) {
		struct track_entry e = entries->list[i];
		uint64_t end = e.vaddr + e.pages * PAGE;
		while (e.vaddr < end) {
			while (lost < c->lost_count && c->lost[lost].end <= e.vaddr)
				lost++;
			bool hit = lost < c->lost_count && c->lost[lost].start < end;
			uint64_t stop = hit ? c->lost[lost].start : end;
			struct track_entry part = e;
			part.pages = stop > e.vaddr ? (stop - e.vaddr) / PAGE : 0;
			if (part.pages && entries_add(&kept, &part, err) < 0) {
				free(kept.list);
				return -1;
			}
			e.vaddr = hit ? c->lost[lost].end : end;
		}
	}
	entries->count = from;
	for (size_t i = 0; i < kept.count; i++)
		if (entries_add(entries, &kept.list[i], err) < 0) {
			free(kept.list);
			return -1;
		}
	free(kept.list);
	return 0;
}

static int list_all(struct space *s, const struct space_view *view, struct copier *c,
		    struct entries *entries, struct track_round *round, struct error *err)
{
	struct ranges all = {0};
	struct stretch at = {0};
	bool copied = s->uffd >= 0 && s->known.count;
	int got = copied ? take_written(s, view, c, &all, round, err) : 0;
	if (got == 0 && copied)
		got = list_by_rounds(s, view, &all, entries, err);
	ranges_free(&all);
	if (got)
		return got < 0 ? -1 : 0;
	while (space_next_stretch(&view->maps, space_has, &at))
		if (walk_stretch(s, view, copied, &at, c, entries, round, err) < 0)
			return -1;
	return 0;
}

int space_final(struct space *s, const struct space_view *view, struct copier *c,
		struct entries *entries, struct track_round *round, struct error *err)
{
	size_t from = entries->count;
	c->lost_count = 0;
	if (list_all(s, view, c, entries, round, err) < 0)
		return -1;
	if (c->lost_count)
		qsort(c->lost, c->lost_count, sizeof(*c->lost), by_start);
	if (c->lost_count && cut_lost(entries, from, c, err) < 0)
		return -1;
	return space_copy_again(s, view, &s->last, c, err);
}
