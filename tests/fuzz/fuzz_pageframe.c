// SPDX-License-Identifier: Apache-2.0
// Any sequence of PAGES messages: what the intake accepts must give images in which each page of
// the map has the contents that it was given last.
#include "images/criu_pagemap.pb-c.h"
#include "images/pageintake.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "tests/fuzz/scratch.h"

#include <fcntl.h>
#include <lz4.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

enum { PAGES = 1500, DESTINATIONS = 2, MESSAGE_MAX = 64 * 1024, LIMIT = 2000 };

// What a page has: nothing, zeroes, or its value; and whether a map has named it. A plain page is
// what it came as, whatever a round brings for it.
struct model {
	uint8_t value[DESTINATIONS][PAGES];
	bool came[DESTINATIONS][PAGES], mapped[DESTINATIONS][PAGES], plain[DESTINATIONS][PAGES];
};

struct op {
	uint8_t raw;      // small: the message as it is
	uint8_t flags[2]; // bits of the frame's
	uint8_t dst, value;
	uint16_t page, pages;
} __attribute__((packed));

static uint8_t message[MESSAGE_MAX];

static size_t put_frame(const struct pageframe *f, uint8_t value)
{
	size_t data = pageframe_has_data(f) ? f->pages * PAGESTORE_PAGE : 0;

	pageframe_put(message, f);
	memset(message + PAGEFRAME_HEADER, value, data);
	return PAGEFRAME_HEADER + data;
}

// The message, packed where that makes it shorter.
static size_t pack(size_t length, bool zstd)
{
	static uint8_t plain[MESSAGE_MAX];
	const struct pageframe header = {.vaddr = length,
					 .flags = zstd ? PAGEFRAME_ZSTD : PAGEFRAME_LZ4};
	uint8_t *to = message + PAGEFRAME_HEADER;
	size_t packed;

	memcpy(plain, message, length);
	if (zstd)
		packed = ZSTD_compress(to, sizeof(message) - PAGEFRAME_HEADER, plain, length, 1);
	else
		packed = (size_t)LZ4_compress_default((const char *)plain, (char *)to, (int)length,
						      (int)(sizeof(message) - PAGEFRAME_HEADER));
	if (packed < length) {
		pageframe_put(message, &header);
		return PAGEFRAME_HEADER + packed;
	}
	memcpy(message, plain, length);
	return length;
}

static void remember(struct model *m, const struct pageframe *f, uint8_t value)
{
	uint64_t dst = (f->destination >> 8) - 1, first = f->vaddr / PAGESTORE_PAGE;

	for (uint64_t i = first; i < first + f->pages; i++) {
		if (dst >= DESTINATIONS || i >= PAGES)
			abort();
		if (f->flags & PAGEFRAME_MAP) {
			m->mapped[dst][i] = true;
			continue;
		}
		if (!(f->flags & PAGEFRAME_ROUND))
			m->mapped[dst][i] = m->plain[dst][i] = true;
		else if (m->plain[dst][i])
			continue;
		m->came[dst][i] = true;
		m->value[dst][i] = f->flags & PAGEFRAME_ZERO ? 0 : value;
	}
}

static bool apply(struct pageintake *in, struct pagestore *s, struct model *m, const struct op *o)
{
	struct error err = {0};
	struct pageframe f = {(uint64_t)(1 + o->dst % DESTINATIONS) << 8 | PAGESTORE_TASK,
			      o->page % PAGES * PAGESTORE_PAGE, o->pages % PAGES,
			      (uint64_t)o->flags[1] << 8 | o->flags[0]};

	if (o->page % PAGES + f.pages > PAGES)
		f.pages = PAGES - o->page % PAGES;
	if (pageframe_has_data(&f) && f.pages > 12)
		f.pages = 1 + f.pages % 12;
	size_t length = put_frame(&f, o->value);
	if (o->raw & 2)
		length = pack(length, o->raw & 4);
	int64_t done = pageintake_take(in, s, o->raw & 1, message, length, &err);
	if (done < 0)
		return error_is_set(&err) ? false : (abort(), false);
	if (done != (pageframe_has_data(&f) ? (int64_t)(f.pages * PAGESTORE_PAGE) : 0))
		abort();
	remember(m, &f, o->value);
	return true;
}

static uint8_t *load(int dirfd, const char *name, size_t *length)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *bytes;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	*length = (size_t)st.st_size;
	bytes = malloc(*length + 1);
	if (!bytes || fdio_read_all(fd, bytes, *length, NULL) < 0)
		abort();
	return bytes;
}

static void check_page(const struct model *m, unsigned dst, uint64_t page, const uint8_t *bytes)
{
	if (page >= PAGES || !m->mapped[dst][page] || !m->came[dst][page])
		abort();
	for (unsigned i = 0; i < PAGESTORE_PAGE; i++)
		if (bytes[i] != m->value[dst][page])
			abort();
}

// Every page of the model's map is in the images once, in order, with its value.
static void check_destination(const struct model *m, int dirfd, unsigned dst)
{
	char name[32];
	size_t size, room, used = 0, wanted = 0;
	uint32_t length, pages_id = 0;
	uint64_t end = 0;

	snprintf(name, sizeof(name), "pagemap-%u.img", dst + 1);
	_cleanup_free_ uint8_t *map = load(dirfd, name, &size);
	if (!map)
		return;
	_cleanup_free_ uint8_t *pages = NULL;
	for (size_t at = 8, n = 0; at < size; at += 4 + length, n++) {
		memcpy(&length, map + at, 4);
		if (length > size - at - 4)
			abort();
		if (n == 0) {
			Criu__PagemapHead *h =
				criu__pagemap_head__unpack(NULL, length, map + at + 4);
			pages_id = h->pages_id;
			criu__pagemap_head__free_unpacked(h, NULL);
			snprintf(name, sizeof(name), "pages-%u.img", pages_id);
			pages = load(dirfd, name, &room);
			continue;
		}
		Criu__PagemapEntry *e = criu__pagemap_entry__unpack(NULL, length, map + at + 4);
		if (!e || !pages || e->vaddr < end || e->nr_pages != e->compat_nr_pages)
			abort();
		end = e->vaddr + e->nr_pages * PAGESTORE_PAGE;
		for (uint64_t i = 0; i < e->nr_pages; i++, used += PAGESTORE_PAGE) {
			if (used + PAGESTORE_PAGE > room)
				abort();
			check_page(m, dst, e->vaddr / PAGESTORE_PAGE + i, pages + used);
		}
		criu__pagemap_entry__free_unpacked(e, NULL);
	}
	for (unsigned i = 0; i < PAGES; i++)
		wanted += m->mapped[dst][i] ? PAGESTORE_PAGE : 0;
	if (used != wanted || used != room)
		abort();
}

static void empty_folder(int dirfd)
{
	DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd, e->d_name, 0);
	closedir(dir);
}

static void end(struct pagestore *s, const struct model *m, int dirfd)
{
	struct error err = {0};

	if (pagestore_finish(s, PAGESTORE_EAGER, &err) < 0) {
		if (!error_is_set(&err))
			abort();
		return;
	}
	for (unsigned i = 0; i < DESTINATIONS; i++)
		check_destination(m, dirfd, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;
	const struct pagestore_limits limits = {
		.bytes = LIMIT * PAGESTORE_PAGE, .entries = 200, .destinations = 4};
	struct error err;
	int dirfd = scratch_folder();
	struct pagestore *s = pagestore_open(dirfd, &limits, &err);
	struct pageintake *in = pageintake_new(sizeof(message), &err);
	bool good = true;
	struct op o;

	memset(&m, 0, sizeof(m));
	for (; good && size >= sizeof(o); data += sizeof(o), size -= sizeof(o)) {
		memcpy(&o, data, sizeof(o));
		if (o.raw >= 8) {
			good = apply(in, s, &m, &o);
			continue;
		}
		// The rest as it is; afterwards nothing is known of the contents.
		size = size - 1 < sizeof(message) ? size : sizeof(message);
		memcpy(message, data + 1, size - 1);
		good = false;
		pageintake_take(in, s, false, message, size - 1, &err);
	}
	// After an error a move is over.
	if (good)
		end(s, &m, dirfd);
	pageintake_free(in);
	pagestore_free(s);
	empty_folder(dirfd);
	return 0;
}
