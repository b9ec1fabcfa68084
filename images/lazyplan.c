// SPDX-License-Identifier: Apache-2.0
#include "images/lazyplan.h"

#include "images/criu_mm.pb-c.h"
#include "images/criu_pagemap.pb-c.h"
#include "images/pagestore.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define IMAGE_MAX   (1u << 30)
#define HEADER      8u // two magic words
#define SHARED_MAX  (16u << 20)
#define MADV_BIT(m) (1ull << (m))

// CRIU's kinds of mappings that are never on demand: vsyscall, vdso, vvar.
#define STATUS_KERNEL (1u << 2 | 1u << 3 | 1u << 12)

// ---- image files --------------------------------------------------------------------------------

struct image {
	uint8_t *bytes;
	size_t length, at;
};

static void image_free(struct image *i)
{
	free(i->bytes);
}
#define _cleanup_image_ __attribute__((cleanup(image_free)))

static int image_open(int dirfd, const char *name, struct image *i, struct error *err)
{
	struct stat st;
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot read %s", name);
	if (st.st_size < (off_t)HEADER || st.st_size > (off_t)IMAGE_MAX)
		return error_set(err, ERR_IMAGES, "%s is no image", name);
	*i = (struct image){malloc((size_t)st.st_size), (size_t)st.st_size, HEADER};
	if (!i->bytes)
		return error_set(err, ERR_NOMEM, "no memory for %s", name);
	return fdio_pread_all(fd, i->bytes, i->length, 0, err);
}

// The next record; NULL at the end (*length 0) or when it is cut off.
static const uint8_t *image_next(struct image *i, size_t *length)
{
	uint32_t size;
	*length = 0;
	if (i->length - i->at < sizeof(size))
		return NULL;
	memcpy(&size, i->bytes + i->at, sizeof(size));
	size = le32toh(size);
	i->at += sizeof(size);
	if (size > i->length - i->at)
		return NULL;
	const uint8_t *record = i->bytes + i->at;
	i->at += size;
	*length = size;
	return record;
}

// ---- what is on demand --------------------------------------------------------------------------

static int add_run(struct lazyplan_task *t, size_t *room, const Criu__PagemapEntry *e,
		   uint64_t offset, struct error *err)
{
	struct lazymap_run *last = t->count ? &t->runs[t->count - 1] : NULL;
	t->pages += e->nr_pages;
	if (last && last->vaddr + last->pages * LAZYMAP_PAGE == e->vaddr &&
	    last->offset + last->pages * LAZYMAP_PAGE == offset) {
		last->pages += e->nr_pages;
		return 0;
	}
	if (t->count == *room) {
		*room = *room ? *room * 2 : 256;
		struct lazymap_run *bigger = reallocarray(t->runs, *room, sizeof(*bigger));
		if (!bigger)
			return error_set(err, ERR_NOMEM, "no memory for a page map");
		t->runs = bigger;
	}
	t->runs[t->count++] = (struct lazymap_run){e->vaddr, e->nr_pages, offset};
	return 0;
}

static int read_runs(struct image *i, struct lazyplan_task *t, struct error *err)
{
	size_t length, room = 0;
	uint64_t offset = 0;
	const uint8_t *record = image_next(i, &length);
	Criu__PagemapHead *head = record ? criu__pagemap_head__unpack(NULL, length, record) : NULL;
	if (!head)
		return error_set(err, ERR_IMAGES, "a page map without its beginning");
	t->pages_id = head->pages_id;
	criu__pagemap_head__free_unpacked(head, NULL);
	while ((record = image_next(i, &length))) {
		Criu__PagemapEntry *e = criu__pagemap_entry__unpack(NULL, length, record);
		if (!e)
			return error_set(err, ERR_IMAGES, "a damaged page map");
		int failed = e->flags & PAGESTORE_LAZY ? add_run(t, &room, e, offset, err) : 0;
		offset += e->nr_pages * LAZYMAP_PAGE;
		criu__pagemap_entry__free_unpacked(e, NULL);
		if (failed)
			return -1;
	}
	return i->at == i->length ? 0 : error_set(err, ERR_IMAGES, "a page map that is cut off");
}

static int read_task(struct lazyplan *plan, int dirfd, const char *name, uint32_t vpid,
		     struct error *err)
{
	_cleanup_image_ struct image image = {0};
	struct lazyplan_task *bigger = reallocarray(plan->tasks, plan->count + 1, sizeof(*bigger));
	if (!bigger)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	plan->tasks = bigger;
	struct lazyplan_task *t = &plan->tasks[plan->count++];
	*t = (struct lazyplan_task){.vpid = vpid};
	if (image_open(dirfd, name, &image, err) < 0 || read_runs(&image, t, err) < 0)
		return error_wrap(err, "%s", name);
	plan->pages += t->pages;
	return 0;
}

// ---- what tasks may share -----------------------------------------------------------------------

struct range {
	uint64_t start, end;
};

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->start < y->start ? -1 : x->start > y->start;
}

// Pages at addresses that more than one task has. Programs that were started each have addresses
// of their own: who shares them was forked.
static int count_shared(struct lazyplan *plan, struct error *err)
{
	size_t count = 0, n = 0;
	for (size_t i = 0; i < plan->count; i++)
		count += plan->tasks[i].count;
	_cleanup_free_ struct range *all = malloc(count * sizeof(*all) + 1);
	if (!all)
		return error_set(err, ERR_NOMEM, "no memory for page maps");
	for (size_t i = 0; i < plan->count; i++)
		for (size_t j = 0; j < plan->tasks[i].count; j++) {
			const struct lazymap_run *r = &plan->tasks[i].runs[j];
			all[n++] = (struct range){r->vaddr, r->vaddr + r->pages * LAZYMAP_PAGE};
		}
	qsort(all, n, sizeof(*all), by_start);
	uint64_t end = 0, bytes = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t known = all[i].end < end ? all[i].end : end;
		if (known > all[i].start)
			bytes += known - all[i].start;
		end = all[i].end > end ? all[i].end : end;
	}
	plan->shared = bytes / LAZYMAP_PAGE;
	return 0;
}

int lazyplan_read(int dirfd, struct lazyplan *plan, struct error *err)
{
	*plan = (struct lazyplan){0};
	_cleanup_closedir_ DIR *dir = fdio_opendir(dirfd, err);
	struct dirent *entry;
	if (!dir)
		return -1;
	while ((entry = fdio_readdir(dir))) {
		uint32_t vpid;
		char rest[8] = "";
		if (sscanf(entry->d_name, "pagemap-%" SCNu32 ".%7s", &vpid, rest) == 2 &&
		    isdigit((unsigned char)entry->d_name[8]) && !strcmp(rest, "img") &&
		    read_task(plan, dirfd, entry->d_name, vpid, err) < 0)
			return -1;
	}
	return count_shared(plan, err);
}

void lazyplan_free(struct lazyplan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		free(plan->tasks[i].runs);
	free(plan->tasks);
	*plan = (struct lazyplan){0};
}

// ---- whether CRIU thinks so, too ----------------------------------------------------------------

static bool on_demand(const Criu__MmMapping *m)
{
	const uint32_t must = MAP_PRIVATE | MAP_ANONYMOUS;
	return (m->flags & must) == must && !(m->flags & (MAP_LOCKED | MAP_HUGETLB)) &&
	       !(m->status & STATUS_KERNEL);
}

// Forks do not inherit what is in these: their server must not give it to them.
static bool wiped_on_fork(const Criu__MmMapping *m)
{
	return m->has_madv && m->madv & MADV_BIT(MADV_WIPEONFORK);
}

// Every run is within mappings (which are sorted) that CRIU restores on demand.
static bool covered(const struct lazyplan_task *t, const Criu__MmMappings *mm)
{
	size_t m = 0;
	for (size_t i = 0; i < t->count; i++) {
		uint64_t at = t->runs[i].vaddr, end = at + t->runs[i].pages * LAZYMAP_PAGE;
		while (at < end) {
			while (m < mm->n_mappings && mm->mappings[m]->end <= at)
				m++;
			if (m == mm->n_mappings || mm->mappings[m]->start > at ||
			    !on_demand(mm->mappings[m]) || wiped_on_fork(mm->mappings[m]))
				return false;
			at = mm->mappings[m]->end;
		}
	}
	return true;
}

static bool task_fits(const struct lazyplan_task *t, int dirfd)
{
	_cleanup_image_ struct image image = {0};
	char name[32];
	size_t length;
	snprintf(name, sizeof(name), "mm-%" PRIu32 ".img", t->vpid);
	const uint8_t *record =
		image_open(dirfd, name, &image, NULL) < 0 ? NULL : image_next(&image, &length);
	Criu__MmMappings *mm = record ? criu__mm_mappings__unpack(NULL, length, record) : NULL;
	bool fits = mm && covered(t, mm);
	if (mm)
		criu__mm_mappings__free_unpacked(mm, NULL);
	return fits;
}

bool lazyplan_fits(const struct lazyplan *plan, int dirfd, uint64_t limit, char *why, size_t size)
{
	if (plan->shared * LAZYMAP_PAGE > SHARED_MAX) {
		snprintf(why, size, "its tasks may share %" PRIu64 " MiB of memory",
			 plan->shared * LAZYMAP_PAGE >> 20);
		return false;
	}
	if (limit && plan->shared && plan->pages * LAZYMAP_PAGE > limit) {
		snprintf(why, size, "without sharing, its memory does not fit into its limit");
		return false;
	}
	for (size_t i = 0; i < plan->count; i++)
		if (!task_fits(&plan->tasks[i], dirfd)) {
			snprintf(why, size,
				 "task %" PRIu32 " has memory that cannot come on demand",
				 plan->tasks[i].vpid);
			return false;
		}
	return true;
}

int lazyplan_write(const struct lazyplan *plan, int dirfd, struct error *err)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct lazyplan_task *t = &plan->tasks[i];
		char from[32], map[LAZYMAP_NAME_MAX], pages[LAZYMAP_NAME_MAX];
		lazymap_names(t->vpid, map, pages);
		snprintf(from, sizeof(from), "pages-%" PRIu32 ".img", t->pages_id);
		if (lazymap_write(dirfd, t->vpid, t->runs, t->count, err) < 0)
			return -1;
		if (t->count && linkat(dirfd, from, dirfd, pages, 0) < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot link %s", pages);
	}
	return 0;
}
