// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/track_segment.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/memory/parallel.h"
#include "lib/memory/track_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#define PAGE         ((uint64_t)PAGEFRAME_PAGE)
#define WINDOW_PAGES 16384u // compared before what differs of them is copied
#define PART_PAGES   512u   // of a window, by one thread
#define MAPPED_GAIN  3      // times faster than through a copy
#define SCANNED_NS   4      // to look for the mark of a page in one page table

uint64_t segment_destination(const struct segment *s)
{
	return s->inode << 8 | 2;
}

static void segment_close(struct segment *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->marks);
	free(s->extents);
	if (s->hashes)
		munmap(s->hashes, s->hash_count * sizeof(*s->hashes));
	if (s->view)
		munmap((void *)s->view, s->view_bytes);
}

int segments_begin(struct segments *all, struct error *err)
{
	struct stat st;
	// All of them are files of one mount that the kernel keeps for itself.
	_cleanup_close_ int sample = memfd_create("sample", MFD_CLOEXEC);
	*all = (struct segments){0};
	if (sample < 0 || fstat(sample, &st) < 0 ||
	    getrandom(all->secret, sizeof(all->secret), 0) != sizeof(all->secret))
		return error_sys(err, ERR_SYSTEM, errno, "cannot prepare to compare memory");
	all->dev = st.st_dev;
	return 0;
}

void segments_free(struct segments *all)
{
	for (size_t i = 0; i < all->count; i++)
		segment_close(&all->list[i]);
	free(all->list);
	*all = (struct segments){0};
}

// ---- finding ------------------------------------------------------------------------------------

void segments_forget(struct segments *all)
{
	for (size_t i = 0; i < all->count; i++)
		all->list[i].seen = false;
}

void segments_drop_unseen(struct segments *all)
{
	size_t kept = 0;
	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].seen)
			all->list[kept++] = all->list[i];
		else
			segment_close(&all->list[i]);
	all->count = kept;
}

struct segment *segments_at(const struct segments *all, uint64_t dev, uint64_t inode)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->list[i].inode == inode && all->list[i].dev == dev)
			return &all->list[i];
	return NULL;
}

// Large ones that no descriptor leads to are told by marks.
static int make_marks(struct segment *s, uint64_t bytes, struct error *err)
{
	if (bytes < MARKS_LEAST)
		return 0;
	s->marked_pages = (bytes + PAGE - 1) / PAGE;
	s->marks = calloc((s->marked_pages + 7) / 8, 1);
	return s->marks ? 0 : error_set(err, ERR_NOMEM, "no memory for marks of a segment");
}

static void forget_marks(struct segment *s)
{
	free(s->marks);
	s->marks = NULL;
	s->marked_pages = 0;
	s->anchored = s->trusted = false;
}

// Where it can be opened: a link in map_files or fd of a process. That takes
// CAP_CHECKPOINT_RESTORE for the former.
struct place {
	int folder;
	const char *name;
	uint64_t inode;
	bool sysv, plain;
};

static int add(struct segments *all, const struct place *at, struct error *err)
{
	struct stat st;
	struct segment *known = segments_at(all, all->dev, at->inode);
	if (known && known->seen && known->sysv != at->sysv)
		return error_set(err, ERR_UNDUMPABLE,
				 "a SysV segment and other shared memory have the same number %llu",
				 (unsigned long long)at->inode);
	if (known) {
		known->seen = true;
		if (!at->plain) // it is open somewhere
			forget_marks(known);
		return 0;
	}
	_cleanup_close_ int fd = openat(at->folder, at->name, O_RDONLY | O_CLOEXEC);
	// It may be another one by now.
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != all->dev || st.st_ino != at->inode)
		return 0;
	struct segment *more = reallocarray(all->list, all->count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for a list of segments");
	all->list = more;
	struct segment *new = &all->list[all->count++];
	*new = (struct segment){.dev = all->dev,
				.inode = at->inode,
				.sysv = at->sysv,
				.seen = true,
				.fd = take_fd(&fd)};
	return at->plain ? make_marks(new, (uint64_t)st.st_size, err) : 0;
}

static int find_mapped(struct segments *all, const struct space_view *view, struct error *err)
{
	const struct maps *maps = &view->maps;
	for (size_t i = 0; i < maps->count; i++) {
		char name[64];
		const struct vma *v = &maps->list[i];
		if (v->kind != VMA_SEGMENT || v->dev != all->dev)
			continue;
		snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)v->start,
			 (unsigned long long)v->end);
		const struct place at = {view->proc, name, v->inode, v->sysv, v->plain};
		if (add(all, &at, err) < 0)
			return -1;
	}
	return 0;
}

static int find_open(struct segments *all, const struct space_view *view, struct error *err)
{
	char link[16];
	struct stat st;
	static const char memfd[] = "/memfd:";
	int folder = openat(view->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		ssize_t n = readlinkat(folder, entry->d_name, link, sizeof(link));
		if (n < (ssize_t)strlen(memfd) || memcmp(link, memfd, strlen(memfd)) != 0 ||
		    fstatat(folder, entry->d_name, &st, 0) < 0 || st.st_dev != all->dev)
			continue;
		const struct place at = {folder, entry->d_name, st.st_ino, false, false};
		if (add(all, &at, err) < 0)
			return -1;
	}
	return 0;
}

int segments_find(struct segments *all, const struct space_view *view, bool files,
		  struct error *err)
{
	if (find_mapped(all, view, err) < 0)
		return -1;
	return files ? find_open(all, view, err) : 0;
}

// ---- copying ------------------------------------------------------------------------------------

struct choice {
	const uint8_t *secret;
	struct segment *segment;
};

static uint64_t hash_of(const struct choice *c, const uint8_t *bytes)
{
	return XXH3_64bits_withSecret(bytes, PAGE, c->secret, SEGMENT_SECRET) | 1;
}

static enum copy_fate choose(void *arg, const uint8_t *bytes, uint64_t page)
{
	struct choice *c = arg;
	uint64_t hash = hash_of(c, bytes);
	if (c->segment->hashes[page] == hash)
		return COPY_DROP;
	c->segment->hashes[page] = hash;
	c->segment->changed++;
	return copy_is_zero(bytes) ? COPY_ZERO : COPY_KEEP;
}

// Pages of the table are there only when they are used, also after it has grown: sparse segments
// cost little.
static int make_hashes(struct segment *s, uint64_t pages, struct error *err)
{
	if (pages <= s->hash_count)
		return 0;
	size_t old = s->hash_count * sizeof(*s->hashes), wanted = pages * sizeof(*s->hashes);
	void *more = s->hashes ? mremap(s->hashes, old, wanted, MREMAP_MAYMOVE)
			       : mmap(NULL, wanted, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (more == MAP_FAILED)
		return error_set(err, ERR_NOMEM, "no memory to compare %llu pages",
				 (unsigned long long)pages);
	s->hashes = more;
	s->hash_count = pages;
	return 0;
}

// The next part of a segment that has pages, from *at on; false: no more.
static bool next_data(const struct segment *s, uint64_t *at, uint64_t *end)
{
	off_t data = lseek(s->fd, (off_t)*at, SEEK_DATA);
	off_t hole = data < 0 ? -1 : lseek(s->fd, data, SEEK_HOLE);
	if (hole < 0)
		return false;
	*at = (uint64_t)data & ~(PAGE - 1);
	*end = ((uint64_t)hole + PAGE - 1) & ~(PAGE - 1);
	return *end > *at;
}

static int find_extents(struct segment *s, struct error *err)
{
	size_t room = 0;
	uint64_t at = 0, end;
	free(s->extents);
	s->extents = NULL;
	s->extent_count = 0;
	for (; next_data(s, &at, &end); at = end) {
		if (s->extent_count == room) {
			room = room ? room * 2 : 16;
			struct scan_range *more = reallocarray(s->extents, room, sizeof(*more));
			if (!more)
				return error_set(err, ERR_NOMEM, "no memory for a list of pages");
			s->extents = more;
		}
		s->extents[s->extent_count++] = (struct scan_range){at, end, 0};
	}
	return 0;
}

static uint64_t marked_in_extents(const struct segment *s)
{
	uint64_t pages = 0;
	for (size_t i = 0; i < s->extent_count; i++)
		pages += marks_in(s, s->extents[i].start / PAGE, s->extents[i].end / PAGE);
	return pages;
}

// To ask for them takes 10 ms for each GB. Where marks are to be trusted no page was dropped; as
// many as before are the same ones, but for pages that were only read, which the kernel may take
// back and give to others: all that were written to are among them.
static bool has_same_extents(const struct segment *s, uint64_t blocks)
{
	return s->trusted && s->extents && s->blocks == blocks &&
	       marked_in_extents(s) == marks_in(s, 0, s->marked_pages);
}

// Part of a segment as it is mapped here, and which of its pages differ.
struct window {
	const struct choice *choice;
	uint64_t at, end; // bytes
	bool differs[WINDOW_PAGES];
};

static void compare_part(void *arg, size_t part)
{
	struct window *w = arg;
	const struct segment *s = w->choice->segment;
	size_t pages = (w->end - w->at) / PAGE, from = part * PART_PAGES, to = from + PART_PAGES;
	for (size_t i = from; i < to && i < pages; i++) {
		uint64_t at = w->at + i * PAGE;
		w->differs[i] = s->hashes[at / PAGE] != hash_of(w->choice, s->view + at);
	}
}

static int copy_window(struct window *w, struct copier *c, struct error *err)
{
	struct segment *s = w->choice->segment;
	size_t pages = (w->end - w->at) / PAGE, stop;
	parallel_for((pages + PART_PAGES - 1) / PART_PAGES, compare_part, w);
	for (size_t from = 0; from < pages; from = stop + 1) {
		for (stop = from; stop < pages && w->differs[stop]; stop++)
			;
		if (stop > from &&
		    copy_file(c, s->fd, segment_destination(s), w->at + from * PAGE,
			      w->at + stop * PAGE, choose, (void *)w->choice, err) < 0)
			return -1;
	}
	return 0;
}

static int copy_mapped(const struct choice *choice, struct copier *c, uint64_t at, uint64_t end,
		       struct error *err)
{
	struct window w = {.choice = choice};
	for (; at < end; at = w.end) {
		w.at = at;
		w.end = end - at > WINDOW_PAGES * PAGE ? at + WINDOW_PAGES * PAGE : end;
		if (copy_window(&w, c, err) < 0)
			return -1;
	}
	return 0;
}

// Mapped it need not be copied to be compared, which takes a third of the time. One that is too
// large for that is read instead.
static void map_view(struct segment *s)
{
	size_t wanted = s->hash_count * PAGE;
	if (wanted <= s->view_bytes)
		return;
	void *more = s->view ? mremap((void *)s->view, s->view_bytes, wanted, MREMAP_MAYMOVE)
			     : mmap(NULL, wanted, PROT_READ, MAP_SHARED | MAP_NORESERVE, s->fd, 0);
	if (more == MAP_FAILED)
		return;
	s->view = more;
	s->view_bytes = wanted;
}

// Page tables are filled while the tasks run. Of what is no hole only: for a hole the kernel would
// make a page, and one that becomes one just now may get a page of zeroes.
static void fill_view(const struct segment *s, uint64_t at, uint64_t end)
{
	if (end <= s->view_bytes)
		madvise((void *)(s->view + at), end - at, MADV_POPULATE_READ);
}

static bool is_marked(const struct segment *s, uint64_t page)
{
	bool marked = page >= s->marked_pages || s->marks[page / 8] >> page % 8 & 1;
	// What was made without being written to has no mark.
	return marked || s->hashes[page] == 0;
}

static int copy_marked(const struct choice *choice, struct copier *c, uint64_t at, uint64_t end,
		       struct error *err)
{
	struct segment *s = choice->segment;
	for (uint64_t from = at / PAGE, stop; from < end / PAGE; from = stop + 1) {
		for (stop = from; stop < end / PAGE && is_marked(s, stop); stop++)
			;
		if (stop > from && copy_file(c, s->fd, segment_destination(s), from * PAGE,
					     stop * PAGE, choose, (void *)choice, err) < 0)
			return -1;
	}
	return 0;
}

// When a segment is cut short meanwhile (ftruncate), reading it through a mapping kills us: the
// view is for when all are stopped.
static int copy_range(struct segment *s, const struct choice *choice, bool stopped,
		      struct copier *c, uint64_t at, uint64_t end, struct error *err)
{
	if (make_hashes(s, end / PAGE, err) < 0) // it may have grown
		return -1;
	map_view(s);
	if (s->trusted)
		return copy_marked(choice, c, at, end, err);
	if (stopped && end <= s->view_bytes)
		return copy_mapped(choice, c, at, end, err);
	if (copy_file(c, s->fd, segment_destination(s), at, end, choose, (void *)choice, err) < 0)
		return -1;
	fill_view(s, at, end);
	return 0;
}

// What of the time was spent on pages that needed no copy, and what all of them cost once nobody
// can change them.
static void note_costs(const struct segment *s, bool stopped, uint64_t ns, uint64_t pages,
		       struct track_round *round)
{
	uint64_t scanned_ns = s->marked_pages * s->mappers * SCANNED_NS;
	round->final_ns += stopped ? ns : s->anchored ? scanned_ns : ns / MAPPED_GAIN;
	if (pages)
		round->compare_ns +=
			(uint64_t)((double)ns * (double)(pages - s->changed) / (double)pages);
}

// What there is of it, and room for what is known of that.
static int look(struct segment *s, struct error *err)
{
	struct stat st;
	if (fstat(s->fd, &st) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot look at a shared segment");
	if (make_hashes(s, ((uint64_t)st.st_size + PAGE - 1) / PAGE, err) < 0)
		return -1;
	if (has_same_extents(s, (uint64_t)st.st_blocks))
		return 0;
	s->blocks = (uint64_t)st.st_blocks;
	return find_extents(s, err);
}

int segment_copy(struct segments *all, struct segment *s, bool stopped, struct copier *c,
		 struct track_round *round, struct error *err)
{
	uint64_t pages = 0, sink_ns = c->sink_ns;
	struct choice choice = {all->secret, s};
	int64_t since = clock_now_ns();
	s->changed = 0;
	if (look(s, err) < 0)
		return -1;
	for (size_t i = 0; i < s->extent_count; i++) {
		const struct scan_range *e = &s->extents[i];
		if (copy_range(s, &choice, stopped, c, e->start, e->end, err) < 0)
			return -1;
		pages += (e->end - e->start) / PAGE;
	}
	uint64_t ns = (uint64_t)(clock_now_ns() - since);
	round->pages += s->changed;
	round->copy_ns += ns;
	note_costs(s, stopped, ns - (c->sink_ns - sink_ns), pages, round);
	return 0;
}

int segment_list(const struct segment *s, struct entries *entries, struct error *err)
{
	for (size_t i = 0; i < s->extent_count; i++) {
		const struct scan_range *e = &s->extents[i];
		const struct track_entry entry = {segment_destination(s), e->start,
						  (e->end - e->start) / PAGE, PAGEFRAME_PRESENT};
		if (entries_add(entries, &entry, err) < 0)
			return -1;
	}
	return 0;
}
