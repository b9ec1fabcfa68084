// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/track_marks.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/memory/arm.h"
#include "lib/memory/scan.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE   ((uint64_t)PAGEFRAME_PAGE)
#define ARM_MS 500
#define RANGES 512
#define SAMPLE ((size_t)6 << 20) // with a whole page table in it
#define CHUNK  (64u << 20) // bytes protected at once: the task cannot change its mappings meanwhile

// ---- the kernel ---------------------------------------------------------------------------------

// Whether exactly [from, to) is not protected.
static bool finds(int pagemap, const uint8_t *memory, bool protect, size_t from, size_t to)
{
	struct scan_range found[RANGES];
	uint64_t at = (uintptr_t)memory, end = at + SAMPLE, seen = at + from;
	while (at < end) {
		size_t count = RANGES;
		if (scan_unprotected(pagemap, protect, &at, end, found, &count, NULL) < 0)
			return false;
		for (size_t i = 0; i < count; i++) {
			if (found[i].start != seen)
				return false;
			seen = found[i].end;
		}
	}
	return seen == (uintptr_t)memory + to;
}

// Page tables that are not there, a hole that is read, pages that are written and dropped.
static bool tells_all(int pagemap, int uffd, volatile uint8_t *memory)
{
	uint8_t *m = (uint8_t *)memory;
	uintptr_t start = (uintptr_t)m;
	if (arm_register(uffd, start, start + SAMPLE) != 0 || !finds(pagemap, m, true, 0, SAMPLE) ||
	    !finds(pagemap, m, false, 0, 0))
		return false;
	uint8_t seen = memory[PAGE];
	if (seen || !finds(pagemap, m, false, 0, 0))
		return false;
	memory[2 * PAGE] = 1;
	memory[3 * PAGE] = 1;
	if (!finds(pagemap, m, false, 2 * PAGE, 4 * PAGE))
		return false;
	// Its mark is gone, and so is what said that it was not written.
	return madvise(m + 3 * PAGE, PAGE, MADV_DONTNEED) == 0 &&
	       finds(pagemap, m, false, 2 * PAGE, 4 * PAGE);
}

static bool kernel_can(void)
{
	_cleanup_close_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int uffd = arm_self();
	void *memory = mmap(NULL, SAMPLE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	bool can = pagemap >= 0 && uffd >= 0 && tells_all(pagemap, uffd, memory);
	munmap(memory, SAMPLE);
	return can;
}

// ---- rounds -------------------------------------------------------------------------------------

void marks_begin(struct marks *m)
{
	*m = (struct marks){.usable = kernel_can()};
}

void marks_end(struct marks *m)
{
	watch_free(m->watch);
	*m = (struct marks){0};
}

void marks_clear(struct segments *all)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].marks)
			memset(all->list[i].marks, 0, (all->list[i].marked_pages + 7) / 8);
}

uint64_t marks_in(const struct segment *g, uint64_t first, uint64_t end)
{
	uint64_t pages = 0;
	if (end > g->marked_pages)
		end = g->marked_pages;
	for (uint64_t i = first; i < end;)
		if (i % 8 == 0 && end - i >= 8) {
			pages += (uint64_t)__builtin_popcount(g->marks[i / 8]);
			i += 8;
		} else {
			pages += g->marks[i / 8] >> i % 8 & 1;
			i++;
		}
	return pages;
}

void marks_forget(struct marks *m, struct segments *all)
{
	m->fresh = m->unsure = m->in_threads = false;
	m->own = m->adopted = 0;
	marks_clear(all);
	for (size_t i = 0; i < all->count; i++) {
		struct segment *g = &all->list[i];
		g->doubted = g->fresh = g->trusted = false;
		g->mappers = 0;
	}
}

void marks_note(struct marks *m, const struct space *s, int got)
{
	// The first thread has ended, and with it the view of all that the others have.
	if (got == 0 && s->threads > 1)
		m->unsure = true;
	if (s->mighty)
		m->unsure = true;
	if (s->fresh && s->threads > 1)
		m->in_threads = true;
}

// ---- mappings -----------------------------------------------------------------------------------

// The segment that is mapped there, if its writes are to be told by marks.
static struct segment *marked(const struct segments *all, const struct vma *v)
{
	struct segment *g =
		v->kind == VMA_SEGMENT && v->plain ? segments_at(all, v->dev, v->inode) : NULL;
	return g && g->marks ? g : NULL;
}

void marks_doubt(struct segments *all, const struct space_view *view)
{
	for (size_t i = 0; i < view->maps.count; i++) {
		struct segment *g = marked(all, &view->maps.list[i]);
		if (g)
			g->doubted = true;
	}
}

// A ring of asynchronous I/O; the kernel's other special mappings cannot be written to.
static bool has_requests(const struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		if (maps->list[i].kind == VMA_SPECIAL && maps->list[i].write)
			return true;
	return false;
}

// ---- registering --------------------------------------------------------------------------------

// The mappings that are to be registered; the caller frees them.
static struct scan_range *unregistered(const struct segments *all, const struct space_view *view,
				       size_t *count)
{
	const struct maps *maps = &view->maps;
	struct scan_range *list = NULL;
	*count = 0;
	for (size_t i = 0; i < maps->count; i++) {
		const struct vma *v = &maps->list[i];
		struct segment *g = marked(all, v);
		if (!g || scan_is_armed(view->pagemap, v->start))
			continue;
		g->fresh = true;
		if (!list && !(list = calloc(maps->count - i, sizeof(*list))))
			return NULL;
		list[(*count)++] = (struct scan_range){v->start, v->end, 0};
	}
	return list;
}

static int register_new(struct marks *m, const struct space *s, const struct scan_range *ranges,
			size_t count, struct track_round *round)
{
	int uffd;
	uint64_t stopped = 0;
	if (!m->watch)
		m->watch = watch_new(NULL);
	if (!m->watch || s->threads > 1)
		return -1;
	int got = arm_watch(s->pid, ranges, count, deadline_in_ms(ARM_MS), &uffd, &stopped, NULL);
	if (stopped > round->arm_ns)
		round->arm_ns = stopped;
	return got <= 0 ? -1 : watch_add(m->watch, uffd, s->pid, s->start_time, NULL);
}

// ---- scanning -----------------------------------------------------------------------------------

static void set_marks(struct segment *g, uint64_t first, uint64_t pages)
{
	for (uint64_t i = first; i < first + pages && i < g->marked_pages; i++)
		g->marks[i / 8] |= (uint8_t)(1u << i % 8);
}

static int scan_mapping(const struct space_view *view, const struct vma *v, struct segment *g,
			bool protect)
{
	struct scan_range found[RANGES];
	for (uint64_t at = v->start; at < v->end;) {
		size_t count = RANGES;
		uint64_t stop = v->end - at > CHUNK ? at + CHUNK : v->end;
		if (scan_unprotected(view->pagemap, protect, &at, stop, found, &count, NULL) < 0)
			return -1;
		for (size_t i = 0; i < count; i++)
			set_marks(g, (v->offset + found[i].start - v->start) / PAGE,
				  (found[i].end - found[i].start) / PAGE);
	}
	return 0;
}

// The mappings of one task. Not being registered is a reason to doubt; a task that has ended, too,
// takes its marks away, which is told elsewhere.
static void scan_all(struct marks *m, struct segments *all, const struct space *s,
		     const struct space_view *view, bool protect)
{
	const struct maps *maps = &view->maps;
	bool any = false;
	for (size_t i = 0; i < maps->count; i++) {
		struct segment *g = marked(all, &maps->list[i]);
		if (!g)
			continue;
		if (scan_mapping(view, &maps->list[i], g, protect) < 0)
			g->doubted = true;
		else
			any = true;
	}
	if (!any)
		return;
	size_t own = m->watch ? watch_count(m->watch, s->pid, s->start_time) : 0;
	m->own += own;
	m->adopted += own == 0;
	if (has_requests(maps))
		marks_doubt(all, view);
}

void marks_look(struct marks *m, struct segments *all, const struct space *s,
		const struct space_view *view)
{
	if (m->watch)
		scan_all(m, all, s, view, false);
}

static bool maps_any(struct segments *all, const struct space_view *view)
{
	bool any = false;
	const struct segment *last = NULL;
	for (size_t i = 0; i < view->maps.count; i++) {
		struct segment *g = marked(all, &view->maps.list[i]);
		if (!g)
			continue;
		any = true;
		g->mappers += g != last;
		last = g;
		if (g->mappers > MARKS_MAPPERS)
			g->doubted = true;
	}
	return any;
}

static bool may_register(const struct segments *all, const struct space_view *view)
{
	for (size_t i = 0; i < view->maps.count; i++) {
		const struct segment *g = marked(all, &view->maps.list[i]);
		if (g && g->mappers > MARKS_MAPPERS)
			return false;
	}
	return true;
}

int marks_follow(struct marks *m, struct segments *all, const struct space *s,
		 const struct space_view *view, struct track_round *round, struct error *err)
{
	size_t count;
	struct space_view now = *view;
	if (!m->usable || m->unsure || !maps_any(all, view)) {
		marks_doubt(all, view);
		return 0;
	}
	_cleanup_free_ struct scan_range *ranges = unregistered(all, view, &count);
	if (count == 0) {
		scan_all(m, all, s, view, true);
		return 0;
	}
	if (!ranges)
		return error_set(err, ERR_NOMEM, "no memory for a list of mappings");
	if (!may_register(all, view) || register_new(m, s, ranges, count, round) < 0) {
		marks_doubt(all, view);
		return 0;
	}
	m->fresh = true;
	// One that was made before that moment is not registered: it is seen now, or had gone.
	if (maps_read(view->proc, &now.maps, NULL) < 0) {
		marks_doubt(all, view);
		return 0;
	}
	scan_all(m, all, s, &now, true);
	maps_free(&now.maps);
	return 0;
}

// ---- trusting -----------------------------------------------------------------------------------

static void give_up(struct marks *m, bool final)
{
	m->usable = false;
	// It takes a while: later, where all wait for us.
	if (!final) {
		watch_free(m->watch);
		m->watch = NULL;
	}
}

void marks_settle(struct marks *m, struct segments *all, bool closed, bool final)
{
	struct watch_news news = {0};
	if (m->watch)
		watch_take(m->watch, &news);
	m->losses = news.lost ? m->losses + 1 : 0;
	if (m->usable && (news.dropped || m->losses == MARKS_LOSSES))
		give_up(m, final);
	// Registered by nobody that we know of: it shares its address space with another task.
	bool known = m->usable && m->watch && !m->unsure && m->adopted <= news.children;
	// When all stand still, there are no others that could be looked at later.
	bool all_seen = !final || (m->own == news.tasks && m->adopted == news.children);
	bool complete = known && (!m->fresh || (closed && !m->in_threads));
	for (size_t i = 0; i < all->count; i++) {
		struct segment *g = &all->list[i];
		bool sound = g->marks && known && !g->doubted;
		g->trusted = g->anchored && sound && !g->fresh && !news.lost && all_seen;
		g->anchored = sound && complete;
	}
}
