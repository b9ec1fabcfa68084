// SPDX-License-Identifier: Apache-2.0
// Packing on the way to a link: what arrives is what was sent, and it is done only where it pays.
#include "images/pageframe.h"
#include "images/pageintake.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/memory/squeeze.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ROOM    (64 * 1024)
#define PAGES   15 // of a message
#define MESSAGE (PAGEFRAME_HEADER + PAGES * PAGEFRAME_PAGE)
#define TASK    (1 << 8 | PAGESTORE_TASK)

// A link, and what is at its end.
struct end {
	char path[64];
	int dirfd;
	struct pagestore *store;
	struct pageintake *intake;
	struct error err;
	uint8_t slot[ROOM];
	uint64_t carried, pages;
	int64_t ns_per_kib; // how slow it is
};

static void *place(void *arg, size_t *room, struct error *err)
{
	struct end *e = arg;
	(void)err;
	*room = ROOM;
	return e->slot;
}

static int take(void *arg, void *bytes, size_t length, struct error *err)
{
	struct end *e = arg;
	int64_t until = clock_now_ns() + e->ns_per_kib * (int64_t)(length / 1024);
	assert_ptr_equal(bytes, e->slot);
	assert_true(length <= ROOM);
	e->carried += length;
	int64_t got = pageintake_take(e->intake, e->store, false, bytes, length, err);
	while (clock_now_ns() < until)
		;
	return got < 0 ? -1 : 0;
}

static int setup(void **state)
{
	const struct pagestore_limits limits = {
		.bytes = 1 << 26, .entries = 1000, .destinations = 2};
	struct end *e = calloc(1, sizeof(*e));
	strcpy(e->path, "/tmp/test_squeeze.XXXXXX");
	assert_non_null(mkdtemp(e->path));
	e->dirfd = open(e->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	e->store = pagestore_open(e->dirfd, &limits, &e->err);
	e->intake = pageintake_new(ROOM, &e->err);
	assert_non_null(e->store);
	assert_non_null(e->intake);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct end *e = *state;
	pageintake_free(e->intake);
	pagestore_free(e->store);
	close(e->dirfd);
	assert_int_equal(fdio_remove_tree(AT_FDCWD, e->path, NULL), 0);
	free(e);
	return 0;
}

static uint32_t next(uint32_t *random)
{
	return *random = *random * 1103515245 + 12345;
}

// Half of it is the same everywhere, or it is noise.
static void fill(uint8_t *to, size_t length, uint32_t random, bool noise)
{
	for (size_t i = 0; i < length; i++) {
		uint8_t value = (uint8_t)(next(&random) >> 16);
		to[i] = noise ? value : i % 64 < 48 ? 'x' : value & 3;
	}
}

static void send_pages(struct end *e, struct squeeze *s, bool noise)
{
	struct memory_sink sink = squeeze_sink(s);
	size_t room;
	uint8_t *to = sink.place(sink.arg, &room, &e->err);
	assert_non_null(to);
	assert_int_equal(room, ROOM);
	const struct pageframe frame = {TASK, e->pages % 8192 * PAGEFRAME_PAGE, PAGES,
					PAGEFRAME_ROUND};
	pageframe_put(to, &frame);
	fill(to + PAGEFRAME_HEADER, MESSAGE - PAGEFRAME_HEADER, (uint32_t)e->pages + 1, noise);
	e->pages += PAGES;
	if (sink.send(sink.arg, to, MESSAGE, &e->err) < 0)
		fail_msg("%s", e->err.message);
}

static void same_pages(struct end *e, enum squeeze_method method, bool noise, bool shorter)
{
	struct squeeze_figures figures;
	struct squeeze *s = squeeze_new(
		&(struct memory_sink){.place = place, .send = take, .arg = e}, method, &e->err);
	static uint8_t plain[PAGES * PAGEFRAME_PAGE], stored[PAGES * PAGEFRAME_PAGE];
	for (int n = 0; n < 5; n++)
		send_pages(e, s, noise);
	int fd = openat(e->dirfd, "pages-1.img", O_RDONLY | O_CLOEXEC);
	for (uint32_t n = 0; n < 5; n++) {
		fill(plain, sizeof(plain), n * PAGES + 1, noise);
		assert_int_equal(fdio_read_all(fd, stored, sizeof(stored), NULL), 0);
		assert_memory_equal(plain, stored, sizeof(plain));
	}
	close(fd);
	squeeze_figures(s, &figures);
	assert_int_equal(figures.bytes, 5 * MESSAGE);
	assert_int_equal(figures.sent, e->carried);
	assert_int_equal(shorter, e->carried < 5 * MESSAGE / 2);
	assert_true(e->carried <= 5 * MESSAGE);
	squeeze_free(s);
}

static void off_changes_nothing(void **state)
{
	same_pages(*state, SQUEEZE_OFF, false, false);
}

static void lz4_arrives(void **state)
{
	same_pages(*state, SQUEEZE_LZ4, false, true);
}

static void zstd_arrives(void **state)
{
	same_pages(*state, SQUEEZE_ZSTD, false, true);
}

static void noise_goes_as_it_is(void **state)
{
	same_pages(*state, SQUEEZE_ZSTD, true, false);
}

static enum squeeze_method after(struct end *e, int64_t ns_per_kib, bool noise)
{
	struct squeeze_figures figures;
	struct squeeze *s =
		squeeze_new(&(struct memory_sink){.place = place, .send = take, .arg = e},
			    SQUEEZE_AUTO, &e->err);
	e->ns_per_kib = ns_per_kib;
	for (int n = 0; n < 200; n++)
		send_pages(e, s, noise);
	squeeze_figures(s, &figures);
	squeeze_free(s);
	return figures.method;
}

// A link of 20 MB/s, beside which any packing takes no time.
static void packs_for_a_slow_link(void **state)
{
	assert_int_not_equal(after(*state, 50000, false), SQUEEZE_OFF);
}

static void packs_no_noise_for_a_slow_link(void **state)
{
	assert_int_equal(after(*state, 50000, true), SQUEEZE_OFF);
}

// Whoever is held up by something else learns nothing of the link, until that is over.
static void decides_nothing_while_it_is_held(void **state)
{
	struct end *e = *state;
	struct squeeze_figures figures;
	struct squeeze *s =
		squeeze_new(&(struct memory_sink){.place = place, .send = take, .arg = e},
			    SQUEEZE_AUTO, &e->err);
	e->ns_per_kib = 50000;
	squeeze_hold(s, true);
	for (int n = 0; n < 200; n++)
		send_pages(e, s, false);
	squeeze_figures(s, &figures);
	assert_int_equal(figures.method, SQUEEZE_OFF);
	squeeze_hold(s, false);
	for (int n = 0; n < 200; n++)
		send_pages(e, s, false);
	squeeze_figures(s, &figures);
	assert_int_not_equal(figures.method, SQUEEZE_OFF);
	squeeze_free(s);
}

static void chooses_the_fastest(void **state)
{
	(void)state;
	// nanoseconds a byte: the engine copies and hashes 1 GB/s
	struct squeeze_costs c = {.fill = 1.0, .pack = {0, 0.8, 2.0}, .ratio = {1, 0.32, 0.21}};
	c.link = 0.3; // not what we wait for
	assert_int_equal(squeeze_choose(&c, SQUEEZE_OFF), SQUEEZE_OFF);
	assert_int_equal(squeeze_choose(&c, SQUEEZE_LZ4), SQUEEZE_OFF);
	c.link = 8; // 1 Gbit/s
	assert_int_equal(squeeze_choose(&c, SQUEEZE_OFF), SQUEEZE_LZ4);
	c.link = 80; // 100 Mbit/s
	assert_int_equal(squeeze_choose(&c, SQUEEZE_OFF), SQUEEZE_ZSTD);
	assert_int_equal(squeeze_choose(&c, SQUEEZE_LZ4), SQUEEZE_ZSTD);
	c.link = 1.85; // hardly better than nothing: neither begins, nor ends
	assert_int_equal(squeeze_choose(&c, SQUEEZE_OFF), SQUEEZE_OFF);
	assert_int_equal(squeeze_choose(&c, SQUEEZE_LZ4), SQUEEZE_LZ4);
	c.ratio[SQUEEZE_LZ4] = c.ratio[SQUEEZE_ZSTD] = 1; // nothing gets shorter
	c.link = 80;
	assert_int_equal(squeeze_choose(&c, SQUEEZE_OFF), SQUEEZE_OFF);
}

static void knows_its_methods(void **state)
{
	(void)state;
	enum squeeze_method m;
	struct error err = {0};
	assert_int_equal(squeeze_parse("auto", &m, &err), 0);
	assert_int_equal(m, SQUEEZE_AUTO);
	assert_int_equal(squeeze_parse("zstd", &m, &err), 0);
	assert_int_equal(m, SQUEEZE_ZSTD);
	assert_string_equal(squeeze_name(SQUEEZE_LZ4), "lz4");
	assert_int_equal(squeeze_parse("gzip", &m, &err), -1);
	assert_int_equal(err.id, ERR_USAGE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(off_changes_nothing),
		TEST(lz4_arrives),
		TEST(zstd_arrives),
		TEST(noise_goes_as_it_is),
		TEST(packs_for_a_slow_link),
		TEST(packs_no_noise_for_a_slow_link),
		TEST(decides_nothing_while_it_is_held),
		cmocka_unit_test(chooses_the_fastest),
		cmocka_unit_test(knows_its_methods),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
