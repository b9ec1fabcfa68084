// SPDX-License-Identifier: Apache-2.0
// Brings a store file into the order of its map, in place: a copy would take fresh memory, which is
// several times slower than memory that is there, and both at once may be more than there is.
#include "images/pagestore_inner.h"
#include "lib/base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

// A target is a page of the result, by its number; a slot is one of the file as it is. Both count
// from 0 in the same file.
#define NO_SOURCE UINT32_MAX // zeroes, which are made in the end

struct sorter {
	int fd;
	uint64_t slots, targets;
	uint32_t *source; // of each target: a slot; itself: it is in its place
	uint8_t *needed;  // of each slot: the contents are still to be moved elsewhere
};

static void sorter_free(struct sorter *s)
{
	free(s->source);
	free(s->needed);
}

static void find_sources(struct sorter *s, const struct destination *d)
{
	uint64_t target = 0;

	for (size_t i = 0; i < d->pieces; i++)
		for (uint64_t n = 0; n < d->piece[i].pages; n++, target++) {
			uint64_t slot = d->piece[i].slot + n;

			s->source[target] = d->piece[i].hole ? NO_SOURCE : (uint32_t)slot;
			if (!d->piece[i].hole && slot != target)
				s->needed[slot] = 1;
		}
}

static int read_page(const struct sorter *s, uint64_t slot, uint8_t page[PAGESTORE_PAGE],
		     struct error *err)
{
	return fdio_pread_all(s->fd, page, PAGESTORE_PAGE, (off_t)(slot * PAGESTORE_PAGE), err);
}

// A page of a tmpfs is written whole or not at all.
static int write_page(const struct sorter *s, uint64_t slot, const uint8_t page[PAGESTORE_PAGE],
		      struct error *err)
{
	ssize_t n = pwrite(s->fd, page, PAGESTORE_PAGE, (off_t)(slot * PAGESTORE_PAGE));

	if (n == PAGESTORE_PAGE)
		return 0;
	return error_sys(err, ERR_MEMORY, n < 0 ? errno : ENOSPC, "cannot move pages");
}

static int copy_page(const struct sorter *s, uint64_t to, uint64_t from, struct error *err)
{
	uint8_t page[PAGESTORE_PAGE];

	if (read_page(s, from, page, err) < 0)
		return -1;
	return write_page(s, to, page, err);
}

static bool is_to_be_filled(const struct sorter *s, uint64_t target)
{
	return target < s->targets && s->source[target] != NO_SOURCE && s->source[target] != target;
}

// Fills a target that nobody needs, and then the one that this has freed, and so on.
static int follow(struct sorter *s, uint64_t target, struct error *err)
{
	while (is_to_be_filled(s, target) && !s->needed[target]) {
		uint64_t from = s->source[target];

		if (copy_page(s, target, from, err) < 0)
			return -1;
		s->source[target] = (uint32_t)target;
		s->needed[from] = 0;
		target = from;
	}
	return 0;
}

// What is left goes round in circles.
static int turn(struct sorter *s, uint64_t first, struct error *err)
{
	uint8_t kept[PAGESTORE_PAGE];
	uint64_t target = first;

	if (read_page(s, first, kept, err) < 0)
		return -1;
	while (s->source[target] != first) {
		uint64_t from = s->source[target];

		if (copy_page(s, target, from, err) < 0)
			return -1;
		s->source[target] = (uint32_t)target;
		target = from;
	}
	s->source[target] = (uint32_t)target;
	return write_page(s, target, kept, err);
}

static int clear_holes(const struct destination *d, struct error *err)
{
	uint64_t target = 0;

	for (size_t i = 0; i < d->pieces; i++) {
		const struct pagestore_piece *p = &d->piece[i];

		if (p->hole && fallocate(d->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					 (off_t)(target * PAGESTORE_PAGE),
					 (off_t)(p->pages * PAGESTORE_PAGE)) < 0)
			return error_sys(err, ERR_MEMORY, errno, "cannot clear pages");
		target += p->pages;
	}
	return 0;
}

int pagestore_sort(const struct destination *d, uint64_t pages, struct error *err)
{
	__attribute__((cleanup(sorter_free))) struct sorter s = {
		.fd = d->fd, .slots = d->next > pages ? d->next : pages, .targets = pages};

	if (s.slots >= NO_SOURCE || ftruncate(d->fd, (off_t)(s.slots * PAGESTORE_PAGE)) < 0)
		return error_set(err, ERR_MEMORY, "cannot grow a store of pages");
	s.source = calloc(s.targets + 1, sizeof(*s.source));
	s.needed = calloc(s.slots + 1, 1);
	if (!s.source || !s.needed)
		return error_set(err, ERR_NOMEM, "no memory to sort pages");
	find_sources(&s, d);
	for (uint64_t target = 0; target < s.targets; target++)
		if (follow(&s, target, err) < 0)
			return -1;
	for (uint64_t target = 0; target < s.targets; target++)
		if (is_to_be_filled(&s, target) && turn(&s, target, err) < 0)
			return -1;
	return clear_holes(d, err);
}
