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

// Pieces of at least this length are given back while they are copied: two copies of all memory may
// be more than there is.
enum { PUNCH_BYTES = 2 << 20, COPY_BYTES = 256 * 1024 };

// Consecutive slots of the store file, in the order of the map.
struct piece {
	uint64_t slot, pages;
	bool hole; // they read as zeroes and take no memory
};

struct pieces {
	struct piece *piece;
	size_t count, room, max;
};

static void free_pieces(struct pieces *p)
{
	free(p->piece);
}

// ---- what there is ------------------------------------------------------------------------------

// The two lists are sorted and disjoint each; so must they be together.
static struct pagestore_run *merge_entries(const struct destination *d, size_t *count,
					   struct error *err)
{
	const struct pagestore_runs *a = &d->plain, *b = &d->map;
	struct pagestore_run *all = calloc(a->count + b->count + 1, sizeof(*all));
	uint64_t end = 0;

	if (!all) {
		error_set(err, ERR_NOMEM, "no memory for a page map");
		return NULL;
	}
	*count = 0;
	for (size_t i = 0, j = 0; i < a->count || j < b->count;) {
		bool first = j == b->count || (i < a->count && a->run[i].vaddr < b->run[j].vaddr);
		const struct pagestore_run *r = first ? &a->run[i++] : &b->run[j++];

		if (r->vaddr < end) {
			error_set(err, ERR_PROTOCOL, "page %#" PRIx64 " is in two entries",
				  r->vaddr);
			free(all);
			return NULL;
		}
		end = r->vaddr + r->nr_pages * PAGESTORE_PAGE;
		all[(*count)++] = *r;
	}
	return all;
}

static int add_piece(struct pieces *p, uint64_t slot, uint64_t pages, bool hole, struct error *err)
{
	struct piece *last = p->count ? &p->piece[p->count - 1] : NULL;

	if (last && last->hole == hole && last->slot + last->pages == slot) {
		last->pages += pages;
		return 0;
	}
	if (p->count == p->max)
		return error_set(err, ERR_PROTOCOL, "pages lie in more than %zu pieces", p->max);
	if (p->count == p->room) {
		size_t room = p->room ? p->room * 2 : 256;
		struct piece *bigger = reallocarray(p->piece, room, sizeof(*bigger));

		if (!bigger)
			return error_set(err, ERR_NOMEM, "no memory for a page map");
		p->piece = bigger;
		p->room = room;
	}
	p->piece[p->count++] = (struct piece){slot, pages, hole};
	return 0;
}

// Where the pages of a MAP entry lie. Zeroes that never had a slot get one behind all others, where
// the file is a hole.
static int find_pieces(struct destination *d, const struct pagestore_run *r, struct pieces *p,
		       struct error *err)
{
	uint64_t page = r->vaddr / PAGESTORE_PAGE, left = r->nr_pages;

	while (left > 0) {
		struct pageplace_run run = {.kind = PAGEPLACE_ABSENT, .pages = left};
		uint64_t slot;

		if (d->places)
			run = pageplace_look(d->places, page, left);
		if (run.kind == PAGEPLACE_ABSENT)
			return error_set(err, ERR_PROTOCOL, "page %#" PRIx64 " never came",
					 page * PAGESTORE_PAGE);
		slot = run.slot;
		if (run.kind == PAGEPLACE_BLANK) {
			slot = d->next;
			d->next += run.pages;
		}
		if (add_piece(p, slot, run.pages, run.kind != PAGEPLACE_STORED, err) < 0)
			return -1;
		page += run.pages;
		left -= run.pages;
	}
	return 0;
}

static int resolve(struct destination *d, const struct pagestore_run *entries, size_t count,
		   struct pieces *p, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		const struct pagestore_run *r = &entries[i];
		int done = r->slot == PAGESTORE_NO_SLOT
				   ? find_pieces(d, r, p, err)
				   : add_piece(p, r->slot, r->nr_pages, false, err);

		if (done < 0)
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

static int build_pagemap(const struct destination *d, const struct pagestore_run *entries,
			 size_t count, struct buf *b, struct error *err)
{
	const uint32_t magic[] = {htole32(IMAGE_MAGIC), htole32(PAGEMAP_MAGIC)};
	Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;

	head.pages_id = d->pages_id;
	if (buf_append(b, magic, sizeof(magic), err) < 0 || append_message(b, &head.base, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (append_entry(b, &entries[i], err) < 0)
			return -1;
	return 0;
}

static int create(const struct pagestore *s, const char *name, struct error *err)
{
	int fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? error_sys(err, ERR_STORAGE, errno, "cannot create %s", name) : fd;
}

static int write_pagemap(const struct pagestore *s, const struct destination *d,
			 const struct pagestore_run *entries, size_t count, struct error *err)
{
	// An entry takes at most 40 bytes.
	_cleanup_buf_ struct buf b = BUF_INIT(64 + count * 40);
	_cleanup_close_ int fd = -1;
	bool task = (d->dst_id & 0xff) == PAGESTORE_TASK;
	char name[48];

	snprintf(name, sizeof(name), "pagemap-%s%" PRIu64 ".img", task ? "" : "shmem-",
		 d->dst_id >> 8);
	if (build_pagemap(d, entries, count, &b, err) < 0)
		return error_wrap(err, "%s", name);
	fd = create(s, name, err);
	if (fd < 0)
		return -1;
	if (fdio_write_all(fd, b.data, b.length, err) < 0)
		return error_wrap(err, "%s", name);
	return 0;
}

// ---- pages images -------------------------------------------------------------------------------

static bool is_flat(const struct pieces *p)
{
	uint64_t slot = 0;

	for (size_t i = 0; i < p->count; i++) {
		if (p->piece[i].slot != slot)
			return false;
		slot += p->piece[i].pages;
	}
	return true;
}

static uint64_t total_bytes(const struct pieces *p)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < p->count; i++)
		pages += p->piece[i].pages;
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

static int copy_pieces(const struct destination *d, const struct pieces *p, int to,
		       struct error *err)
{
	_cleanup_free_ uint8_t *buffer = malloc(COPY_BYTES);
	uint64_t at = 0;

	if (!buffer)
		return error_set(err, ERR_NOMEM, "no memory to copy pages");
	for (size_t i = 0; i < p->count; i++) {
		const struct piece *piece = &p->piece[i];
		uint64_t from = piece->slot * PAGESTORE_PAGE,
			 length = piece->pages * PAGESTORE_PAGE;

		if (!piece->hole && copy_bytes(d->fd, from, to, at, length, buffer, err) < 0)
			return -1;
		if (!piece->hole && length >= PUNCH_BYTES)
			fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
				  (off_t)length); // in vain: it takes more memory for a while
		at += length;
	}
	return 0;
}

// The store file has another order than the map, or pages that are not in it.
static int rewrite_pages(const struct pagestore *s, struct destination *d, const struct pieces *p,
			 struct error *err)
{
	_cleanup_close_ int fd = -1;
	char name[32];

	pagestore_name(d, name);
	if (unlinkat(s->dirfd, name, 0) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot remove %s", name);
	fd = create(s, name, err);
	if (fd < 0 || set_length(fd, total_bytes(p), err) < 0 || copy_pieces(d, p, fd, err) < 0)
		return -1;
	close(d->fd);
	d->fd = take_fd(&fd);
	return 0;
}

int pagestore_write_images(struct pagestore *s, struct destination *d, enum pagestore_mode mode,
			   struct error *err)
{
	__attribute__((cleanup(free_pieces))) struct pieces pieces = {.max = s->limits.entries};
	_cleanup_free_ struct pagestore_run *entries = NULL;
	size_t count;

	(void)mode;
	entries = merge_entries(d, &count, err);
	if (!entries || resolve(d, entries, count, &pieces, err) < 0)
		return error_wrap(err, "destination %#" PRIx64, d->dst_id);
	if (is_flat(&pieces) ? set_length(d->fd, total_bytes(&pieces), err) < 0
			     : rewrite_pages(s, d, &pieces, err) < 0)
		return -1;
	return write_pagemap(s, d, entries, count, err);
}
