// SPDX-License-Identifier: Apache-2.0
// The page-server end, spoken to as CRIU does: both header forms, any fragmentation, bad input.
#include "lib/criu/pageserver.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ADD_PRESENT = 6 | PAGE_PRESENT << 16, ADD_PARENT = 6 | PAGE_PARENT << 16 };

#define TASK(pid) ((uint64_t)(pid) << 8 | PAGE_DST_TASK)

struct fixture {
	int criu; // CRIU's end
	struct pageserver *s;
	bool new_form;
	struct error err;
	// what the parser told
	uint64_t opened, vaddr, nr_pages;
	uint32_t flags;
	int entries, closes, close_result;
	size_t room; // how much `space` gives at most; 0: full
	uint8_t data[4 * PAGE_BYTES];
	size_t used;
};

static int on_open(void *arg, uint64_t dst_id, struct error *err)
{
	struct fixture *f = arg;

	(void)err;
	f->opened = dst_id;
	return 0;
}

static int on_pages(void *arg, uint64_t dst_id, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		    struct error *err)
{
	struct fixture *f = arg;

	(void)err;
	assert_int_equal(dst_id, f->opened);
	f->vaddr = vaddr;
	f->nr_pages = nr_pages;
	f->flags = flags;
	f->entries++;
	return 0;
}

static int on_space(void *arg, size_t want, void **buf, size_t *size, struct error *err)
{
	struct fixture *f = arg;

	(void)err;
	assert_true(want > 0);
	*buf = f->data + f->used;
	*size = f->room < sizeof(f->data) - f->used ? f->room : sizeof(f->data) - f->used;
	return 0;
}

static int on_filled(void *arg, size_t n, struct error *err)
{
	struct fixture *f = arg;

	(void)err;
	assert_true(n > 0);
	f->used += n;
	return 0;
}

static int on_close(void *arg, struct error *err)
{
	struct fixture *f = arg;

	f->closes++;
	return f->close_result < 0 ? error_set(err, ERR_CRIU, "no") : 0;
}

static const struct pageserver_ops ops = {on_open, on_pages, on_space, on_filled, on_close};

static int setup(void **state)
{
	const struct pageserver_limits limits = {
		.entry_pages = 4, .entries = 4, .bytes = (uint64_t)4 * PAGE_BYTES};
	struct fixture *f = calloc(1, sizeof(*f));
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	f->criu = sv[1];
	f->room = sizeof(f->data);
	f->new_form = true;
	f->s = pageserver_new(sv[0], &limits, &ops, f, &f->err);
	assert_non_null(f->s);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pageserver_free(f->s);
	if (f->criu >= 0)
		close(f->criu);
	free(f);
	return 0;
}

static size_t put(uint8_t *to, const void *from, size_t size)
{
	memcpy(to, from, size);
	return size;
}

static size_t header(const struct fixture *f, uint8_t to[32], uint32_t cmd, uint64_t nr,
		     uint64_t vaddr, uint64_t dst)
{
	uint32_t second = f->new_form ? 0xdeadbeef : (uint32_t)nr; // padding may be anything
	size_t n = put(to, &cmd, 4);

	n += put(to + n, &second, 4);
	if (f->new_form)
		n += put(to + n, &nr, 8);
	n += put(to + n, &vaddr, 8);
	return n + put(to + n, &dst, 8);
}

static void say(struct fixture *f, uint32_t cmd, uint64_t nr, uint64_t vaddr, uint64_t dst)
{
	uint8_t h[32];
	size_t n = header(f, h, cmd, nr, vaddr, dst);

	assert_int_equal(write(f->criu, h, n), n);
}

static enum pageserver_state step(struct fixture *f)
{
	enum pageserver_state state;

	assert_int_equal(pageserver_step(f->s, 1 << 20, &state, &f->err), 0);
	return state;
}

static void step_fails(struct fixture *f)
{
	enum pageserver_state state;

	assert_int_equal(pageserver_step(f->s, 1 << 20, &state, &f->err), -1);
	assert_int_equal(f->err.id, ERR_CRIU);
}

static void hear(struct fixture *f, const void *expected, size_t size)
{
	uint8_t got[8];

	assert_int_equal(recv(f->criu, got, sizeof(got), MSG_DONTWAIT), size);
	assert_memory_equal(got, expected, size);
}

static void open_task(struct fixture *f)
{
	say(f, 4, 0, 0, TASK(12));
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	assert_int_equal(f->opened, TASK(12));
	hear(f, "\0", 1);
}

static void whole_session(struct fixture *f)
{
	uint8_t page[PAGE_BYTES];
	int32_t zero = 0;

	say(f, 5, 0, 0, TASK(12));
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	hear(f, &zero, 4);
	open_task(f);
	say(f, ADD_PARENT, 3, 0x1000, TASK(12)); // carries no data
	say(f, ADD_PRESENT, 2, 0x7000, TASK(12));
	memset(page, 1, sizeof(page));
	assert_int_equal(write(f->criu, page, sizeof(page)), sizeof(page));
	memset(page, 2, sizeof(page));
	assert_int_equal(write(f->criu, page, sizeof(page)), sizeof(page));
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	assert_int_equal(f->entries, 2);
	assert_int_equal(f->vaddr, 0x7000);
	assert_int_equal(f->nr_pages, 2);
	assert_int_equal(f->flags, PAGE_PRESENT);
	assert_int_equal(f->used, 2 * PAGE_BYTES);
	assert_int_equal(f->data[PAGE_BYTES - 1], 1);
	assert_int_equal(f->data[PAGE_BYTES], 2);
	assert_int_equal(pageserver_bytes(f->s), 2 * PAGE_BYTES);
	say(f, 0x1023, 0, 0, 0);
	assert_int_equal(step(f), PAGESERVER_CLOSED);
	assert_int_equal(f->closes, 1);
	hear(f, &zero, 4);
}

static void speaks_the_new_form(void **state)
{
	whole_session(*state);
}

static void speaks_the_old_form(void **state)
{
	struct fixture *f = *state;

	f->new_form = false;
	whole_session(f);
}

static void takes_any_fragments(void **state)
{
	struct fixture *f = *state;
	uint8_t all[64 + PAGE_BYTES] = {0};
	size_t n;

	open_task(f);
	n = header(f, all, ADD_PRESENT, 1, 0x1000, TASK(12));
	memset(all + n, 7, PAGE_BYTES);
	for (size_t i = 0; i < n + PAGE_BYTES; i++) {
		assert_int_equal(write(f->criu, all + i, 1), 1);
		assert_int_equal(step(f), PAGESERVER_AGAIN);
	}
	assert_int_equal(f->used, PAGE_BYTES);
	assert_int_equal(f->data[0], 7);
	assert_int_equal(f->data[PAGE_BYTES - 1], 7);
}

static void waits_for_room(void **state)
{
	struct fixture *f = *state;
	uint8_t page[PAGE_BYTES] = {9};

	open_task(f);
	say(f, ADD_PRESENT, 1, 0x1000, TASK(12));
	assert_int_equal(write(f->criu, page, sizeof(page)), sizeof(page));
	f->room = 0;
	assert_int_equal(step(f), PAGESERVER_FULL);
	assert_int_equal(f->used, 0);
	f->room = 100;
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	assert_int_equal(f->used, PAGE_BYTES);
}

static void notices_the_end(void **state)
{
	struct fixture *f = *state;

	open_task(f);
	say(f, ADD_PRESENT, 1, 0x1000, TASK(12));
	close(f->criu);
	f->criu = -1;
	assert_int_equal(step(f), PAGESERVER_EOF);
	assert_int_equal(f->closes, 0);
}

static void close_can_refuse(void **state)
{
	struct fixture *f = *state;
	int32_t minus = -1;

	open_task(f);
	f->close_result = -1;
	say(f, 0x1024, 0, 0, 0);
	step_fails(f);
	hear(f, &minus, 4);
}

#define REFUSED(name, ...)                       \
	static void name(void **state)           \
	{                                        \
		struct fixture *f = *state;      \
                                                 \
		open_task(f);                    \
		say(f, __VA_ARGS__);             \
		step_fails(f);                   \
		assert_int_equal(f->entries, 0); \
	}

REFUSED(refuses_unknown_commands, 7, 1, 0x1000, TASK(12))
REFUSED(refuses_a_foreign_destination, ADD_PRESENT, 1, 0x1000, TASK(13))
REFUSED(refuses_a_bad_type, 4, 0, 0, 12 << 8 | 3)
REFUSED(refuses_unknown_flags, 6 | 8 << 16, 1, 0x1000, TASK(12))
REFUSED(refuses_empty_entries, ADD_PRESENT, 0, 0x1000, TASK(12))
REFUSED(refuses_long_entries, ADD_PRESENT, 5, 0x1000, TASK(12))
REFUSED(refuses_huge_entries, ADD_PRESENT, UINT64_MAX, 0x1000, TASK(12))
REFUSED(refuses_odd_addresses, ADD_PRESENT, 1, 0x1001, TASK(12))
REFUSED(refuses_overflow, ADD_PRESENT, 1, -(uint64_t)PAGE_BYTES, TASK(12))

// The first SysV segment of a namespace; no task has pid 0.
static void takes_segment_zero(void **state)
{
	struct fixture *f = *state;

	open_task(f);
	say(f, 4, 0, 0, PAGE_DST_SHMEM);
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	assert_int_equal(f->opened, PAGE_DST_SHMEM);
}

REFUSED(refuses_task_zero, 4, 0, 0, TASK(0))

static void refuses_pages_before_open(void **state)
{
	struct fixture *f = *state;

	say(f, 5, 0, 0, TASK(12));
	say(f, ADD_PRESENT, 1, 0x1000, TASK(12));
	step_fails(f);
}

static void holds_its_limits(void **state)
{
	struct fixture *f = *state;
	uint8_t pages[4 * PAGE_BYTES] = {0};

	open_task(f);
	say(f, ADD_PRESENT, 4, 0x1000, TASK(12));
	assert_int_equal(write(f->criu, pages, sizeof(pages)), sizeof(pages));
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	say(f, ADD_PARENT, 1, 0x9000, TASK(12)); // no data: still within
	assert_int_equal(step(f), PAGESERVER_AGAIN);
	say(f, ADD_PRESENT, 1, 0xa000, TASK(12));
	step_fails(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(speaks_the_new_form),      TEST(speaks_the_old_form),
		TEST(takes_any_fragments),      TEST(waits_for_room),
		TEST(notices_the_end),          TEST(close_can_refuse),
		TEST(takes_segment_zero),       TEST(refuses_task_zero),
		TEST(refuses_unknown_commands), TEST(refuses_a_foreign_destination),
		TEST(refuses_a_bad_type),       TEST(refuses_unknown_flags),
		TEST(refuses_empty_entries),    TEST(refuses_long_entries),
		TEST(refuses_huge_entries),     TEST(refuses_odd_addresses),
		TEST(refuses_overflow),         TEST(refuses_pages_before_open),
		TEST(holds_its_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
