// SPDX-License-Identifier: Apache-2.0
// A captured mover: this program is also the mover, and misbehaves in every way that the channel
// and the ring allow. The privileged side must report an error each time, and nothing else.
#include "lib/base/chan.h"
#include "lib/transport/ring.h"
#include "tests/unit/link_fixture.h"

#include <errno.h>
#include <sys/mman.h>

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
	tell(RING_SLOT_TAKEN, 0, 2, 0, NULL);
}

static void slot_taken_out_of_range(void)
{
	tell(RING_SLOT_TAKEN, 0, 40, 0, NULL);
}

static void control_not_lent(void)
{
	tell(RING_CONTROL_TAKEN, 0, 0, 0, NULL);
}

static void control_over_credit(void)
{
	for (int i = 0; i <= LINK_CREDIT; i++)
		tell(RING_CONTROL, WIRE_PING, 0, 1, "x");
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
};

// 0: all attacks on the memory are refused by the kernel.
static int attack_memory(void)
{
	void *row = mmap(NULL, RING_ROW, PROT_READ, MAP_SHARED, RING_FD_MEMORY, 0);
	if (row == MAP_FAILED || ftruncate(RING_FD_MEMORY, 0) == 0 || errno != EPERM)
		return 1;
	return ftruncate(RING_FD_MEMORY, (off_t)(4 * RING_ROW)) == 0 || errno != EPERM;
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
	if (!strcmp(act, "memory") && attack_memory() == 0)
		tell(RING_CONTROL, WIRE_STATE, 0, 4, "safe");
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
	const struct link_tls tls = {.ca = "x"};
	setenv("HOSTILE_ACT", act, 1);
	return link_connect("127.0.0.1:1", join ? NULL : "hostB", &tls, join,
			    deadline_in_ms(FIXTURE_MS), err);
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
	assert_int_equal(got, -1);
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
	memset(slot, 1, WIRE_DATA_MAX); // no SIGBUS
	link_close(link);
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
	return symlink(self, path);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	(void)argc;
	if (name && !strcmp(name, "/mover"))
		return be_the_mover(getenv("HOSTILE_ACT"));
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_misdeed_is_an_error),
		cmocka_unit_test(test_misdeeds_before_the_handshake),
		cmocka_unit_test(test_a_join_lets_nothing_else_in),
		cmocka_unit_test(test_the_memory_cannot_be_taken_away),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
