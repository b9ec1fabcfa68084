// SPDX-License-Identifier: Apache-2.0
// Memory that arrives in rounds: messages go in, and what CRIU would read comes out.
#include "images/criu_pagemap.pb-c.h"
#include "images/pageintake.h"
#include "images/pageplace.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <lz4.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include <cmocka.h>

#include "tests/unit/image_file.h"

#define TASK(pid)   ((uint64_t)(pid) << 8 | PAGESTORE_TASK)
#define SHMEM(id)   ((uint64_t)(id) << 8 | PAGESTORE_SHMEM)
#define MESSAGE_MAX (256 * 1024)
#define PAGES_LIMIT 4096
#define MAP         (PAGEFRAME_MAP | PAGEFRAME_PRESENT)

struct fixture {
	char path[64];
	int dirfd;
	struct pagestore *store;
	struct pageintake *intake;
	struct error err;
	uint8_t message[MESSAGE_MAX + 1];
};

static int setup(void **state)
{
	const struct pagestore_limits limits = {.bytes = PAGES_LIMIT * PAGESTORE_PAGE,
						.entries = 100,
						.destinations = 8,
						.entry_pages = 1024};
	struct fixture *f = calloc(1, sizeof(*f));
	strcpy(f->path, "/tmp/test_pagerounds.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dirfd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dirfd >= 0);
	f->store = pagestore_open(f->dirfd, &limits, &f->err);
	f->intake = pageintake_new(MESSAGE_MAX, &f->err);
	assert_non_null(f->store);
	assert_non_null(f->intake);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	pageintake_free(f->intake);
	pagestore_free(f->store);
	close(f->dirfd);
	assert_int_equal(fdio_remove_tree(AT_FDCWD, f->path, NULL), 0);
	free(f);
	return 0;
}

static struct pageframe frame_of(uint64_t dst, uint64_t page, uint64_t pages, uint64_t flags)
{
	return (struct pageframe){dst, page * PAGESTORE_PAGE, pages, flags};
}

static int64_t take(struct fixture *f, size_t length)
{
	error_clear(&f->err);
	return pageintake_take(f->intake, f->store, false, f->message, length, &f->err);
}

static int64_t take_head(struct fixture *f, uint64_t dst, uint64_t page, uint64_t pages,
			 uint64_t flags)
{
	struct pageframe frame = frame_of(dst, page, pages, flags);
	pageframe_put(f->message, &frame);
	return take(f, PAGEFRAME_HEADER);
}

// Pages that begin with their number and are full of `value`.
static size_t fill(uint8_t *to, uint64_t page, uint64_t pages, uint8_t value)
{
	memset(to, value, pages * PAGESTORE_PAGE);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t number = page + i;
		memcpy(to + i * PAGESTORE_PAGE, &number, sizeof(number));
	}
	return pages * PAGESTORE_PAGE;
}

static int64_t take_pages(struct fixture *f, uint64_t dst, uint64_t page, uint64_t pages,
			  uint64_t flags, uint8_t value)
{
	struct pageframe frame = frame_of(dst, page, pages, flags);
	pageframe_put(f->message, &frame);
	size_t length = fill(f->message + PAGEFRAME_HEADER, page, pages, value);
	return take(f, PAGEFRAME_HEADER + length);
}

static void round_brings(struct fixture *f, uint64_t dst, uint64_t page, uint64_t pages,
			 uint8_t value)
{
	assert_int_equal(take_pages(f, dst, page, pages, PAGEFRAME_ROUND, value),
			 pages * PAGESTORE_PAGE);
}

static void zero(struct fixture *f, uint64_t dst, uint64_t page, uint64_t pages)
{
	assert_int_equal(take_head(f, dst, page, pages, PAGEFRAME_ROUND | PAGEFRAME_ZERO), 0);
}

static void map(struct fixture *f, uint64_t dst, uint64_t page, uint64_t pages)
{
	assert_int_equal(take_head(f, dst, page, pages, MAP), 0);
}

static void refused(struct fixture *f, int64_t done)
{
	assert_int_equal(done, -1);
	assert_int_equal(f->err.id, ERR_PROTOCOL);
}

// ---- what CRIU would read: it goes through the pages file as the map says
struct reader {
	struct image map, pages;
	size_t map_at, pages_at;
	Criu__PagemapEntry *entry;
	uint64_t page; // of it, next to be read
};

static const uint8_t *next_message(struct reader *r, uint32_t *length)
{
	assert_true(r->map.length - r->map_at >= 4);
	memcpy(length, r->map.bytes + r->map_at, 4);
	r->map_at += 4 + *length;
	assert_true(r->map_at <= r->map.length);
	return r->map.bytes + r->map_at - *length;
}

static void reader_open(struct reader *r, const struct fixture *f, const char *pagemap)
{
	char name[32];
	uint32_t length;
	*r = (struct reader){.map = image_load(f->dirfd, pagemap), .map_at = 8};
	const uint8_t *bytes = next_message(r, &length);
	Criu__PagemapHead *head = criu__pagemap_head__unpack(NULL, length, bytes);
	assert_non_null(head);
	snprintf(name, sizeof(name), "pages-%u.img", head->pages_id);
	criu__pagemap_head__free_unpacked(head, NULL);
	r->pages = image_load(f->dirfd, name);
}

// The next page of it all has this number and this value; `value` 0 and no number: zeroes.
static void reader_wants(struct reader *r, uint64_t page, uint64_t pages, uint8_t value)
{
	static uint8_t wanted[PAGESTORE_PAGE];
	for (uint64_t i = 0; i < pages; i++, page++) {
		uint32_t length;
		if (!r->entry) {
			const uint8_t *bytes = next_message(r, &length);
			r->entry = criu__pagemap_entry__unpack(NULL, length, bytes);
			assert_non_null(r->entry);
			assert_int_equal(r->entry->compat_nr_pages, r->entry->nr_pages);
			r->page = 0;
		}
		assert_int_equal(r->entry->vaddr / PAGESTORE_PAGE + r->page, page);
		memset(wanted, 0, sizeof(wanted));
		if (value)
			fill(wanted, page, 1, value);
		assert_true(r->pages.length - r->pages_at >= PAGESTORE_PAGE);
		assert_memory_equal(r->pages.bytes + r->pages_at, wanted, PAGESTORE_PAGE);
		r->pages_at += PAGESTORE_PAGE;
		if (++r->page == r->entry->nr_pages) {
			criu__pagemap_entry__free_unpacked(r->entry, NULL);
			r->entry = NULL;
		}
	}
}

static void reader_close(struct reader *r)
{
	assert_null(r->entry);
	assert_int_equal(r->map_at, r->map.length);
	assert_int_equal(r->pages_at, r->pages.length);
	free(r->map.bytes);
	free(r->pages.bytes);
}

static void finish(struct fixture *f)
{
	if (pagestore_finish(f->store, PAGESTORE_EAGER, &f->err) < 0)
		fail_msg("%s", f->err.message);
}

static void later_rounds_overwrite(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	round_brings(f, TASK(5), 100, 40, 1);
	round_brings(f, TASK(5), 200, 10, 1);
	round_brings(f, TASK(5), 110, 5, 2);
	round_brings(f, TASK(5), 130, 20, 3); // half of it is new
	round_brings(f, TASK(5), 112, 1, 4);
	assert_int_equal(pagestore_bytes(f->store), 60 * PAGESTORE_PAGE);
	map(f, TASK(5), 100, 50);
	map(f, TASK(5), 200, 10);
	finish(f);
	reader_open(&r, f, "pagemap-5.img");
	reader_wants(&r, 100, 10, 1);
	reader_wants(&r, 110, 2, 2);
	reader_wants(&r, 112, 1, 4);
	reader_wants(&r, 113, 2, 2);
	reader_wants(&r, 115, 15, 1);
	reader_wants(&r, 130, 20, 3);
	reader_wants(&r, 200, 10, 1);
	reader_close(&r);
}

static void the_map_alone_says_what_there_is(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	round_brings(f, SHMEM(0), 50, 10, 7); // comes first, lies behind
	round_brings(f, SHMEM(0), 0, 10, 7);
	round_brings(f, SHMEM(0), 20, 10, 7);
	map(f, SHMEM(0), 2, 3); // the rest was unmapped meanwhile
	map(f, SHMEM(0), 52, 8);
	finish(f);
	reader_open(&r, f, "pagemap-shmem-0.img");
	reader_wants(&r, 2, 3, 7);
	reader_wants(&r, 52, 8, 7);
	reader_close(&r);
}

static void without_a_map_there_is_nothing(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	round_brings(f, TASK(1), 50, 10, 7);
	assert_int_equal(take_head(f, TASK(2), 0, 0, PAGEFRAME_MAP), 0);
	finish(f);
	reader_open(&r, f, "pagemap-1.img");
	reader_close(&r);
	reader_open(&r, f, "pagemap-2.img");
	reader_close(&r);
}

static void a_store_in_order_is_not_copied(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	round_brings(f, TASK(1), 50, 10, 7);
	round_brings(f, TASK(1), 70, 10, 7);
	map(f, TASK(1), 50, 10);
	map(f, TASK(1), 70, 5);
	assert_int_equal(fstatat(f->dirfd, "pages-1.img", &before, 0), 0);
	finish(f);
	assert_int_equal(fstatat(f->dirfd, "pages-1.img", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(after.st_size, 15 * PAGESTORE_PAGE);
}

static void zeroes_replace_contents(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	for (uint64_t page = 1000; page < 1000 + 1024; page += 32)
		round_brings(f, TASK(1), page, 32, 9);
	zero(f, TASK(1), 1003, 2);   // few
	zero(f, TASK(1), 1024, 600); // so many that the memory is given back
	round_brings(f, TASK(1), 1030, 1, 8);
	zero(f, TASK(1), 5000, 700); // never had anything else
	zero(f, TASK(1), 5100, 1);
	round_brings(f, TASK(1), 5200, 2, 6);
	map(f, TASK(1), 1000, 1024);
	map(f, TASK(1), 5000, 700);
	finish(f);
	reader_open(&r, f, "pagemap-1.img");
	reader_wants(&r, 1000, 3, 9);
	reader_wants(&r, 1003, 2, 0);
	reader_wants(&r, 1005, 19, 9);
	reader_wants(&r, 1024, 6, 0);
	reader_wants(&r, 1030, 1, 8);
	reader_wants(&r, 1031, 593, 0);
	reader_wants(&r, 1624, 400, 9);
	reader_wants(&r, 5000, 200, 0);
	reader_wants(&r, 5200, 2, 6);
	reader_wants(&r, 5202, 498, 0);
	reader_close(&r);
}

// They are no memory, neither for the limit nor on the file system.
static void zeroes_take_no_room(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	zero(f, TASK(1), 0x10, 1ull << 40);
	assert_int_equal(pagestore_bytes(f->store), 0);
	map(f, TASK(1), 0x1000000, PAGES_LIMIT);
	finish(f);
	assert_int_equal(fstatat(f->dirfd, "pages-1.img", &st, 0), 0);
	assert_int_equal(st.st_size, PAGES_LIMIT * PAGESTORE_PAGE);
	assert_int_equal(st.st_blocks, 0);
}

static void map_lazy(struct fixture *f, uint64_t dst, uint64_t page, uint64_t pages)
{
	assert_int_equal(take_head(f, dst, page, pages, MAP | PAGEFRAME_LAZY), 0);
}

static void check_kept(const struct image *kept, const struct lazymap_run *run, uint64_t page,
		       uint64_t pages, uint8_t value)
{
	uint8_t *wanted = calloc(pages, PAGESTORE_PAGE);
	assert_int_equal(run->vaddr, page * PAGESTORE_PAGE);
	assert_int_equal(run->pages, pages);
	assert_true(run->offset + pages * PAGESTORE_PAGE <= kept->length);
	if (value)
		fill(wanted, page, pages, value);
	assert_memory_equal(kept->bytes + run->offset, wanted, pages * PAGESTORE_PAGE);
	free(wanted);
}

// The store file as it is serves faults; only the others are in CRIU's pages image.
static void lazy_pages_stay_where_they_are(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	struct lazymap_run *runs;
	struct reader r;
	size_t count;
	round_brings(f, TASK(1), 50, 10, 1);
	round_brings(f, TASK(1), 10, 10, 2);
	round_brings(f, TASK(1), 70, 10, 3);
	zero(f, TASK(1), 100, 20);
	round_brings(f, TASK(2), 5, 1, 4);
	round_brings(f, SHMEM(9), 0, 1, 5);
	assert_int_equal(fstatat(f->dirfd, "pages-1.img", &before, 0), 0);
	map_lazy(f, TASK(1), 12, 5);
	map(f, TASK(1), 50, 2); // the vdso, say
	map_lazy(f, TASK(1), 52, 5);
	map(f, TASK(1), 70, 1);
	map_lazy(f, TASK(1), 110, 4);
	map(f, TASK(2), 5, 1);
	map(f, SHMEM(9), 0, 1);
	assert_int_equal(pagestore_finish(f->store, PAGESTORE_LAZY_KEPT, &f->err), 0);

	assert_int_equal(fstatat(f->dirfd, "lazy-1.pages", &after, 0), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	int fd = openat(f->dirfd, "lazy-1.map", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lazymap_read(fd, (uint64_t)after.st_size, &runs, &count, &f->err), 0);
	close(fd);
	assert_int_equal(count, 3);
	struct image kept = image_load(f->dirfd, "lazy-1.pages");
	check_kept(&kept, &runs[0], 12, 5, 2);
	check_kept(&kept, &runs[1], 52, 5, 1);
	check_kept(&kept, &runs[2], 110, 4, 0);
	free(kept.bytes);
	free(runs);

	// CRIU's reader moves on in the pages image by the entries that are PRESENT.
	reader_open(&r, f, "pagemap-1.img");
	const uint32_t flags[] = {2, 4, 2, 4, 2}, pages[] = {5, 2, 5, 1, 4};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		uint32_t length;
		const uint8_t *bytes = next_message(&r, &length);
		Criu__PagemapEntry *e = criu__pagemap_entry__unpack(NULL, length, bytes);
		assert_int_equal(e->flags, flags[i]);
		assert_int_equal(e->nr_pages, pages[i]);
		criu__pagemap_entry__free_unpacked(e, NULL);
	}
	assert_int_equal(r.pages.length, 3 * PAGESTORE_PAGE);
	assert_int_equal(r.pages.bytes[0], 50);
	assert_int_equal(r.pages.bytes[2 * PAGESTORE_PAGE], 70);
	r.pages_at = r.pages.length;
	reader_close(&r);

	// A task without any, and a segment: as ever. The task has an empty map.
	assert_int_equal(fstatat(f->dirfd, "lazy-2.map", &after, 0), 0);
	assert_int_equal(after.st_size, 0);
	assert_int_equal(fstatat(f->dirfd, "lazy-2.pages", &after, 0), -1);
	assert_int_equal(fstatat(f->dirfd, "lazy-9.map", &after, 0), -1);
	reader_open(&r, f, "pagemap-2.img");
	reader_wants(&r, 5, 1, 4);
	reader_close(&r);
	reader_open(&r, f, "pagemap-shmem-9.img");
	reader_wants(&r, 0, 1, 5);
	reader_close(&r);
}

static void a_page_that_never_came(void **state)
{
	struct fixture *f = *state;
	round_brings(f, TASK(1), 50, 10, 7);
	map(f, TASK(1), 50, 11);
	assert_int_equal(pagestore_finish(f->store, PAGESTORE_EAGER, &f->err), -1);
	assert_int_equal(f->err.id, ERR_PROTOCOL);
	assert_non_null(strstr(f->err.message, "0x3c000 never came"));
}

static void a_map_of_another_destination(void **state)
{
	struct fixture *f = *state;
	round_brings(f, TASK(1), 50, 10, 7);
	map(f, TASK(2), 50, 10);
	assert_int_equal(pagestore_finish(f->store, PAGESTORE_EAGER, &f->err), -1);
	assert_int_equal(f->err.id, ERR_PROTOCOL);
}

static void plain_pages_beside_rounds(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	round_brings(f, TASK(1), 10, 10, 1);
	assert_int_equal(take_pages(f, TASK(1), 30, 2, PAGEFRAME_PRESENT, 2), 8192);
	round_brings(f, TASK(1), 40, 10, 3);
	assert_int_equal(take_pages(f, TASK(1), 60, 1, PAGEFRAME_PRESENT, 4), 4096);
	map(f, TASK(1), 10, 10);
	map(f, TASK(1), 40, 10);
	finish(f);
	reader_open(&r, f, "pagemap-1.img");
	reader_wants(&r, 10, 10, 1);
	reader_wants(&r, 30, 2, 2);
	reader_wants(&r, 40, 10, 3);
	reader_wants(&r, 60, 1, 4);
	reader_close(&r);
}

static void a_page_in_two_maps(void **state)
{
	struct fixture *f = *state;
	round_brings(f, TASK(1), 10, 10, 1);
	assert_int_equal(take_pages(f, TASK(1), 15, 2, PAGEFRAME_PRESENT, 2), 8192);
	map(f, TASK(1), 10, 10);
	assert_int_equal(pagestore_finish(f->store, PAGESTORE_EAGER, &f->err), -1);
	assert_int_equal(f->err.id, ERR_PROTOCOL);
}

static void maps_are_sorted_and_last(void **state)
{
	struct fixture *f = *state;
	round_brings(f, TASK(1), 10, 50, 1);
	map(f, TASK(1), 20, 10);
	refused(f, take_head(f, TASK(1), 29, 1, MAP));
	refused(f, take_head(f, TASK(1), 10, 1, MAP));
	refused(f, take_pages(f, TASK(1), 10, 1, PAGEFRAME_ROUND, 2));
	refused(f, take_head(f, TASK(1), 10, 1, PAGEFRAME_ROUND | PAGEFRAME_ZERO));
	round_brings(f, TASK(2), 10, 1, 1); // another one's is not over
}

static void many_entries_in_a_message(void **state)
{
	struct fixture *f = *state;
	struct reader r;
	round_brings(f, TASK(1), 0, 60, 1);
	round_brings(f, TASK(2), 0, 60, 2);
	for (uint64_t i = 0; i < 20; i++) {
		struct pageframe frame = frame_of(TASK(1 + i / 10), 3 * i % 30, 1, MAP);
		pageframe_put(f->message + i * PAGEFRAME_HEADER, &frame);
	}
	assert_int_equal(take(f, 20 * PAGEFRAME_HEADER), 0);
	finish(f);
	for (uint8_t task = 1; task <= 2; task++) {
		reader_open(&r, f, task == 1 ? "pagemap-1.img" : "pagemap-2.img");
		for (uint64_t i = 0; i < 10; i++)
			reader_wants(&r, 3 * i, 1, task);
		reader_close(&r);
	}
}

static size_t append(struct fixture *f, size_t at, struct pageframe frame, uint8_t value)
{
	pageframe_put(f->message + at, &frame);
	at += PAGEFRAME_HEADER;
	if (pageframe_has_data(&frame))
		at += fill(f->message + at, frame.vaddr / PAGESTORE_PAGE, frame.pages, value);
	return at;
}

// As a round sends pages that lie scattered.
static size_t mixed_message(struct fixture *f)
{
	size_t at = append(f, 0, frame_of(TASK(1), 7, 1, PAGEFRAME_ROUND), 1);
	at = append(f, at, frame_of(TASK(1), 9, 30, PAGEFRAME_ROUND | PAGEFRAME_ZERO), 0);
	at = append(f, at, frame_of(TASK(2), 3, 2, PAGEFRAME_ROUND), 2);
	return append(f, at, frame_of(TASK(1), 10, 2, PAGEFRAME_ROUND), 3);
}

static void check_mixed(struct fixture *f)
{
	struct reader r;
	map(f, TASK(1), 7, 1);
	map(f, TASK(1), 9, 4);
	map(f, TASK(2), 3, 2);
	finish(f);
	reader_open(&r, f, "pagemap-1.img");
	reader_wants(&r, 7, 1, 1);
	reader_wants(&r, 9, 1, 0);
	reader_wants(&r, 10, 2, 3);
	reader_wants(&r, 12, 1, 0);
	reader_close(&r);
	reader_open(&r, f, "pagemap-2.img");
	reader_wants(&r, 3, 2, 2);
	reader_close(&r);
}

static void many_frames_in_a_message(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(take(f, mixed_message(f)), 5 * PAGESTORE_PAGE);
	check_mixed(f);
}

static void messages_that_are_cut_off(void **state)
{
	struct fixture *f = *state;
	refused(f, take(f, mixed_message(f) - 1));
	refused(f, take(f, mixed_message(f) + 1));
	refused(f, take(f, PAGEFRAME_HEADER - 1));
	refused(f, take(f, PAGEFRAME_HEADER + PAGESTORE_PAGE - 1));
	refused(f, take(f, MESSAGE_MAX + 1));
	refused(f, take(f, 0));
	// More pages than a number can tell.
	refused(f, take_head(f, TASK(1), 0, UINT64_MAX / PAGESTORE_PAGE + 2, PAGEFRAME_ROUND));
}

static void while_it_runs_rounds_only(void **state)
{
	struct fixture *f = *state;
	const uint64_t others[] = {MAP, PAGEFRAME_PRESENT, PAGEFRAME_MAP, 0};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		bool data = others[i] == PAGEFRAME_PRESENT;
		struct pageframe frame = frame_of(TASK(1), 5, i < 2, others[i]);
		pageframe_put(f->message, &frame);
		refused(f, pageintake_take(f->intake, f->store, true, f->message,
					   PAGEFRAME_HEADER + (data ? 4096 : 0), &f->err));
	}
	struct pageframe frame = frame_of(TASK(1), 5, 1, PAGEFRAME_ROUND);
	pageframe_put(f->message, &frame);
	assert_int_equal(pageintake_take(f->intake, f->store, true, f->message,
					 PAGEFRAME_HEADER + 4096, &f->err),
			 4096);
}

static void keeps_to_its_limits(void **state)
{
	struct fixture *f = *state;
	for (uint64_t page = 0; page < PAGES_LIMIT; page += 32)
		round_brings(f, TASK(1), page, 32, 1);
	round_brings(f, TASK(1), 5, 1, 2); // no more memory than before
	assert_int_equal(take_pages(f, TASK(1), PAGES_LIMIT, 1, PAGEFRAME_ROUND, 1), -1);
	assert_int_equal(f->err.id, ERR_MEMORY);
	zero(f, TASK(2), 0, PAGES_LIMIT);
	map(f, TASK(1), 0, PAGES_LIMIT - 1);
	assert_int_equal(take_head(f, TASK(2), 0, 2, MAP), -1);
	assert_int_equal(f->err.id, ERR_MEMORY);
}

static void scattered_pages_are_bounded(void **state)
{
	struct fixture *f = *state;
	uint64_t page = 0;
	// Each takes tables of its own and no memory of the store.
	while (take_head(f, TASK(1), page, 1, PAGEFRAME_ROUND | PAGEFRAME_ZERO) == 0) {
		page += 1 << 18;
		assert_true(page < (uint64_t)PAGES_LIMIT << 18);
	}
	assert_int_equal(f->err.id, ERR_PROTOCOL);
}

static void too_many_entries(void **state)
{
	struct fixture *f = *state;
	zero(f, TASK(1), 0, 1000);
	for (uint64_t i = 0; i < 100; i++)
		map(f, TASK(1), 2 * i, 1);
	refused(f, take_head(f, TASK(1), 500, 1, MAP));
}

// One entry may lie in any number of pieces, but not in more than there may be entries.
static void too_many_pieces(void **state)
{
	struct fixture *f = *state;
	for (uint64_t i = 0; i < 202; i += 2)
		round_brings(f, TASK(1), i, 1, 1);
	for (uint64_t i = 1; i < 203; i += 2)
		round_brings(f, TASK(1), i, 1, 1);
	map(f, TASK(1), 0, 202);
	assert_int_equal(pagestore_finish(f->store, PAGESTORE_EAGER, &f->err), -1);
	assert_int_equal(f->err.id, ERR_PROTOCOL);
}

// Packs the message; returns its new length.
static size_t pack(struct fixture *f, size_t length, uint64_t how)
{
	static uint8_t plain[MESSAGE_MAX];
	const struct pageframe header = {.vaddr = length, .flags = how};
	uint8_t *to = f->message + PAGEFRAME_HEADER;
	size_t room = MESSAGE_MAX - PAGEFRAME_HEADER;
	memcpy(plain, f->message, length);
	size_t packed = how == PAGEFRAME_ZSTD
				? ZSTD_compress(to, room, plain, length, 1)
				: (size_t)LZ4_compress_default((const char *)plain, (char *)to,
							       (int)length, (int)room);
	assert_true(packed > 0 && packed < length);
	pageframe_put(f->message, &header);
	return PAGEFRAME_HEADER + packed;
}

static void takes_packed_messages(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(take(f, pack(f, mixed_message(f), PAGEFRAME_LZ4)), 5 * PAGESTORE_PAGE);
	assert_int_equal(take(f, pack(f, mixed_message(f), PAGEFRAME_ZSTD)), 5 * PAGESTORE_PAGE);
	assert_int_equal(pagestore_bytes(f->store), 5 * PAGESTORE_PAGE);
	check_mixed(f);
}

static void unpack_as(struct fixture *f, size_t length, uint64_t inside, uint64_t how)
{
	const struct pageframe header = {.vaddr = inside, .flags = how};
	pageframe_put(f->message, &header);
	refused(f, take(f, length));
}

static void refuses_what_does_not_unpack(void **state)
{
	struct fixture *f = *state;
	const uint64_t how[] = {PAGEFRAME_LZ4, PAGEFRAME_ZSTD};
	for (int i = 0; i < 2; i++) {
		size_t whole = mixed_message(f), length = pack(f, whole, how[i]);
		refused(f, take(f, length - 1));
		refused(f, take(f, length + 1));
		unpack_as(f, length, whole - 1, how[i]); // a bomb: it has more than it says
		unpack_as(f, length, whole + 1, how[i]);
		unpack_as(f, length, whole, how[!i]);
		length = pack(f, pack(f, mixed_message(f), how[i]), how[i]); // twice
		refused(f, take(f, length));
	}
	assert_int_equal(pagestore_bytes(f->store), 0);
}

static void pages_count_each_time_they_come(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(take_head(f, TASK(1), 0, 0, PAGEFRAME_MAP), 0);
	for (int i = 0; i < 2; i++) {
		size_t length = append(f, 0, frame_of(TASK(1), 10, 8, PAGEFRAME_ROUND), 3);
		if (i)
			length = pack(f, length, PAGEFRAME_ZSTD);
		assert_int_equal(take(f, length), 8 * PAGESTORE_PAGE);
	}
	zero(f, TASK(1), 12, 1);
	map(f, TASK(1), 10, 8);
	assert_int_equal(pagestore_came(f->store, 0), 16);
}

// The table of places against a plain array, with runs of all lengths.
static void places_are_what_was_set(void **state)
{
	enum { PAGES = 3000 };
	static struct pageplace_run wanted[PAGES];
	struct error err;
	struct pageplace *p = pageplace_new(1000, &err);
	uint64_t base = (1ull << 35) - PAGES / 2; // across tables of several levels
	uint32_t random = 1, slot = 0;
	(void)state;
	for (int step = 0; step < 2000; step++) {
		random = random * 1103515245 + 12345;
		uint64_t at = (random >> 8) % PAGES;
		struct pageplace_run run = {.kind = 1 + (random >> 3) % 3,
					    .pages = 1 + (random >> 20) % (step % 10 ? 20 : 1500)};
		if (run.pages > PAGES - at)
			run.pages = PAGES - at;
		if (run.kind != PAGEPLACE_BLANK)
			run.slot = slot;
		slot += (uint32_t)run.pages;
		assert_int_equal(pageplace_set(p, base + at, &run, &err), 0);
		for (uint64_t i = 0; i < run.pages; i++) {
			wanted[at + i] = run;
			if (run.kind != PAGEPLACE_BLANK)
				wanted[at + i].slot = run.slot + (uint32_t)i;
		}
	}
	for (uint64_t at = 0; at < PAGES;) {
		struct pageplace_run run = pageplace_look(p, base + at, PAGES - at);
		assert_true(run.pages > 0 && run.pages <= PAGES - at);
		for (uint64_t i = 0; i < run.pages; i++, at++) {
			assert_int_equal(run.kind, wanted[at].kind);
			if (run.kind > PAGEPLACE_BLANK)
				assert_int_equal(run.slot + i, wanted[at].slot);
		}
	}
	assert_int_equal(pageplace_look(p, PAGEPLACE_PAGES - 1, 1).kind, PAGEPLACE_ABSENT);
	pageplace_free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(later_rounds_overwrite),
		TEST(the_map_alone_says_what_there_is),
		TEST(without_a_map_there_is_nothing),
		TEST(a_store_in_order_is_not_copied),
		TEST(zeroes_replace_contents),
		TEST(zeroes_take_no_room),
		TEST(lazy_pages_stay_where_they_are),
		TEST(a_page_that_never_came),
		TEST(a_map_of_another_destination),
		TEST(plain_pages_beside_rounds),
		TEST(a_page_in_two_maps),
		TEST(maps_are_sorted_and_last),
		TEST(many_entries_in_a_message),
		TEST(many_frames_in_a_message),
		TEST(messages_that_are_cut_off),
		TEST(while_it_runs_rounds_only),
		TEST(keeps_to_its_limits),
		TEST(scattered_pages_are_bounded),
		TEST(too_many_entries),
		TEST(too_many_pieces),
		TEST(takes_packed_messages),
		TEST(refuses_what_does_not_unpack),
		TEST(pages_count_each_time_they_come),
		cmocka_unit_test(places_are_what_was_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
