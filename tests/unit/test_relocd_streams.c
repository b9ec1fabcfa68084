// SPDX-License-Identifier: Apache-2.0
// Several connections of one move: what departure spreads over them, and what an arrival lets in.
#include "relocd/arrival/arrival.h"
#include "relocd/departure/channels.h"
#include "relocd/move/talk.h"
#include "tests/unit/link_fixture.h"

#define MOVE   "m-streams"
#define EPOCH  7
#define FRAMES 200

static struct fixture_host host_a, host_b, host_c;
static struct arrival arrival;
static Wpar__Offer offer;
static unsigned came; // PAGES on further connections

// ---- what of an arrival is not under test

int arrival_take_pages(struct arrival *a, bool rounds_only, const struct link_message *message,
		       struct error *err)
{
	(void)a, (void)message, (void)err;
	assert_true(rounds_only);
	came++;
	return 0;
}

int arrival_check_cancel(struct arrival *a, struct error *err)
{
	(void)a, (void)err;
	return 0;
}

// ---- the accepting side -------------------------------------------------------------------------

static int accept_socket(const struct fixture_server *server)
{
	uint8_t preamble[WIRE_PREAMBLE];
	int sock = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(sock >= 0);
	assert_int_equal(fdio_read_all(sock, preamble, sizeof(preamble), NULL), 0);
	return sock;
}

static void accept_control(const struct fixture_server *server)
{
	struct error err;
	offer = (Wpar__Offer)WPAR__OFFER__INIT;
	offer.move = (char *)MOVE;
	offer.epoch = EPOCH;
	came = 0;
	arrival = (struct arrival){
		.offer = &offer,
		.tls = host_b.tls,
		.report = {.fd = -1, .listener = -1, .bulk = -1, .phase = PHASE_PRECOPY}};
	arrival.link = link_accept(accept_socket(server), false, &host_b.tls,
				   deadline_in_ms(FIXTURE_MS), &err);
	if (!arrival.link)
		fail_msg("%s", err.message);
}

static void accept_further(const struct fixture_server *server)
{
	arrival.report.bulk = accept_socket(server);
	arrival_streams_accept(&arrival);
	assert_int_equal(arrival.report.bulk, -1);
}

static void end_arrival(void)
{
	arrival_streams_close(&arrival);
	link_close(take_ptr(arrival.link));
}

// ---- the connecting side, in a thread -----------------------------------------------------------

struct peer {
	pthread_t thread;
	struct fixture_server server;
	void (*play)(struct peer *p);
	struct link *control;
	const struct fixture_host *host; // of the further connections
	unsigned further;
	struct error err;
	int done;
};

static const uint8_t token[WIRE_TOKEN] = "sixteen bytes...";

static void *run_peer(void *arg)
{
	struct peer *p = arg;
	p->control = link_connect(p->server.address, "hostB", &host_a.tls, false,
				  deadline_in_ms(FIXTURE_MS), &p->err);
	if (p->control)
		p->play(p);
	link_close(p->control);
	return NULL;
}

static void start_peer(struct peer *p)
{
	fixture_listen(&p->server);
	assert_int_equal(pthread_create(&p->thread, NULL, run_peer, p), 0);
	accept_control(&p->server);
}

static void end_peer(struct peer *p)
{
	end_arrival();
	pthread_join(p->thread, NULL);
	close(p->server.listener);
}

static struct link *connect_further(struct peer *p)
{
	return link_connect_further(p->server.address, "hostB", &p->host->tls, token,
				    deadline_in_ms(FIXTURE_MS), &p->err);
}

// Waits until the other side has ended the connection.
static void wait_for_end(struct link *link)
{
	struct link_message message;
	while (link && link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL) == 1)
		link_done(link, &message);
}

// ---- spreading ----------------------------------------------------------------------------------

static int send_frame(struct channels *c, bool in_order, struct error *err)
{
	struct link *of;
	void *slot = channels_slot(c, in_order, &of, deadline_in_ms(FIXTURE_MS), err);
	if (!slot)
		return -1;
	memset(slot, 1, PAGEFRAME_PAGE);
	return channels_send(c, of, in_order, slot, PAGEFRAME_PAGE, err);
}

static void spread(struct peer *p)
{
	struct channels c;
	const struct channels_peer peer = {p->server.address, "hostB", &host_a.tls, token};
	channels_open(&c, p->control, MOVE, EPOCH, p->further + 1, &peer);
	p->done = c.count == p->further + 1 ? 0 : -1;
	for (int round = 0; round < 3 && p->done == 0; round++) {
		for (int i = 0; i < FRAMES && p->done == 0; i++)
			p->done = send_frame(&c, false, &p->err);
		for (int i = 0; i < 2 && p->done == 0; i++) // behind one mark
			p->done = send_frame(&c, true, &p->err);
	}
	if (p->done == 0)
		p->done = link_flush(p->control, deadline_in_ms(FIXTURE_MS), &p->err);
	wait_for_end(p->control);
	channels_close(&c);
}

// What the control link brings: its part of the frames, and then those in order.
static void take_control(unsigned *on_control, unsigned *marks)
{
	struct error err;
	int got = link_recv(arrival.link, deadline_in_ms(5), &arrival.message, &err);
	if (got <= 0)
		return;
	if (arrival.message.type == WIRE_PAGES)
		++*on_control;
	else if (arrival_on_mark(&arrival, &err) < 0)
		fail_msg("%s", err.message);
	else {
		// All that was sent before it is there.
		assert_int_equal(came + *on_control, (*marks + 1) * FRAMES + *marks * 2);
		++*marks;
	}
	link_done(arrival.link, &arrival.message);
}

static void what_is_in_order_comes_behind_all_before(void **state)
{
	struct peer p = {.play = spread, .further = 3};
	unsigned on_control = 0, marks = 0;
	struct error err;
	(void)state;
	start_peer(&p);
	for (int i = 0; i < 3; i++)
		accept_further(&p.server);
	assert_int_equal(arrival.stream_count, 3);
	deadline_t deadline = deadline_in_ms(FIXTURE_MS);
	while (came + on_control < 3 * (FRAMES + 2) && !deadline_passed(deadline)) {
		if (arrival_streams_step(&arrival, &err) < 0)
			fail_msg("%s", err.message);
		take_control(&on_control, &marks);
	}
	assert_int_equal(came + on_control, 3 * (FRAMES + 2));
	assert_int_equal(marks, 3);
	assert_true(came > 0);
	end_peer(&p);
	if (p.done < 0)
		fail_msg("%s", p.err.message);
}

// ---- misdeeds -----------------------------------------------------------------------------------

static void send_data(struct link *link, uint16_t type)
{
	void *slot = link_slot(link, deadline_in_ms(FIXTURE_MS), NULL);
	if (slot)
		link_send_slot(link, type, slot, PAGEFRAME_PAGE, NULL);
}

static void begin(struct link *link)
{
	talk_mark(link, MOVE, EPOCH, 0, NULL);
}

static void pages_first(struct link *link)
{
	send_data(link, WIRE_PAGES);
}

static void of_another_move(struct link *link)
{
	talk_mark(link, "m-other", EPOCH, 0, NULL);
}

static void of_another_epoch(struct link *link)
{
	talk_mark(link, MOVE, EPOCH - 1, 0, NULL);
}

static void begins_with_one(struct link *link)
{
	talk_mark(link, MOVE, EPOCH, 1, NULL);
}

static void begins_twice(struct link *link)
{
	begin(link);
	begin(link);
}

static void mark_left_out(struct link *link)
{
	begin(link);
	talk_mark(link, MOVE, EPOCH, 2, NULL);
}

static void mark_of_another_move(struct link *link)
{
	begin(link);
	talk_mark(link, "m-other", EPOCH, 1, NULL);
}

static void malformed_mark(struct link *link)
{
	begin(link);
	link_send(link, WIRE_MARK, "\xff\xff", 2, NULL);
}

static void another_message(struct link *link)
{
	begin(link);
	talk_round(link, WIRE_ROUND, MOVE, EPOCH, 1, NULL);
}

static void another_data_message(struct link *link)
{
	begin(link);
	send_data(link, WIRE_CHUNK);
}

static void (*misdeed)(struct link *link);

static void misbehave(struct peer *p)
{
	struct link *link = connect_further(p);
	if (link)
		misdeed(link);
	wait_for_end(link);
	link_close(link);
}

static void every_misdeed_is_an_error(void **state)
{
	static void (*const all[])(struct link * link) = {
		pages_first,          of_another_move,      of_another_epoch, begins_with_one,
		begins_twice,         mark_left_out,        malformed_mark,   another_message,
		mark_of_another_move, another_data_message,
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct peer p = {.play = misbehave, .host = &host_a};
		struct error err = {0};
		int got = 0;
		misdeed = all[i];
		start_peer(&p);
		accept_further(&p.server);
		deadline_t deadline = deadline_in_ms(FIXTURE_MS);
		while (got >= 0 && !deadline_passed(deadline))
			got = arrival_streams_step(&arrival, &err);
		if (got >= 0 || err.id != ERR_PROTOCOL)
			fail_msg("misdeed %zu: %s", i, err.message);
		assert_int_equal(came, 0);
		end_peer(&p);
	}
}

static void dies_before_its_mark(struct peer *p)
{
	struct link *link = connect_further(p);
	if (link) {
		begin(link);
		send_data(link, WIRE_PAGES);
		link_flush(link, deadline_in_ms(FIXTURE_MS), NULL);
	}
	link_close(link);
	talk_mark(p->control, MOVE, EPOCH, 1, NULL);
	wait_for_end(p->control);
}

static void a_connection_that_ends_is_missed(void **state)
{
	struct peer p = {.play = dies_before_its_mark, .host = &host_a};
	struct error err = {0};
	(void)state;
	start_peer(&p);
	accept_further(&p.server);
	assert_int_equal(
		link_recv(arrival.link, deadline_in_ms(FIXTURE_MS), &arrival.message, &err), 1);
	assert_int_equal(arrival_on_mark(&arrival, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	assert_int_equal(arrival.marks, 0);
	link_done(arrival.link, &arrival.message);
	end_peer(&p);
}

// ---- who is let in ------------------------------------------------------------------------------

static void connect_some(struct peer *p)
{
	struct link *links[ARRIVAL_STREAMS_MAX + 2] = {0};
	for (unsigned i = 0; i < p->further; i++)
		links[i] = connect_further(p);
	wait_for_end(p->control);
	for (unsigned i = 0; i < p->further; i++)
		link_close(links[i]);
}

static void no_more_than_there_may_be(void **state)
{
	struct peer p = {.play = connect_some, .host = &host_a, .further = ARRIVAL_STREAMS_MAX + 1};
	(void)state;
	start_peer(&p);
	for (unsigned i = 0; i < p.further; i++)
		accept_further(&p.server);
	assert_int_equal(arrival.stream_count, ARRIVAL_STREAMS_MAX);
	end_peer(&p);
}

static void only_of_the_same_host(void **state)
{
	struct peer p = {.play = connect_some, .host = &host_c, .further = 1};
	(void)state;
	start_peer(&p);
	accept_further(&p.server);
	assert_int_equal(arrival.stream_count, 0);
	end_peer(&p);
}

static void only_at_the_beginning(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		struct peer p = {.play = connect_some, .host = &host_a, .further = 1};
		start_peer(&p);
		if (late)
			arrival.marks = 1;
		else
			arrival.report.phase = PHASE_RESTORE;
		accept_further(&p.server);
		assert_int_equal(arrival.stream_count, 0);
		end_peer(&p);
	}
}

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	fixture_use_build();
	fixture_authority("ca");
	fixture_member(&host_a, "a", "hostA", "ca");
	fixture_member(&host_b, "b", "hostB", "ca");
	fixture_member(&host_c, "c", "hostC", "ca");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_order_comes_behind_all_before),
		cmocka_unit_test(every_misdeed_is_an_error),
		cmocka_unit_test(a_connection_that_ends_is_missed),
		cmocka_unit_test(no_more_than_there_may_be),
		cmocka_unit_test(only_of_the_same_host),
		cmocka_unit_test(only_at_the_beginning),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
