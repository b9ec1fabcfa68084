// SPDX-License-Identifier: Apache-2.0
// The page store and the digest: what CRIU would read, and what must be refused.
#include "images/criu_pagemap.pb-c.h"
#include "images/digest.h"
#include "images/pagestore.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/image_file.h"

#define TASK(pid) ((uint64_t)(pid) << 8 | PAGESTORE_TASK)
#define SHMEM(id) ((uint64_t)(id) << 8 | PAGESTORE_SHMEM)

struct fixture {
	char path[64];
	int dirfd;
	struct pagestore *s;
	struct error err;
};

static int setup(void **state)
{
	const struct pagestore_limits limits = {
		.bytes = 1 << 24, .entries = 1000, .destinations = 8, .entry_pages = 4};
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/test_pagestore.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->dirfd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dirfd >= 0);
	f->s = pagestore_open(f->dirfd, &limits, &f->err);
	assert_non_null(f->s);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pagestore_free(f->s);
	close(f->dirfd);
	assert_int_equal(fdio_remove_tree(AT_FDCWD, f->path, NULL), 0);
	free(f);
	return 0;
}

static void write_pages(struct fixture *f, size_t pages, int value)
{
	uint8_t page[PAGESTORE_PAGE];

	memset(page, value, sizeof(page));
	for (size_t i = 0; i < pages; i++)
		assert_int_equal(pagestore_write(f->s, page, sizeof(page), &f->err), 0);
}

static void add(struct fixture *f, uint64_t dst, uint64_t vaddr, uint64_t pages, uint32_t flags)
{
	assert_int_equal(pagestore_add(f->s, dst, vaddr, pages, flags, &f->err), 0);
	write_pages(f, pages, (int)(vaddr >> 12));
}

static uint32_t word(struct image *i)
{
	uint32_t v;

	assert_true(i->length - i->at >= sizeof(v));
	memcpy(&v, i->bytes + i->at, sizeof(v));
	i->at += sizeof(v);
	return v;
}

static uint32_t check_head(struct image *i)
{
	Criu__PagemapHead *head;
	uint32_t size, id;

	assert_int_equal(word(i), 0x54564319);
	assert_int_equal(word(i), 0x56084025);
	size = word(i);
	head = criu__pagemap_head__unpack(NULL, size, i->bytes + i->at);
	assert_non_null(head);
	i->at += size;
	id = head->pages_id;
	criu__pagemap_head__free_unpacked(head, NULL);
	return id;
}

static void check_entry(struct image *i, uint64_t vaddr, uint64_t pages, uint32_t flags)
{
	uint32_t size = word(i);
	Criu__PagemapEntry *e = criu__pagemap_entry__unpack(NULL, size, i->bytes + i->at);

	assert_non_null(e);
	i->at += size;
	assert_int_equal(e->vaddr, vaddr);
	assert_int_equal(e->compat_nr_pages, pages);
	assert_true(e->has_nr_pages);
	assert_int_equal(e->nr_pages, pages);
	assert_true(e->has_flags);
	assert_int_equal(e->flags, flags);
	criu__pagemap_entry__free_unpacked(e, NULL);
}

static void check_end(struct image *i)
{
	assert_int_equal(i->at, i->length);
	free(i->bytes);
}

static void writes_what_criu_reads(void **state)
{
	struct fixture *f = *state;
	struct image map, pages;

	add(f, TASK(7), 0x10000, 2, 4);
	add(f, TASK(7), 0x12000, 1, 4); // touches the one before: joined
	add(f, TASK(7), 0x13000, 1, 6); // other flags: not joined
	add(f, TASK(7), 0x20000, 1, 4);
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
	map = image_load(f->dirfd, "pagemap-7.img");
	assert_int_equal(check_head(&map), 1);
	check_entry(&map, 0x10000, 3, 4);
	check_entry(&map, 0x13000, 1, 6);
	check_entry(&map, 0x20000, 1, 4);
	check_end(&map);
	pages = image_load(f->dirfd, "pages-1.img");
	assert_int_equal(pages.length, 5 * PAGESTORE_PAGE);
	assert_int_equal(pages.bytes[0], 0x10);
	assert_int_equal(pages.bytes[2 * PAGESTORE_PAGE], 0x12);
	assert_int_equal(pages.bytes[5 * PAGESTORE_PAGE - 1], 0x20);
	free(pages.bytes);
}

static void keeps_destinations_apart(void **state)
{
	struct fixture *f = *state;
	struct image map;

	assert_int_equal(pagestore_begin(f->s, TASK(1), &f->err), 0); // no pages at all
	add(f, TASK(2), 0x5000, 1, 4);
	add(f, SHMEM(99), 0, 3, 4);
	add(f, TASK(2), 0x9000, 1, 4);
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
	map = image_load(f->dirfd, "pagemap-1.img");
	assert_int_equal(check_head(&map), 1);
	check_end(&map);
	map = image_load(f->dirfd, "pagemap-2.img");
	assert_int_equal(check_head(&map), 2);
	check_entry(&map, 0x5000, 1, 4);
	check_entry(&map, 0x9000, 1, 4);
	check_end(&map);
	map = image_load(f->dirfd, "pagemap-shmem-99.img");
	assert_int_equal(check_head(&map), 3);
	check_entry(&map, 0, 3, 4);
	check_end(&map);
	assert_int_equal(pagestore_bytes(f->s), 5 * PAGESTORE_PAGE);
}

static void cuts_what_was_reserved(void **state)
{
	struct fixture *f = *state;
	struct image pages;

	assert_int_equal(pagestore_expect(f->s, TASK(1), 1000000, &f->err), 0);
	assert_int_equal(pagestore_expect(f->s, TASK(2), 1 << 20, &f->err), 0);
	add(f, TASK(1), 0x1000, 2, 4);
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
	pages = image_load(f->dirfd, "pages-1.img");
	assert_int_equal(pages.length, 2 * PAGESTORE_PAGE);
	free(pages.bytes);
	// Nothing came for the second: CRIU must not see it.
	assert_int_equal(faccessat(f->dirfd, "pages-2.img", F_OK, 0), -1);
	assert_int_equal(faccessat(f->dirfd, "pagemap-2.img", F_OK, 0), -1);
}

static void splits_long_entries(void **state)
{
	struct fixture *f = *state;
	struct image map;

	add(f, TASK(1), 0x1000, 9, 4);
	add(f, TASK(1), 0xa000, 4, 4); // would be too long together with the last piece
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
	map = image_load(f->dirfd, "pagemap-1.img");
	check_head(&map);
	check_entry(&map, 0x1000, 4, 4);
	check_entry(&map, 0x5000, 4, 4);
	check_entry(&map, 0x9000, 1, 4);
	check_entry(&map, 0xa000, 4, 4);
	check_end(&map);
}

static void refuse_entry(struct fixture *f, uint64_t dst, uint64_t vaddr, uint64_t pages,
			 uint32_t flags)
{
	error_clear(&f->err);
	assert_int_equal(pagestore_add(f->s, dst, vaddr, pages, flags, &f->err), -1);
	assert_true(error_is_set(&f->err));
}

// The first SysV segment of a namespace; no task has pid 0.
static void takes_segment_zero(void **state)
{
	struct fixture *f = *state;

	add(f, SHMEM(0), 0, 1, 4);
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
	assert_int_equal(faccessat(f->dirfd, "pagemap-shmem-0.img", F_OK, 0), 0);
}

static void refuses_bad_entries(void **state)
{
	struct fixture *f = *state;

	add(f, TASK(1), 0x5000, 2, 4);
	refuse_entry(f, TASK(1), 0x6000, 1, 4); // overlaps
	refuse_entry(f, TASK(1), 0x1000, 1, 4); // goes back
	refuse_entry(f, TASK(1), 0x9001, 1, 4); // not a page's address
	refuse_entry(f, TASK(1), 0x9000, 0, 4);
	refuse_entry(f, TASK(1), 0x9000, UINT64_MAX / 4096 + 2, 4); // length overflows
	refuse_entry(f, TASK(1), UINT64_MAX - 4095, 1, 4);          // end overflows
	refuse_entry(f, TASK(1), 0x9000, 1, 1);                     // in a parent: flat only
	refuse_entry(f, TASK(1), 0x9000, 1, 0);
	refuse_entry(f, TASK(0), 0x9000, 1, 4);
	refuse_entry(f, (uint64_t)1 << 8 | 3, 0x9000, 1, 4);               // unknown type
	refuse_entry(f, (uint64_t)1 << 41 | PAGESTORE_TASK, 0x9000, 1, 4); // no pid
	refuse_entry(f, TASK(1), 0x100000, (1 << 24) / 4096, 4);           // above the limit
	assert_int_equal(f->err.id, ERR_MEMORY);
	add(f, TASK(1), 0x9000, 1, 4); // the refused left no trace
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
}

static void refuses_wrong_lengths(void **state)
{
	struct fixture *f = *state;
	uint8_t page[PAGESTORE_PAGE + 1] = {0};

	assert_int_equal(pagestore_add(f->s, TASK(1), 0x1000, 1, 4, &f->err), 0);
	assert_int_equal(pagestore_write(f->s, page, sizeof(page), &f->err), -1);
	assert_int_equal(pagestore_write(f->s, page, 4000, &f->err), 0);
	assert_int_equal(pagestore_add(f->s, TASK(1), 0x2000, 1, 4, &f->err), -1);
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), -1);
	assert_int_equal(pagestore_write(f->s, page, 96, &f->err), 0);
	assert_int_equal(pagestore_finish(f->s, PAGESTORE_EAGER, &f->err), 0);
	assert_int_equal(pagestore_add(f->s, TASK(1), 0x2000, 1, 4, &f->err), -1);
}

static void refuses_too_many(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 1; i <= 8; i++)
		add(f, TASK(i), 0x1000, 1, 4);
	refuse_entry(f, TASK(9), 0x1000, 1, 4);
	for (uint64_t i = 8; i < 1000; i++)
		add(f, TASK(1), 0x10000 + i * 0x2000, 1, 4);
	refuse_entry(f, TASK(1), 0x10000000, 1, 4);
}

static void counts_pages_that_came(void **state)
{
	struct fixture *f = *state;

	add(f, TASK(3), 0x1000, 1, 4);
	add(f, TASK(3), 0x2000, 1, 4); // merged in the image
	assert_int_equal(pagestore_count(f->s), 1);
	assert_int_equal(pagestore_destination(f->s, 0), TASK(3));
	assert_int_equal(pagestore_came(f->s, 0), 2);
}

static void digest_is_sha256(void **state)
{
	// FIPS 180-2, appendix B.1
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct digest d, back;
	char text[DIGEST_TEXT];

	(void)state;
	assert_int_equal(digest_of("abc", 3, &d, NULL), 0);
	assert_string_equal(digest_hex(&d, text), abc);
	assert_true(digest_parse(abc, &back));
	assert_true(digest_equal(&d, &back));
	assert_false(digest_parse("ba78", &back));
	text[5] = 'G';
	assert_false(digest_parse(text, &back));
	assert_false(digest_parse(NULL, &back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_what_criu_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(keeps_destinations_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(cuts_what_was_reserved, setup, teardown),
		cmocka_unit_test_setup_teardown(splits_long_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(takes_segment_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_bad_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_wrong_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_pages_that_came, setup, teardown),
		cmocka_unit_test(digest_is_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
