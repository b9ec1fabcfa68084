// SPDX-License-Identifier: Apache-2.0
// Answers of other hosts, whole, in pieces, and wrong.
#include "lib/base/cleanup.h"
#include "relocd/api/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define HEAD "HTTP/1.1 200 OK\r\n"

// Reads `text`, fed `step` bytes at a time, then the end of the connection. The body's length, or
// -1.
static int read_answer(const char *text, size_t step, struct answer *a, char body[512],
		       struct error *err)
{
	size_t left = strlen(text), got = 0;
	bool head = false;
	answer_init(a);
	for (;;) {
		int done = head ? 1 : answer_head(a, err);
		if (done < 0)
			return -1;
		head = done;
		ssize_t n = head ? answer_body(a, body + got, 511 - got, err) : 0;
		if (n < 0)
			return -1;
		got += (size_t)n;
		body[got] = 0;
		if (n)
			continue;
		if (head && a->ended)
			return (int)got;
		size_t room, part = left < step ? left : step;
		uint8_t *to = answer_room(a, &room);
		assert_non_null(to);
		assert_true(part <= room);
		memcpy(to, text, part);
		answer_fed(a, part);
		text += part;
		left -= part;
	}
}

static void expect(const char *text, unsigned status, const char *body)
{
	for (size_t step = 1; step < 70; step++) {
		struct answer a;
		struct error err = {0};
		char got[512] = "";
		if (read_answer(text, step, &a, got, &err) < 0)
			fail_msg("%s: %s", text, err.message);
		assert_int_equal(a.status, status);
		assert_string_equal(got, body);
		answer_free(&a);
	}
}

static void expect_wrong(const char *text, enum error_id id)
{
	for (size_t step = 1; step < 70; step += 23) {
		struct answer a;
		struct error err = {0};
		char got[512];
		if (read_answer(text, step, &a, got, &err) >= 0)
			fail_msg("accepted: %s", text);
		assert_int_equal(err.id, id);
		answer_free(&a);
	}
}

static void test_bodies(void **state)
{
	(void)state;
	expect(HEAD "Content-Length: 5\r\n\r\nhello", 200, "hello");
	expect(HEAD "Content-Length: 0\r\n\r\n", 200, "");
	expect("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", 204, "");
	expect(HEAD
	       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, world!!!\r\n0\r\n\r\n",
	       200, "hello, world!!!");
	expect("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nto the end", 404, "to the end");
}

static void test_headers(void **state)
{
	struct answer a;
	struct error err = {0};
	char body[512];
	(void)state;
	assert_int_equal(read_answer(HEAD "content-type:  application/json \r\nETAG: \"u-1\"\r\n"
					  "Content-Length: 2\r\n\r\n{}",
				     9, &a, body, &err),
			 2);
	assert_string_equal(a.type, "application/json");
	assert_string_equal(a.etag, "\"u-1\"");
	answer_free(&a);
	// what follows an upgrade stays
	assert_int_equal(read_answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: wpar-exec/1\r\n"
				     "\r\nframe",
				     200, &a, body, &err),
			 0);
	assert_string_equal(a.upgrade, "wpar-exec/1");
	assert_int_equal(a.in.length, 5);
	answer_free(&a);
}

static void test_cut_off(void **state)
{
	(void)state;
	expect_wrong("", ERR_PEER_UNREACHABLE);
	expect_wrong("HTTP/1.1 200 OK\r\nContent-Le", ERR_PEER_UNREACHABLE);
	expect_wrong(HEAD "Content-Length: 6\r\n\r\nhello", ERR_PEER_UNREACHABLE);
	expect_wrong(HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ERR_PEER_UNREACHABLE);
	expect_wrong(HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", ERR_PEER_UNREACHABLE);
}

static void test_hostile(void **state)
{
	(void)state;
	static const char *const wrong[] = {
		"SSH-2.0-x\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 999 ?\r\n\r\n",
		HEAD "no header\r\n\r\n",
		HEAD ": nothing\r\n\r\n",
		HEAD "A: b\r\n folded\r\n\r\n",
		HEAD "A : b\r\n\r\n",
		HEAD "A: b\nB: c\r\n\r\n",
		HEAD "A: \x01\r\n\r\n",
		HEAD "Content-Length: -1\r\n\r\n",
		HEAD "Content-Length: 1x\r\n\r\nx",
		HEAD "Content-Length: \r\n\r\n",
		HEAD "Content-Length: 99999999999999999999999\r\n\r\n",
		HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		HEAD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		HEAD "Transfer-Encoding: gzip\r\n\r\n",
		HEAD "Transfer-Encoding: chunked\r\n\r\nz\r\n",
		HEAD "Transfer-Encoding: chunked\r\n\r\n\r\n",
		HEAD "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello",
		HEAD "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
		HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
		HEAD "Content-Type: a\r\nContent-Type: b\r\n\r\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_wrong(wrong[i], ERR_PROTOCOL);
}

// A head or a chunk's length that does not end is given up at a limit, not collected for ever.
static void test_endless(void **state)
{
	_cleanup_free_ char *text = malloc(ANSWER_HEAD_MAX + 4096);
	(void)state;
	memset(text, 'a', ANSWER_HEAD_MAX + 4095);
	text[ANSWER_HEAD_MAX + 4095] = 0;
	memcpy(text, HEAD "X: ", strlen(HEAD "X: "));
	struct answer a;
	struct error err = {0};
	char got[512];
	assert_int_equal(read_answer(text, 1000, &a, got, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	answer_free(&a);
	const char *chunked = HEAD "Transfer-Encoding: chunked\r\n\r\n";
	memset(text, '0', ANSWER_HEAD_MAX);
	memcpy(text, chunked, strlen(chunked));
	assert_int_equal(read_answer(text, 1000, &a, got, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	answer_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),  cmocka_unit_test(test_headers),
		cmocka_unit_test(test_cut_off), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_endless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
