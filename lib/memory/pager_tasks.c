// SPDX-License-Identifier: Apache-2.0
// The tasks of a page server: those that CRIU restored, and those that they forked since; and what
// they did to their address spaces.
#include "lib/memory/pager_inner.h"

#include "images/lazymap.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

// ---- slots --------------------------------------------------------------------------------------

static uint32_t free_slot(struct pager_server *s)
{
	uint32_t count = atomic_load(&s->h->slots);
	for (uint32_t i = 0; i < count; i++)
		if (atomic_load(&s->p->slot[i].state) == SLOT_FREE)
			return i;
	if (count == PAGER_SLOTS_MAX)
		pager_give_up(s,
			      "the partition has forked more than %u times before its memory "
			      "was filled",
			      PAGER_SLOTS_MAX);
	atomic_store(&s->h->slots, count + 1);
	return count;
}

static uint64_t area(struct pager_server *s, uint64_t bytes)
{
	uint64_t at = pager_area_new(s->p, bytes);
	if (!at)
		pager_give_up(s, "the page server's file is full");
	return at;
}

static uint64_t bits_bytes(uint64_t pages)
{
	return (pages + 63) / 64 * 8;
}

const struct pager_run *pager_runs(const struct pager_server *s, const struct pager_task *t,
				   size_t *count)
{
	const struct pager_view *v = &t->slot->view[atomic_load(&t->slot->current)];
	*count = v->count;
	return pager_area(s->p, v->at);
}

void pager_attach(struct pager_server *s, uint32_t number)
{
	struct pager_task *t = &s->task[number];
	struct pager_slot *slot = &s->p->slot[number];
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = number};
	*t = (struct pager_task){.slot = slot, .bits = pager_area(s->p, slot->bits), .pagemap = -1};
	t->left = slot->pages - pagerbits_count(t->bits, slot->pages);
	s->live++;
	if (epoll_ctl(s->h->poll, EPOLL_CTL_ADD, slot->uffd, &event) < 0)
		pager_give_up(s, "cannot wait for faults: %s", strerror(errno));
}

// ---- tasks that CRIU restored -------------------------------------------------------------------

static int open_store(struct pager_server *s, const char *name, uint64_t *bytes)
{
	struct stat st;
	int fd = openat(s->h->images, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		pager_give_up(s, "cannot open %s: %s", name, strerror(errno));
	*bytes = (uint64_t)st.st_size;
	return fd;
}

static struct pager_view store_runs(struct pager_server *s, const struct lazymap_run *list,
				    size_t count, uint64_t *pages)
{
	struct pager_view view = {area(s, count * sizeof(struct pager_run)), count, 0};
	struct pager_run *runs = pager_area(s->p, view.at);
	*pages = 0;
	for (size_t i = 0; i < count; i++) {
		runs[i] = (struct pager_run){list[i].vaddr, list[i].pages, list[i].offset, *pages};
		*pages += list[i].pages;
	}
	return view;
}

void pager_add_root(struct pager_server *s, int vpid, int uffd)
{
	char map[LAZYMAP_NAME_MAX], pages[LAZYMAP_NAME_MAX];
	struct error err;
	uint32_t number = free_slot(s);
	struct pager_slot *slot = &s->p->slot[number];
	lazymap_names((uint32_t)vpid, map, pages);
	_cleanup_free_ struct lazymap_run *list = NULL;
	size_t count;
	_cleanup_close_ int fd = openat(s->h->images, map, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		pager_give_up(s, "cannot open %s: %s", map, strerror(errno));
	*slot = (struct pager_slot){.uffd = uffd, .vpid = vpid, .root = number, .store = -1};
	if (lseek(fd, 0, SEEK_END) > 0)
		slot->store = open_store(s, pages, &slot->bytes);
	if (lazymap_read(fd, slot->bytes, &list, &count, &err) < 0)
		pager_give_up(s, "%s: %s", map, err.message);
	slot->view[0] = store_runs(s, list, count, &slot->pages);
	slot->bits = area(s, bits_bytes(slot->pages));
	atomic_store(&slot->state, SLOT_LIVE);
	atomic_store(&s->h->incoming, 0);
	pager_attach(s, number);
	atomic_fetch_add(&s->h->total, slot->pages);
	atomic_fetch_add(&s->h->left, slot->pages);
}

// ---- the end of a task --------------------------------------------------------------------------

static bool has_children(const struct pager_server *s, uint32_t root)
{
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++)
		if (s->task[i].slot && s->task[i].slot->root == root)
			return true;
	return false;
}

static void close_store(struct pager_server *s, uint32_t root)
{
	struct pager_slot *slot = &s->p->slot[root];
	if (s->store[root])
		munmap(s->store[root], slot->bytes);
	s->store[root] = NULL;
	s->extent[root] = (struct pager_extent){0};
	if (slot->store >= 0) {
		int fd = slot->store;
		slot->store = -1;
		close(fd);
	}
}

void pager_end_task(struct pager_server *s, uint32_t number)
{
	struct pager_task *t = &s->task[number];
	struct pager_slot *slot = t->slot;
	uint32_t root = slot->root;
	atomic_fetch_sub(&s->h->left, t->left);
	atomic_store(&slot->state, SLOT_CLOSING);
	close(slot->uffd); // unregisters what is registered with it
	if (t->pagemap >= 0)
		close(t->pagemap);
	*t = (struct pager_task){.slot = NULL};
	s->live--;
	pager_area_drop(s->p, slot->bits, bits_bytes(slot->pages));
	atomic_store(&slot->state, root == number ? SLOT_ENDED : SLOT_FREE);
	if (!has_children(s, root))
		close_store(s, root);
}

// ---- events -------------------------------------------------------------------------------------

void pager_done(struct pager_server *s, struct pager_task *t, uint64_t first, uint64_t end)
{
	uint64_t fresh = pagerbits_set(t->bits, first, end);
	t->left -= fresh;
	atomic_fetch_sub(&s->h->left, fresh);
}

// Whether anything in [start, end) still needs the store; with `forget` nothing does afterwards.
static bool look(struct pager_server *s, struct pager_task *t, uint64_t start, uint64_t end,
		 bool forget)
{
	size_t count;
	bool needed = false;
	const struct pager_run *runs = pager_runs(s, t, &count);
	for (size_t i = pagermap_find(runs, count, start); i < count && runs[i].vaddr < end; i++) {
		uint64_t from = runs[i].vaddr > start ? runs[i].vaddr : start;
		uint64_t to = pager_run_end(&runs[i]) < end ? pager_run_end(&runs[i]) : end;
		uint64_t first = runs[i].first + (from - runs[i].vaddr) / PAGER_PAGE;
		uint64_t behind = first + (to - from) / PAGER_PAGE;
		needed = needed || pagerbits_next(t->bits, first, behind, false) < behind;
		if (forget)
			pager_done(s, t, first, behind);
	}
	return needed;
}

static bool view_is_shared(const struct pager_server *s, const struct pager_slot *owner,
			   uint64_t at)
{
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++) {
		const struct pager_slot *slot = s->task[i].slot;
		if (slot && slot != owner && slot->view[atomic_load(&slot->current)].at == at)
			return true;
	}
	return false;
}

static void apply_remap(struct pager_server *s, struct pager_task *t, uint64_t event, uint64_t from,
			uint64_t to, uint64_t length)
{
	struct pager_slot *slot = t->slot;
	uint32_t old = atomic_load(&slot->current);
	if (slot->view[old].event == event || !look(s, t, from, from + length, false))
		return;
	size_t count;
	const struct pager_run *runs = pager_runs(s, t, &count);
	uint64_t at = area(s, (count + 4) * sizeof(*runs));
	size_t moved = pagermap_move(runs, count, from, to, length, pager_area(s->p, at));
	slot->view[!old] = (struct pager_view){at, moved, event};
	atomic_store(&slot->current, !old);
	if (!view_is_shared(s, slot, slot->view[old].at))
		pager_area_drop(s->p, slot->view[old].at, count * sizeof(*runs));
	t->cursor = 0;
}

static bool made_already(const struct pager_server *s, uint64_t event)
{
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++) {
		const struct pager_slot *slot = &s->p->slot[i];
		uint32_t state = atomic_load(&slot->state);
		if ((state == SLOT_LIVE || state == SLOT_CLOSING) && slot->made_by == event)
			return true;
	}
	return false;
}

// What the parent had is shared copy-on-write; what it had not yet, both get for themselves. The
// kernel admits no page to the parent between its fork and the end of the read of the event.
static void apply_fork(struct pager_server *s, struct pager_task *parent, uint64_t event, int uffd)
{
	if (made_already(s, event))
		return;
	pager_look_everywhere(s, parent, 0); // the child has its guards, too
	const struct pager_slot *from = parent->slot;
	uint32_t number = free_slot(s);
	struct pager_slot *slot = &s->p->slot[number];
	*slot = (struct pager_slot){.uffd = uffd,
				    .root = from->root,
				    .store = -1,
				    .pages = from->pages,
				    .made_by = event};
	slot->view[0] = from->view[atomic_load(&from->current)];
	slot->bits = area(s, bits_bytes(slot->pages));
	if (slot->pages)
		memcpy(pager_area(s->p, slot->bits), parent->bits, bits_bytes(slot->pages));
	atomic_store(&slot->state, SLOT_LIVE);
	pager_attach(s, number);
	atomic_fetch_add(&s->h->total, parent->left);
	atomic_fetch_add(&s->h->left, parent->left);
}

void pager_apply(struct pager_server *s)
{
	struct pager_inbox *inbox = &s->h->inbox;
	struct pager_task *t = &s->task[inbox->slot];
	const struct uffd_msg *m = &inbox->msg;
	if (t->slot && m->event == UFFD_EVENT_FORK)
		apply_fork(s, t, inbox->number, (int)m->arg.fork.ufd);
	else if (t->slot && m->event == UFFD_EVENT_REMAP)
		apply_remap(s, t, inbox->number, m->arg.remap.from, m->arg.remap.to,
			    m->arg.remap.len);
	else if (t->slot && (m->event == UFFD_EVENT_REMOVE || m->event == UFFD_EVENT_UNMAP))
		look(s, t, m->arg.remove.start, m->arg.remove.end, true);
	inbox->msg.event = 0;
}
