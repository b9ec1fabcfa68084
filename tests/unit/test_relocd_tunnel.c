// SPDX-License-Identifier: Apache-2.0
// The bytes of a call between two hosts over real links, and peers that break its rules or stand
// still.
#include "tests/unit/link_fixture.h"

#include "relocd/move/talk.h"
#include "relocd/move/tunnel.h"

#include <errno.h>
#include <poll.h>

// The accepting side: a tunnel to a socket pair, or a script that misbehaves.
struct play {
	int sock;
	int failed;
	struct error err;
	void (*script)(struct link *link);
};

static void play_tunnel(struct link *link, void *argument)
{
	struct play *p = argument;
	p->failed = tunnel_run(link, p->sock, false, DEADLINE_NEVER, &p->err);
	close(p->sock);
}

// Lets the other side go first: what it is told must reach it before the connection ends.
static void play_script(struct link *link, void *argument)
{
	struct play *p = argument;
	struct link_message message;
	p->script(link);
	while (link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &p->err) > 0)
		link_done(link, &message);
}

struct call {
	struct fixture_host a, b;
	struct fixture_server server;
	struct play play;
	struct link *link;
	int ours[2], theirs[2];
	pthread_t thread;
	int failed;
	struct error err;
};

static void *run_origin(void *argument)
{
	struct call *c = argument;
	c->link = link_connect(c->server.address, "hostB", &c->a.tls, false,
			       deadline_in_ms(FIXTURE_MS), &c->err);
	c->failed = c->link ? tunnel_run(c->link, c->ours[1], true, DEADLINE_NEVER, &c->err) : -2;
	close(c->ours[1]);
	link_close(c->link);
	return NULL;
}

// Both hosts and a pair of sockets on each.
static void prepare(struct call *c, const char *name)
{
	char authority[64], a[64], b[64];
	memset(c, 0, sizeof(*c));
	snprintf(authority, sizeof(authority), "ca-%s", name);
	snprintf(a, sizeof(a), "a-%s", name);
	snprintf(b, sizeof(b), "b-%s", name);
	fixture_authority(authority);
	fixture_member(&c->a, a, "hostA", authority);
	fixture_member(&c->b, b, "hostB", authority);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->ours), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c->theirs), 0);
	c->play = (struct play){.sock = c->theirs[1]};
	c->server = (struct fixture_server){.tls = &c->b.tls, .argument = &c->play};
}

static void begin(struct call *c, const char *name, void (*script)(struct link *link))
{
	prepare(c, name);
	// what is not read soon comes to a stop
	int room = 1;
	setsockopt(c->ours[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	c->play.script = script;
	c->server.play = script ? play_script : play_tunnel;
	fixture_start(&c->server);
	assert_int_equal(pthread_create(&c->thread, NULL, run_origin, c), 0);
}

static void end(struct call *c)
{
	pthread_join(c->thread, NULL);
	fixture_join(&c->server);
	close(c->ours[0]);
	close(c->theirs[0]);
}

static void expect_good_end(const struct call *c)
{
	if (c->failed)
		fail_msg("%d %s; %s; %s", c->failed, c->err.message, c->server.err.message,
			 c->play.err.message);
}

// Sends `length` bytes into one end while it takes them from the other.
static void pass(int from, int to, size_t length)
{
	uint8_t out[8192], in[8192];
	size_t sent = 0, got = 0;
	while (got < length) {
		struct pollfd fds[] = {{.fd = from, .events = (short)(sent < length ? POLLOUT : 0)},
				       {.fd = to, .events = POLLIN}};
		assert_true(poll(fds, 2, FIXTURE_MS) > 0);
		if ((fds[0].revents & POLLHUP) && !(fds[1].revents & POLLIN))
			fail_msg("after %zu of %zu bytes: the call has ended", got, length);
		if (fds[0].revents & POLLOUT) {
			size_t n = length - sent < sizeof(out) ? length - sent : sizeof(out);
			for (size_t i = 0; i < n; i++)
				out[i] = (uint8_t)((sent + i) * 7 + (sent + i) / 251);
			ssize_t took = send(from, out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
			sent += took > 0 ? (size_t)took : 0;
		}
		if (!(fds[1].revents & POLLIN))
			continue;
		ssize_t n = recv(to, in, sizeof(in), 0);
		if (n <= 0)
			fail_msg("after %zu of %zu bytes: %s", got, length,
				 n ? strerror(errno) : "end");
		for (ssize_t i = 0; i < n; i++, got++)
			if (in[i] != (uint8_t)(got * 7 + got / 251))
				fail_msg("byte %zu is wrong", got);
	}
}

static void test_both_ways(void **state)
{
	struct call c;
	uint8_t byte;
	(void)state;
	begin(&c, "ways", NULL);
	pass(c.ours[0], c.theirs[0], 3 * TUNNEL_WINDOW + 77);
	pass(c.theirs[0], c.ours[0], 5 * TUNNEL_WINDOW + 1);
	// single bytes, more of them than the window counts frames
	for (int i = 0; i < 2 * TUNNEL_WINDOW / TUNNEL_FRAME_MIN; i++)
		pass(c.ours[0], c.theirs[0], 1);
	// what was said last is delivered, then the end
	assert_int_equal(send(c.theirs[0], "x", 1, 0), 1);
	close(c.theirs[0]);
	c.theirs[0] = -1;
	assert_int_equal(recv(c.ours[0], &byte, 1, 0), 1);
	assert_int_equal(recv(c.ours[0], &byte, 1, 0), 0);
	end(&c);
	expect_good_end(&c);
	assert_int_equal(c.play.failed, 0);
}

static void test_origin_goes_away(void **state)
{
	struct call c;
	uint8_t byte;
	(void)state;
	begin(&c, "away", NULL);
	pass(c.ours[0], c.theirs[0], 100);
	close(c.ours[0]);
	c.ours[0] = -1;
	assert_int_equal(recv(c.theirs[0], &byte, 1, 0), 0);
	end(&c);
	expect_good_end(&c);
}

// Nobody reads at the target: the writer is stopped at the window, the link lives, and when the
// origin goes then, that is noticed.
static void test_reader_stands_still(void **state)
{
	struct call c;
	static uint8_t bytes[64 * 1024];
	size_t sent = 0;
	(void)state;
	begin(&c, "still", NULL);
	struct pollfd out = {.fd = c.ours[0], .events = POLLOUT};
	// the window takes as long as it takes; then nothing goes on
	while (poll(&out, 1, sent < TUNNEL_WINDOW ? FIXTURE_MS : 500) > 0) {
		ssize_t n = send(c.ours[0], bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		assert_true(sent < 16 * TUNNEL_WINDOW);
	}
	assert_true(sent >= TUNNEL_WINDOW);
	pass(c.theirs[0], c.ours[0], 1000); // the other way is open
	close(c.ours[0]);
	c.ours[0] = -1;
	pthread_join(c.thread, NULL);
	expect_good_end(&c);
	close(c.theirs[0]);
	fixture_join(&c.server);
}

// ---- hostile ------------------------------------------------------------------------------------

static void send_stream(struct link *link, size_t length)
{
	static const uint8_t bytes[32768];
	link_send(link, WIRE_STREAM, bytes, length, NULL);
}

// Nobody reads the origin's socket beyond what it holds.
static void script_more_than_window(struct link *link)
{
	for (int i = 0; i < 4 * TUNNEL_WINDOW / 32768; i++)
		send_stream(link, 32768);
}

static void script_many_small(struct link *link)
{
	for (int i = 0; i < 4096; i++)
		send_stream(link, 1);
}

static void script_empty(struct link *link)
{
	send_stream(link, 0);
}

static void script_taken_for_nothing(struct link *link)
{
	Wpar__Taken taken = WPAR__TAKEN__INIT;
	taken.bytes = 1;
	talk_send(link, WIRE_TAKEN, &taken.base, NULL);
}

static void script_taken_garbage(struct link *link)
{
	link_send(link, WIRE_TAKEN, "\xff\xff\xff", 3, NULL);
}

static void script_offer(struct link *link)
{
	link_send(link, WIRE_OFFER, "", 0, NULL);
}

static void script_second_call(struct link *link)
{
	link_send(link, WIRE_CALL, "", 0, NULL);
}

static void test_hostile(void **state)
{
	static const struct {
		const char *name;
		void (*script)(struct link *link);
	} scripts[] = {
		{"window", script_more_than_window},
		{"small", script_many_small},
		{"empty", script_empty},
		{"taken", script_taken_for_nothing},
		{"garbage", script_taken_garbage},
		{"offer", script_offer},
		{"call", script_second_call},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		struct call c;
		begin(&c, scripts[i].name, scripts[i].script);
		pthread_join(c.thread, NULL);
		if (c.failed != -1 || c.err.id != ERR_PROTOCOL)
			fail_msg("%s: %d %s; %s; %s", scripts[i].name, c.failed, c.err.message,
				 c.server.err.message, c.play.err.message);
		fixture_join(&c.server);
		close(c.ours[0]);
		close(c.theirs[0]);
		close(c.theirs[1]);
	}
}

// ---- moves --------------------------------------------------------------------------------------

// A peer that stands still while it should take a partition is as good as dead: never a mere
// deadline, whichever end notices first.
static void stand_still(struct call *c)
{
	c->link = link_connect(c->server.address, "hostB", &c->a.tls, false,
			       deadline_in_ms(FIXTURE_MS), &c->err);
	void *slot = NULL;
	while (c->link && (slot = talk_slot(c->link, deadline_in_ms(300), &c->err)))
		if (link_send_slot(c->link, WIRE_PAGES, slot, LINK_DATA_MAX, &c->err) < 0)
			break;
	shutdown(c->theirs[0], SHUT_WR); // the other side may go
	link_close(c->link);
}

static void take_nothing(struct link *link, void *argument)
{
	struct play *p = argument;
	uint8_t byte;
	(void)link;
	p->failed = recv(p->sock, &byte, 1, 0) != 0;
}

static void test_peer_takes_no_pages(void **state)
{
	struct call c;
	(void)state;
	prepare(&c, "pages");
	c.server.play = take_nothing;
	fixture_start(&c.server);
	stand_still(&c);
	fixture_join(&c.server);
	assert_int_equal(c.err.id, ERR_PEER_UNREACHABLE);
	assert_non_null(strstr(c.err.message, "takes no data"));
	for (int i = 0; i < 2; i++) {
		close(c.ours[i]);
		close(c.theirs[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),           cmocka_unit_test(test_origin_goes_away),
		cmocka_unit_test(test_reader_stands_still), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_peer_takes_no_pages),
	};
	fixture_use_build();
	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
