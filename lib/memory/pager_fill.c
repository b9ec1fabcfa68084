// SPDX-License-Identifier: Apache-2.0
// Bringing pages: those that a task waits for, and the rest in the background.
#include "lib/memory/pager_inner.h"

#include "lib/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ // Linux 5.14
#define MADV_POPULATE_READ 22
#endif

#define AROUND_PAGES 8u  // what a fault brings: the neighbours are mostly next
#define CHUNK_PAGES  32u // of the background: a fault waits for one at most
#define REGION       (2ull << 20)
#define STUCK_NS     (3ll * 1000000000)

static const uint8_t *store_of(struct pager_server *s, const struct pager_task *t)
{
	uint32_t root = t->slot->root;
	const struct pager_slot *slot = &s->p->slot[root];
	if (!s->store[root]) {
		void *map = mmap(NULL, slot->bytes, PROT_READ, MAP_SHARED, slot->store, 0);
		if (map == MAP_FAILED)
			pager_give_up(s, "cannot map the page store: %s", strerror(errno));
		s->store[root] = map;
	}
	return s->store[root];
}

static void wake(const struct pager_task *t, uint64_t address)
{
	struct uffdio_range range = {address, PAGER_PAGE};
	ioctl(t->slot->uffd, UFFDIO_WAKE, &range);
}

// What an ioctl said that it did, in bytes: so many pages are done from the run's page `skip` on.
static int64_t account(struct pager_server *s, struct pager_task *t, const struct pager_run *run,
		       uint64_t skip, int64_t bytes)
{
	int64_t done = bytes / (int64_t)PAGER_PAGE;
	pager_done(s, t, run->first + skip, run->first + skip + (uint64_t)done);
	return done;
}

// Copies up to `pages` pages of a run from its page `skip` on; how many, or -errno.
static int64_t copy(struct pager_server *s, struct pager_task *t, const struct pager_run *run,
		    uint64_t skip, uint64_t pages)
{
	const uint8_t *from = store_of(s, t) + run->offset + skip * PAGER_PAGE;
	struct uffdio_copy what = {.dst = run->vaddr + skip * PAGER_PAGE,
				   .src = (uintptr_t)from,
				   .len = pages * PAGER_PAGE};
	if (ioctl(t->slot->uffd, UFFDIO_COPY, &what) < 0 && what.copy <= 0)
		return what.copy ? what.copy : -errno;
	return account(s, t, run, skip, what.copy);
}

// The same for pages of zeroes, which are holes in the store.
static int64_t clear(struct pager_server *s, struct pager_task *t, const struct pager_run *run,
		     uint64_t skip, uint64_t pages)
{
	struct uffdio_zeropage what = {
		.range = {run->vaddr + skip * PAGER_PAGE, pages * PAGER_PAGE}};
	if (ioctl(t->slot->uffd, UFFDIO_ZEROPAGE, &what) < 0 && what.zeropage <= 0)
		return what.zeropage ? what.zeropage : -errno;
	return account(s, t, run, skip, what.zeropage);
}

// ---- faults -------------------------------------------------------------------------------------

static void keep_waiting(struct pager_server *s, uint32_t task, uint64_t address)
{
	if (s->waits == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		struct pager_wait *bigger = reallocarray(s->waiting, room, sizeof(*bigger));
		if (!bigger)
			pager_give_up(s, "no memory for the page server");
		s->waiting = bigger;
		s->room = room;
	}
	s->waiting[s->waits++] = (struct pager_wait){task, address};
}

// A single page, and who has it then is the one whose memory it is.
static int64_t bring_one(struct pager_server *s, struct pager_task *t, const struct pager_run *run,
			 uint64_t skip, struct pager_suspects *suspects)
{
	int64_t got = copy(s, t, run, skip, 1);
	pager_convict(s, t, run->vaddr + skip * PAGER_PAGE, suspects, got > 0);
	return got;
}

static int64_t bring(struct pager_server *s, struct pager_task *t, const struct pager_run *run,
		     uint64_t address)
{
	uint64_t skip = (address - run->vaddr) / PAGER_PAGE;
	uint64_t first = run->first + skip, end = run->first + run->pages;
	if (!pager_is_known(s, t)) {
		struct pager_suspects suspects;
		pager_suspect(s, t, address, &suspects);
		return bring_one(s, t, run, skip, &suspects);
	}
	if (end > first + AROUND_PAGES)
		end = first + AROUND_PAGES;
	pager_look(s, t, address, address + (end - first) * PAGER_PAGE);
	if (pagerbits_test(t->bits, first))
		return -EEXIST;
	end = pagerbits_next(t->bits, first, end, true);
	int64_t got = copy(s, t, run, skip, end - first);
	// The run may reach across the border of a mapping.
	if (got == -ENOENT && end - first > 1)
		got = copy(s, t, run, skip, 1);
	if (got == -EEXIST)
		pager_done(s, t, first, first + 1);
	return got;
}

int64_t pager_bring_zeroes(const struct pager_task *t, uint64_t address)
{
	struct uffdio_zeropage what = {.range = {address, PAGER_PAGE}};
	if (ioctl(t->slot->uffd, UFFDIO_ZEROPAGE, &what) == 0)
		return 1;
	return what.zeropage < 0 ? what.zeropage : -errno;
}

void pager_fault(struct pager_server *s, uint32_t number, uint64_t address)
{
	struct pager_task *t = &s->task[number];
	size_t count;
	if (!t->slot)
		return;
	address -= address % PAGER_PAGE;
	const struct pager_run *runs = pager_runs(s, t, &count);
	size_t i = pagermap_find(runs, count, address);
	bool listed =
		i < count && runs[i].vaddr <= address &&
		!pagerbits_test(t->bits, runs[i].first + (address - runs[i].vaddr) / PAGER_PAGE);
	int64_t got = listed ? bring(s, t, &runs[i], address) : pager_bring_zeroes(t, address);
	switch (got) {
	case -EAGAIN: // its address space is changing: an event comes
	case -ENOMEM: // its memory limit
		keep_waiting(s, number, address);
		return;
	case -ENOENT: // unmapped meanwhile: it finds out itself
	case -EEXIST:
		wake(t, address);
		return;
	case -ESRCH:
		pager_end_task(s, number);
		return;
	}
	if (got < 0)
		pager_give_up(s, "cannot bring the page at %#llx: %s", (unsigned long long)address,
			      strerror((int)-got));
}

void pager_retry(struct pager_server *s)
{
	size_t count = s->waits;
	struct pager_wait *list = s->waiting;
	s->waiting = NULL;
	s->waits = s->room = 0;
	for (size_t i = 0; i < count; i++)
		pager_fault(s, list[i].task, list[i].address);
	free(list);
}

// ---- the background -----------------------------------------------------------------------------

static bool done_by_all(const struct pager_server *s, uint32_t root, uint64_t first, uint64_t end)
{
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++) {
		const struct pager_task *t = &s->task[i];
		if (t->slot && t->slot->root == root &&
		    pagerbits_next(t->bits, first, end, false) < end)
			return false;
	}
	return true;
}

// Gives the store's memory back, a region at a time.
static void punch(struct pager_server *s, uint32_t root, const struct pager_run *run, uint64_t skip)
{
	uint64_t at = run->offset + skip * PAGER_PAGE;
	uint64_t start = at / REGION * REGION, end = start + REGION;
	uint64_t run_end = run->offset + run->pages * PAGER_PAGE;
	start = start > run->offset ? start : run->offset;
	end = end < run_end ? end : run_end;
	uint64_t first = run->first + (start - run->offset) / PAGER_PAGE;
	if (done_by_all(s, root, first, first + (end - start) / PAGER_PAGE))
		fallocate(s->p->slot[root].store, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)start, (off_t)(end - start));
}

// Where the background goes on: a page that is not done, and how many follow that can go with it.
struct piece {
	const struct pager_run *run;
	uint64_t skip, pages;
	bool hole;
};

static struct pager_extent extent_at(int fd, uint64_t at)
{
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	bool hole = data > (off_t)at || (data < 0 && errno == ENXIO);
	off_t border = hole ? data : lseek(fd, (off_t)at, SEEK_HOLE);
	return (struct pager_extent){at, border > (off_t)at ? (uint64_t)border : UINT64_MAX, hole};
}

// Cuts it off where the store goes over from data to a hole, or back.
static void cut(struct pager_server *s, const struct pager_task *t, struct piece *piece)
{
	struct pager_extent *x = &s->extent[t->slot->root];
	uint64_t at = piece->run->offset + piece->skip * PAGER_PAGE;
	if (at < x->start || at >= x->end)
		*x = extent_at(s->p->slot[t->slot->root].store, at);
	piece->hole = x->hole;
	if (x->end - at < piece->pages * PAGER_PAGE)
		piece->pages = (x->end - at) / PAGER_PAGE;
}

static bool next_piece(struct pager_server *s, const struct pager_task *t, struct piece *piece)
{
	size_t count;
	const struct pager_run *runs = pager_runs(s, t, &count);
	for (size_t i = pagermap_find(runs, count, t->cursor); i < count; i++) {
		const struct pager_run *r = &runs[i];
		uint64_t begin = t->cursor > r->vaddr ? (t->cursor - r->vaddr) / PAGER_PAGE : 0;
		uint64_t end = r->first + r->pages;
		uint64_t first = pagerbits_next(t->bits, r->first + begin, end, false);
		if (first == end)
			continue;
		uint64_t skip = first - r->first;
		uint64_t border = (REGION - (r->offset + skip * PAGER_PAGE) % REGION) / PAGER_PAGE;
		uint64_t most = border < CHUNK_PAGES ? border : CHUNK_PAGES;
		end = end - first > most ? first + most : end;
		end = pagerbits_next(t->bits, first, end, true);
		*piece = (struct piece){r, skip, end - first, false};
		cut(s, t, piece);
		return true;
	}
	return false;
}

// The first page of the piece that nobody has guarded: the piece begins there then.
static int64_t fill_one(struct pager_server *s, struct pager_task *t, struct piece *piece)
{
	struct pager_suspects suspects;
	for (uint64_t end = piece->skip + piece->pages; piece->skip < end; piece->skip++) {
		uint64_t address = piece->run->vaddr + piece->skip * PAGER_PAGE;
		pager_suspect(s, t, address, &suspects);
		if (!suspects.guarded)
			return bring_one(s, t, piece->run, piece->skip, &suspects);
		pager_convict(s, t, address, &suspects, false);
	}
	return 0;
}

// Fills its beginning, or a page of it: the piece begins there then. How many, or -errno.
static int64_t fill_piece(struct pager_server *s, struct pager_task *t, struct piece *piece)
{
	int64_t (*bring_it)(struct pager_server *, struct pager_task *, const struct pager_run *,
			    uint64_t, uint64_t) = piece->hole ? clear : copy;
	uint64_t pages = piece->pages, address = piece->run->vaddr + piece->skip * PAGER_PAGE;
	if (!piece->hole) // or it faults page by page
		madvise((void *)(store_of(s, t) + piece->run->offset + piece->skip * PAGER_PAGE),
			pages * PAGER_PAGE, MADV_POPULATE_READ);
	if (!piece->hole && !pager_is_known(s, t))
		return fill_one(s, t, piece);
	// A guard that is installed from here on, before the page's copy, is lost where the kernel
	// overwrites it.
	if (!piece->hole && pager_look(s, t, address, address + pages * PAGER_PAGE))
		return 0; // another piece, then
	int64_t got = bring_it(s, t, piece->run, piece->skip, pages);
	while (got == -ENOENT && pages > 1) // up to the border of a mapping
		got = bring_it(s, t, piece->run, piece->skip, pages /= 2);
	return got;
}

// At the end of a pass. What is left can only be pages without a mapping: an event tells of one
// that was unmapped, but for a child that did not inherit it (MADV_DONTFORK).
static bool end_pass(struct pager_server *s, uint32_t number)
{
	struct pager_task *t = &s->task[number];
	uint64_t done = t->slot->pages - t->left;
	t->cursor = 0;
	if (t->left == 0) {
		pager_end_task(s, number);
		return true;
	}
	if (done != t->progress) {
		t->progress = done;
		t->stuck_since = 0;
		return true;
	}
	t->tries = PAGER_TRIES; // whoever it is, all that is left is guarded in somebody's memory
	if (!t->stuck_since)
		t->stuck_since = clock_now_ns();
	if (clock_now_ns() - t->stuck_since < STUCK_NS)
		return false;
	if (t->slot->vpid)
		pager_give_up(s, "%llu pages of task %d belong to no mapping that is on demand",
			      (unsigned long long)t->left, (int)t->slot->vpid);
	pager_end_task(s, number);
	return true;
}

static bool fill_task(struct pager_server *s, uint32_t number)
{
	struct pager_task *t = &s->task[number];
	struct piece piece;
	if (t->left == 0 || !next_piece(s, t, &piece))
		return end_pass(s, number);
	int64_t got = fill_piece(s, t, &piece);
	uint64_t address = piece.run->vaddr + piece.skip * PAGER_PAGE;
	if (got == -EEXIST) {
		pager_done(s, t, piece.run->first + piece.skip, piece.run->first + piece.skip + 1);
		wake(t, address);
		got = 1;
	} else if (got == -ENOENT) {
		t->cursor = address + PAGER_PAGE;
		return true;
	} else if (got == -ESRCH) {
		pager_end_task(s, number);
		return true;
	} else if (got == -EAGAIN) {
		return true;
	} else if (got == -ENOMEM) {
		return false;
	} else if (got < 0) {
		pager_give_up(s, "cannot fill the page at %#llx: %s", (unsigned long long)address,
			      strerror((int)-got));
	}
	t->cursor = address + (uint64_t)got * PAGER_PAGE;
	punch(s, t->slot->root, piece.run, piece.skip);
	return true;
}

bool pager_fill_some(struct pager_server *s)
{
	uint32_t count = atomic_load(&s->h->slots);
	bool more = false;
	// All of them have their turn before it is said that nothing can be done.
	for (uint32_t i = 0; i < count && !more; i++) {
		uint32_t number = s->turn++ % count;
		if (s->task[number].slot)
			more = fill_task(s, number);
	}
	return more;
}
