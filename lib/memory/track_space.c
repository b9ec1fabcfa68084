// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/track_space_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/proc.h"
#include "lib/memory/arm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>

#define PAGE       ((uint64_t)PAGEFRAME_PAGE)
#define STATUS_MAX (64u << 10)
#define CHUNK      (64u << 20) / PAGE // pages of one scan: little is dirty again when it is copied
#define SWAPPED_MS 2
#define SMAPS_MAX  (1u << 30)

// From this size on the flags of mappings are read in advance: a frozen walk takes 20 ms per GB of
// memory, and 10 ms for 1000 mappings.
#define LARGE_KB   (128u << 10)
#define LARGE_MAPS 1000

uint64_t space_destination(const struct space *s)
{
	return (uint64_t)s->inner << 8 | 1;
}

void space_free(struct space *s)
{
	if (s->uffd >= 0)
		close(s->uffd);
	ranges_free(&s->last);
	ranges_free(&s->known);
	vmflags_free(&s->flags);
	*s = (struct space){.uffd = -1};
}

// ---- looking ------------------------------------------------------------------------------------

// The last number of the line: the pid in the innermost namespace.
static pid_t inner_pid(const char *status)
{
	const char *line = strstr(status, "\nNSpid:");
	const char *end = line ? strchr(line + 1, '\n') : NULL;
	while (end && end > line && end[-1] != '\t')
		end--;
	return end ? (pid_t)strtol(end, NULL, 10) : 0;
}

// The bounding set holds what a program that it runs may get, too.
static bool is_mighty(const char *status)
{
	const uint64_t open_mappings = 1ull << CAP_SYS_ADMIN | 1ull << CAP_CHECKPOINT_RESTORE;
	const char *line = strstr(status, "\nCapBnd:");
	return !line || strtoull(line + strlen("\nCapBnd:"), NULL, 16) & open_mappings;
}

uint64_t space_number_in(const char *status, const char *key)
{
	const char *line = strstr(status, key);
	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

void space_note_flags(struct space *s, const struct space_view *view)
{
	vmflags_free(&s->flags);
	s->locked = view->locked;
	if (view->resident >= LARGE_KB || view->maps.count >= LARGE_MAPS)
		vmflags_read(view->proc, &s->flags, NULL); // without them it takes longer
}

static int find_locked(struct space *s, struct space_view *view, struct error *err)
{
	if (s->locked != view->locked || !vmflags_fit(&s->flags, view->maps.text))
		vmflags_free(&s->flags);
	if (!view->locked)
		return 0;
	if (s->flags.text)
		return maps_add_flags(&view->maps, s->flags.text, err);
	_cleanup_free_ char *smaps = fdio_read_file(view->proc, "smaps", SMAPS_MAX, err);
	return smaps ? maps_add_flags(&view->maps, smaps, err) : -1;
}

static int look(struct space *s, bool final, struct space_view *view, struct error *err)
{
	_cleanup_free_ char *status = fdio_read_file(view->proc, "status", STATUS_MAX, err);
	if (!status)
		return -1;
	const char *locked = strstr(status, "\nVmLck:");
	s->threads = (unsigned)space_number_in(status, "\nThreads:");
	s->mighty = is_mighty(status);
	// Being killed, its threads end in any order.
	if (final && !locked && s->threads > 1)
		return error_set(err, ERR_UNDUMPABLE,
				 "the first thread of process %d has ended before others",
				 (int)s->pid);
	if (!locked)
		return 0; // a zombie
	view->locked = space_number_in(status, "\nVmLck:");
	view->resident = space_number_in(status, "\nVmRSS:");
	view->own = space_number_in(status, "\nRssAnon:") + space_number_in(status, "\nVmSwap:");
	s->inner = inner_pid(status);
	view->pagemap = openat(view->proc, "pagemap", O_RDONLY | O_CLOEXEC);
	view->mem = openat(view->proc, "mem", O_RDONLY | O_CLOEXEC);
	if (view->pagemap < 0 || view->mem < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot read the memory of process %d",
				 (int)s->pid);
	if (maps_read(view->proc, &view->maps, err) < 0 || (final && find_locked(s, view, err) < 0))
		return -1;
	return 1;
}

size_t space_flags_changed(const struct space *s)
{
	char path[32];
	struct vmflags now;
	snprintf(path, sizeof(path), "/proc/%d", (int)s->pid);
	_cleanup_close_ int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!s->flags.text || proc < 0 || vmflags_read(proc, &now, NULL) < 0)
		return 0;
	size_t changed = vmflags_differ(&s->flags, &now);
	vmflags_free(&now);
	return changed == SIZE_MAX ? 0 : changed; // SIZE_MAX: it is gone, or another program
}

int space_look(struct space *s, bool final, struct space_view *view, struct error *err)
{
	char path[32];
	*view = (struct space_view){.pagemap = -1, .mem = -1};
	snprintf(path, sizeof(path), "/proc/%d", (int)s->pid);
	view->proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error why = {0};
	int got = view->proc < 0 ? 0 : look(s, final, view, &why);
	// Having ended it fails in many ways.
	if (got < 0 && (why.sys == ESRCH || proc_start_time(s->pid) != s->start_time))
		got = 0;
	if (got < 0 && err)
		*err = why;
	return got > 0 && view->maps.count == 0 ? 0 : got;
}

void space_leave(struct space_view *view)
{
	for (size_t i = 0; i < 3; i++) {
		int fd = ((int[]){view->proc, view->pagemap, view->mem})[i];
		if (fd >= 0)
			close(fd);
	}
	maps_free(&view->maps);
	*view = (struct space_view){.proc = -1, .pagemap = -1, .mem = -1};
}

// ---- arming -------------------------------------------------------------------------------------

bool space_has(const struct vma *v)
{
	return v->kind == VMA_ANONYMOUS || v->kind == VMA_FILE;
}

// Program code has hardly ever pages of its own, and to be registered would slow its loading down
// (no fault-around). What it has all the same is always taken for written.
bool space_tracks(const struct vma *v)
{
	return space_has(v) && !(v->kind == VMA_FILE && v->execute && !v->write);
}

static const struct vma *first_tracked(const struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		if (space_tracks(&maps->list[i]))
			return &maps->list[i];
	return NULL;
}

// 0, or why this address space cannot be tracked. A mapping that has gone meanwhile is no reason,
// nor one of a kind that the kernel does not track: its pages count as written.
static int register_all(int uffd, const struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++) {
		const struct vma *v = &maps->list[i];
		int sys = space_tracks(v) ? arm_register(uffd, v->start, v->end) : 0;
		if (sys == ESRCH || sys == EBUSY)
			return sys;
	}
	return 0;
}

static void disarm(struct space *s)
{
	if (s->uffd >= 0)
		close(s->uffd);
	s->uffd = -1;
	s->last.count = s->known.count = 0;
}

// Is the userfaultfd still of this address space? An exec makes another one.
static bool is_armed(struct space *s, const struct space_view *view)
{
	if (s->uffd < 0 || register_all(s->uffd, &view->maps) != 0)
		return false;
	struct maps now;
	if (scan_is_armed(view->pagemap, first_tracked(&view->maps)->start))
		return true;
	// That mapping may have gone, or have been replaced, a moment ago.
	if (maps_read(view->proc, &now, NULL) < 0)
		return false;
	const struct vma *first = first_tracked(&now);
	bool armed = first && arm_register(s->uffd, first->start, first->end) == 0 &&
		     scan_is_armed(view->pagemap, first->start);
	maps_free(&now);
	return armed;
}

int space_arm(struct space *s, const struct space_view *view, struct track_round *round,
	      struct error *why)
{
	uint64_t stopped = 0;
	if (!first_tracked(&view->maps))
		return 0;
	if (is_armed(s, view))
		return 1;
	disarm(s);
	int got = arm_task(s->pid, deadline_in_ms(SPACE_ARM_MS), &s->uffd, &stopped, why);
	if (stopped > round->arm_ns)
		round->arm_ns = stopped;
	if (got <= 0)
		return 0;
	int sys = register_all(s->uffd, &view->maps);
	if (sys) {
		disarm(s);
		error_sys(why, ERR_SYSTEM, sys, "memory of process %d cannot be tracked",
			  (int)s->pid);
		return 0;
	}
	round->armed++;
	return 1;
}

// ---- copying ------------------------------------------------------------------------------------

bool space_next_stretch(const struct maps *maps, bool (*fits)(const struct vma *),
			struct stretch *s)
{
	size_t i = s->next;
	while (i < maps->count && !fits(&maps->list[i]))
		i++;
	if (i == maps->count)
		return false;
	const struct vma *first = &maps->list[i];
	*s = (struct stretch){.first = i, .at = first->start, .files = first->kind == VMA_FILE};
	while (i < maps->count && fits(&maps->list[i]) && maps->list[i].kind == first->kind)
		i++;
	s->next = i;
	s->end = maps->list[i - 1].end;
	return true;
}

// One scan of a round, and the copy of what it found.
static int copy_chunk(struct space *s, const struct space_view *view, bool swapped,
		      struct stretch *at, struct copier *c, struct track_round *round,
		      struct error *err)
{
	struct scan_range found[RANGES];
	size_t count = RANGES;
	uint64_t from = at->at;
	int64_t since = clock_now_ns();
	if (scan_next(view->pagemap, swapped ? SCAN_DIRTY : SCAN_PROTECT, at->files, &at->at,
		      at->end, CHUNK, found, &count, err) < 0)
		return -1;
	int64_t found_at = clock_now_ns();
	round->protect_ns += (uint64_t)(found_at - since);
	for (size_t i = 0; i < count; i++)
		round->pages += (found[i].end - found[i].start) / PAGE;
	const struct copy_task task = {s->pid, view->mem, s->shares};
	if (copy_task(c, &task, space_destination(s), found, count, err) < 0 ||
	    ranges_add(&s->last, found, count, err) < 0)
		return -1;
	round->copy_ns += (uint64_t)(clock_now_ns() - found_at);
	if (!swapped)
		return 0;
	clock_sleep_ms(SWAPPED_MS);
	while (from < at->at) {
		count = RANGES;
		if (scan_next(view->pagemap, SCAN_PROTECT, at->files, &from, at->at, CHUNK, found,
			      &count, err) < 0)
			return -1;
	}
	return 0;
}

// Opened with O_DIRECT? The flags in fdinfo are octal.
static bool is_direct(int fdinfo, const char *fd)
{
	char text[256];
	_cleanup_close_ int file = openat(fdinfo, fd, O_RDONLY | O_CLOEXEC);
	ssize_t n = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = 0;
	const char *flags = strstr(text, "flags:");
	return flags && strtoul(flags + strlen("flags:"), NULL, 8) & O_DIRECT;
}

// Looks for descriptors by which memory is written without a mark: O_DIRECT is dealt with; what an
// io_uring writes to buffers that were registered with it is never marked.
static int find_unmarked(struct space *s, int proc, struct error *err)
{
	static const char ring[] = "anon_inode:[io_uring]";
	char link[sizeof(ring)];
	int files = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fdinfo = openat(proc, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = files < 0 ? NULL : fdopendir(files);
	struct dirent *entry;
	s->direct = false;
	while (dir && fdinfo >= 0 && (entry = fdio_readdir(dir))) {
		ssize_t n = readlinkat(files, entry->d_name, link, sizeof(link));
		if (n == (ssize_t)strlen(ring) && !memcmp(link, ring, strlen(ring)))
			return error_set(err, ERR_IO_URING,
					 "fd %s of pid %d is an io_uring instance", entry->d_name,
					 (int)s->inner);
		// Sockets and pipes have no path.
		if (n > 0 && link[0] == '/' && is_direct(fdinfo, entry->d_name))
			s->direct = true;
	}
	return 0;
}

// A device may write to pages that it was given before they were protected, until its request is
// done: what a round copied is copied once more by the next. Some of it this round has sent
// already, perhaps as it was before: that must not arrive later.
int space_copy_again(struct space *s, const struct space_view *view, const struct ranges *old,
		     struct copier *c, struct error *err)
{
	const struct copy_task task = {s->pid, view->mem, s->shares};
	if (!s->direct || !old->count)
		return 0;
	if (copy_flush(c, err) < 0)
		return -1;
	memory_sink_order(&c->sink, true);
	int got = copy_task(c, &task, space_destination(s), old->list, old->count, err);
	if (got == 0)
		got = copy_flush(c, err);
	memory_sink_order(&c->sink, false);
	return got;
}

static int copy_all(struct space *s, const struct space_view *view, bool swapped, struct copier *c,
		    struct track_round *round, struct error *err)
{
	struct stretch at = {0};
	while (space_next_stretch(&view->maps, space_tracks, &at))
		while (at.at < at.end)
			if (copy_chunk(s, view, swapped, &at, c, round, err) < 0)
				return -1;
	return 0;
}

int space_copy(struct space *s, const struct space_view *view, bool swapped, struct copier *c,
	       struct track_round *round, struct error *err)
{
	struct ranges old = s->last;
	s->last = (struct ranges){0};
	int got = copy_all(s, view, swapped, c, round, err);
	if (got == 0)
		got = space_copy_again(s, view, &old, c, err);
	ranges_free(&old);
	if (got == 0)
		got = space_know(s, view, err);
	return got < 0 ? -1 : find_unmarked(s, view->proc, err);
}

int space_dirty(const struct space_view *view, uint64_t *pages, struct error *err)
{
	struct scan_range found[RANGES];
	struct stretch at = {0};
	while (space_next_stretch(&view->maps, space_tracks, &at))
		while (at.at < at.end) {
			size_t count = RANGES;
			if (scan_next(view->pagemap, SCAN_DIRTY, at.files, &at.at, at.end, 0, found,
				      &count, err) < 0)
				return -1;
			for (size_t k = 0; k < count; k++)
				*pages += (found[k].end - found[k].start) / PAGE;
		}
	return 0;
}
