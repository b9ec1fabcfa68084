// SPDX-License-Identifier: Apache-2.0
// A stranger on the wire between two hosts: TLS records are cut, dropped, repeated, exchanged and
// flipped at every place of a conversation. Both ends must end in an error, and what was heard is
// always the beginning of what was said.
#include "tests/unit/link_fixture.h"

#include <poll.h>

static struct fixture_host host_a, host_b;

static const uint16_t said[] = {WIRE_HELLO, WIRE_OFFER,      WIRE_FROZEN,   WIRE_OBJECT,
				WIRE_CHUNK, WIRE_OBJECT_END, WIRE_MANIFEST, WIRE_COMMIT};

#define RECORDS_MAX 64
#define RECORD_MAX  (5 + 17000)

enum mischief { NOTHING, CUT, DROP, REPEAT, EXCHANGE, FLIP, KINDS };

struct wire {
	pthread_t thread;
	int listener, client, server;
	const struct fixture_server *behind;
	char address[64];
	enum mischief what;
	int at;      // which record of the connecting side
	int records; // how many it has sent
	bool happened;
	uint8_t held[RECORD_MAX];
	size_t held_length;
};

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	fixture_use_build();
	fixture_authority("ca");
	fixture_member(&host_a, "a", "hostA", "ca");
	fixture_member(&host_b, "b", "hostB", "ca");
	return 0;
}

static bool pass(struct wire *w, const uint8_t *record, size_t length)
{
	return fdio_write_all(w->server, record, length, NULL) == 0;
}

static bool tamper(struct wire *w, uint8_t *record, size_t length)
{
	w->happened = true;
	switch (w->what) {
	case CUT:
		pass(w, record, length / 2);
		return false;
	case DROP:
		return true;
	case REPEAT:
		return pass(w, record, length) && pass(w, record, length);
	case EXCHANGE:
		memcpy(w->held, record, length);
		w->held_length = length;
		return true;
	default:
		record[5 + (length - 5) / 2] ^= 1;
		return pass(w, record, length);
	}
}

static bool carry_record(struct wire *w)
{
	static uint8_t record[RECORD_MAX];
	if (fdio_read_all(w->client, record, 5, NULL) < 0)
		return false;
	size_t length = 5 + (size_t)(record[3] << 8 | record[4]);
	if (length > sizeof(record) || fdio_read_all(w->client, record + 5, length - 5, NULL) < 0)
		return false;
	// TLS 1.3 ignores change_cipher_spec, which is only there for the looks.
	bool counts = record[0] != 20;
	if (w->what != NOTHING && counts && w->records++ == w->at)
		return tamper(w, record, length);
	if (!pass(w, record, length))
		return false;
	size_t held = w->held_length;
	w->held_length = 0;
	return !held || pass(w, w->held, held);
}

static bool carry_back(struct wire *w)
{
	uint8_t bytes[4096];
	ssize_t n = recv(w->server, bytes, sizeof(bytes), 0);
	return n > 0 && fdio_write_all(w->client, bytes, (size_t)n, NULL) == 0;
}

static int connect_behind(const struct fixture_server *behind)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port =
					 htons((uint16_t)atoi(strchr(behind->address, ':') + 1))};
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : sock;
}

static void *carry(void *argument)
{
	struct wire *w = argument;
	uint8_t preamble[WIRE_PREAMBLE];
	w->client = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
	w->server = connect_behind(w->behind);
	bool going = fdio_read_all(w->client, preamble, sizeof(preamble), NULL) == 0 &&
		     pass(w, preamble, sizeof(preamble));
	while (going) {
		struct pollfd fds[] = {{.fd = w->client, .events = POLLIN},
				       {.fd = w->server, .events = POLLIN}};
		if (poll(fds, 2, FIXTURE_MS) <= 0)
			break;
		if (fds[0].revents)
			going = carry_record(w);
		if (going && fds[1].revents)
			going = carry_back(w);
	}
	close(w->client);
	close(w->server);
	return NULL;
}

struct heard {
	uint16_t types[RECORDS_MAX];
	size_t count;
	bool failed;
};

static void hear(struct link *link, void *argument)
{
	struct heard *heard = argument;
	struct link_message message;
	int got;
	while ((got = link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL)) == 1 &&
	       heard->count < RECORDS_MAX) {
		heard->types[heard->count++] = message.type;
		bool last = message.type == WIRE_COMMIT;
		link_done(link, &message);
		if (last)
			link_send(link, WIRE_RUNNING, "", 0, NULL);
	}
	heard->failed = got < 0;
}

// Returns whether the whole conversation took place.
static bool converse(const char *address)
{
	struct error err;
	struct link_message message = {.slot = -1};
	bool whole = false;
	struct link *link =
		link_connect(address, "hostB", &host_a.tls, false, deadline_in_ms(2000), &err);
	for (size_t i = 0; link && i < ARRAY_SIZE(said); i++) {
		void *slot =
			wire_is_data(said[i]) ? link_slot(link, deadline_in_ms(2000), &err) : NULL;
		if (slot)
			memset(slot, 1, 100);
		if ((slot ? link_send_slot(link, said[i], slot, 100, &err)
			  : link_send(link, said[i], "payload", 7, &err)) < 0 ||
		    link_flush(link, deadline_in_ms(2000), &err) < 0)
			break; // a record of its own for each
		if (said[i] == WIRE_COMMIT) {
			whole = link_recv(link, deadline_in_ms(1000), &message, &err) == 1 &&
				message.type == WIRE_RUNNING;
			link_done(link, &message);
		}
	}
	link_close(link);
	return whole;
}

static void play(enum mischief what, int at, struct wire *w, struct heard *heard, bool *whole)
{
	struct fixture_server server = {.tls = &host_b.tls, .play = hear, .argument = heard};
	struct fixture_server front;
	*w = (struct wire){.what = what, .at = at, .behind = &server};
	*heard = (struct heard){0};
	fixture_listen(&front);
	w->listener = front.listener;
	fixture_start(&server);
	assert_int_equal(pthread_create(&w->thread, NULL, carry, w), 0);
	*whole = converse(front.address);
	pthread_join(w->thread, NULL);
	fixture_join(&server);
	close(front.listener);
	// Never anything that was not said, nor twice, nor out of order.
	assert_true(heard->count <= ARRAY_SIZE(said));
	for (size_t i = 0; i < heard->count; i++)
		assert_int_equal(heard->types[i], said[i]);
}

static void test_without_mischief_all_passes(void **state)
{
	struct wire w;
	struct heard heard;
	bool whole;
	(void)state;
	play(NOTHING, 0, &w, &heard, &whole);
	assert_true(whole);
	assert_int_equal(heard.count, ARRAY_SIZE(said));
}

static void mischief_everywhere(enum mischief what)
{
	struct wire w;
	struct heard heard;
	bool whole;
	int at = 0;
	for (;; at++) {
		play(what, at, &w, &heard, &whole);
		if (!w.happened)
			break;
		// The last record is close_notify: by then all was said.
		if (whole && heard.count < ARRAY_SIZE(said))
			fail_msg("mischief %d at record %d went unnoticed", what, at);
		if (at < 3)
			assert_false(whole); // handshake and seal
	}
	assert_true(at >= 10); // it came to every message
}

static void test_cut_at_every_message(void **state)
{
	(void)state;
	mischief_everywhere(CUT);
}

static void test_flipped_bit_in_every_message(void **state)
{
	(void)state;
	mischief_everywhere(FLIP);
}

static void test_repeated_message(void **state)
{
	(void)state;
	mischief_everywhere(REPEAT);
}

static void test_left_out_and_exchanged_messages(void **state)
{
	static const enum mischief kinds[] = {DROP, EXCHANGE};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int at = 0; at < 12; at += 3) {
			struct wire w;
			struct heard heard;
			bool whole;
			play(kinds[i], at, &w, &heard, &whole);
			assert_true(w.happened);
			if (whole && at < 10)
				fail_msg("mischief %d at record %d went unnoticed", kinds[i], at);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_mischief_all_passes),
		cmocka_unit_test(test_cut_at_every_message),
		cmocka_unit_test(test_flipped_bit_in_every_message),
		cmocka_unit_test(test_repeated_message),
		cmocka_unit_test(test_left_out_and_exchanged_messages),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
