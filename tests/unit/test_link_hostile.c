// SPDX-License-Identifier: Apache-2.0
// A captured mover: this program is also the mover, and misbehaves in every way that the channel
// and the ring allow. The privileged side must report an error each time, and nothing else.
#include "images/pagestore.h"
#include "lib/base/chan.h"
#include "lib/transport/ring.h"
#include "lib/transport/seal.h"
#include "tests/unit/link_fixture.h"

#include <errno.h>
#include <sys/mman.h>

#define PAGE_VALUE 0x5a

static struct fixture_host host_a, host_b;

// ---- the mover's side
static void tell_raw(const void *bytes, size_t length)
{
	if (send(RING_FD_CHANNEL, bytes, length, MSG_NOSIGNAL) < 0)
		_exit(1);
}

static void tell(uint8_t kind, uint16_t type, uint32_t slot, uint32_t length, const void *payload)
{
	uint8_t packet[sizeof(struct ring_note) + WIRE_CONTROL_MAX + 16];
	const struct ring_note note = {.kind = kind, .type = type, .slot = slot, .length = length};
	memcpy(packet, &note, sizeof(note));
	if (payload)
		memcpy(packet + sizeof(note), payload, length);
	tell_raw(packet, sizeof(note) + (payload ? length : 0));
}

static void up(void)
{
	tell(RING_UP, 0, 0, 5, "hostB");
}

// This mover plays the peer as well, whose privileged side it could not be: it has hostB's key.
static struct seal *seal;
static uint8_t packet[sizeof(struct ring_note) + WIRE_CONTROL_MAX];

static void agree(void)
{
	struct buf step = BUF_INIT(SEAL_STEP_MAX);
	const struct ring_note *note = (const struct ring_note *)packet;
	seal = seal_open(true, &host_b.tls, NULL);
	while (seal && !seal_peer(seal)) {
		ssize_t n = recv(RING_FD_CHANNEL, packet, sizeof(packet), 0);
		if (n <= 0)
			_exit(1);
		if (note->kind != RING_CONTROL)
			continue;
		tell(RING_CONTROL_TAKEN, 0, 0, 0, NULL);
		if (seal_hear(seal, packet + sizeof(*note), note->length, NULL) < 0)
			_exit(1);
		if (seal_say(seal, &step, NULL) > 0)
			tell(RING_CONTROL, WIRE_SEAL, 0, (uint32_t)step.length, step.data);
	}
	buf_free(&step);
}

static void tell_sealed(uint16_t type, const char *text)
{
	uint8_t bytes[256];
	size_t length = strlen(text);
	memcpy(bytes, text, length);
	seal_put(seal, type, text, length, bytes + length, NULL);
	tell(RING_CONTROL, type, 0, (uint32_t)(length + SEAL_TAG), bytes);
}

// ---- what only the seal stops
static void control_without_a_seal(void)
{
	tell(RING_CONTROL, WIRE_COMMIT, 0, 20, "a commit of our own.");
}

static void control_shorter_than_a_seal(void)
{
	tell(RING_CONTROL, WIRE_COMMIT, 0, 3, "abc");
}

static void control_changed(void)
{
	uint8_t bytes[4 + SEAL_TAG] = "good";
	seal_put(seal, WIRE_MANIFEST, bytes, 4, bytes + 4, NULL);
	memcpy(bytes, "evil", 4);
	tell(RING_CONTROL, WIRE_MANIFEST, 0, sizeof(bytes), bytes);
}

static void control_of_another_type(void)
{
	uint8_t bytes[4 + SEAL_TAG] = "text";
	seal_put(seal, WIRE_ABORT, bytes, 4, bytes + 4, NULL);
	tell(RING_CONTROL, WIRE_COMMIT, 0, sizeof(bytes), bytes);
}

static void control_repeated(void)
{
	uint8_t bytes[4 + SEAL_TAG] = "once";
	seal_put(seal, WIRE_READY, bytes, 4, bytes + 4, NULL);
	tell(RING_CONTROL, WIRE_READY, 0, sizeof(bytes), bytes);
	tell(RING_CONTROL, WIRE_READY, 0, sizeof(bytes), bytes);
}

static void control_reordered(void)
{
	uint8_t first[5 + SEAL_TAG] = "first", second[6 + SEAL_TAG] = "second";
	seal_put(seal, WIRE_OBJECT, first, 5, first + 5, NULL);
	seal_put(seal, WIRE_OBJECT, second, 6, second + 6, NULL);
	tell(RING_CONTROL, WIRE_OBJECT, 0, sizeof(second), second);
	tell(RING_CONTROL, WIRE_OBJECT, 0, sizeof(first), first);
}

static void control_dropped(void)
{
	uint8_t dropped[SEAL_TAG];
	seal_put(seal, WIRE_ABORT, "", 0, dropped, NULL);
	tell_sealed(WIRE_COMMIT, "go");
}

static void control_sent_back(void)
{
	// What the parent sealed itself: the other direction has another key.
	const struct ring_note *note = (const struct ring_note *)packet;
	while (recv(RING_FD_CHANNEL, packet, sizeof(packet), 0) > 0)
		if (note->kind == RING_CONTROL) {
			tell(RING_CONTROL, note->type, 0, note->length, packet + sizeof(*note));
			return;
		}
}

// A data message with its seal, into the ring.
static void put_data(unsigned slot, uint16_t type, const char *text)
{
	static uint8_t *row;
	size_t length = strlen(text);
	if (!row)
		row = mmap(NULL, RING_ROW, PROT_READ | PROT_WRITE, MAP_SHARED, RING_FD_FROM_MOVER,
			   0);
	if (row == MAP_FAILED)
		_exit(1);
	uint8_t *to = ring_slot(row, slot);
	memcpy(to, text, length);
	seal_put_data(seal, type, text, length, to + length, NULL);
}

static void tell_data(unsigned slot, uint16_t type, size_t length)
{
	tell(RING_DATA, type, slot, (uint32_t)(length + SEAL_TAG), NULL);
}

static void data_without_a_seal(void)
{
	tell(RING_DATA, WIRE_PAGES, 0, PAGESTORE_PAGE, NULL);
}

static void data_shorter_than_a_seal(void)
{
	tell(RING_DATA, WIRE_PAGES, 0, 3, NULL);
}

static void data_of_another_type(void)
{
	put_data(0, WIRE_CHUNK, "text");
	tell_data(0, WIRE_PAGES, 4);
}

static void data_cut(void)
{
	put_data(0, WIRE_PAGES, "text");
	tell_data(0, WIRE_PAGES, 3);
}

static void data_repeated(void)
{
	put_data(0, WIRE_PAGES, "text");
	tell_data(0, WIRE_PAGES, 4);
	tell_data(0, WIRE_PAGES, 4);
}

static void data_dropped(void)
{
	put_data(0, WIRE_PAGES, "one");
	put_data(1, WIRE_PAGES, "two");
	tell_data(1, WIRE_PAGES, 3);
}

static void data_reordered(void)
{
	put_data(0, WIRE_PAGES, "one");
	put_data(1, WIRE_PAGES, "two");
	tell_data(1, WIRE_PAGES, 3);
	tell_data(0, WIRE_PAGES, 3);
}

// "All is sent" must not come before what it is about.
static void data_behind_control(void)
{
	put_data(0, WIRE_PAGES, "one");
	tell_sealed(WIRE_ROUND, "all");
	tell_data(0, WIRE_PAGES, 3);
}

static void seal_again(void)
{
	tell(RING_CONTROL, WIRE_SEAL, 0, 4, "once");
}

static void slot_out_of_range(void)
{
	tell(RING_DATA, WIRE_PAGES, LINK_SLOTS, 10, NULL);
}

static void slot_far_out_of_range(void)
{
	tell(RING_DATA, WIRE_PAGES, UINT32_MAX, 10, NULL);
}

static void slot_too_long(void)
{
	tell(RING_DATA, WIRE_PAGES, 0, WIRE_DATA_MAX + 1, NULL);
}

static void slot_twice(void)
{
	tell(RING_DATA, WIRE_PAGES, 3, 10, NULL);
	tell(RING_DATA, WIRE_PAGES, 3, 10, NULL);
}

static void slot_not_lent(void)
{
	tell(RING_SLOTS_TAKEN, 0, 1 << 2, 0, NULL);
}

static void slot_taken_out_of_range(void)
{
	tell(RING_SLOTS_TAKEN, 0, 1 << LINK_SLOTS, 0, NULL);
}

static void slots_taken_far_out_of_range(void)
{
	tell(RING_SLOTS_TAKEN, 0, UINT32_MAX, 0, NULL);
}

static void no_slots_taken(void)
{
	tell(RING_SLOTS_TAKEN, 0, 0, 0, NULL);
}

static void control_not_lent(void)
{
	tell(RING_CONTROL_TAKEN, 0, 0, 0, NULL);
}

static void control_over_credit(void)
{
	for (int i = 0; i <= LINK_CREDIT; i++)
		tell_sealed(WIRE_PING, "x");
}

static void control_of_unknown_type(void)
{
	tell(RING_CONTROL, 500, 0, 1, "x");
}

static void control_open(void)
{
	tell(RING_CONTROL, WIRE_OPEN, 0, 0, "");
}

static void data_as_control(void)
{
	tell(RING_CONTROL, WIRE_PAGES, 0, 1, "x");
}

static void control_as_data(void)
{
	tell(RING_DATA, WIRE_COMMIT, 0, 1, NULL);
}

static void length_that_lies(void)
{
	tell(RING_CONTROL, WIRE_PING, 0, 4096, NULL);
}

static void packet_too_long(void)
{
	static uint8_t bytes[sizeof(struct ring_note) + WIRE_CONTROL_MAX + 8];
	const struct ring_note note = {
		.kind = RING_CONTROL, .type = WIRE_PING, .length = WIRE_CONTROL_MAX};
	memcpy(bytes, &note, sizeof(note));
	tell_raw(bytes, sizeof(bytes));
}

static void packet_too_short(void)
{
	tell_raw("abc", 3);
}

static void kind_unknown(void)
{
	tell(77, 0, 0, 0, NULL);
}

static void kind_of_the_parent(void)
{
	tell(RING_FLUSH, 0, 0, 0, NULL);
}

static void flushed_unasked(void)
{
	tell(RING_FLUSHED, 0, 0, 0, NULL);
}

static void up_again(void)
{
	up();
}

static void death(void)
{
	_exit(0);
}

static void descriptors(void)
{
	const struct ring_note note = {.kind = RING_FLUSHED};
	int fds[] = {0, 1, 2};
	fdio_send_fds(RING_FD_CHANNEL, &note, sizeof(note), fds, 3, NULL);
}

static void failure_of_unknown_kind(void)
{
	tell(RING_FAILED, 999, 0, 5, "\x1b[31m");
}

static const struct {
	const char *name;
	void (*act)(void);
} acts[] = {
#define ACT(name)           \
	{                   \
#name, name \
	}
	ACT(slot_out_of_range),
	ACT(slot_far_out_of_range),
	ACT(slot_too_long),
	ACT(slot_twice),
	ACT(slot_not_lent),
	ACT(slot_taken_out_of_range),
	ACT(slots_taken_far_out_of_range),
	ACT(no_slots_taken),
	ACT(control_not_lent),
	ACT(control_over_credit),
	ACT(control_of_unknown_type),
	ACT(control_open),
	ACT(data_as_control),
	ACT(control_as_data),
	ACT(length_that_lies),
	ACT(packet_too_long),
	ACT(packet_too_short),
	ACT(kind_unknown),
	ACT(kind_of_the_parent),
	ACT(flushed_unasked),
	ACT(up_again),
	ACT(death),
	ACT(descriptors),
	ACT(failure_of_unknown_kind),
	ACT(control_without_a_seal),
	ACT(control_shorter_than_a_seal),
	ACT(control_changed),
	ACT(control_of_another_type),
	ACT(control_repeated),
	ACT(control_reordered),
	ACT(control_dropped),
	ACT(control_sent_back),
	ACT(data_without_a_seal),
	ACT(data_shorter_than_a_seal),
	ACT(data_of_another_type),
	ACT(data_cut),
	ACT(data_repeated),
	ACT(data_dropped),
	ACT(data_reordered),
	ACT(data_behind_control),
	ACT(seal_again),
};

static bool cannot_resize(int memory)
{
	struct stat st;
	if (fstat(memory, &st) < 0 || ftruncate(memory, 0) == 0 || errno != EPERM)
		return false;
	return ftruncate(memory, 2 * st.st_size) < 0 && errno == EPERM;
}

// What the parent fills is read-only here, however it is opened.
static bool cannot_write(int memory)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	_cleanup_close_ int again = open(path, O_RDWR | O_CLOEXEC);
	const int ways[] = {memory, again >= 0 ? again : memory};
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (mmap(NULL, RING_ROW, PROT_READ | PROT_WRITE, MAP_SHARED, ways[i], 0) !=
			    MAP_FAILED ||
		    pwrite(ways[i], "x", 1, 0) >= 0)
			return false;
	}
	uint8_t *row = mmap(NULL, RING_ROW, PROT_READ, MAP_SHARED, memory, 0);
	return row != MAP_FAILED && mprotect(row, RING_ROW, PROT_READ | PROT_WRITE) < 0;
}

// Whether all attacks on the memory are refused by the kernel.
static bool memory_withstands(void)
{
	return cannot_resize(RING_FD_TO_MOVER) && cannot_resize(RING_FD_FROM_MOVER) &&
	       cannot_write(RING_FD_TO_MOVER);
}

// Hands pages over as they came, and changes each at a moment of its own: before, while or after
// the parent takes it.
static void mutate(void)
{
	static uint8_t page[PAGESTORE_PAGE + SEAL_TAG];
	uint8_t *row =
		mmap(NULL, RING_ROW, PROT_READ | PROT_WRITE, MAP_SHARED, RING_FD_FROM_MOVER, 0);
	if (row == MAP_FAILED)
		_exit(1);
	memset(page, PAGE_VALUE, PAGESTORE_PAGE);
	seal_put_data(seal, WIRE_PAGES, page, PAGESTORE_PAGE, page + PAGESTORE_PAGE, NULL);
	memcpy(row, page, sizeof(page));
	tell_data(0, WIRE_PAGES, PAGESTORE_PAGE);
	for (long left = atol(getenv("HOSTILE_DELAY")); left > 0; left--)
		__asm__ volatile("" ::: "memory");
	memset(row, PAGE_VALUE + 1, PAGESTORE_PAGE);
	while (recv(RING_FD_CHANNEL, packet, sizeof(packet), 0) > 0)
		;
	_exit(0);
}

static int be_the_mover(const char *act)
{
	static char long_name[RING_TEXT_MAX + 1];
	json_t *start = NULL;
	chan_recv(RING_FD_CHANNEL, deadline_in_ms(FIXTURE_MS), &start, NULL, NULL, NULL);
	json_decref(start);
	if (!strcmp(act, "before_up"))
		tell(RING_CONTROL, WIRE_PING, 0, 1, "x");
	else if (!strcmp(act, "bad_name"))
		tell(RING_UP, 0, 0, 6, "../../");
	else if (!strcmp(act, "other_name"))
		tell(RING_UP, 0, 0, 5, "hostC");
	else if (!strcmp(act, "long_name"))
		tell(RING_UP, 0, 0, sizeof(long_name), memset(long_name, 'a', sizeof(long_name)));
	else
		up();
	if (strcmp(act, "join_hello") != 0)
		agree();
	if (!strcmp(act, "mutate"))
		mutate();
	if (!strcmp(act, "memory") && memory_withstands())
		tell_sealed(WIRE_STATE, "safe");
	if (!strcmp(act, "join_hello"))
		tell(RING_CONTROL, WIRE_HELLO, 0, 1, "x");
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++)
		if (!strcmp(acts[i].name, act))
			acts[i].act();
	char byte;
	while (recv(RING_FD_CHANNEL, &byte, 1, 0) > 0)
		; // until the parent closes
	return 0;
}

// ---- the privileged side
static struct link *open_link(const char *act, bool join, struct error *err)
{
	struct fixture_server peer; // the kernel accepts, nobody speaks
	setenv("HOSTILE_ACT", act, 1);
	fixture_listen(&peer);
	struct link *link = link_connect(peer.address, join ? NULL : "hostB", &host_a.tls, join,
					 deadline_in_ms(FIXTURE_MS), err);
	close(peer.listener);
	if (link && !strcmp(act, "control_sent_back"))
		link_send(link, WIRE_STATE, "ours, and sealed", 16, NULL);
	return link;
}

static void drain_until_failure(struct link *link, struct error *err)
{
	struct link_message held[LINK_SLOTS + LINK_CREDIT];
	size_t count = 0;
	int got = 1;
	// Whatever is handed out must be readable to its end.
	while (count < ARRAY_SIZE(held) &&
	       (got = link_recv(link, deadline_in_ms(FIXTURE_MS), &held[count], err)) == 1) {
		volatile uint8_t sum = 0;
		for (size_t i = 0; i < held[count].length; i++)
			sum = (uint8_t)(sum + held[count].payload[i]);
		count++;
	}
	if (got != -1)
		fail_msg("%s: nothing was wrong", getenv("HOSTILE_ACT"));
	while (count)
		link_done(link, &held[--count]);
}

static void test_every_misdeed_is_an_error(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		struct error err = {0};
		struct link *link = open_link(acts[i].name, false, &err);
		if (!link)
			fail_msg("%s: %s", acts[i].name, err.message);
		drain_until_failure(link, &err);
		if (err.id != ERR_PROTOCOL)
			fail_msg("%s: %s", acts[i].name, err.message);
		assert_null(strchr(err.message, '\x1b'));
		assert_int_equal(link_send(link, WIRE_PING, "", 0, &err), -1);
		assert_null(link_slot(link, deadline_in_ms(10), &err));
		link_close(link);
	}
}

static void test_misdeeds_before_the_handshake(void **state)
{
	static const char *const names[] = {"before_up", "bad_name", "long_name"};
	struct error err = {0};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_null(open_link(names[i], false, &err));
		assert_int_equal(err.id, ERR_PROTOCOL);
	}
	assert_null(open_link("other_name", false, &err));
	assert_int_equal(err.id, ERR_PEER_UNTRUSTED);
}

static void test_a_join_lets_nothing_else_in(void **state)
{
	struct error err = {0};
	struct link_message message;
	(void)state;
	struct link *link = open_link("join_hello", true, &err);
	if (link) {
		assert_int_equal(link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err), -1);
		link_close(link);
	}
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_non_null(strstr(err.message, "HELLO"));
}

static void test_the_memory_cannot_be_taken_away(void **state)
{
	struct error err = {0};
	struct link_message message;
	(void)state;
	struct link *link = open_link("memory", false, &err);
	assert_non_null(link);
	assert_int_equal(link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err), 1);
	assert_int_equal(message.type, WIRE_STATE);
	link_done(link, &message);
	uint8_t *slot = link_slot(link, deadline_in_ms(10), &err);
	assert_non_null(slot);
	memset(slot, 1, LINK_DATA_MAX); // no SIGBUS
	link_close(link);
}

// What is handed out is the page that was sealed, and stays it; or nothing is.
static void test_a_page_that_changes_while_it_is_taken(void **state)
{
	unsigned handed_out = 0;
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		static uint8_t sealed[PAGESTORE_PAGE];
		struct error err = {0};
		struct link_message message;
		char delay[16];
		snprintf(delay, sizeof(delay), "%u", i < 2 ? 0 : 1u << i / 2);
		setenv("HOSTILE_DELAY", delay, 1);
		struct link *link = open_link("mutate", false, &err);
		if (!link)
			fail_msg("%s", err.message);
		int got = link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err);
		memset(sealed, PAGE_VALUE, sizeof(sealed));
		if (got == 1) {
			assert_int_equal(message.length, PAGESTORE_PAGE);
			for (int again = 0; again < 100; again++)
				assert_memory_equal(message.payload, sealed, sizeof(sealed));
			link_done(link, &message);
			handed_out++;
		} else {
			assert_int_equal(got, -1);
			assert_int_equal(err.id, ERR_PROTOCOL);
		}
		link_close(link);
	}
	assert_true(handed_out > 0);
}

static int setup(void **state)
{
	char path[128], self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0 || fixture_setup(state) < 0)
		return -1;
	self[n] = 0;
	snprintf(path, sizeof(path), "%s/mover", fixture_top);
	setenv("RELOCD_LIBEXECDIR", fixture_top, 1);
	setenv("HOSTILE_TOP", fixture_top, 1);
	fixture_authority("ca");
	fixture_member(&host_a, "a", "hostA", "ca");
	fixture_member(&host_b, "b", "hostB", "ca");
	return symlink(self, path);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	(void)argc;
	if (name && !strcmp(name, "/mover")) {
		snprintf(fixture_top, sizeof(fixture_top), "%s", getenv("HOSTILE_TOP"));
		fixture_host_at(&host_b, "b");
		return be_the_mover(getenv("HOSTILE_ACT"));
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_misdeed_is_an_error),
		cmocka_unit_test(test_misdeeds_before_the_handshake),
		cmocka_unit_test(test_a_join_lets_nothing_else_in),
		cmocka_unit_test(test_the_memory_cannot_be_taken_away),
		cmocka_unit_test(test_a_page_that_changes_while_it_is_taken),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
