// SPDX-License-Identifier: Apache-2.0
// Page maps of a restore on demand: the files, what is refused, and how they follow mremap(2); and
// which images may be restored so.
#include "images/criu_mm.pb-c.h"
#include "images/lazymap.h"
#include "images/lazyplan.h"
#include "images/pagestore.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/memory/pagermap.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define P PAGER_PAGE

static char folder[64];
static int images;

static int open_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/test-lazymap.XXXXXX");
	assert_non_null(mkdtemp(folder));
	images = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return images < 0;
}

static int remove_folder(void **state)
{
	(void)state;
	close(images);
	return fdio_remove_tree(AT_FDCWD, folder, NULL);
}

// ---- lazymap ------------------------------------------------------------------------------------

static int reread(const struct lazymap_run *runs, size_t count, uint64_t store)
{
	_cleanup_free_ struct lazymap_run *got = NULL;
	size_t n = 0;
	unlinkat(images, "lazy-3.map", 0);
	assert_int_equal(lazymap_write(images, 3, runs, count, NULL), 0);
	_cleanup_close_ int fd = openat(images, "lazy-3.map", O_RDONLY | O_CLOEXEC);
	struct error err;
	if (lazymap_read(fd, store, &got, &n, &err) < 0)
		return -1;
	assert_int_equal(n, count);
	assert_true(count == 0 || !memcmp(got, runs, count * sizeof(*runs)));
	return 0;
}

static void test_files(void **state)
{
	(void)state;
	const struct lazymap_run good[] = {{P, 2, 4 * P}, {3 * P, 1, 0}, {1ull << 46, 3, P}};
	assert_int_equal(reread(good, 3, 6 * P), 0);
	assert_int_equal(reread(NULL, 0, 0), 0);
	assert_int_equal(reread(good, 3, 5 * P), -1); // behind the end of the store
	const struct lazymap_run order[] = {{2 * P, 1, 0}, {P, 1, P}};
	assert_int_equal(reread(order, 2, 9 * P), -1);
	const struct lazymap_run overlap[] = {{P, 2, 0}, {2 * P, 1, 4 * P}};
	assert_int_equal(reread(overlap, 2, 9 * P), -1);
	const struct lazymap_run twice[] = {{P, 2, 0}, {8 * P, 1, P}};
	assert_int_equal(reread(twice, 2, 9 * P), -1);
	const struct lazymap_run odd[] = {{P + 1, 1, 0}};
	assert_int_equal(reread(odd, 1, 9 * P), -1);
	const struct lazymap_run empty[] = {{P, 0, 0}};
	assert_int_equal(reread(empty, 1, 9 * P), -1);
	const struct lazymap_run huge[] = {{P, UINT64_MAX / P, 0}};
	assert_int_equal(reread(huge, 1, 9 * P), -1);
}

// ---- pagermap -----------------------------------------------------------------------------------

static void test_move(void **state)
{
	(void)state;
	const struct pager_run runs[] = {{10 * P, 10, 0, 0}, {30 * P, 5, 10 * P, 10}};
	struct pager_run out[6];
	// the middle of the first onto the middle of the second
	assert_int_equal(pagermap_move(runs, 2, 12 * P, 31 * P, 3 * P, out), 5);
	const struct pager_run want[] = {{10 * P, 2, 0, 0},
					 {15 * P, 5, 5 * P, 5},
					 {30 * P, 1, 10 * P, 10},
					 {31 * P, 3, 2 * P, 2},
					 {34 * P, 1, 14 * P, 14}};
	assert_memory_equal(out, want, sizeof(want));
	assert_int_equal(pagermap_find(runs, 2, 19 * P), 0);
	assert_int_equal(pagermap_find(runs, 2, 20 * P), 1);
	assert_int_equal(pagermap_find(runs, 2, 35 * P), 2);
	// all of both, downwards
	assert_int_equal(pagermap_move(runs, 2, 10 * P, 0, 10 * P, out), 2);
	assert_int_equal(out[0].vaddr, 0);
}

static void test_bits(void **state)
{
	(void)state;
	uint64_t bits[4] = {0};
	assert_int_equal(pagerbits_set(bits, 60, 200), 140);
	assert_int_equal(pagerbits_set(bits, 100, 210), 10);
	assert_int_equal(pagerbits_count(bits, 256), 150);
	assert_int_equal(pagerbits_count(bits, 130), 70);
	assert_int_equal(pagerbits_next(bits, 0, 256, true), 60);
	assert_int_equal(pagerbits_next(bits, 61, 256, false), 210);
	assert_int_equal(pagerbits_next(bits, 61, 128, false), 128);
	assert_true(pagerbits_test(bits, 60) && !pagerbits_test(bits, 59));
}

// ---- lazyplan -----------------------------------------------------------------------------------

static void write_mm(uint32_t vpid, uint32_t flags, uint64_t madv)
{
	Criu__MmMapping m = CRIU__MM_MAPPING__INIT, *list[] = {&m};
	Criu__MmMappings mm = CRIU__MM_MAPPINGS__INIT;
	uint8_t bytes[256] = {0};
	char path[128];
	m.start = 0x10000;
	m.end = 0x10000000;
	m.flags = flags;
	m.has_madv = true;
	m.madv = madv;
	mm.n_mappings = 1;
	mm.mappings = list;
	uint32_t size = (uint32_t)criu__mm_mappings__pack(&mm, bytes + 12);
	memcpy(bytes + 8, &size, sizeof(size));
	snprintf(path, sizeof(path), "%s/mm-%u.img", folder, vpid);
	assert_int_equal(fdio_replace_file(path, bytes, 12 + size, 0600, NULL), 0);
}

// Two tasks; the second one's pages begin at `second`.
static struct pagestore *write_store(uint64_t second, uint64_t pages)
{
	const struct pagestore_limits limits = {
		.bytes = 1 << 28, .entries = 100, .destinations = 4};
	struct pagestore *s = pagestore_open(images, &limits, NULL);
	static uint8_t page[PAGER_PAGE];
	for (unsigned task = 1; task <= 2; task++) {
		uint64_t id = (uint64_t)task << 8 | PAGESTORE_TASK;
		uint64_t at = task == 1 ? 0x20000 : second;
		assert_int_equal(pagestore_add(s, id, at, 1, PAGESTORE_PRESENT, NULL), 0);
		assert_int_equal(pagestore_write(s, page, P, NULL), 0);
		assert_int_equal(pagestore_add(s, id, at + P, pages, 6, NULL), 0);
		for (uint64_t i = 0; i < pages; i++)
			assert_int_equal(pagestore_write(s, page, P, NULL), 0);
		write_mm(task, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	}
	assert_int_equal(pagestore_seal(s, NULL), 0);
	return s;
}

static void test_plan(void **state)
{
	(void)state;
	__attribute__((cleanup(lazyplan_free))) struct lazyplan plan = {0};
	char why[200] = "";
	_cleanup_pagestore_ struct pagestore *s = write_store(0x2000000, 16);
	assert_int_equal(lazyplan_read(s, &plan, NULL), 0);
	assert_int_equal(plan.count, 2);
	assert_int_equal(plan.pages, 32);
	assert_int_equal(plan.shared, 0);
	assert_true(lazyplan_fits(&plan, images, 1, why, sizeof(why)));
	// what CRIU would not bring on demand, and what a fork must not see
	write_mm(2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, 0);
	assert_false(lazyplan_fits(&plan, images, 0, why, sizeof(why)));
	write_mm(2, MAP_PRIVATE | MAP_ANONYMOUS, 1ull << MADV_WIPEONFORK);
	assert_false(lazyplan_fits(&plan, images, 0, why, sizeof(why)));
	write_mm(2, MAP_SHARED | MAP_ANONYMOUS, 0);
	assert_false(lazyplan_fits(&plan, images, 0, why, sizeof(why)));
	assert_non_null(strstr(why, "task 2"));
	write_mm(2, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	assert_int_equal(pagestore_finish(s, PAGESTORE_LAZY_KEPT, NULL), 0);
	_cleanup_close_ int fd = openat(images, "lazy-1.map", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ struct lazymap_run *runs = NULL;
	size_t count;
	assert_int_equal(lazymap_read(fd, 17 * P, &runs, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_true(runs[0].vaddr == 0x20000 + P && runs[0].pages == 16 && runs[0].offset == P);
	struct stat st;
	assert_int_equal(fstatat(images, "lazy-2.pages", &st, 0), 0);
	assert_int_equal(st.st_size, 17 * P);
}

static void test_plan_of_forks(void **state)
{
	(void)state;
	__attribute__((cleanup(lazyplan_free))) struct lazyplan plan = {0};
	char why[200] = "";
	_cleanup_pagestore_ struct pagestore *s = write_store(0x20000, 5000);
	assert_int_equal(lazyplan_read(s, &plan, NULL), 0);
	assert_int_equal(plan.shared, 5000);
	assert_false(lazyplan_fits(&plan, images, 0, why, sizeof(why)));
	assert_non_null(strstr(why, "19 MiB"));
	plan.shared = 100; // little is shared, but the limit leaves no room for it
	assert_false(lazyplan_fits(&plan, images, 9999 * P, why, sizeof(why)));
	assert_true(lazyplan_fits(&plan, images, 10000 * P, why, sizeof(why)));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, open_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_files), cmocka_unit_test(test_move),   cmocka_unit_test(test_bits),
		IN_FOLDER(test_plan),  IN_FOLDER(test_plan_of_forks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
