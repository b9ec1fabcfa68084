// SPDX-License-Identifier: Apache-2.0
// CRIU's image of a task's mappings beside a page map of ours: the first byte says how many records
// the map has. Pages that are said to fit are all in mappings that CRIU restores on demand.
#include "images/criu_mm.pb-c.h"
#include "images/lazymap.h"
#include "images/lazyplan.h"
#include "lib/base/cleanup.h"
#include "tests/fuzz/scratch.h"

#include <string.h>
#include <sys/mman.h>

#define STORE (1ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_image(int dirfd, const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd =
		openat(dirfd, "mm-7.img", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
}

static bool holds(const Criu__MmMappings *mm, uint64_t page)
{
	for (size_t i = 0; i < mm->n_mappings; i++)
		if (mm->mappings[i]->start <= page && page < mm->mappings[i]->end &&
		    mm->mappings[i]->flags & MAP_PRIVATE && mm->mappings[i]->flags & MAP_ANONYMOUS)
			return true;
	return false;
}

// The same, seen from each end of each run.
static void check(const struct lazyplan_task *t, const uint8_t *data, size_t size)
{
	uint32_t length;
	if (size < 12)
		abort();
	memcpy(&length, data + 8, sizeof(length));
	Criu__MmMappings *mm = criu__mm_mappings__unpack(NULL, length, data + 12);
	for (size_t i = 0; i < t->count; i++) {
		const struct lazymap_run *r = &t->runs[i];
		if (r->pages &&
		    (!holds(mm, r->vaddr) || !holds(mm, r->vaddr + (r->pages - 1) * LAZYMAP_PAGE)))
			abort();
	}
	criu__mm_mappings__free_unpacked(mm, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lazyplan_task task = {.vpid = 7};
	struct lazyplan plan = {.tasks = &task, .count = 1};
	size_t map = size ? data[0] % 8 * LAZYMAP_RECORD : 0;
	char why[128];
	if (size < 1 + map ||
	    lazymap_parse(data + 1, map, STORE, &task.runs, &task.count, NULL) < 0)
		return 0;
	int dirfd = scratch_folder();
	data += 1 + map;
	size -= 1 + map;
	write_image(dirfd, data, size);
	if (lazyplan_fits(&plan, dirfd, 0, why, sizeof(why)))
		check(&task, data, size);
	free(task.runs);
	return 0;
}
