// SPDX-License-Identifier: Apache-2.0
// The seal between two privileged processes, without movers: who agrees with whom, and which
// messages pass.
#include "lib/transport/seal.h"
#include "tests/unit/link_fixture.h"

static struct fixture_host host_a, host_b, foreign, expired;
static struct seal *client, *server;

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	fixture_authority("ca");
	fixture_authority("foreign-ca");
	fixture_member(&host_a, "a", "hostA", "ca");
	fixture_member(&host_b, "b", "hostB", "ca");
	fixture_member(&foreign, "foreign", "hostB", "foreign-ca");
	fixture_member(&expired, "expired", "hostB", "ca");
	fixture_expire(&expired, "ca");
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	seal_close(client);
	seal_close(server);
	client = server = NULL;
	return 0;
}

static void open_both(const struct link_tls *connecting, const struct link_tls *accepting)
{
	struct error err = {0};
	client = seal_open(false, connecting, &err);
	server = seal_open(true, accepting, &err);
	if (!client || !server)
		fail_msg("%s", err.message);
}

// Step `damaged` (0 to 2; -1: none) gets the bit `bit` flipped. Returns whether both agreed.
static bool agree(int damaged, size_t bit, struct error *err)
{
	for (int i = 0; i < 3; i++) {
		struct seal *from = i == 1 ? server : client, *to = i == 1 ? client : server;
		_cleanup_buf_ struct buf step = BUF_INIT(SEAL_STEP_MAX);
		if (seal_say(from, &step, err) <= 0)
			return false;
		if (i == damaged && bit < step.length * 8)
			step.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (seal_hear(to, step.data, step.length, err) < 0)
			return false;
	}
	return true;
}

static bool passes(struct seal *from, struct seal *to)
{
	uint8_t message[8 + SEAL_TAG] = "contents";
	if (seal_put(from, WIRE_COMMIT, message, 8, message + 8, NULL) < 0)
		return false;
	return seal_check(to, WIRE_COMMIT, message, sizeof(message), NULL) == 8;
}

static void test_both_agree(void **state)
{
	struct error err = {0};
	(void)state;
	open_both(&host_a.tls, &host_b.tls);
	assert_null(seal_peer(client));
	if (!agree(-1, 0, &err))
		fail_msg("%s", err.message);
	assert_string_equal(seal_peer(client), "hostB");
	assert_string_equal(seal_peer(server), "hostA");
	for (int i = 0; i < 5; i++)
		assert_true(passes(client, server) && passes(server, client));
}

// A flipped bit anywhere: refused at once, or the keys differ and no message passes.
static void test_a_flipped_bit_in_each_step(void **state)
{
	(void)state;
	for (int step = 0; step < 3; step++)
		for (size_t bit = 0; bit < 700 * 8; bit += 41) {
			struct error err = {0};
			open_both(&host_a.tls, &host_b.tls);
			if (agree(step, bit, &err) && bit < 32 * 8)
				fail_msg("step %d, bit %zu: agreed", step, bit);
			if (error_is_set(&err))
				assert_true(err.id == ERR_PROTOCOL || err.id == ERR_PEER_UNTRUSTED);
			close_both(state);
		}
}

static void test_hosts_of_another_cluster_and_of_yesterday(void **state)
{
	struct error err = {0};
	(void)state;
	open_both(&host_a.tls, &foreign.tls);
	assert_false(agree(-1, 0, &err));
	assert_int_equal(err.id, ERR_PEER_UNTRUSTED);
	close_both(state);
	open_both(&host_a.tls, &expired.tls);
	assert_false(agree(-1, 0, &err));
	assert_non_null(strstr(err.message, "expired"));
}

// Another host's certificate without its key.
static void test_a_stolen_certificate(void **state)
{
	struct error err = {0};
	const struct link_tls stolen = {.ca = host_b.ca, .cert = host_b.cert, .key = host_a.key};
	(void)state;
	assert_null(seal_open(true, &stolen, &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
}

static void test_steps_of_another_connection(void **state)
{
	struct error err = {0};
	struct buf first = BUF_INIT(SEAL_STEP_MAX), second = BUF_INIT(SEAL_STEP_MAX);
	(void)state;
	open_both(&host_a.tls, &host_b.tls);
	assert_int_equal(seal_say(client, &first, &err), 1);
	assert_int_equal(seal_hear(server, first.data, first.length, &err), 0);
	assert_int_equal(seal_say(server, &second, &err), 1);
	seal_close(client);
	// The answer is replayed to a client that did not ask.
	client = seal_open(false, &host_a.tls, &err);
	buf_consume(&first, first.length);
	assert_int_equal(seal_say(client, &first, &err), 1);
	assert_int_equal(seal_hear(client, second.data, second.length, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNTRUSTED);
	buf_free(&first);
	buf_free(&second);
}

static void test_steps_out_of_turn(void **state)
{
	struct error err = {0};
	struct buf step = BUF_INIT(SEAL_STEP_MAX);
	(void)state;
	open_both(&host_a.tls, &host_b.tls);
	assert_int_equal(seal_say(server, &step, &err), 0);
	assert_int_equal(seal_hear(client, (const uint8_t *)"x", 1, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	for (size_t length = 0; length < 40; length += 13) {
		assert_int_equal(seal_hear(server, (const uint8_t[40]){0}, length, &err), -1);
		assert_int_equal(err.id, ERR_PROTOCOL);
	}
	buf_free(&step);
}

static void test_messages_pass_once_in_order_and_unchanged(void **state)
{
	struct error err = {0};
	uint8_t one[3 + SEAL_TAG] = "one", two[3 + SEAL_TAG] = "two";
	(void)state;
	open_both(&host_a.tls, &host_b.tls);
	assert_true(agree(-1, 0, &err));
	seal_put(client, WIRE_PING, one, 3, one + 3, NULL);
	seal_put(client, WIRE_PING, two, 3, two + 3, NULL);
	assert_int_equal(seal_check(server, WIRE_PING, two, sizeof(two), &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(seal_check(server, WIRE_ABORT, one, sizeof(one), &err), -1);
	assert_int_equal(seal_check(server, WIRE_PING, one, sizeof(one) - 1, &err), -1);
	assert_int_equal(seal_check(server, WIRE_PING, one, 2, &err), -1);
	for (size_t bit = 0; bit < sizeof(one) * 8; bit++) {
		one[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(seal_check(server, WIRE_PING, one, sizeof(one), &err), -1);
		one[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(seal_check(client, WIRE_PING, one, sizeof(one), &err), -1);
	assert_int_equal(seal_check(server, WIRE_PING, one, sizeof(one), &err), 3);
	assert_int_equal(seal_check(server, WIRE_PING, one, sizeof(one), &err), -1);
	assert_int_equal(seal_check(server, WIRE_PING, two, sizeof(two), &err), 3);
}

// The same of data messages, which are numbered with the others.
static void test_data_passes_in_its_place_and_unchanged(void **state)
{
	uint8_t data[5 + SEAL_TAG] = "pages", other[5 + SEAL_TAG] = "pages";
	struct error err = {0};
	(void)state;
	open_both(&host_a.tls, &host_b.tls);
	assert_true(agree(-1, 0, &err));
	assert_int_equal(seal_put_data(client, WIRE_PAGES, data, 5, data + 5, NULL), 0);
	assert_int_equal(seal_put_data(client, WIRE_PAGES, other, 5, other + 5, NULL), 0);
	assert_memory_not_equal(data + 5, other + 5, SEAL_TAG);
	uint64_t first = seal_count(server), second = seal_count(server);
	const size_t all = sizeof(data);
	assert_int_equal(seal_check_data(server, second, WIRE_PAGES, data, all, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(seal_check_data(server, first, WIRE_CHUNK, data, all, &err), -1);
	assert_int_equal(seal_check_data(server, first, WIRE_PAGES, data, all - 1, &err), -1);
	assert_int_equal(seal_check_data(server, first, WIRE_PAGES, data, 2, &err), -1);
	assert_int_equal(seal_check_data(client, first, WIRE_PAGES, data, all, &err), -1);
	for (size_t bit = 0; bit < all * 8; bit++) {
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(seal_check_data(server, first, WIRE_PAGES, data, all, &err), -1);
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(seal_check_data(server, first, WIRE_PAGES, data, all, &err), 5);
	assert_int_equal(seal_check_data(server, second, WIRE_PAGES, other, all, &err), 5);
	assert_true(passes(client, server));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_both_agree, close_both),
		cmocka_unit_test_teardown(test_a_flipped_bit_in_each_step, close_both),
		cmocka_unit_test_teardown(test_hosts_of_another_cluster_and_of_yesterday,
					  close_both),
		cmocka_unit_test_teardown(test_a_stolen_certificate, close_both),
		cmocka_unit_test_teardown(test_steps_of_another_connection, close_both),
		cmocka_unit_test_teardown(test_steps_out_of_turn, close_both),
		cmocka_unit_test_teardown(test_messages_pass_once_in_order_and_unchanged,
					  close_both),
		cmocka_unit_test_teardown(test_data_passes_in_its_place_and_unchanged, close_both),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
