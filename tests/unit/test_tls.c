// SPDX-License-Identifier: Apache-2.0
// TLS over two plain buffers, without sockets: small rooms, cut and damaged streams, other
// versions.
#include "lib/transport/identity.h"
#include "lib/transport/tls.h"
#include "tests/unit/link_fixture.h"

#include <openssl/ssl.h>

#define ROOM 65536

static struct fixture_host host_a, host_b;

struct end {
	struct tls *tls;
	struct tls_pipe in, out;
	uint8_t in_bytes[ROOM], out_bytes[ROOM];
};

static struct end client, server;

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	fixture_authority("ca");
	fixture_member(&host_a, "a", "hostA", "ca");
	fixture_member(&host_b, "b", "hostB", "ca");
	return 0;
}

static void open_end(struct end *end, const struct fixture_host *host, bool accepting, size_t room)
{
	struct error err = {0};
	__attribute__((cleanup(identity_free))) struct identity identity = {0};
	if (identity_make(&host->tls, accepting, false, &identity, &err) < 0)
		fail_msg("%s", err.message);
	const struct tls_setup as = {.server = accepting,
				     .ca = identity.ca,
				     .chain = identity.chain,
				     .key = identity.key,
				     .peer = accepting ? NULL : "hostB"};
	end->in = (struct tls_pipe){end->in_bytes, 0, 0, ROOM, false};
	end->out = (struct tls_pipe){end->out_bytes, 0, 0, room, false};
	end->tls = tls_open(&as, &end->in, &end->out, &err);
	if (!end->tls)
		fail_msg("%s", err.message);
}

static void open_both(size_t room)
{
	open_end(&client, &host_a, false, room);
	open_end(&server, &host_b, true, room);
}

static int close_both(void **state)
{
	(void)state;
	tls_close(client.tls);
	tls_close(server.tls);
	client.tls = server.tls = NULL;
	return 0;
}

// Carries ciphertext over, at most `max` bytes.
static size_t carry(struct end *from, struct end *to, size_t max)
{
	size_t n = from->out.end - from->out.start;
	if (n > max)
		n = max;
	if (to->in.start == to->in.end)
		to->in.start = to->in.end = 0;
	if (n > ROOM - to->in.end)
		n = ROOM - to->in.end;
	memcpy(to->in.data + to->in.end, from->out.data + from->out.start, n);
	to->in.end += n;
	from->out.start += n;
	if (from->out.start == from->out.end)
		from->out.start = from->out.end = 0;
	return n;
}

static void shake(size_t step)
{
	int here = 0, there = 0;
	struct error err = {0};
	for (int turns = 0; (!here || !there) && turns < 100000; turns++) {
		if (!here)
			here = tls_handshake(client.tls, &err);
		carry(&client, &server, step);
		if (here >= 0 && !there)
			there = tls_handshake(server.tls, &err);
		carry(&server, &client, step);
		if (here < 0 || there < 0)
			fail_msg("%s", err.message);
	}
	assert_true(here && there);
}

static void send_through(const uint8_t *bytes, size_t length, size_t step)
{
	static uint8_t received[100000];
	size_t sent = 0, have = 0, part;
	struct error err = {0};
	while (have < length) {
		part = 0;
		if (sent < length &&
		    tls_write(client.tls, bytes + sent, length - sent, &part, &err) < 0)
			fail_msg("%s", err.message);
		sent += part;
		carry(&client, &server, step);
		part = 0;
		if (tls_read(server.tls, received + have, sizeof(received) - have, &part, &err) < 0)
			fail_msg("%s", err.message);
		have += part;
	}
	assert_int_equal(have, length);
	assert_memory_equal(bytes, received, length);
}

static void test_both_know_each_other(void **state)
{
	(void)state;
	open_both(ROOM);
	shake(ROOM);
	assert_string_equal(tls_peer(client.tls), "hostB");
	assert_string_equal(tls_peer(server.tls), "hostA");
}

static void test_small_rooms_and_steps(void **state)
{
	static uint8_t bytes[70000];
	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	open_both(100);
	shake(17);
	send_through(bytes, sizeof(bytes), 33);
}

static void test_close_and_cut_are_told_apart(void **state)
{
	struct error err = {0};
	uint8_t byte;
	size_t got;
	(void)state;
	open_both(ROOM);
	shake(ROOM);
	tls_end(client.tls);
	carry(&client, &server, ROOM);
	assert_int_equal(tls_read(server.tls, &byte, 1, &got, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	assert_non_null(strstr(err.message, "closed"));
	client.in.ended = true;
	assert_int_equal(tls_read(client.tls, &byte, 1, &got, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	assert_non_null(strstr(err.message, "cut"));
}

static void test_a_changed_byte_is_refused(void **state)
{
	struct error err = {0};
	uint8_t bytes[64] = {0};
	size_t part;
	(void)state;
	open_both(ROOM);
	shake(ROOM);
	assert_int_equal(tls_write(client.tls, bytes, sizeof(bytes), &part, &err), 1);
	client.out.data[client.out.end - 1] ^= 1;
	carry(&client, &server, ROOM);
	assert_int_equal(tls_read(server.tls, bytes, sizeof(bytes), &part, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
}

static void test_the_cipher_that_is_preferred(void **state)
{
	(void)state;
	open_both(ROOM);
	// The server's choice is in its first record: type, version, length, handshake header (4),
	// version (2), random (32), session id (1 + 32), cipher suite: 0x1301
	// TLS_AES_128_GCM_SHA256.
	assert_int_equal(tls_handshake(client.tls, NULL), 0);
	carry(&client, &server, ROOM);
	assert_int_equal(tls_handshake(server.tls, NULL), 0);
	assert_int_equal(server.out.data[5 + 4 + 2 + 32 + 33], 0x13);
	assert_int_equal(server.out.data[5 + 4 + 2 + 32 + 33 + 1], 0x01);
}

// What a plain OpenSSL client with these settings is told.
static void expect_no_entry(int version, const char *alpn, const char *says)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(context, version);
	SSL *ssl = SSL_new(context);
	if (alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL_set_bio(ssl, in, out);
	SSL_connect(ssl);
	open_end(&server, &host_b, true, ROOM);
	struct error err = {0};
	server.in.end = (size_t)BIO_read(out, server.in.data, ROOM);
	assert_int_equal(tls_handshake(server.tls, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_non_null(strstr(err.message, says));
	assert_true(server.out.end > 0); // an alert
	SSL_free(ssl);
	SSL_CTX_free(context);
	tls_close(server.tls);
	server.tls = NULL;
}

static void test_other_versions_and_protocols(void **state)
{
	(void)state;
	expect_no_entry(TLS1_2_VERSION, "\x06wpar/1", "unsupported protocol");
	expect_no_entry(TLS1_3_VERSION, "\x06wpar/9", "application protocol");
}

static void test_a_server_without_our_protocol(void **state)
{
	(void)state;
	struct error err = {0};
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate_file(context, host_b.cert, SSL_FILETYPE_PEM);
	SSL_CTX_use_PrivateKey_file(context, host_b.key, SSL_FILETYPE_PEM);
	SSL *ssl = SSL_new(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	SSL_set_bio(ssl, in, out);
	open_end(&client, &host_a, false, ROOM);
	assert_int_equal(tls_handshake(client.tls, &err), 0);
	BIO_write(in, client.out.data, (int)client.out.end);
	SSL_accept(ssl);
	client.in.end = (size_t)BIO_read(out, client.in.data, ROOM);
	assert_int_equal(tls_handshake(client.tls, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_non_null(strstr(err.message, "wpar/1"));
	SSL_free(ssl);
	SSL_CTX_free(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_both_know_each_other, close_both),
		cmocka_unit_test_teardown(test_small_rooms_and_steps, close_both),
		cmocka_unit_test_teardown(test_close_and_cut_are_told_apart, close_both),
		cmocka_unit_test_teardown(test_a_changed_byte_is_refused, close_both),
		cmocka_unit_test_teardown(test_the_cipher_that_is_preferred, close_both),
		cmocka_unit_test_teardown(test_other_versions_and_protocols, close_both),
		cmocka_unit_test_teardown(test_a_server_without_our_protocol, close_both),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
