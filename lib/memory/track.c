// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/track.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/proc.h"
#include "lib/memory/arm.h"
#include "lib/memory/track_copy.h"
#include "lib/memory/track_marks.h"
#include "lib/memory/track_segment.h"
#include "lib/memory/track_space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>

#define PAGE     ((uint64_t)PAGEFRAME_PAGE)
#define STRIP_MS 500

struct track {
	struct track_tasks tasks;
	struct copier copier;
	struct space *spaces;
	size_t space_count;
	struct segments segments;
	struct marks marks;
	bool swapped; // for tests: copy, then protect

	// After the last round.
	struct entries entries;
	struct track_segment *segment_list;
};

bool track_usable(char *why, size_t size)
{
	const char *lacks = !scan_usable() ? "the kernel has no PAGEMAP_SCAN (Linux 6.7)"
			    : !arm_usable()
				    ? "the kernel has no userfaultfd with asynchronous "
				      "write-protection (Linux 6.7, CONFIG_PTE_MARKER_UFFD_WP)"
				    : NULL;
	if (lacks)
		snprintf(why, size, "%s", lacks);
	return !lacks;
}

struct track *track_begin(pid_t init, const struct track_tasks *tasks,
			  const struct memory_sink *sink, struct error *err)
{
	(void)init;
	const char *swapped = getenv("RELOCD_TEST_SWAP_ORDER");
	struct track *t = calloc(1, sizeof(*t));
	if (!t) {
		error_set(err, ERR_NOMEM, "no memory to track memory");
		return NULL;
	}
	t->tasks = *tasks;
	t->copier.sink = *sink;
	t->swapped = swapped && !strcmp(swapped, "1");
	marks_begin(&t->marks);
	if (segments_begin(&t->segments, err) < 0) {
		track_end(t);
		return NULL;
	}
	return t;
}

void track_end(struct track *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->space_count; i++)
		space_free(&t->spaces[i]);
	free(t->spaces);
	marks_end(&t->marks);
	segments_free(&t->segments);
	copy_free(&t->copier);
	free(t->entries.list);
	free(t->segment_list);
	free(t);
}

// ---- tasks --------------------------------------------------------------------------------------

static struct space *find_space(struct track *t, pid_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < t->space_count; i++)
		if (t->spaces[i].pid == pid && t->spaces[i].start_time == start_time)
			return &t->spaces[i];
	return NULL;
}

static int note_task(struct track *t, pid_t pid, struct error *err)
{
	uint64_t start_time = proc_start_time(pid);
	if (start_time == 0)
		return 0;
	struct space *known = find_space(t, pid, start_time);
	if (known) {
		known->seen = true;
		known->fresh = false;
		return 0;
	}
	struct space *more = reallocarray(t->spaces, t->space_count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for a list of tasks");
	t->spaces = more;
	t->spaces[t->space_count++] = (struct space){
		.pid = pid, .start_time = start_time, .uffd = -1, .seen = true, .fresh = true};
	return 0;
}

static void drop_ended(struct track *t)
{
	size_t kept = 0;
	for (size_t i = 0; i < t->space_count; i++)
		if (t->spaces[i].seen)
			t->spaces[kept++] = t->spaces[i];
		else
			space_free(&t->spaces[i]);
	t->space_count = kept;
}

static int list_tasks(struct track *t, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	if (t->tasks.list(t->tasks.arg, &pids, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < t->space_count; i++)
		t->spaces[i].seen = false;
	for (size_t i = 0; i < count; i++)
		if (note_task(t, pids[i], err) < 0)
			return -1;
	drop_ended(t);
	for (size_t i = 0; i < t->space_count; i++)
		t->spaces[i].shares = t->space_count > 1;
	segments_forget(&t->segments);
	marks_forget(&t->marks, &t->segments);
	return 0;
}

// Whether those are still all.
static bool no_task_has_come(struct track *t)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	if (t->tasks.list(t->tasks.arg, &pids, &count, NULL) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!find_space(t, pids[i], proc_start_time(pids[i])))
			return false;
	return true;
}

// What fails because the task has ended, or runs another program now, is no failure: its pages are
// found by the next round, or there are none.
static bool was_the_end(const struct track *t, const struct space *s, const struct error *why)
{
	return !t->copier.failed && (why->sys == ESRCH || proc_start_time(s->pid) != s->start_time);
}

// ---- rounds -------------------------------------------------------------------------------------

static void note_unarmed(struct track_round *round, const struct error *why)
{
	round->unarmed++;
	if (!round->unarmed_why[0])
		snprintf(round->unarmed_why, sizeof(round->unarmed_why), "%s", why->message);
}

static bool is_ours(const struct track *t, const struct space *s, int fd)
{
	for (size_t i = 0; i < t->space_count; i++)
		if (t->spaces[i].uffd >= 0 &&
		    syscall(SYS_kcmp, getpid(), s->pid, KCMP_FILE, t->spaces[i].uffd, fd) == 0)
			return true;
	return false;
}

// Forked by another thread while its parent was being armed, a child has the userfaultfd of that
// moment for itself; CRIU would refuse it.
static void strip_inherited(const struct track *t, const struct space *s,
			    const struct space_view *view)
{
	static const char link[] = "anon_inode:[userfaultfd]";
	char name[sizeof(link)];
	int folder = openat(view->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir))) {
		ssize_t n = readlinkat(folder, entry->d_name, name, sizeof(name));
		if (n == (ssize_t)strlen(link) && !memcmp(name, link, strlen(link)) &&
		    is_ours(t, s, atoi(entry->d_name)))
			// If it fails, CRIU says so.
			arm_strip(s->pid, atoi(entry->d_name), deadline_in_ms(STRIP_MS), NULL);
	}
}

static void take_armed(struct space *s, const struct arm_request *r, struct track_round *round)
{
	if (r->stopped_ns > round->arm_ns)
		round->arm_ns = r->stopped_ns;
	s->refused = r->got < 0;
	if (s->refused)
		note_unarmed(round, &r->why);
	if (r->got <= 0)
		return;
	s->uffd = r->uffd;
	round->armed++;
}

// All that are new, at once, and before anything is copied.
static int arm_new(struct track *t, struct track_round *round, struct error *err)
{
	_cleanup_free_ struct arm_request *list = calloc(t->space_count + 1, sizeof(*list));
	size_t count = 0, next = 0;
	if (!list)
		return error_set(err, ERR_NOMEM, "no memory to arm tasks");
	for (size_t i = 0; i < t->space_count; i++) {
		t->spaces[i].refused = false;
		if (t->spaces[i].uffd < 0)
			list[count++].pid = t->spaces[i].pid;
	}
	arm_tasks(list, count, SPACE_ARM_MS);
	for (size_t i = 0; i < t->space_count; i++)
		if (t->spaces[i].uffd < 0)
			take_armed(&t->spaces[i], &list[next++], round);
	return 0;
}

static int round_of(struct track *t, struct space *s, struct track_round *round, struct error *err)
{
	_cleanup_view_ struct space_view view;
	struct error why = {0};
	int got = space_look(s, false, &view, err);
	marks_note(&t->marks, s, got);
	if (got <= 0)
		return got;
	round->tasks++;
	if (segments_find(&t->segments, &view, true, err) < 0)
		return -1;
	space_note_flags(s, &view);
	if (s->uffd < 0 || s->fresh)
		strip_inherited(t, s, &view);
	if (s->refused || !space_arm(s, &view, round, &why)) {
		marks_doubt(&t->segments, &view);
		if (!s->refused)
			note_unarmed(round, &why);
		return 0;
	}
	int64_t since = clock_now_ns();
	if (marks_follow(&t->marks, &t->segments, s, &view, round, err) < 0)
		return -1;
	round->protect_ns += (uint64_t)(clock_now_ns() - since);
	got = space_copy(s, &view, t->swapped, &t->copier, round, &why);
	if (s->direct)
		marks_doubt(&t->segments, &view);
	if (got == 0 || was_the_end(t, s, &why))
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int copy_segments(struct track *t, bool stopped, struct track_round *round,
			 struct error *err)
{
	marks_settle(&t->marks, &t->segments, t->marks.fresh && no_task_has_come(t), stopped);
	for (size_t i = 0; i < t->segments.count; i++) {
		struct segment *s = &t->segments.list[i];
		round->trusted += s->trusted;
		if (segment_copy(&t->segments, s, stopped, &t->copier, round, err) < 0)
			return -1;
	}
	return 0;
}

static void begin_round(struct track *t, struct track_round *round)
{
	*round = (struct track_round){.ns = (uint64_t)clock_now_ns()};
	t->copier.sent_bytes = t->copier.zero_bytes = 0;
	t->copier.lost_count = 0;
}

static void end_round(const struct track *t, struct track_round *round)
{
	round->ns = (uint64_t)clock_now_ns() - round->ns;
	round->sent_bytes = t->copier.sent_bytes;
	round->zero_bytes = t->copier.zero_bytes;
}

int track_round(struct track *t, struct track_round *round, struct error *err)
{
	begin_round(t, round);
	if (list_tasks(t, err) < 0 || arm_new(t, round, err) < 0)
		return -1;
	for (size_t i = 0; i < t->space_count; i++)
		if (round_of(t, &t->spaces[i], round, err) < 0)
			return -1;
	segments_drop_unseen(&t->segments);
	if (copy_segments(t, false, round, err) < 0 || copy_flush(&t->copier, err) < 0)
		return -1;
	end_round(t, round);
	return 0;
}

static uint64_t dirty_of_segments(const struct segments *all)
{
	uint64_t pages = 0;
	for (size_t i = 0; i < all->count; i++) {
		const struct segment *s = &all->list[i];
		pages += s->anchored ? marks_in(s, 0, s->marked_pages) : s->changed;
	}
	return pages;
}

int track_dirty(struct track *t, uint64_t *bytes, struct error *err)
{
	uint64_t pages = 0;
	marks_clear(&t->segments);
	for (size_t i = 0; i < t->space_count; i++) {
		_cleanup_view_ struct space_view view;
		struct error why = {0};
		int got = space_look(&t->spaces[i], false, &view, err);
		if (got < 0)
			return -1;
		if (got > 0)
			marks_look(&t->marks, &t->segments, &t->spaces[i], &view);
		if (got == 0 || space_dirty(&view, &pages, &why) == 0 ||
		    was_the_end(t, &t->spaces[i], &why))
			continue;
		if (err)
			*err = why;
		return -1;
	}
	pages += dirty_of_segments(&t->segments);
	*bytes = pages * PAGE;
	return 0;
}

// ---- the end ------------------------------------------------------------------------------------

static int final_of(struct track *t, struct space *s, struct track_round *round, struct error *err)
{
	_cleanup_view_ struct space_view view;
	int got = space_look(s, true, &view, err);
	marks_note(&t->marks, s, got);
	if (got <= 0)
		return got;
	round->tasks++;
	round->unarmed += s->uffd < 0;
	if (segments_find(&t->segments, &view, false, err) < 0)
		return -1;
	marks_look(&t->marks, &t->segments, s, &view);
	if (s->direct)
		marks_doubt(&t->segments, &view);
	return space_final(s, &view, &t->copier, &t->entries, round, err);
}

static int by_destination(const void *a, const void *b)
{
	const struct track_entry *x = a, *y = b;
	if (x->destination != y->destination)
		return x->destination < y->destination ? -1 : 1;
	return x->vaddr < y->vaddr ? -1 : x->vaddr > y->vaddr;
}

static int final_segments(struct track *t, struct track_round *round, struct error *err)
{
	struct segments *all = &t->segments;
	if (copy_segments(t, true, round, err) < 0)
		return -1;
	t->segment_list = calloc(all->count + 1, sizeof(*t->segment_list));
	if (!t->segment_list)
		return error_set(err, ERR_NOMEM, "no memory for a list of segments");
	for (size_t i = 0; i < all->count; i++) {
		const struct segment *s = &all->list[i];
		t->segment_list[i] =
			(struct track_segment){s->dev, s->inode, segment_destination(s)};
		if (segment_list(s, &t->entries, err) < 0)
			return -1;
	}
	return 0;
}

int track_final(struct track *t, struct track_round *round, struct error *err)
{
	begin_round(t, round);
	t->entries.count = 0;
	free(t->segment_list);
	t->segment_list = NULL;
	if (list_tasks(t, err) < 0)
		return -1;
	for (size_t i = 0; i < t->space_count; i++)
		if (final_of(t, &t->spaces[i], round, err) < 0)
			return -1;
	if (final_segments(t, round, err) < 0 || copy_flush(&t->copier, err) < 0)
		return -1;
	qsort(t->entries.list, t->entries.count, sizeof(*t->entries.list), by_destination);
	end_round(t, round);
	return 0;
}

void track_map(const struct track *t, const struct track_entry **list, size_t *count)
{
	*list = t->entries.list;
	*count = t->entries.count;
}

void track_segments(const struct track *t, const struct track_segment **list, size_t *count)
{
	*list = t->segment_list;
	*count = t->segment_list ? t->segments.count : 0;
}

int track_flags(const struct track *t, struct criu_blank_flags **list, size_t *count,
		struct error *err)
{
	*count = 0;
	*list = calloc(t->space_count + 1, sizeof(**list));
	if (!*list)
		return error_set(err, ERR_NOMEM, "no memory for the flags of mappings");
	for (size_t i = 0; i < t->space_count; i++) {
		const struct space *s = &t->spaces[i];
		if (s->flags.text)
			(*list)[(*count)++] =
				(struct criu_blank_flags){s->pid, s->flags.text, s->flags.length};
	}
	return 0;
}

size_t track_flags_changed(const struct track *t)
{
	size_t changed = 0;
	for (size_t i = 0; i < t->space_count; i++)
		changed += space_flags_changed(&t->spaces[i]);
	return changed;
}
