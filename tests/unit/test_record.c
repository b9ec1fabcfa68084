// SPDX-License-Identifier: Apache-2.0
// The records of our own against those of libssl, which is at the other end of each connection
// here: all suites and lengths, padding, new keys, alerts, and what is changed, repeated or
// malformed.
#include "lib/transport/identity.h"
#include "lib/transport/record.h"
#include "lib/transport/tls.h"
#include "tests/unit/link_fixture.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#define ROOM 65536

static struct fixture_host host;
static struct error err;

static struct {
	struct tls *tls;
	struct tls_pipe in, out;
	uint8_t in_bytes[ROOM], out_bytes[ROOM];
} ours;
static struct {
	SSL_CTX *context;
	SSL *ssl;
	BIO *in, *out;
} theirs;

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	fixture_authority("ca");
	fixture_member(&host, "b", "hostB", "ca");
	return 0;
}

static void fill(uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 8));
}

static void to_ours(void)
{
	struct tls_pipe *in = &ours.in;
	memmove(in->data, in->data + in->start, in->end - in->start);
	in->end -= in->start;
	in->start = 0;
	int n = BIO_read(theirs.out, in->data + in->end, (int)(in->room - in->end));
	if (n > 0)
		in->end += (size_t)n;
}

static void to_theirs(void)
{
	BIO_write(theirs.in, ours.out.data, (int)ours.out.end);
	ours.out.end = 0;
}

static void open_theirs(const char *suites)
{
	theirs.context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_ciphersuites(theirs.context, suites);
	theirs.ssl = SSL_new(theirs.context);
	SSL_set_alpn_protos(theirs.ssl, (const unsigned char *)"\x06" WIRE_ALPN, 7);
	theirs.in = BIO_new(BIO_s_mem());
	theirs.out = BIO_new(BIO_s_mem());
	SSL_set_bio(theirs.ssl, theirs.in, theirs.out);
	SSL_set_connect_state(theirs.ssl);
}

// The accepting side of a join: its peer needs no certificate.
static void open_both(const char *suites)
{
	__attribute__((cleanup(identity_free))) struct identity identity = {0};
	assert_int_equal(identity_make(&host.tls, true, true, &identity, &err), 0);
	const struct tls_setup as = {
		.server = true, .join = true, .chain = identity.chain, .key = identity.key};
	ours.in = (struct tls_pipe){ours.in_bytes, 0, 0, ROOM, false};
	ours.out = (struct tls_pipe){ours.out_bytes, 0, 0, ROOM, false};
	ours.tls = tls_open(&as, &ours.in, &ours.out, &err);
	assert_non_null(ours.tls);
	open_theirs(suites);
	int here = 0, there = 0;
	for (int i = 0; i < 10 && (!here || there != 1); i++) {
		there = SSL_do_handshake(theirs.ssl);
		to_ours();
		if (!here)
			here = tls_handshake(ours.tls, &err);
		to_theirs();
	}
	assert_int_equal(here, 1);
	assert_int_equal(there, 1);
	assert_string_equal(SSL_get_cipher_name(theirs.ssl), suites);
}

static int close_both(void **state)
{
	(void)state;
	tls_close(ours.tls);
	SSL_free(theirs.ssl);
	SSL_CTX_free(theirs.context);
	ERR_clear_error();
	ours.tls = NULL;
	theirs.ssl = NULL;
	theirs.context = NULL;
	return 0;
}

static void they_say(const void *bytes, size_t length)
{
	size_t said;
	assert_int_equal(SSL_write_ex(theirs.ssl, bytes, length, &said), 1);
	assert_int_equal(said, length);
}

// In parts of at most `part` bytes, each in memory of its own, so that one too many is seen.
static void we_hear(const uint8_t *bytes, size_t length, size_t part)
{
	for (size_t have = 0, got; have < length; have += got) {
		size_t room = length - have < part ? length - have : part;
		_cleanup_free_ uint8_t *heard = malloc(room);
		if (!tls_can_read(ours.tls))
			to_ours();
		int read = tls_read(ours.tls, heard, room, &got, &err);
		if (read < 0)
			fail_msg("%s", err.message);
		assert_memory_equal(heard, bytes + have, got);
		assert_true(read == 0 || got > 0);
	}
}

static void we_say(const uint8_t *bytes, size_t length)
{
	for (size_t said = 0, taken; said < length; said += taken) {
		if (tls_write(ours.tls, bytes + said, length - said, &taken, &err) < 0)
			fail_msg("%s", err.message);
		to_theirs();
	}
}

static void they_hear(const uint8_t *bytes, size_t length)
{
	static uint8_t heard[ROOM * 4];
	for (size_t have = 0, got; have < length; have += got)
		assert_int_equal(SSL_read_ex(theirs.ssl, heard + have, length - have, &got), 1);
	assert_memory_equal(heard, bytes, length);
}

static void exchange(size_t length, size_t part)
{
	static uint8_t bytes[ROOM * 4];
	fill(bytes, length);
	they_say(bytes, length);
	we_hear(bytes, length, part);
	we_say(bytes, length);
	they_hear(bytes, length);
}

static void test_all_suites_and_lengths(void **state)
{
	static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
					     "TLS_CHACHA20_POLY1305_SHA256"};
	static const size_t lengths[] = {1,     2,     15,    16,     17,    100,
					 16383, 16384, 16385, 100000, 200000};
	for (size_t s = 0; s < ARRAY_SIZE(suites); s++) {
		open_both(suites[s]);
		for (size_t l = 0; l < ARRAY_SIZE(lengths); l++)
			exchange(lengths[l], lengths[l]);
		close_both(state);
	}
}

static void test_less_room_than_a_record_has(void **state)
{
	(void)state;
	open_both("TLS_AES_128_GCM_SHA256");
	exchange(40000, 1000);
	exchange(300, 7);
	exchange(16384, 16383);
}

static void test_padding_is_not_content(void **state)
{
	static const size_t blocks[] = {64, 512, 16384};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
		open_both("TLS_AES_128_GCM_SHA256");
		SSL_set_block_padding(theirs.ssl, blocks[i]);
		exchange(1, 1);
		exchange(1000, 1000);
		exchange(40000, 16384);
		close_both(state);
	}
}

static void test_new_keys(void **state)
{
	(void)state;
	open_both("TLS_AES_256_GCM_SHA384");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(SSL_key_update(theirs.ssl, i == 1 ? SSL_KEY_UPDATE_NOT_REQUESTED
								   : SSL_KEY_UPDATE_REQUESTED),
				 1);
		exchange(1000, 1000);
		exchange(30000, 30000);
	}
}

static void test_the_end_is_said_and_heard(void **state)
{
	uint8_t byte;
	size_t got;
	(void)state;
	open_both("TLS_AES_128_GCM_SHA256");
	SSL_shutdown(theirs.ssl);
	to_ours();
	assert_true(tls_can_read(ours.tls));
	assert_int_equal(tls_read(ours.tls, &byte, 1, &got, &err), -1);
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	assert_non_null(strstr(err.message, "closed"));
	assert_int_equal(tls_read(ours.tls, &byte, 1, &got, &err), -1); // and stays
	assert_int_equal(err.id, ERR_PEER_UNREACHABLE);
	tls_end(ours.tls);
	tls_end(ours.tls);
	assert_int_equal(ours.out.end, 2 + RECORD_OVERHEAD); // once
	to_theirs();
	assert_int_equal(SSL_read(theirs.ssl, &byte, 1), 0);
	assert_int_equal(SSL_get_shutdown(theirs.ssl) & SSL_RECEIVED_SHUTDOWN,
			 SSL_RECEIVED_SHUTDOWN);
}

// What a wrong record is called, and that the peer is told so.
static void expect_refused(const char *says, int alert)
{
	static uint8_t bytes[ROOM];
	size_t got;
	assert_int_equal(tls_read(ours.tls, bytes, sizeof(bytes), &got, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	assert_non_null(strstr(err.message, says));
	to_theirs();
	assert_true(SSL_read(theirs.ssl, bytes, 1) <= 0);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + alert);
	assert_int_equal(tls_read(ours.tls, bytes, sizeof(bytes), &got, &err), -1);
}

static void test_a_changed_bit_is_refused(void **state)
{
	static const size_t places[] = {RECORD_HEADER,       RECORD_HEADER + 50,
					RECORD_HEADER + 100, RECORD_HEADER + 101,
					RECORD_HEADER + 116, 1};
	uint8_t bytes[100] = {1};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		open_both("TLS_AES_128_GCM_SHA256");
		they_say(bytes, sizeof(bytes));
		to_ours();
		ours.in.data[places[i]] ^= 4;
		expect_refused("changed on its way", SSL_AD_BAD_RECORD_MAC);
		close_both(state);
	}
}

static void test_a_repeated_or_lost_record_is_refused(void **state)
{
	uint8_t bytes[100] = {1}, heard[100];
	size_t got;
	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		open_both("TLS_CHACHA20_POLY1305_SHA256");
		they_say(bytes, sizeof(bytes));
		to_ours();
		size_t length = ours.in.end;
		if (lost) {
			ours.in.end = 0;
			they_say(bytes, sizeof(bytes));
			to_ours();
		} else {
			assert_int_equal(tls_read(ours.tls, heard, 100, &got, &err), 1);
			ours.in.start -= length;
		}
		expect_refused("changed on its way", SSL_AD_BAD_RECORD_MAC);
		close_both(state);
	}
}

static void test_malformed_headers(void **state)
{
	static const uint8_t headers[][RECORD_HEADER] = {
		{RECORD_ALERT, 3, 3, 0, 18},     // not encrypted
		{20, 3, 3, 0, 1},                // change cipher spec
		{RECORD_DATA, 3, 3, 0, 0},       // no room for a type
		{RECORD_DATA, 3, 3, 0, 16},      // no room for a type
		{RECORD_DATA, 3, 3, 0x41, 0x01}, // 2^14 + 257
		{RECORD_DATA, 3, 3, 0xff, 0xff},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		open_both("TLS_AES_128_GCM_SHA256");
		memset(ours.in.data, 0, ROOM);
		memcpy(ours.in.data, headers[i], RECORD_HEADER);
		ours.in.start = 0;
		ours.in.end = RECORD_HEADER;
		assert_true(tls_can_read(ours.tls));
		expect_refused("malformed", SSL_AD_DECODE_ERROR);
		close_both(state);
	}
}

// Both ends of one direction, without a connection around them.
static struct record_key *key_of(bool sending)
{
	static const uint8_t secret[32] = {7};
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);
	const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, (const unsigned char *)"\x13\x01");
	struct record_key *key = record_key_new(suite, secret, sizeof(secret), sending, &err);
	assert_non_null(key);
	assert_null(record_key_new(suite, secret, sizeof(secret) - 1, sending, &err));
	SSL_free(ssl);
	SSL_CTX_free(context);
	return key;
}

static void test_what_keys_are_for(void **state)
{
	uint8_t bytes[64] = {3}, out[64 + RECORD_OVERHEAD], again[64 + RECORD_OVERHEAD], back[64];
	uint8_t type;
	(void)state;
	struct record_key *to = key_of(true), *from = key_of(false);
	assert_int_equal(record_seal(to, RECORD_DATA, bytes, 64, out, &err), 0);
	assert_int_equal(record_seal(to, RECORD_DATA, bytes, 64, again, &err), 0);
	assert_memory_not_equal(out + RECORD_HEADER, again + RECORD_HEADER, 64);
	assert_int_equal(record_count(to), 2);
	assert_int_equal(record_open(from, out, sizeof(out), back, &type, &err), 64);
	assert_memory_equal(back, bytes, 64);
	assert_int_equal(record_key_update(to, &err), 0);
	assert_int_equal(record_count(to), 0);
	assert_int_equal(record_seal(to, RECORD_ALERT, bytes, 2, out, &err), 0);
	assert_int_equal(record_key_update(from, &err), 0);
	assert_int_equal(record_open(from, out, 2 + RECORD_OVERHEAD, back, &type, &err), 2);
	assert_int_equal(type, RECORD_ALERT);
	// Of zeroes alone: no type.
	assert_int_equal(record_seal(to, (enum record_type)0, (uint8_t[8]){0}, 8, out, &err), 0);
	assert_int_equal(record_open(from, out, 8 + RECORD_OVERHEAD, back, &type, &err), -1);
	assert_int_equal(record_seal(to, RECORD_DATA, bytes, RECORD_CONTENT_MAX + 1, out, &err),
			 -1);
	record_key_free(to);
	record_key_free(from);
	record_key_free(NULL);
}

static void test_before_the_handshake(void **state)
{
	(void)state;
	uint8_t byte = 0;
	size_t part;
	open_both("TLS_AES_128_GCM_SHA256");
	tls_close(ours.tls);
	const struct tls_setup as = {.server = true, .join = true};
	ours.in.start = ours.in.end = ours.out.end = 0;
	ours.tls = tls_open(&as, &ours.in, &ours.out, &err);
	assert_non_null(ours.tls);
	assert_false(tls_can_read(ours.tls));
	assert_int_equal(tls_write(ours.tls, &byte, 1, &part, &err), -1);
	assert_int_equal(err.id, ERR_INTERNAL);
	assert_int_equal(tls_read(ours.tls, &byte, 1, &part, &err), -1);
	assert_int_equal(err.id, ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_suites_and_lengths),
		cmocka_unit_test_teardown(test_less_room_than_a_record_has, close_both),
		cmocka_unit_test(test_padding_is_not_content),
		cmocka_unit_test_teardown(test_new_keys, close_both),
		cmocka_unit_test_teardown(test_the_end_is_said_and_heard, close_both),
		cmocka_unit_test(test_a_changed_bit_is_refused),
		cmocka_unit_test(test_a_repeated_or_lost_record_is_refused),
		cmocka_unit_test(test_malformed_headers),
		cmocka_unit_test(test_what_keys_are_for),
		cmocka_unit_test_teardown(test_before_the_handshake, close_both),
	};
	return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
