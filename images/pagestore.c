// SPDX-License-Identifier: Apache-2.0
#include "images/pagestore.h"

#include "images/pagestore_inner.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Store files of this size and more grow by as much: a tmpfs gives huge pages only within the size
// of a file. Zeroes of as much are punched out; less is written, which keeps huge pages whole.
enum { HUGE_BYTES = 2 << 20 };

struct pagestore *pagestore_open(int dirfd, const struct pagestore_limits *limits,
				 struct error *err)
{
	_cleanup_pagestore_ struct pagestore *s = calloc(1, sizeof(*s));

	if (!s) {
		error_set(err, ERR_NOMEM, "no memory for the page store");
		return NULL;
	}
	s->limits = *limits;
	if (s->limits.entry_pages == 0)
		s->limits.entry_pages = PAGESTORE_ENTRY_PAGES;
	s->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	// Never moved: `open` points into it.
	s->dst = calloc(limits->destinations, sizeof(*s->dst));
	if (!s->dst) {
		error_set(err, ERR_NOMEM, "no memory for the page store");
		return NULL;
	}
	if (s->dirfd < 0) {
		error_sys(err, ERR_STORAGE, errno, "cannot use the folder of the page store");
		return NULL;
	}
	return take_ptr(s);
}

static void release_destination(struct destination *d)
{
	close(d->fd);
	free(d->plain.run);
	free(d->map.run);
	free(d->all.run);
	free(d->piece);
	pageplace_free(d->places);
}

void pagestore_free(struct pagestore *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		release_destination(&s->dst[i]);
	if (s->dirfd >= 0)
		close(s->dirfd);
	free(s->dst);
	free(s);
}

uint64_t pagestore_bytes(const struct pagestore *s)
{
	return s->bytes;
}

void pagestore_name(const struct destination *d, char name[32])
{
	snprintf(name, 32, "pages-%" PRIu32 ".img", d->pages_id);
}

static int check_dst(uint64_t dst_id, struct error *err)
{
	unsigned type = dst_id & 0xff;
	uint64_t id = dst_id >> 8;

	// Pids and segment ids are 32-bit numbers in CRIU's images and file names. No task has pid
	// 0, but the first SysV segment of a namespace has id 0.
	if (id > UINT32_MAX || (type != PAGESTORE_SHMEM && (type != PAGESTORE_TASK || id == 0)))
		return error_set(err, ERR_PROTOCOL, "pages for a bad destination %#" PRIx64,
				 dst_id);
	return 0;
}

static int create_files(struct pagestore *s, struct destination *d, struct error *err)
{
	char name[32];

	pagestore_name(d, name);
	d->fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s in the page store",
				 name);
	return 0;
}

static struct destination *find_or_make(struct pagestore *s, uint64_t dst_id, struct error *err)
{
	struct destination *d;

	if (s->open && s->open->dst_id == dst_id)
		return s->open;
	for (size_t i = 0; i < s->count; i++)
		if (s->dst[i].dst_id == dst_id)
			return &s->dst[i];
	if (s->count >= s->limits.destinations) {
		error_set(err, ERR_PROTOCOL, "pages for more than %zu destinations",
			  s->limits.destinations);
		return NULL;
	}
	d = &s->dst[s->count];
	*d = (struct destination){.dst_id = dst_id, .pages_id = (uint32_t)s->count + 1};
	if (check_dst(dst_id, err) < 0 || create_files(s, d, err) < 0)
		return NULL;
	s->count++;
	return d;
}

static int pwrite_all(const struct destination *d, const uint8_t *bytes, size_t length, uint64_t at,
		      struct error *err)
{
	while (length > 0) {
		ssize_t n = pwrite(d->fd, bytes, length, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_MEMORY, errno, "cannot store pages");
		bytes += n;
		length -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

static int write_zeroes(const struct destination *d, uint64_t at, uint64_t length,
			struct error *err)
{
	static const uint8_t zeroes[1 << 18];

	while (length > 0) {
		size_t size = length < sizeof(zeroes) ? (size_t)length : sizeof(zeroes);

		if (pwrite_all(d, zeroes, size, at, err) < 0)
			return -1;
		at += size;
		length -= size;
	}
	return 0;
}

static int set_size(struct destination *d, uint64_t size, struct error *err)
{
	if (ftruncate(d->fd, (off_t)size) < 0)
		return error_sys(err, ERR_MEMORY, errno, "no room for %" PRIu64 " MiB of pages",
				 size >> 20);
	d->size = size;
	return 0;
}

static int touch(struct destination *d, uint64_t from, struct error *err)
{
	if (set_size(d, d->expected, err) < 0 || write_zeroes(d, from, d->expected - from, err) < 0)
		return error_wrap(err, "allocating ahead");
	return 0;
}

int pagestore_expect(struct pagestore *s, uint64_t dst_id, uint64_t bytes, struct error *err)
{
	struct destination *d = find_or_make(s, dst_id, err);

	if (!d)
		return -1;
	bytes -= bytes % PAGESTORE_PAGE;
	if (bytes <= d->expected)
		return 0;
	if (d->begun || bytes - d->expected > s->limits.bytes - s->expected)
		return error_set(err, ERR_PROTOCOL, "cannot reserve %" PRIu64 " bytes of pages",
				 bytes);
	uint64_t from = d->expected;

	s->expected += bytes - from;
	d->expected = bytes;
	return touch(d, from, err);
}

static int check_idle(const struct pagestore *s, struct error *err)
{
	if (s->sealed)
		return error_set(err, ERR_PROTOCOL, "pages after the end of the page store");
	if (s->data_left > 0)
		return error_set(err, ERR_PROTOCOL,
				 "%" PRIu64 " bytes of the last page entry are missing",
				 s->data_left);
	return 0;
}

int pagestore_begin(struct pagestore *s, uint64_t dst_id, struct error *err)
{
	struct destination *d;

	if (check_idle(s, err) < 0)
		return -1;
	d = find_or_make(s, dst_id, err);
	if (!d)
		return -1;
	d->begun = true;
	s->open = d;
	return 0;
}

static int too_much(const struct pagestore *s, struct error *err)
{
	return error_set(err, ERR_MEMORY,
			 "more than the %" PRIu64 " MiB of pages that there is room for",
			 s->limits.bytes >> 20);
}

static int check_entry(const struct pagestore *s, const struct pagestore_runs *list, uint64_t vaddr,
		       uint64_t nr_pages, uint32_t flags, struct error *err)
{
	uint64_t size, end;

	if (flags != PAGESTORE_PRESENT && flags != (PAGESTORE_PRESENT | PAGESTORE_LAZY))
		return error_set(err, ERR_PROTOCOL, "page entry with flags %#" PRIx32, flags);
	if (nr_pages == 0 || vaddr % PAGESTORE_PAGE != 0 ||
	    __builtin_mul_overflow(nr_pages, (uint64_t)PAGESTORE_PAGE, &size) ||
	    __builtin_add_overflow(vaddr, size, &end))
		return error_set(err, ERR_PROTOCOL,
				 "bad page entry: %" PRIu64 " pages at %#" PRIx64, nr_pages, vaddr);
	if (vaddr < list->end)
		return error_set(err, ERR_PROTOCOL,
				 "page entries out of order: %#" PRIx64 " after %#" PRIx64, vaddr,
				 list->end);
	return size > s->limits.bytes ? too_much(s, err) : 0;
}

// Makes room for `more` runs, so that recording an entry happens wholly or not at all.
static int reserve_runs(struct pagestore *s, struct pagestore_runs *list, uint64_t more,
			struct error *err)
{
	size_t room = list->room ? list->room * 2 : 256;
	struct pagestore_run *bigger;

	if (more > s->limits.entries - s->entries)
		return error_set(err, ERR_PROTOCOL, "more than %" PRIu64 " page entries",
				 s->limits.entries);
	if (list->room - list->count >= more)
		return 0;
	if (room < list->count + more)
		room = list->count + more;
	bigger = reallocarray(list->run, room, sizeof(*bigger));
	if (!bigger)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	list->run = bigger;
	list->room = room;
	return 0;
}

static bool joins(const struct pagestore *s, const struct pagestore_run *last,
		  const struct pagestore_run *r)
{
	return last->vaddr + last->nr_pages * PAGESTORE_PAGE == r->vaddr &&
	       last->flags == r->flags &&
	       (r->slot == PAGESTORE_NO_SLOT || last->slot + last->nr_pages == r->slot) &&
	       r->nr_pages <= s->limits.entry_pages - last->nr_pages;
}

// Joins what touches, and splits what is too long.
static int record(struct pagestore *s, struct pagestore_runs *list, struct pagestore_run r,
		  struct error *err)
{
	uint64_t longest = s->limits.entry_pages;
	uint64_t end = r.vaddr + r.nr_pages * PAGESTORE_PAGE;

	if (list->count && joins(s, &list->run[list->count - 1], &r)) {
		list->run[list->count - 1].nr_pages += r.nr_pages;
		list->end = end;
		return 0;
	}
	if (reserve_runs(s, list, r.nr_pages / longest + (r.nr_pages % longest != 0), err) < 0)
		return -1;
	while (r.nr_pages > 0) {
		struct pagestore_run part = r;

		if (part.nr_pages > longest)
			part.nr_pages = longest;
		list->run[list->count++] = part;
		s->entries++;
		r.vaddr += part.nr_pages * PAGESTORE_PAGE;
		r.nr_pages -= part.nr_pages;
		if (r.slot != PAGESTORE_NO_SLOT)
			r.slot += (uint32_t)part.nr_pages;
	}
	list->end = end;
	return 0;
}

// Slots for more pages, one behind the other.
static int take_slots(struct pagestore *s, struct destination *d, uint64_t pages, uint64_t *slot,
		      struct error *err)
{
	uint64_t end = (d->next + pages) * PAGESTORE_PAGE;

	if (pages > (s->limits.bytes - s->bytes) / PAGESTORE_PAGE ||
	    pages > PAGEPLACE_SLOTS_MAX - d->next)
		return too_much(s, err);
	if (end > d->size && end > HUGE_BYTES &&
	    set_size(d, (end + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES, err) < 0)
		return -1;
	if (end > d->size)
		d->size = end;
	*slot = d->next;
	d->next += pages;
	s->bytes += pages * PAGESTORE_PAGE;
	return 0;
}

int pagestore_add(struct pagestore *s, uint64_t dst_id, uint64_t vaddr, uint64_t nr_pages,
		  uint32_t flags, struct error *err)
{
	struct pagestore_run r = {.vaddr = vaddr, .nr_pages = nr_pages, .flags = flags};
	uint64_t slot;

	if (pagestore_begin(s, dst_id, err) < 0 ||
	    check_entry(s, &s->open->plain, vaddr, nr_pages, flags, err) < 0)
		return -1;
	r.slot = (uint32_t)s->open->next;
	if (nr_pages > (s->limits.bytes - s->bytes) / PAGESTORE_PAGE)
		return too_much(s, err);
	if (record(s, &s->open->plain, r, err) < 0 ||
	    take_slots(s, s->open, nr_pages, &slot, err) < 0)
		return -1;
	s->open->came += nr_pages;
	s->scattered = false;
	s->span_at = slot * PAGESTORE_PAGE;
	s->data_left = s->span_left = nr_pages * PAGESTORE_PAGE;
	return 0;
}

// ---- rounds -------------------------------------------------------------------------------------

static int open_places(const struct pagestore *s, struct destination *d, struct error *err)
{
	if (d->map.count)
		return error_set(err, ERR_PROTOCOL, "contents of pages after the page map");
	if (!d->places)
		d->places = pageplace_new(s->limits.bytes / PAGESTORE_PAGE, err);
	return d->places ? 0 : -1;
}

// Every page of it has a slot afterwards.
static int place(struct pagestore *s, struct destination *d, uint64_t page, uint64_t count,
		 struct error *err)
{
	while (count > 0) {
		struct pageplace_run run = pageplace_look(d->places, page, count);
		uint64_t slot = run.slot;

		if ((run.kind == PAGEPLACE_ABSENT || run.kind == PAGEPLACE_BLANK) &&
		    take_slots(s, d, run.pages, &slot, err) < 0)
			return -1;
		if (run.kind != PAGEPLACE_STORED) {
			run.kind = PAGEPLACE_STORED;
			run.slot = (uint32_t)slot;
			if (pageplace_set(d->places, page, &run, err) < 0)
				return -1;
		}
		page += run.pages;
		count -= run.pages;
	}
	return 0;
}

static int add_round(struct pagestore *s, struct destination *d, const struct pageframe *frame,
		     struct error *err)
{
	s->page = frame->vaddr / PAGESTORE_PAGE;
	if (place(s, d, s->page, frame->pages, err) < 0)
		return -1;
	d->came += frame->pages;
	s->scattered = true;
	s->span_left = 0;
	s->data_left = frame->pages * PAGESTORE_PAGE;
	return 0;
}

// Gives the slots of a run's pages zeroes.
static int clear_slots(struct destination *d, struct pageplace_run *run, struct error *err)
{
	uint64_t at = run->slot * (uint64_t)PAGESTORE_PAGE, length = run->pages * PAGESTORE_PAGE;

	if (length < HUGE_BYTES)
		return write_zeroes(d, at, length, err);
	if (fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)length) <
	    0)
		return error_sys(err, ERR_MEMORY, errno, "cannot clear pages");
	run->kind = PAGEPLACE_CLEARED;
	return 0;
}

static int add_zeroes(struct destination *d, const struct pageframe *frame, struct error *err)
{
	uint64_t page = frame->vaddr / PAGESTORE_PAGE, left = frame->pages;

	while (left > 0) {
		struct pageplace_run run = pageplace_look(d->places, page, left);
		bool change = run.kind == PAGEPLACE_ABSENT;

		if (change)
			run.kind = PAGEPLACE_BLANK;
		if (run.kind == PAGEPLACE_STORED) {
			if (clear_slots(d, &run, err) < 0)
				return -1;
			change = run.kind != PAGEPLACE_STORED;
		}
		if (change && pageplace_set(d->places, page, &run, err) < 0)
			return -1;
		page += run.pages;
		left -= run.pages;
	}
	return 0;
}

static int add_map(struct pagestore *s, struct destination *d, const struct pageframe *frame,
		   struct error *err)
{
	struct pagestore_run r = {.vaddr = frame->vaddr,
				  .nr_pages = frame->pages,
				  .flags = frame->flags & 0xff,
				  .slot = PAGESTORE_NO_SLOT};

	if (check_entry(s, &d->map, r.vaddr, r.nr_pages, r.flags, err) < 0)
		return -1;
	if (r.nr_pages > (s->limits.bytes - s->mapped) / PAGESTORE_PAGE)
		return too_much(s, err);
	s->mapped += r.nr_pages * PAGESTORE_PAGE;
	return record(s, &d->map, r, err);
}

int pagestore_frame(struct pagestore *s, const struct pageframe *frame, struct error *err)
{
	uint32_t flags = (uint32_t)frame->flags;
	struct destination *d;

	if (frame->pages == 0)
		return pagestore_begin(s, frame->destination, err);
	if (!(flags & (PAGEFRAME_ROUND | PAGEFRAME_MAP)))
		return pagestore_add(s, frame->destination, frame->vaddr, frame->pages, flags, err);
	if (pagestore_begin(s, frame->destination, err) < 0)
		return -1;
	d = s->open;
	if (flags & PAGEFRAME_MAP)
		return add_map(s, d, frame, err);
	if (open_places(s, d, err) < 0)
		return -1;
	return flags & PAGEFRAME_ZERO ? add_zeroes(d, frame, err) : add_round(s, d, frame, err);
}

// ---- data ---------------------------------------------------------------------------------------

static void next_span(struct pagestore *s)
{
	uint64_t pages = s->data_left / PAGESTORE_PAGE;
	struct pageplace_run run = pageplace_look(s->open->places, s->page, pages);

	s->page += run.pages;
	s->span_at = run.slot * (uint64_t)PAGESTORE_PAGE;
	s->span_left = run.pages * PAGESTORE_PAGE;
}

int pagestore_write(struct pagestore *s, const void *bytes, size_t length, struct error *err)
{
	const uint8_t *from = bytes;

	if (length > s->data_left)
		return error_set(err, ERR_PROTOCOL, "%zu bytes more than the page entry has",
				 length - (size_t)s->data_left);
	while (length > 0) {
		size_t part = length;

		if (s->span_left == 0)
			next_span(s);
		if (part > s->span_left)
			part = (size_t)s->span_left;
		if (pwrite_all(s->open, from, part, s->span_at, err) < 0)
			return -1;
		from += part;
		length -= part;
		s->span_at += part;
		s->span_left -= part;
		s->data_left -= part;
	}
	return 0;
}

// ---- the end ------------------------------------------------------------------------------------

// A task that was expected and has ended before the freeze is no destination.
static int drop_unbegun(struct pagestore *s, struct error *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		char name[32];

		if (s->dst[i].begun) {
			s->dst[kept++] = s->dst[i];
			continue;
		}
		pagestore_name(&s->dst[i], name);
		if (unlinkat(s->dirfd, name, 0) < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot remove %s", name);
		release_destination(&s->dst[i]);
	}
	s->count = kept;
	return 0;
}

int pagestore_seal(struct pagestore *s, struct error *err)
{
	if (check_idle(s, err) < 0)
		return -1;
	s->sealed = true;
	s->open = NULL;
	if (drop_unbegun(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++)
		if (pagestore_resolve(s, &s->dst[i], err) < 0)
			return error_wrap(err, "destination %#" PRIx64, s->dst[i].dst_id);
	return 0;
}

int pagestore_finish(struct pagestore *s, enum pagestore_mode mode, struct error *err)
{
	if (!s->sealed && pagestore_seal(s, err) < 0)
		return -1;
	if (s->finished)
		return error_set(err, ERR_INTERNAL, "the page store is finished already");
	s->finished = true;
	for (size_t i = 0; i < s->count; i++)
		if (pagestore_write_images(s, &s->dst[i], mode, err) < 0)
			return -1;
	return 0;
}

size_t pagestore_count(const struct pagestore *s)
{
	return s->count;
}

uint64_t pagestore_destination(const struct pagestore *s, size_t index)
{
	return s->dst[index].dst_id;
}

uint64_t pagestore_came(const struct pagestore *s, size_t index)
{
	return s->dst[index].came;
}
