// SPDX-License-Identifier: Apache-2.0
#include "images/lazyplan.h"

#include "images/criu_mm.pb-c.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

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

static int read_task(struct lazyplan *plan, const struct pagestore *store, size_t index,
		     struct error *err)
{
	uint64_t destination = pagestore_destination(store, index);
	if ((destination & 0xff) != PAGESTORE_TASK)
		return 0;
	struct lazyplan_task *t = &plan->tasks[plan->count++];
	t->vpid = (uint32_t)(destination >> 8);
	if (pagestore_lazy_runs(store, index, &t->runs, &t->count, err) < 0)
		return -1;
	for (size_t i = 0; i < t->count; i++)
		t->pages += t->runs[i].pages;
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

int lazyplan_read(const struct pagestore *store, struct lazyplan *plan, struct error *err)
{
	size_t count = pagestore_count(store);
	*plan = (struct lazyplan){.tasks = calloc(count + 1, sizeof(*plan->tasks))};
	if (!plan->tasks)
		return error_set(err, ERR_NOMEM, "no memory for page maps");
	for (size_t i = 0; i < count; i++)
		if (read_task(plan, store, i, err) < 0)
			return -1;
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
