// SPDX-License-Identifier: Apache-2.0
// Who gets through and who does not: certificates, names, joins, addresses. Both sides must say
// why.
#include "tests/unit/link_fixture.h"

static struct fixture_host host_a, host_b, foreign, expired;
static char fingerprint[PKI_FINGERPRINT_MAX];

static int setup(void **state)
{
	char dir[256];
	if (fixture_setup(state) < 0)
		return -1;
	fixture_use_build();
	fixture_authority("ca");
	fixture_authority("foreign-ca");
	fixture_member(&host_a, "a", "hostA", "ca");
	fixture_member(&host_b, "b", "hostB", "ca");
	fixture_member(&foreign, "foreign", "hostA", "foreign-ca");
	fixture_member(&expired, "expired", "hostA", "ca");
	fixture_expire(&expired, "ca");
	snprintf(dir, sizeof(dir), "%s/ca", fixture_top);
	return pki_fingerprint(dir, fingerprint, NULL);
}

struct attempt {
	struct link_tls client, server;
	const char *name; // that the client expects
	bool join;
	enum error_id client_id, server_id;
	const char *client_says, *server_says;
};

static void expect_refusal(const struct attempt *attempt)
{
	struct fixture_server server = {.tls = &attempt->server, .join = attempt->join};
	struct error err = {0};
	fixture_start(&server);
	struct link *link = link_connect(server.address, attempt->name, &attempt->client,
					 attempt->join, deadline_in_ms(FIXTURE_MS), &err);
	fixture_join(&server);
	assert_null(link);
	print_message("client: %s\nserver: %s\n", err.message, server.err.message);
	assert_int_equal(err.id, attempt->client_id);
	assert_int_equal(server.err.id, attempt->server_id);
	assert_non_null(strstr(err.message, attempt->client_says));
	assert_non_null(strstr(server.err.message, attempt->server_says));
	assert_non_null(strstr(server.err.message, "127.0.0.1"));
	assert_string_equal(server.peer, "");
}

static void test_a_client_without_a_certificate(void **state)
{
	(void)state;
	expect_refusal(&(struct attempt){{.ca = host_a.ca},
					 host_b.tls,
					 "hostB",
					 false,
					 ERR_PEER_UNTRUSTED,
					 ERR_PEER_UNTRUSTED,
					 "asks for a certificate",
					 "presented no certificate"});
}

static void test_a_client_of_another_cluster(void **state)
{
	(void)state;
	// It would believe our server: only the server refuses.
	const struct link_tls client = {.ca = host_a.ca, .cert = foreign.cert, .key = foreign.key};
	expect_refusal(&(struct attempt){client, host_b.tls, "hostB", false, ERR_PEER_UNTRUSTED,
					 ERR_PEER_UNTRUSTED, "does not trust the CA",
					 "not signed by the CA of this cluster"});
}

static void test_a_server_of_another_cluster(void **state)
{
	(void)state;
	expect_refusal(&(struct attempt){
		host_a.tls, foreign.tls, "hostA", false, ERR_PEER_UNTRUSTED, ERR_PEER_UNTRUSTED,
		"not signed by the CA of this cluster", "does not trust the CA"});
}

static void test_a_server_with_another_name(void **state)
{
	(void)state;
	expect_refusal(&(struct attempt){
		host_a.tls, host_b.tls, "hostC", false, ERR_PEER_UNTRUSTED, ERR_PEER_UNTRUSTED,
		"that of host hostB, expected was hostC", "does not accept our certificate"});
}

static void test_a_client_whose_certificate_has_expired(void **state)
{
	(void)state;
	expect_refusal(&(struct attempt){
		expired.tls, host_b.tls, "hostB", false, ERR_PEER_UNTRUSTED, ERR_PEER_UNTRUSTED,
		"our certificate has expired", "its certificate expired at"});
}

static void test_a_server_whose_certificate_has_expired(void **state)
{
	(void)state;
	expect_refusal(&(struct attempt){
		host_b.tls, expired.tls, "hostA", false, ERR_PEER_UNTRUSTED, ERR_PEER_UNTRUSTED,
		"its certificate expired at", "our certificate has expired"});
}

static void test_files_that_cannot_be_used(void **state)
{
	struct link_tls tls = host_a.tls;
	struct error err = {0};
	(void)state;
	tls.key = host_b.key;
	assert_null(link_connect("127.0.0.1:9", "hostB", &tls, false, deadline_in_ms(FIXTURE_MS),
				 &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
	assert_non_null(strstr(err.message, host_b.key));
	tls = host_a.tls;
	tls.ca = "/nowhere/ca.pem";
	assert_null(link_connect("127.0.0.1:9", "hostB", &tls, false, deadline_in_ms(FIXTURE_MS),
				 &err));
	assert_int_equal(err.id, ERR_CERTIFICATE);
	assert_non_null(strstr(err.message, "/nowhere/ca.pem"));
}

// ---- joining
static void answer_join(struct link *link, void *argument)
{
	struct link_message message;
	(void)argument;
	if (link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL) != 1)
		return;
	if (message.type == WIRE_JOIN)
		link_send(link, WIRE_JOINED, message.payload, message.length, NULL);
	link_done(link, &message);
	link_recv(link, deadline_in_ms(FIXTURE_MS), &message, NULL);
}

static void test_join(void **state)
{
	(void)state;
	struct fixture_server server = {.tls = &host_a.tls, .join = true, .play = answer_join};
	const struct link_tls invited = {.fingerprint = fingerprint};
	struct link_message message;
	struct error err = {0};
	fixture_start(&server);
	struct link *link = link_connect(server.address, NULL, &invited, true,
					 deadline_in_ms(FIXTURE_MS), &err);
	if (!link)
		fail_msg("%s", err.message);
	assert_string_equal(link_peer(link), "hostA");
	// Nothing but a join passes.
	assert_int_equal(link_send(link, WIRE_HELLO, "", 0, &err), -1);
	assert_int_equal(link_send(link, WIRE_JOIN, "me", 2, &err), 0);
	assert_int_equal(link_recv(link, deadline_in_ms(FIXTURE_MS), &message, &err), 1);
	assert_int_equal(message.type, WIRE_JOINED);
	assert_memory_equal(message.payload, "me", 2);
	link_done(link, &message);
	link_close(link);
	fixture_join(&server);
	assert_string_equal(server.peer, "");
	assert_false(error_is_set(&server.err));
}

static void test_join_of_the_wrong_cluster(void **state)
{
	(void)state;
	struct link_tls invited = {.fingerprint = fingerprint};
	expect_refusal(&(struct attempt){invited, foreign.tls, NULL, true, ERR_PEER_UNTRUSTED,
					 ERR_PEER_UNTRUSTED, "not signed by the CA of this cluster",
					 "does not trust the CA"});
	expect_refusal(&(struct attempt){invited, host_a.tls, "hostB", true, ERR_PEER_UNTRUSTED,
					 ERR_PEER_UNTRUSTED, "that of host hostA",
					 "does not accept our certificate"});
}

// ---- addresses
static void expect_failure(const char *address, int64_t ms, enum error_id id)
{
	struct error err = {0};
	assert_null(link_connect(address, "hostB", &host_a.tls, false, deadline_in_ms(ms), &err));
	print_message("%s\n", err.message);
	assert_int_equal(err.id, id);
}

static void test_addresses(void **state)
{
	struct fixture_server server;
	(void)state;
	expect_failure("127.0.0.1", FIXTURE_MS, ERR_USAGE);
	expect_failure("127.0.0.1:", FIXTURE_MS, ERR_USAGE);
	expect_failure(":7470", FIXTURE_MS, ERR_USAGE);
	expect_failure("[::1:7470", FIXTURE_MS, ERR_USAGE);
	expect_failure("[]:7470", FIXTURE_MS, ERR_USAGE);
	expect_failure("::1:7470", FIXTURE_MS, ERR_USAGE);
	expect_failure("127.0.0.1:74x", FIXTURE_MS, ERR_USAGE);
	expect_failure("127.0.0.1:123456", FIXTURE_MS, ERR_USAGE);
	fixture_listen(&server);
	close(server.listener);
	expect_failure(server.address, FIXTURE_MS, ERR_PEER_UNREACHABLE);
}

static void test_a_peer_that_does_not_answer(void **state)
{
	struct fixture_server server;
	(void)state;
	fixture_listen(&server); // the kernel accepts, nobody speaks
	expect_failure(server.address, 200, ERR_DEADLINE);
	close(server.listener);
}

static void *speak_another_protocol(void *argument)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	const struct fixture_server *server = argument;
	int sock = accept(server->listener, NULL, NULL);
	if (send(sock, text, sizeof(text) - 1, MSG_NOSIGNAL) > 0)
		shutdown(sock, SHUT_WR);
	fdio_wait(sock, 0, deadline_in_ms(200), NULL);
	close(sock);
	return NULL;
}

static void test_a_peer_that_speaks_something_else(void **state)
{
	struct fixture_server server;
	(void)state;
	fixture_listen(&server);
	pthread_create(&server.thread, NULL, speak_another_protocol, &server);
	expect_failure(server.address, FIXTURE_MS, ERR_PROTOCOL);
	fixture_join(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_client_without_a_certificate),
		cmocka_unit_test(test_a_client_of_another_cluster),
		cmocka_unit_test(test_a_server_of_another_cluster),
		cmocka_unit_test(test_a_server_with_another_name),
		cmocka_unit_test(test_a_client_whose_certificate_has_expired),
		cmocka_unit_test(test_a_server_whose_certificate_has_expired),
		cmocka_unit_test(test_files_that_cannot_be_used),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_join_of_the_wrong_cluster),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_a_peer_that_does_not_answer),
		cmocka_unit_test(test_a_peer_that_speaks_something_else),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
