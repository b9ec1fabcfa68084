// SPDX-License-Identifier: Apache-2.0
#include "images/pagestore.h"

#include "images/criu_pagemap.pb-c.h"
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// First words of an image file: the common one, then the type's.
enum { IMAGE_MAGIC = 0x54564319, PAGEMAP_MAGIC = 0x56084025 };

// Data passes through a private copy of this size, small enough to stay in the CPU's cache.
enum { COPY_BYTES = 64 * 1024 };

struct run {
	uint64_t vaddr, nr_pages;
	uint32_t flags;
};

struct destination {
	uint64_t dst_id;
	uint32_t pages_id;
	int fd;
	bool begun;                      // false: only expected so far
	uint64_t expected, written, end; // end: first address behind the last entry
	struct run *run;
	size_t runs, room;
	struct digest_ctx *digest;
};

struct pagestore {
	int dirfd;
	struct pagestore_limits limits;
	struct destination *dst;
	size_t count;
	struct destination *open; // of the entry being written
	uint64_t data_left;
	uint64_t bytes, entries, expected;
	bool finished;
	uint8_t copy[COPY_BYTES];
};

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
	free(d->run);
	digest_free(d->digest);
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

static void pages_name(const struct destination *d, char name[32])
{
	snprintf(name, 32, "pages-%" PRIu32 ".img", d->pages_id);
}

static void pagemap_name(const struct destination *d, char name[48])
{
	bool task = (d->dst_id & 0xff) == PAGESTORE_TASK;

	snprintf(name, 48, "pagemap-%s%" PRIu64 ".img", task ? "" : "shmem-", d->dst_id >> 8);
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

	pages_name(d, name);
	d->digest = digest_begin(err);
	if (!d->digest)
		return -1;
	d->fd = openat(s->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->fd < 0) {
		error_sys(err, ERR_STORAGE, errno, "cannot create %s in the page store", name);
		digest_free(d->digest);
		return -1;
	}
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

static int touch(struct destination *d, struct error *err)
{
	static const uint8_t zeroes[1 << 18];

	for (uint64_t at = 0; at < d->expected;) {
		uint64_t left = d->expected - at;
		size_t size = left < sizeof(zeroes) ? (size_t)left : sizeof(zeroes);
		ssize_t n = pwrite(d->fd, zeroes, size, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_MEMORY, errno,
					 "no room for %" PRIu64 " MiB in the page store",
					 d->expected >> 20);
		at += (uint64_t)n;
	}
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
	s->expected += bytes - d->expected;
	d->expected = bytes;
	return touch(d, err);
}

static int check_idle(const struct pagestore *s, struct error *err)
{
	if (s->finished)
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

static int check_entry(const struct pagestore *s, const struct destination *d, uint64_t vaddr,
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
	if (vaddr < d->end)
		return error_set(err, ERR_PROTOCOL,
				 "page entries out of order: %#" PRIx64 " after %#" PRIx64, vaddr,
				 d->end);
	if (size > s->limits.bytes - s->bytes)
		return error_set(err, ERR_MEMORY, "more than the %" PRIu64 " MiB of pages agreed",
				 s->limits.bytes >> 20);
	return 0;
}

// Makes room for `more` runs, so that recording an entry happens wholly or not at all.
static int reserve_runs(struct pagestore *s, struct destination *d, uint64_t more,
			struct error *err)
{
	size_t room = d->room ? d->room * 2 : 256;
	struct run *bigger;

	if (more > s->limits.entries - s->entries)
		return error_set(err, ERR_PROTOCOL, "more than %" PRIu64 " page entries",
				 s->limits.entries);
	if (d->room - d->runs >= more)
		return 0;
	if (room < d->runs + more)
		room = d->runs + more;
	bigger = reallocarray(d->run, room, sizeof(*bigger));
	if (!bigger)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	d->run = bigger;
	d->room = room;
	return 0;
}

static bool joins(const struct pagestore *s, const struct run *last, const struct run *r)
{
	return last->vaddr + last->nr_pages * PAGESTORE_PAGE == r->vaddr &&
	       last->flags == r->flags && r->nr_pages <= s->limits.entry_pages - last->nr_pages;
}

// Joins what touches, and splits what is too long.
static int record(struct pagestore *s, struct destination *d, struct run r, struct error *err)
{
	uint64_t longest = s->limits.entry_pages;
	uint64_t end = r.vaddr + r.nr_pages * PAGESTORE_PAGE;

	if (d->runs && joins(s, &d->run[d->runs - 1], &r)) {
		d->run[d->runs - 1].nr_pages += r.nr_pages;
		d->end = end;
		return 0;
	}
	if (reserve_runs(s, d, r.nr_pages / longest + (r.nr_pages % longest != 0), err) < 0)
		return -1;
	while (r.nr_pages > 0) {
		struct run part = r;

		if (part.nr_pages > longest)
			part.nr_pages = longest;
		d->run[d->runs++] = part;
		s->entries++;
		r.vaddr += part.nr_pages * PAGESTORE_PAGE;
		r.nr_pages -= part.nr_pages;
	}
	d->end = end;
	return 0;
}

int pagestore_add(struct pagestore *s, uint64_t dst_id, uint64_t vaddr, uint64_t nr_pages,
		  uint32_t flags, struct error *err)
{
	struct run r = {.vaddr = vaddr, .nr_pages = nr_pages, .flags = flags};

	if (pagestore_begin(s, dst_id, err) < 0 ||
	    check_entry(s, s->open, vaddr, nr_pages, flags, err) < 0 ||
	    record(s, s->open, r, err) < 0 ||
	    digest_page_entry(s->open->digest, dst_id, vaddr, nr_pages, flags, err) < 0)
		return -1;
	s->data_left = nr_pages * PAGESTORE_PAGE;
	s->bytes += s->data_left;
	return 0;
}

static int store_copy(struct pagestore *s, size_t size, struct error *err)
{
	struct destination *d = s->open;

	if (digest_update(d->digest, s->copy, size, err) < 0)
		return -1;
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(d->fd, s->copy + done, size - done, (off_t)d->written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_MEMORY, errno, "cannot store pages");
		done += (size_t)n;
		d->written += (uint64_t)n;
	}
	return 0;
}

int pagestore_write(struct pagestore *s, const void *bytes, size_t length, struct error *err)
{
	const uint8_t *from = bytes;

	if (length > s->data_left)
		return error_set(err, ERR_PROTOCOL, "%zu bytes more than the page entry has",
				 length - (size_t)s->data_left);
	while (length > 0) {
		size_t size = length < COPY_BYTES ? length : COPY_BYTES;

		memcpy(s->copy, from, size);
		if (store_copy(s, size, err) < 0)
			return -1;
		from += size;
		length -= size;
		s->data_left -= size;
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

static int append_run_image(struct buf *b, const struct run *r, struct error *err)
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

static int build_pagemap(const struct destination *d, struct buf *b, struct error *err)
{
	const uint32_t magic[] = {htole32(IMAGE_MAGIC), htole32(PAGEMAP_MAGIC)};
	Criu__PagemapHead head = CRIU__PAGEMAP_HEAD__INIT;

	head.pages_id = d->pages_id;
	if (buf_append(b, magic, sizeof(magic), err) < 0 || append_message(b, &head.base, err) < 0)
		return -1;
	for (size_t i = 0; i < d->runs; i++)
		if (append_run_image(b, &d->run[i], err) < 0)
			return -1;
	return 0;
}

static int write_pagemap(const struct pagestore *s, const struct destination *d, struct error *err)
{
	// An entry takes at most 40 bytes.
	_cleanup_buf_ struct buf b = BUF_INIT(64 + d->runs * 40);
	_cleanup_close_ int fd = -1;
	char name[48];

	pagemap_name(d, name);
	if (build_pagemap(d, &b, err) < 0)
		return error_wrap(err, "%s", name);
	fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", name);
	if (fdio_write_all(fd, b.data, b.length, err) < 0)
		return error_wrap(err, "%s", name);
	return 0;
}

static int finish_destination(const struct pagestore *s, const struct destination *d,
			      struct error *err)
{
	char name[32];

	pages_name(d, name);
	if (d->written < d->expected && ftruncate(d->fd, (off_t)d->written) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot cut %s to length", name);
	return write_pagemap(s, d, err);
}

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
		pages_name(&s->dst[i], name);
		if (unlinkat(s->dirfd, name, 0) < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot remove %s", name);
		release_destination(&s->dst[i]);
	}
	s->count = kept;
	return 0;
}

int pagestore_finish(struct pagestore *s, struct error *err)
{
	if (check_idle(s, err) < 0)
		return -1;
	s->finished = true;
	s->open = NULL;
	if (drop_unbegun(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++)
		if (finish_destination(s, &s->dst[i], err) < 0)
			return -1;
	return 0;
}

size_t pagestore_count(const struct pagestore *s)
{
	return s->count;
}

int pagestore_digest(const struct pagestore *s, size_t index, uint64_t *dst_id, uint64_t *pages,
		     struct digest *digest, struct error *err)
{
	if (index >= s->count)
		return error_set(err, ERR_INTERNAL, "no destination %zu in the page store", index);
	*dst_id = s->dst[index].dst_id;
	*pages = s->dst[index].written / PAGESTORE_PAGE;
	return digest_now(s->dst[index].digest, digest, err);
}
