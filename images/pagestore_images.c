// SPDX-License-Identifier: Apache-2.0
// The image files of a page store: pagemap-*.img from the entries, pages-*.img from the store file.
#include "images/criu_pagemap.pb-c.h"
#include "images/pagestore_inner.h"
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// First words of an image file: the common one, then the type's.
enum { IMAGE_MAGIC = 0x54564319, PAGEMAP_MAGIC = 0x56084025 };

enum { COPY_BYTES = 256 * 1024 };

// ---- what there is ------------------------------------------------------------------------------

// The two lists are sorted and disjoint each; so must they be together.
static int merge_entries(struct destination *d, struct error *err)
{
	const struct pagestore_runs *a = &d->plain, *b = &d->map;

	d->all.run = calloc(a->count + b->count + 1, sizeof(*d->all.run));
	if (!d->all.run)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	for (size_t i = 0, j = 0; i < a->count || j < b->count;) {
		bool first = j == b->count || (i < a->count && a->run[i].vaddr < b->run[j].vaddr);
		const struct pagestore_run *r = first ? &a->run[i++] : &b->run[j++];

		if (r->vaddr < d->all.end)
			return error_set(err, ERR_PROTOCOL, "page %#" PRIx64 " is in two entries",
					 r->vaddr);
		d->all.end = r->vaddr + r->nr_pages * PAGESTORE_PAGE;
		d->all.run[d->all.count++] = *r;
	}
	return 0;
}

static bool continues(const struct pagestore_piece *last, const struct pagestore_piece *p)
{
	return last->hole == p->hole && last->lazy == p->lazy &&
	       last->slot + last->pages == p->slot &&
	       last->vaddr + last->pages * PAGESTORE_PAGE == p->vaddr;
}

static int add_piece(const struct pagestore *s, struct destination *d, struct pagestore_piece p,
		     struct error *err)
{
	if (d->pieces && continues(&d->piece[d->pieces - 1], &p)) {
		d->piece[d->pieces - 1].pages += p.pages;
		return 0;
	}
	if (d->pieces == s->limits.entries)
		return error_set(err, ERR_PROTOCOL, "pages lie in more than %zu pieces", d->pieces);
	if (d->pieces == d->piece_room) {
		size_t room = d->piece_room ? d->piece_room * 2 : 256;
		struct pagestore_piece *bigger = reallocarray(d->piece, room, sizeof(*bigger));

		if (!bigger)
			return error_set(err, ERR_NOMEM, "no memory for a page map");
		d->piece = bigger;
		d->piece_room = room;
	}
	d->piece[d->pieces++] = p;
	return 0;
}

// Where the pages of a MAP entry lie. Zeroes that never had a slot get one behind all others, where
// the file is a hole.
static int find_pieces(const struct pagestore *s, struct destination *d,
		       const struct pagestore_run *r, struct error *err)
{
	struct pagestore_piece p = {.vaddr = r->vaddr, .lazy = r->flags & PAGESTORE_LAZY};
	uint64_t left = r->nr_pages;

	while (left > 0) {
		struct pageplace_run run = {.kind = PAGEPLACE_ABSENT, .pages = left};

		if (d->places)
			run = pageplace_look(d->places, p.vaddr / PAGESTORE_PAGE, left);
		if (run.kind == PAGEPLACE_ABSENT)
			return error_set(err, ERR_PROTOCOL, "page %#" PRIx64 " never came",
					 p.vaddr);
		p.pages = run.pages;
		p.slot = run.slot;
		p.hole = run.kind != PAGEPLACE_STORED;
		if (run.kind == PAGEPLACE_BLANK) {
			p.slot = d->next;
			d->next += run.pages;
		}
		if (add_piece(s, d, p, err) < 0)
			return -1;
		p.vaddr += run.pages * PAGESTORE_PAGE;
		left -= run.pages;
	}
	return 0;
}

int pagestore_resolve(const struct pagestore *s, struct destination *d, struct error *err)
{
	if (merge_entries(d, err) < 0)
		return -1;
	for (size_t i = 0; i < d->all.count; i++) {
		const struct pagestore_run *r = &d->all.run[i];
		struct pagestore_piece plain = {.vaddr = r->vaddr,
						.pages = r->nr_pages,
						.slot = r->slot,
						.lazy = r->flags & PAGESTORE_LAZY};

		if (r->slot == PAGESTORE_NO_SLOT ? find_pieces(s, d, r, err) < 0
						 : add_piece(s, d, plain, err) < 0)
			return -1;
	}
	return 0;
}

// ---- pagemap images -----------------------------------------------------------------------------

// Appends {u32 length, message}.
static int append_message(struct buf *b, const ProtobufCMessage *m, struct error *err)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	uint32_t length = htole32((uint32_t)size);
	uint8_t *to;

	if (buf_append(b, &length, sizeof(length), err) < 0)
		return -1;
	to = buf_reserve(b, size, err);
	if (!to)
		return -1;
	b->length += protobuf_c_message_pack(m, to);
	return 0;
}

// The number of pages goes into both fields: CRIU before 4.2 reads only the old one, and restores
// nothing where it is missing.
static int append_entry(struct buf *b, const struct pagestore_run *r, struct error *err)
{
	Criu__PagemapEntry e = CRIU__PAGEMAP_ENTRY__INIT;

	e.vaddr = r->vaddr;
	e.compat_nr_pages = (uint32_t)r->nr_pages;
	e.has_nr_pages = true;
	e.nr_pages = r->nr_pages;
	e.has_flags = true;
	e.flags = r->flags;
	return append_message(b, &e.base, err);
}

static int build_pagemap(const struct destination *d, bool kept, struct buf *b, struct error *err)
{
	const uint32_t magic[] = {htole32(IMAGE_MAGIC), htole32(PAGEMAP_MAGIC)};
	Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;

	head.pages_id = d->pages_id;
	if (buf_append(b, magic, sizeof(magic), err) < 0 || append_message(b, &head.base, err) < 0)
		return -1;
	for (size_t i = 0; i < d->all.count; i++) {
		struct pagestore_run r = d->all.run[i];

		// CRIU skips the pages of entries that are PRESENT in the pages image; these are
		// not in it.
		if (kept && r.flags & PAGESTORE_LAZY)
			r.flags = PAGESTORE_LAZY;
		if (append_entry(b, &r, err) < 0)
			return -1;
	}
	return 0;
}

static bool is_task(const struct destination *d)
{
	return (d->dst_id & 0xff) == PAGESTORE_TASK;
}

static int create(const struct pagestore *s, const char *name, struct error *err)
{
	int fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? error_sys(err, ERR_STORAGE, errno, "cannot create %s", name) : fd;
}

static int write_pagemap(const struct pagestore *s, const struct destination *d, bool kept,
			 struct error *err)
{
	// An entry takes at most 40 bytes.
	_cleanup_buf_ struct buf b = BUF_INIT(64 + d->all.count * 40);
	_cleanup_close_ int fd = -1;
	char name[48];

	snprintf(name, sizeof(name), "pagemap-%s%" PRIu64 ".img", is_task(d) ? "" : "shmem-",
		 d->dst_id >> 8);
	if (build_pagemap(d, kept, &b, err) < 0)
		return error_wrap(err, "%s", name);
	fd = create(s, name, err);
	if (fd < 0)
		return -1;
	if (fdio_write_all(fd, b.data, b.length, err) < 0)
		return error_wrap(err, "%s", name);
	return 0;
}

// ---- pages images -------------------------------------------------------------------------------

// Is the pages image what the store file is, one piece after the other?
static bool is_flat(const struct destination *d)
{
	uint64_t slot = 0;

	for (size_t i = 0; i < d->pieces; i++) {
		if (d->piece[i].slot != slot)
			return false;
		slot += d->piece[i].pages;
	}
	return true;
}

// Of those that go into the pages image.
static uint64_t total_bytes(const struct destination *d, bool kept)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < d->pieces; i++)
		if (!kept || !d->piece[i].lazy)
			pages += d->piece[i].pages;
	return pages * PAGESTORE_PAGE;
}

static int set_length(int fd, uint64_t length, struct error *err)
{
	if (ftruncate(fd, (off_t)length) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot give an image its length");
	return 0;
}

static int copy_bytes(int from, uint64_t from_at, int to, uint64_t to_at, uint64_t length,
		      uint8_t *buffer, struct error *err)
{
	while (length > 0) {
		size_t size = length < COPY_BYTES ? (size_t)length : COPY_BYTES;
		ssize_t n = pread(from, buffer, size, (off_t)from_at);

		if (n > 0)
			n = pwrite(to, buffer, (size_t)n, (off_t)to_at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_sys(err, ERR_MEMORY, n ? errno : EIO, "cannot copy pages");
		from_at += (uint64_t)n;
		to_at += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

static int write_eager(const struct destination *d, struct error *err)
{
	uint64_t bytes = total_bytes(d, false);

	if (!is_flat(d) && pagestore_sort(d, bytes / PAGESTORE_PAGE, err) < 0)
		return -1;
	return set_length(d->fd, bytes, err);
}

// ---- what is kept for a restore on demand -------------------------------------------------------

int pagestore_lazy_runs(const struct pagestore *s, size_t index, struct lazymap_run **runs,
			size_t *count, struct error *err)
{
	const struct destination *d = &s->dst[index];

	*count = 0;
	*runs = malloc(d->pieces * sizeof(**runs) + 1);
	if (!*runs)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	for (size_t i = 0; is_task(d) && i < d->pieces; i++)
		if (d->piece[i].lazy)
			(*runs)[(*count)++] =
				(struct lazymap_run){d->piece[i].vaddr, d->piece[i].pages,
						     d->piece[i].slot * PAGESTORE_PAGE};
	return 0;
}

// Those that are not kept.
static int copy_pieces(const struct destination *d, int to, struct error *err)
{
	_cleanup_free_ uint8_t *buffer = malloc(COPY_BYTES);
	uint64_t at = 0;

	if (!buffer)
		return error_set(err, ERR_NOMEM, "no memory to copy pages");
	for (size_t i = 0; i < d->pieces; i++) {
		const struct pagestore_piece *p = &d->piece[i];
		uint64_t from = p->slot * PAGESTORE_PAGE, length = p->pages * PAGESTORE_PAGE;

		if (p->lazy)
			continue;
		if (!p->hole && copy_bytes(d->fd, from, to, at, length, buffer, err) < 0)
			return -1;
		at += length;
	}
	return 0;
}

static int keep_pages(const struct pagestore *s, const struct destination *d, const char *to,
		      struct error *err)
{
	_cleanup_close_ int fd = -1;
	char name[32];

	pagestore_name(d, name);
	if (renameat(s->dirfd, name, s->dirfd, to) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot rename %s", name);
	if (set_length(d->fd, d->next * PAGESTORE_PAGE, err) < 0)
		return -1;
	fd = create(s, name, err);
	if (fd < 0 || set_length(fd, total_bytes(d, true), err) < 0)
		return -1;
	return copy_pieces(d, fd, err);
}

static int write_lazy(const struct pagestore *s, const struct destination *d, struct error *err)
{
	_cleanup_free_ struct lazymap_run *runs = NULL;
	char map[LAZYMAP_NAME_MAX], pages[LAZYMAP_NAME_MAX];
	size_t count;

	if (pagestore_lazy_runs(s, (size_t)(d - s->dst), &runs, &count, err) < 0 ||
	    lazymap_write(s->dirfd, (uint32_t)(d->dst_id >> 8), runs, count, err) < 0)
		return -1;
	lazymap_names((uint32_t)(d->dst_id >> 8), map, pages);
	return count ? keep_pages(s, d, pages, err) : write_eager(d, err);
}

int pagestore_write_images(const struct pagestore *s, struct destination *d,
			   enum pagestore_mode mode, struct error *err)
{
	bool kept = mode == PAGESTORE_LAZY_KEPT && is_task(d);

	if (kept ? write_lazy(s, d, err) < 0 : write_eager(d, err) < 0)
		return -1;
	return write_pagemap(s, d, kept, err);
}
