// SPDX-License-Identifier: Apache-2.0
#include "images/lazymap.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void lazymap_names(uint32_t vpid, char map[LAZYMAP_NAME_MAX], char pages[LAZYMAP_NAME_MAX])
{
	snprintf(map, LAZYMAP_NAME_MAX, "lazy-%" PRIu32 ".map", vpid);
	snprintf(pages, LAZYMAP_NAME_MAX, "lazy-%" PRIu32 ".pages", vpid);
}

int lazymap_write(int dirfd, uint32_t vpid, const struct lazymap_run *runs, size_t count,
		  struct error *err)
{
	char name[LAZYMAP_NAME_MAX], unused[LAZYMAP_NAME_MAX];
	lazymap_names(vpid, name, unused);
	_cleanup_free_ uint64_t *words = malloc(count * LAZYMAP_RECORD + 1);
	if (!words)
		return error_set(err, ERR_NOMEM, "no memory for %s", name);
	for (size_t i = 0; i < count; i++) {
		words[3 * i] = htole64(runs[i].vaddr);
		words[3 * i + 1] = htole64(runs[i].pages);
		words[3 * i + 2] = htole64(runs[i].offset);
	}
	_cleanup_close_ int fd =
		openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot create %s", name);
	return fdio_write_all(fd, words, count * LAZYMAP_RECORD, err);
}

static int check_run(const struct lazymap_run *run, uint64_t end, uint64_t store, struct error *err)
{
	uint64_t size, last, behind;
	if (run->pages == 0 || run->vaddr % LAZYMAP_PAGE || run->offset % LAZYMAP_PAGE ||
	    __builtin_mul_overflow(run->pages, (uint64_t)LAZYMAP_PAGE, &size) ||
	    __builtin_add_overflow(run->vaddr, size, &last) ||
	    __builtin_add_overflow(run->offset, size, &behind))
		return error_set(err, ERR_PROTOCOL,
				 "bad run of a page map: %" PRIu64 " pages at %#" PRIx64,
				 run->pages, run->vaddr);
	if (run->vaddr < end)
		return error_set(err, ERR_PROTOCOL, "page map out of order: %#" PRIx64, run->vaddr);
	if (behind > store)
		return error_set(err, ERR_PROTOCOL,
				 "page map: %#" PRIx64 " lies behind the end of the store",
				 run->vaddr);
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct lazymap_run *x = a, *y = b;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

// A page of the store belongs to one address only: it is given back once that is filled.
static int check_offsets(const struct lazymap_run *runs, size_t count, struct error *err)
{
	_cleanup_free_ struct lazymap_run *sorted = malloc(count * sizeof(*sorted) + 1);
	if (!sorted)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	if (count)
		memcpy(sorted, runs, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_offset);
	for (size_t i = 1; i < count; i++)
		if (sorted[i].offset < sorted[i - 1].offset + sorted[i - 1].pages * LAZYMAP_PAGE)
			return error_set(err, ERR_PROTOCOL,
					 "page map: a page of the store is at two addresses");
	return 0;
}

int lazymap_parse(const void *bytes, size_t length, uint64_t store, struct lazymap_run **runs,
		  size_t *count, struct error *err)
{
	size_t n = length / LAZYMAP_RECORD;
	uint64_t end = 0;
	if (length % LAZYMAP_RECORD || n > LAZYMAP_RUNS_MAX)
		return error_set(err, ERR_PROTOCOL, "a page map of %zu bytes", length);
	_cleanup_free_ struct lazymap_run *list = malloc(n * sizeof(*list) + 1);
	if (!list)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	for (size_t i = 0; i < n; i++) {
		uint64_t words[3];
		memcpy(words, (const uint8_t *)bytes + i * LAZYMAP_RECORD, sizeof(words));
		list[i] = (struct lazymap_run){le64toh(words[0]), le64toh(words[1]),
					       le64toh(words[2])};
		if (check_run(&list[i], end, store, err) < 0)
			return -1;
		end = list[i].vaddr + list[i].pages * LAZYMAP_PAGE;
	}
	if (check_offsets(list, n, err) < 0)
		return -1;
	*runs = take_ptr(list);
	*count = n;
	return 0;
}

int lazymap_read(int fd, uint64_t store, struct lazymap_run **runs, size_t *count,
		 struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot read a page map");
	if (st.st_size > (off_t)LAZYMAP_RUNS_MAX * LAZYMAP_RECORD)
		return error_set(err, ERR_PROTOCOL, "a page map of %lld bytes",
				 (long long)st.st_size);
	size_t length = (size_t)st.st_size;
	_cleanup_free_ uint8_t *bytes = malloc(length + 1);
	if (!bytes)
		return error_set(err, ERR_NOMEM, "no memory for a page map");
	if (fdio_pread_all(fd, bytes, length, 0, err) < 0)
		return -1;
	return lazymap_parse(bytes, length, store, runs, count, err);
}
