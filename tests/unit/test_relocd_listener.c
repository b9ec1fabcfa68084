// SPDX-License-Identifier: Apache-2.0
// What relocd does before TLS: strangers that say nothing, too little, or something else, floods,
// and tokens. This program stands in for arrival.
#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "relocd/peers/bulk.h"
#include "relocd/peers/listener.h"
#include "relocd/peers/ratelimit.h"
#include "relocd/supervisor/arrivals.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define WAIT_MS 10000

// ---- arrival ------------------------------------------------------------------------------------

static int reserve(char token[64])
{
	_cleanup_json_ json_t *answer = NULL;
	if (chan_call(3,
		      json_pack("{s:s, s:s, s:s, s:s}", "op", "peer", "name", "hostB", "key", "5a",
				"address", "10.0.0.2:7470"),
		      NULL, 0, deadline_in_ms(WAIT_MS), NULL, NULL) < 0 ||
	    chan_call(3,
		      json_pack("{s:s, s:s, s:i, s:b, s:s, s:{s:s, s:s, s:s, s:{s:[s]}}}", "op",
				"reserve", "move", "m-in1", "epoch", 3, "dry_run", 0, "from",
				"hostB", "definition", "name", "guest", "uuid",
				"7c6f1a52-0e0f-4c3b-9a39-4d7e7f7f0001", "rootfs", "/srv/x",
				"process", "args", "/bin/true"),
		      NULL, 0, deadline_in_ms(WAIT_MS), &answer, NULL) < 0)
		return -1;
	const char *text = json_string_value(json_object_get(answer, "token"));
	snprintf(token, 64, "%s", text ? text : "");
	return 0;
}

// Says A on its connection; with a move (TEST_MOVE), the move's token, and B on what comes by it.
static int be_arrival(void)
{
	_cleanup_json_ json_t *start = NULL, *message = NULL;
	char token[64] = "A";
	int sock = -1;
	size_t count = 1;
	if (chan_recv(3, deadline_in_ms(WAIT_MS), &start, NULL, NULL, NULL) < 0 || !start)
		return 9;
	if (getenv("TEST_MOVE") && reserve(token) < 0)
		return 8;
	if (send(4, token, strlen(token), MSG_NOSIGNAL) < 0)
		return 7;
	if (!getenv("TEST_MOVE"))
		return 0;
	if (chan_recv(3, deadline_in_ms(WAIT_MS), &message, &sock, &count, NULL) < 0 || count != 1)
		return 6;
	return send(sock, "B", 1, MSG_NOSIGNAL) != 1;
}

// ---- relocd -------------------------------------------------------------------------------------

struct fixture {
	char folder[64];
	struct daemon d;
	pthread_t loop;
	uint16_t port;
};

static void *serve(void *arg)
{
	struct fixture *f = arg;
	loop_run(f->d.loop, NULL);
	return NULL;
}

static void put_self(const struct fixture *f, const char *name)
{
	char self[512], path[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	assert_true(n > 0);
	self[n] = 0;
	snprintf(path, sizeof(path), "%s/%s", f->folder, name);
	assert_int_equal(symlink(self, path), 0);
}

static uint16_t free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	_cleanup_close_ int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(sock, (struct sockaddr *)&address, &length), 0);
	return ntohs(address.sin_port);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = {0};
	char text[128];
	strcpy(f->folder, "/tmp/test_relocd.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	setenv("RELOCD_STATEDIR", f->folder, 1);
	setenv("RELOCD_RUNDIR", f->folder, 1);
	setenv("RELOCD_LIBEXECDIR", f->folder, 1);
	setenv("RELOCD_ETCDIR", f->folder, 1);
	unsetenv("TEST_MOVE");
	put_self(f, "arrival");
	f->port = free_port();
	snprintf(text, sizeof(text), "host: hostA\nlisten: 0.0.0.0:%u\n", f->port);
	if (config_parse("", text, strlen(text), &f->d.config, &err) < 0 ||
	    daemon_open(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	daemon_lock(&f->d);
	if (listener_start(&f->d, &err) < 0)
		fail_msg("%s", err.message);
	daemon_unlock(&f->d);
	assert_int_equal(pthread_create(&f->loop, NULL, serve, f), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	deadline_t deadline = deadline_in_ms(WAIT_MS);
	daemon_lock(&f->d);
	while (f->d.arrivals && daemon_wait(&f->d, deadline))
		;
	f->d.stopping = true;
	listener_stop(&f->d);
	loop_stop(f->d.loop);
	daemon_changed(&f->d);
	daemon_unlock(&f->d);
	pthread_join(f->loop, NULL);
	assert_true(daemon_idle(&f->d));
	moves_free(&f->d);
	partitions_free(&f->d);
	daemon_close(&f->d);
	fdio_remove_tree(AT_FDCWD, f->folder, NULL);
	free(f);
	return 0;
}

// ---- strangers ----------------------------------------------------------------------------------

// From 127.0.0.`source`.
static int connect_from(const struct fixture *f, unsigned source)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + source)};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(f->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(sock >= 0);
	assert_int_equal(bind(sock, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(connect(sock, (struct sockaddr *)&to, sizeof(to)), 0);
	return sock;
}

static void say(int sock, const void *bytes, size_t length)
{
	send(sock, bytes, length, MSG_NOSIGNAL); // it may be closed already
}

static void say_preamble(int sock, enum wire_kind kind)
{
	uint8_t preamble[WIRE_PREAMBLE];
	wire_preamble_put(preamble, kind);
	say(sock, preamble, sizeof(preamble));
}

// What is heard within `ms`: the number of bytes, 0: it was closed, -1: nothing.
static ssize_t hear(int sock, char *text, size_t room, int64_t ms)
{
	memset(text, 0, room);
	if (fdio_wait(sock, POLLIN, deadline_in_ms(ms), NULL) != 1)
		return -1;
	ssize_t n = recv(sock, text, room - 1, 0);
	return n < 0 ? 0 : n; // a reset closes too
}

static void expect_closed(int sock, int64_t ms)
{
	char text[64];
	assert_int_equal(hear(sock, text, sizeof(text), ms), 0);
	close(sock);
}

static void expect_served(const struct fixture *f, unsigned source)
{
	char text[64];
	int sock = connect_from(f, source);
	say_preamble(sock, WIRE_KIND_CONTROL);
	assert_int_equal(hear(sock, text, sizeof(text), WAIT_MS), 1);
	assert_string_equal(text, "A");
	close(sock);
}

static void garbage_is_closed_at_once(void **state)
{
	static const char *const texts[] = {
		"GET / HTTP/1.1\r\nHost: relocd\r\n\r\n",
		"\x16\x03\x01\x02\x05\x01\x05\xfc\x03\x03 a ClientHello, no preamble",
		"WPAR/2\r\n a version that is not spoken",
		"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12",
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int sock = connect_from(f, 1);
		say(sock, texts[i], strlen(texts[i]));
		expect_closed(sock, WAIT_MS);
	}
	// Right but for one bit, of each byte.
	for (size_t i = 0; i < WIRE_PREAMBLE; i++) {
		uint8_t preamble[WIRE_PREAMBLE];
		wire_preamble_put(preamble, WIRE_KIND_CONTROL);
		preamble[i] ^= 0x10;
		int sock = connect_from(f, 1);
		say(sock, preamble, sizeof(preamble));
		expect_closed(sock, WAIT_MS);
	}
	daemon_lock(&f->d);
	assert_int_equal(f->d.arrivals, 0);
	daemon_unlock(&f->d);
	expect_served(f, 1);
}

static void half_a_preamble_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	int silent = connect_from(f, 1), half = connect_from(f, 1), slow = connect_from(f, 1);
	char text[64];
	int64_t began = clock_now_ns();
	say(half, "WPAR/1\r\n", 8);
	// A byte now and then buys no time.
	ssize_t heard = -1;
	for (int i = 0; heard < 0 && i < 100; i++) {
		say(slow, "W", 1);
		heard = hear(slow, text, sizeof(text), 100);
	}
	assert_int_equal(heard, 0);
	assert_true(clock_ms_since(began) < LISTENER_PREAMBLE_MS + 3000);
	close(slow);
	expect_closed(silent, WAIT_MS);
	expect_closed(half, WAIT_MS);
	expect_served(f, 1);
}

static void a_flood_of_silence_leaves_room_for_others(void **state)
{
	struct fixture *f = *state;
	int flood[LISTENER_PENDING_SOURCE + 20];
	for (size_t i = 0; i < ARRAY_SIZE(flood); i++)
		flood[i] = connect_from(f, 1);
	expect_served(f, 2);
	// Those over the limit of one source were closed unread.
	unsigned closed = 0;
	for (size_t i = 0; i < ARRAY_SIZE(flood); i++) {
		char text[8];
		closed += hear(flood[i], text, sizeof(text), 0) == 0;
		close(flood[i]);
	}
	assert_int_equal(closed, ARRAY_SIZE(flood) - LISTENER_PENDING_SOURCE);
}

static void a_flood_of_connections_leaves_room_for_others(void **state)
{
	struct fixture *f = *state;
	unsigned refused = 0;
	for (unsigned i = 0; i < 3 * RATELIMIT_BURST; i++) {
		int sock = connect_from(f, 1);
		say(sock, "garbage, all of it, 32 bytes....", WIRE_PREAMBLE);
		expect_closed(sock, WAIT_MS);
	}
	for (unsigned i = 0; i < 20; i++) {
		char text[8];
		int sock = connect_from(f, 1);
		say_preamble(sock, WIRE_KIND_CONTROL);
		refused += hear(sock, text, sizeof(text), WAIT_MS) == 0;
		close(sock);
	}
	assert_true(refused > 0);
	expect_served(f, 2);
}

// ---- tokens -------------------------------------------------------------------------------------

static int connect_with_token(const struct fixture *f, const uint8_t token[WIRE_TOKEN])
{
	uint8_t preamble[WIRE_PREAMBLE];
	int sock = connect_from(f, 1);
	wire_preamble_put_bulk(preamble, token);
	say(sock, preamble, sizeof(preamble));
	return sock;
}

static void a_token_leads_to_its_move_alone(void **state)
{
	struct fixture *f = *state;
	uint8_t token[WIRE_TOKEN], other[WIRE_TOKEN];
	char text[64];
	assert_int_equal(bulk_token("m-in1", 3, token, NULL), 0);
	expect_closed(connect_with_token(f, token), WAIT_MS); // there is no such move yet
	setenv("TEST_MOVE", "1", 1);
	int control = connect_from(f, 1);
	say_preamble(control, WIRE_KIND_CONTROL);
	assert_int_equal(hear(control, text, sizeof(text), WAIT_MS), 2 * WIRE_TOKEN);
	for (size_t i = 0; i < WIRE_TOKEN; i++) { // it was told the same
		char digits[3];
		snprintf(digits, sizeof(digits), "%02x", token[i]);
		assert_memory_equal(text + 2 * i, digits, 2);
	}
	assert_int_equal(bulk_token("m-in2", 3, other, NULL), 0);
	expect_closed(connect_with_token(f, other), WAIT_MS);
	assert_int_equal(bulk_token("m-in1", 2, other, NULL), 0); // of an epoch before
	expect_closed(connect_with_token(f, other), WAIT_MS);
	memset(other, 0, sizeof(other));
	expect_closed(connect_with_token(f, other), WAIT_MS);
	int bulk = connect_with_token(f, token);
	assert_int_equal(hear(bulk, text, sizeof(text), WAIT_MS), 1);
	assert_string_equal(text, "B");
	close(bulk);
	close(control);
}

// ---- the buckets --------------------------------------------------------------------------------

static struct ratelimit_source source6(const char *address)
{
	struct sockaddr_storage storage = {.ss_family = AF_INET6};
	assert_int_equal(
		inet_pton(AF_INET6, address, &((struct sockaddr_in6 *)&storage)->sin6_addr), 1);
	return ratelimit_source_of(&storage);
}

static void a_source_is_an_address_or_a_network_of_64_bits(void **state)
{
	struct sockaddr_storage four = {.ss_family = AF_INET};
	(void)state;
	inet_pton(AF_INET, "10.0.0.1", &((struct sockaddr_in *)&four)->sin_addr);
	assert_true(ratelimit_same(ratelimit_source_of(&four), source6("::ffff:10.0.0.1")));
	assert_false(ratelimit_same(ratelimit_source_of(&four), source6("::ffff:10.0.0.2")));
	assert_true(ratelimit_same(source6("fd77:1:2:3::1"), source6("fd77:1:2:3:ffff::9")));
	assert_false(ratelimit_same(source6("fd77:1:2:3::1"), source6("fd77:1:2:4::1")));
	assert_false(ratelimit_same(source6("::ffff:0.0.0.0"), source6("::1")));
}

static void buckets_run_dry_and_fill(void **state)
{
	static struct ratelimit limit;
	const struct ratelimit_source one = {1, false}, two = {1, true};
	int64_t now = 1000000000;
	(void)state;
	for (int i = 0; i < RATELIMIT_BURST; i++)
		assert_true(ratelimit_take(&limit, one, now));
	assert_false(ratelimit_take(&limit, one, now));
	assert_true(ratelimit_take(&limit, two, now));
	now += 1000000000 / RATELIMIT_RATE + 1000;
	assert_true(ratelimit_take(&limit, one, now));
	assert_false(ratelimit_take(&limit, one, now));
	// The table is bounded; who was quiet longest is forgotten first.
	for (uint64_t i = 0; i < 10 * RATELIMIT_SOURCES; i++) {
		assert_true(ratelimit_take(&limit, (struct ratelimit_source){i + 10, true}, ++now));
		assert_false(ratelimit_take(&limit, one, ++now));
	}
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	(void)argc;
	if (name && !strcmp(name, "/arrival"))
		return be_arrival();
#define WITH_RELOCD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_RELOCD(garbage_is_closed_at_once),
		WITH_RELOCD(half_a_preamble_is_not_waited_for),
		WITH_RELOCD(a_flood_of_silence_leaves_room_for_others),
		WITH_RELOCD(a_flood_of_connections_leaves_room_for_others),
		WITH_RELOCD(a_token_leads_to_its_move_alone),
		cmocka_unit_test(a_source_is_an_address_or_a_network_of_64_bits),
		cmocka_unit_test(buckets_run_dry_and_fill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
