// SPDX-License-Identifier: Apache-2.0
// Links between two hosts through real movers over loopback: what passes, what holds it back, and
// how an end is noticed.
#include "tests/unit/link_fixture.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static struct fixture_host host_a, host_b;

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

static struct link *connect_to(const struct fixture_server *server)
{
	struct error err = {0};
	struct link *link = link_connect(server->address, "hostB", &host_a.tls, false,
					 deadline_in_ms(FIXTURE_MS), &err);
	if (!link)
		fail_msg("%s", err.message);
	return link;
}

static void send_text(struct link *link, uint16_t type, const char *text)
{
	struct error err = {0};
	if (link_send(link, type, text, strlen(text), &err) < 0)
		fail_msg("%s", err.message);
}

// ---- echo: gives every message back, data as data
static int echo_one(struct link *link, struct link_message *message)
{
	int sent;
	if (message->slot >= 0) {
		void *slot = link_slot(link, deadline_in_ms(FIXTURE_MS), NULL);
		if (!slot)
			return -1;
		memcpy(slot, message->payload, message->length);
		sent = link_send_slot(link, message->type, slot, message->length, NULL);
	} else {
		sent = link_send(link, message->type, message->payload, message->length, NULL);
	}
	link_done(link, message);
	return sent;
}

static void echo(struct link *link, void *argument)
{
	struct link_message message;
	(void)argument;
	while (link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL) == 1)
		if (echo_one(link, &message) < 0)
			return;
}

static void expect(struct link *link, uint16_t type, const void *payload, size_t length)
{
	struct link_message message;
	struct error err = {0};
	int got = link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err);
	if (got != 1)
		fail_msg("%d: %s", got, err.message);
	assert_int_equal(message.type, type);
	assert_int_equal(message.length, length);
	assert_memory_equal(message.payload, payload, length);
	link_done(link, &message);
}

static void test_messages_pass_in_order(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = echo};
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	assert_string_equal(link_peer(link), "hostB");
	uint8_t *slot = link_slot(link, deadline_in_ms(FIXTURE_MS), NULL);
	assert_non_null(slot);
	send_text(link, WIRE_HELLO, "hello");
	memset(slot, 7, LINK_DATA_MAX);
	assert_int_equal(link_send_slot(link, WIRE_PAGES, slot, LINK_DATA_MAX, NULL), 0);
	send_text(link, WIRE_PING, "");
	slot = link_slot(link, deadline_in_ms(FIXTURE_MS), NULL);
	assert_non_null(slot);
	assert_int_equal(link_send_slot(link, WIRE_HELD, slot, 0, NULL), 0);
	static uint8_t largest[LINK_CONTROL_MAX], pages[LINK_DATA_MAX];
	memset(largest, 9, sizeof(largest));
	memset(pages, 7, sizeof(pages));
	assert_int_equal(link_send(link, WIRE_MANIFEST, largest, sizeof(largest), NULL), 0);
	expect(link, WIRE_HELLO, "hello", 5);
	expect(link, WIRE_PAGES, pages, sizeof(pages));
	expect(link, WIRE_PING, "", 0);
	expect(link, WIRE_HELD, "", 0);
	expect(link, WIRE_MANIFEST, largest, sizeof(largest));
	link_close(take_ptr(link));
	fixture_join(&server);
	assert_string_equal(server.peer, "hostA");
}

static void test_what_is_not_allowed_is_not_sent(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = echo};
	struct error err = {0};
	static uint8_t over[LINK_CONTROL_MAX + 1];
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	uint8_t *slot = link_slot(link, deadline_in_ms(FIXTURE_MS), NULL);
	assert_int_equal(link_send(link, WIRE_HELLO, over, sizeof(over), &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_int_equal(link_send(link, 99, "", 0, &err), -1);
	assert_int_equal(link_send(link, WIRE_OPEN, "", 0, &err), -1);
	assert_int_equal(link_send(link, WIRE_PAGES, "", 0, &err), -1);
	assert_int_equal(err.id, ERR_INTERNAL);
	assert_int_equal(link_send_slot(link, WIRE_HELLO, slot, 1, &err), -1);
	assert_int_equal(link_send_slot(link, WIRE_PAGES, slot, LINK_DATA_MAX + 1, &err), -1);
	assert_int_equal(link_send_slot(link, WIRE_PAGES, slot + 1, 1, &err), -1);
	assert_int_equal(link_send_slot(link, WIRE_PAGES, over, 1, &err), -1);
	send_text(link, WIRE_PING, "alive");
	expect(link, WIRE_PING, "alive", 5);
	link_close(take_ptr(link));
	fixture_join(&server);
}

static void test_deadline_without_a_message(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = echo};
	struct link_message message;
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	struct pollfd p = {.fd = link_fd(link), .events = POLLIN};
	assert_int_equal(link_recv(link, deadline_in_ms(20), &message, NULL), 0);
	send_text(link, WIRE_PING, "x");
	assert_int_equal(poll(&p, 1, FIXTURE_MS), 1);
	expect(link, WIRE_PING, "x", 1);
	link_close(take_ptr(link));
	fixture_join(&server);
}

// ---- a large transfer
#define LARGE ((size_t)48 << 20)

static void digest_update(EVP_MD_CTX *digest, const void *bytes, size_t length)
{
	EVP_DigestUpdate(digest, bytes, length);
}

static void receive_large(struct link *link, void *argument)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	struct link_message message;
	unsigned length;
	uint8_t result[32] = {0};
	(void)argument;
	EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
	while (link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL) == 1) {
		bool last = message.type == WIRE_OBJECT_END;
		digest_update(digest, message.payload, message.length);
		link_done(link, &message);
		if (last)
			break;
	}
	EVP_DigestFinal_ex(digest, result, &length);
	EVP_MD_CTX_free(digest);
	link_send(link, WIRE_STATE, result, sizeof(result), NULL);
	link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL); // until the other one closes
}

static void fill(uint32_t *words, size_t length, uint32_t *seed)
{
	for (size_t i = 0; i < length / 4; i++)
		words[i] = *seed = *seed * 1664525 + 1013904223;
}

static void test_large_transfer_arrives_whole(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = receive_large};
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	struct error err = {0};
	uint32_t seed = 1;
	uint8_t result[32];
	unsigned length;
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
	for (size_t done = 0, part; done < LARGE; done += part) {
		void *slot = link_slot(link, deadline_in_ms(FIXTURE_MS), &err);
		if (!slot)
			fail_msg("%s", err.message);
		part = LINK_DATA_MAX - seed % 1000 * 4; // of all lengths
		fill(slot, part, &seed);
		digest_update(digest, slot, part);
		assert_int_equal(link_send_slot(link, WIRE_CHUNK, slot, part, &err), 0);
	}
	send_text(link, WIRE_OBJECT_END, "end");
	digest_update(digest, "end", 3);
	EVP_DigestFinal_ex(digest, result, &length);
	EVP_MD_CTX_free(digest);
	expect(link, WIRE_STATE, result, sizeof(result));
	link_close(take_ptr(link));
	fixture_join(&server);
}

// ---- backpressure
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	unsigned in_order;
};

static void open_gate(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->open = true;
	pthread_cond_signal(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

static void count_after_gate(struct link *link, void *argument)
{
	struct gate *gate = argument;
	struct link_message message;
	pthread_mutex_lock(&gate->lock);
	while (!gate->open)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
	while (link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL) == 1) {
		uint32_t number;
		memcpy(&number, message.payload, sizeof(number));
		if (number == gate->in_order)
			gate->in_order++;
		link_done(link, &message);
	}
}

static bool send_number(struct link *link, uint32_t number, int64_t wait_ms)
{
	struct error err = {0};
	void *slot = link_slot(link, deadline_in_ms(wait_ms), &err);
	if (!slot) {
		assert_int_equal(err.id, ERR_DEADLINE);
		return false;
	}
	memcpy(slot, &number, sizeof(number));
	assert_int_equal(link_send_slot(link, WIRE_PAGES, slot, LINK_DATA_MAX, NULL), 0);
	return true;
}

static void test_a_slow_peer_holds_the_sender_back(void **state)
{
	(void)state;
	struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0};
	struct fixture_server server = {
		.tls = &host_b.tls, .play = count_after_gate, .argument = &gate};
	struct error err = {0};
	uint32_t sent = 0;
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	while (send_number(link, sent, 500)) {
		sent++;
		assert_true(sent < 1000); // 250 MB that nobody has taken
	}
	assert_true(sent >= 2 * LINK_SLOTS);
	assert_int_equal(link_flush(link, deadline_in_ms(50), &err), -1);
	assert_int_equal(err.id, ERR_DEADLINE);
	open_gate(&gate);
	for (int more = 0; more < 50; more++)
		assert_true(send_number(link, sent++, FIXTURE_MS));
	assert_int_equal(link_flush(link, deadline_in_ms(FIXTURE_MS), &err), 0);
	link_close(take_ptr(link));
	fixture_join(&server);
	assert_int_equal(gate.in_order, sent); // closing lost nothing either
}

// Both flood each other with data and only then read: neither mover may wait for the other.
static void flood(struct link *link, void *argument)
{
	unsigned *received = argument;
	struct link_message message;
	for (uint32_t i = 0; i < 2 * LINK_SLOTS; i++) {
		void *slot = link_slot(link, deadline_in_ms(FIXTURE_MS), NULL);
		if (!slot || link_send_slot(link, WIRE_PAGES, slot, LINK_DATA_MAX, NULL) < 0)
			return;
	}
	while (*received < 2 * LINK_SLOTS &&
	       link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL) == 1) {
		*received += message.length == LINK_DATA_MAX;
		link_done(link, &message);
	}
	link_flush(link, deadline_in_ms(FIXTURE_MS), NULL);
}

static void test_both_ways_at_once(void **state)
{
	(void)state;
	unsigned here = 0, there = 0;
	struct fixture_server server = {.tls = &host_b.tls, .play = flood, .argument = &there};
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	flood(link, &here);
	fixture_join(&server);
	assert_int_equal(here, 2 * LINK_SLOTS);
	assert_int_equal(there, 2 * LINK_SLOTS);
}

// More control messages than there is credit, while the other side is not yet reading.
static void test_control_messages_wait_for_credit(void **state)
{
	(void)state;
	struct gate gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true, 0};
	struct fixture_server server = {
		.tls = &host_b.tls, .play = count_after_gate, .argument = &gate};
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(link_send(link, WIRE_PING, &i, sizeof(i), NULL), 0);
	link_close(take_ptr(link));
	fixture_join(&server);
	assert_int_equal(gate.in_order, 500);
}

// ---- ends
static void say_and_close(struct link *link, void *argument)
{
	(void)argument;
	link_send(link, WIRE_HELLO, "last", 4, NULL);
}

static void test_a_close_comes_after_the_messages(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = say_and_close};
	struct link_message message;
	struct error err = {0};
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	fixture_join(&server);
	expect(link, WIRE_HELLO, "last", 4);
	assert_int_equal(link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	assert_non_null(strstr(err.message, "closed"));
	assert_non_null(strstr(err.message, "hostB"));
	// And again, and for everything else.
	assert_int_equal(link_send(link, WIRE_PING, "", 0, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	assert_null(link_slot(link, deadline_in_ms(10), &err));
	assert_int_equal(link_flush(link, deadline_in_ms(10), &err), -1);
	struct pollfd p = {.fd = link_fd(link), .events = POLLIN};
	assert_int_equal(poll(&p, 1, 0), 1);
}

// The other host as a process of its own, so that it can be killed.
static pid_t fork_server(struct fixture_server *server)
{
	fixture_listen(server);
	pid_t pid = fork();
	if (pid == 0) {
		fixture_serve(server);
		_exit(0);
	}
	close(server->listener);
	return pid;
}

static void test_a_dead_process_is_noticed(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = echo};
	struct link_message message;
	struct error err = {0};
	pid_t pid = fork_server(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	send_text(link, WIRE_PING, "x");
	expect(link, WIRE_PING, "x", 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	// Its mover dies with it, and the kernel ends the connection.
	assert_int_equal(link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
}

// A child of this thread other than `not_this`; -1: none.
static pid_t child_beside(pid_t not_this)
{
	char path[64], *save = NULL;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 4096, NULL);
	for (char *word = text; (word = strtok_r(word, " ", &save)); word = NULL)
		if (atoi(word) != not_this)
			return (pid_t)atoi(word);
	return -1;
}

static void test_a_dead_mover_is_an_error(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = echo};
	struct link_message message;
	struct error err = {0};
	pid_t other = fork_server(&server);
	assert_true(other > 0);
	struct link *link = connect_to(&server);
	pid_t mover = child_beside(other);
	assert_true(mover > 0);
	kill(mover, SIGKILL);
	assert_int_equal(link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err), -1);
	assert_non_null(strstr(err.message, "mover has died"));
	assert_int_equal(link_send(link, WIRE_PING, "", 0, &err), -1);
	link_close(link);
	waitpid(other, NULL, 0);
}

static void status_line(pid_t pid, const char *key, char value[128])
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	_cleanup_free_ char *text = fdio_read_file(AT_FDCWD, path, 65536, NULL);
	const char *at = text ? strstr(text, key) : NULL;
	value[0] = 0;
	if (at)
		sscanf(at + strlen(key), "%*[\t ]%127[^\n]", value);
}

static void test_the_mover_is_confined(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_b.tls, .play = echo};
	char value[128];
	fixture_start(&server);
	_cleanup_link_ struct link *link = connect_to(&server);
	pid_t mover = child_beside(0);
	assert_true(mover > 0);
	status_line(mover, "\nNoNewPrivs:", value);
	assert_string_equal(value, "1");
	status_line(mover, "\nSeccomp:", value);
	assert_string_equal(value, "2");
	status_line(mover, "\nCapPrm:", value);
	assert_string_equal(value, "0000000000000000");
	status_line(mover, "\nCapInh:", value);
	assert_string_equal(value, "0000000000000000");
	if (geteuid() == 0) {
		status_line(mover, "\nCapBnd:", value);
		assert_string_equal(value, "0000000000000000");
		unsigned real, effective, saved, fs;
		status_line(mover, "\nUid:", value);
		assert_int_equal(sscanf(value, "%u %u %u %u", &real, &effective, &saved, &fs), 4);
		assert_true(real && effective && saved && fs);
		status_line(mover, "\nGroups:", value);
		assert_string_equal(value, "");
	}
	link_close(take_ptr(link));
	assert_int_equal(child_beside(0), -1); // and reaped
	fixture_join(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_pass_in_order),
		cmocka_unit_test(test_what_is_not_allowed_is_not_sent),
		cmocka_unit_test(test_deadline_without_a_message),
		cmocka_unit_test(test_large_transfer_arrives_whole),
		cmocka_unit_test(test_a_slow_peer_holds_the_sender_back),
		cmocka_unit_test(test_both_ways_at_once),
		cmocka_unit_test(test_control_messages_wait_for_credit),
		cmocka_unit_test(test_a_close_comes_after_the_messages),
		cmocka_unit_test(test_a_dead_process_is_noticed),
		cmocka_unit_test(test_a_dead_mover_is_an_error),
		cmocka_unit_test(test_the_mover_is_confined),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
