// SPDX-License-Identifier: Apache-2.0
// Streams: events split and joined by the network, logs, refusals, cut connections, wake-ups.
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/client/wpar.h"

#include "tests/unit/fake_relocd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>

#include <cmocka.h>

static struct wpar *open_at(const struct fake *fake)
{
	struct wpar_error err = {0};
	struct wpar *wpar = wpar_open(fake->path, &err);
	assert_non_null(wpar);
	return wpar;
}

static void chunk(int fd, const char *text)
{
	char head[32];
	snprintf(head, sizeof(head), "%zx\r\n", strlen(text));
	fake_write(fd, head, strlen(head));
	fake_write(fd, text, strlen(text));
	fake_write(fd, "\r\n", 2);
}

static void stream_head(int fd)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	fake_write(fd, head, strlen(head));
}

static void serve_events(struct fake *fake, int fd)
{
	(void)fake;
	stream_head(fd);
	chunk(fd, "{\"event\":\"phase\",\"phase\":\"validate\"}\n{\"event\":\"pha");
	usleep(20000);
	chunk(fd, "se\",\"phase\":\"freeze\"}\n\n");
	usleep(20000);
	chunk(fd, "{\"event\":\"done\"}\n");
	fake_write(fd, "0\r\n\r\n", 5);
}

static void reads_events_however_they_are_cut(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	struct wpar_stream *stream;
	static const char *const wanted[] = {"phase", "phase", "done"};
	fake->serve = serve_events;
	assert_int_equal(wpar_move_events(wpar, "m-1", &stream, &err), 0);
	for (size_t i = 0; i < 3; i++) {
		json_t *event = NULL;
		assert_int_equal(wpar_stream_event(stream, -1, deadline_in_ms(5000), &event, &err),
				 WPAR_NEXT_DATA);
		assert_string_equal(json_string_value(json_object_get(event, "event")), wanted[i]);
		json_decref(event);
	}
	json_t *none = NULL;
	assert_int_equal(wpar_stream_event(stream, -1, deadline_in_ms(5000), &none, &err),
			 WPAR_NEXT_END);
	assert_non_null(strstr(fake->request, "GET /v1/moves/m-1/events HTTP/1.1"));
	wpar_stream_close(stream);
	wpar_close(wpar);
}

static void serve_half_an_event(struct fake *fake, int fd)
{
	(void)fake;
	stream_head(fd);
	chunk(fd, "{\"event\":\"pha");
	fake_write(fd, "0\r\n\r\n", 5);
}

static void serve_and_die(struct fake *fake, int fd)
{
	(void)fake;
	stream_head(fd);
	chunk(fd, "{\"event\":\"phase\",\"phase\":\"freeze\"}\n");
	shutdown(fd, SHUT_RDWR);
}

// What comes after the events that are there.
static enum wpar_next last_of(struct fake *fake, struct wpar_error *err)
{
	struct wpar *wpar = open_at(fake);
	struct wpar_stream *stream;
	enum wpar_next next;
	assert_int_equal(wpar_move_events(wpar, "m-1", &stream, err), 0);
	do {
		json_t *event = NULL;
		next = wpar_stream_event(stream, -1, deadline_in_ms(5000), &event, err);
		json_decref(event);
	} while (next == WPAR_NEXT_DATA);
	wpar_stream_close(stream);
	wpar_close(wpar);
	return next;
}

static void a_cut_stream_is_no_end(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	fake->serve = serve_half_an_event;
	assert_int_equal(last_of(fake, &err), WPAR_NEXT_ERROR);
	assert_int_equal(error_id_of(err.code), ERR_UNREACHABLE);
	fake->serve = serve_and_die;
	assert_int_equal(last_of(fake, &err), WPAR_NEXT_ERROR);
	assert_int_equal(error_id_of(err.code), ERR_UNREACHABLE);
}

static void reads_refusals(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	fake_answer(
		fake, "404 Not Found",
		"{\"schema\":1,\"errors\":[{\"code\":\"WPAR-M005\",\"message\":\"no move m-1\"}]}");
	assert_int_equal(last_of(fake, &err), WPAR_NEXT_ERROR);
	assert_int_equal(error_id_of(err.code), ERR_MOVE_UNKNOWN);
	assert_string_equal(err.message, "no move m-1");
}

#define LOG_BYTES (3 << 20)

static void serve_log(struct fake *fake, int fd)
{
	static char line[1001];
	(void)fake;
	memset(line, 'x', sizeof(line) - 1);
	stream_head(fd);
	for (size_t sent = 0; sent < LOG_BYTES; sent += sizeof(line) - 1)
		chunk(fd, line);
	fake_write(fd, "0\r\n\r\n", 5);
}

// More than the client is willing to hold at once: it must pause the sender and go on.
static void reads_a_long_log(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	struct wpar_stream *stream;
	const void *bytes;
	size_t length, sum = 0;
	enum wpar_next next;
	fake->serve = serve_log;
	assert_int_equal(wpar_logs(wpar, "db1", true, "2026-01-02T03:04:05Z", &stream, &err), 0);
	while ((next = wpar_stream_read(stream, -1, deadline_in_ms(5000), &bytes, &length, &err)) ==
	       WPAR_NEXT_DATA) {
		assert_true(length <= 1 << 20);
		assert_int_equal(((const char *)bytes)[length - 1], 'x');
		sum += length;
	}
	assert_int_equal(next, WPAR_NEXT_END);
	assert_int_equal(sum, (LOG_BYTES + 999) / 1000 * 1000);
	assert_non_null(strstr(fake->request, "/logs?follow=1&since=2026-01-02T03%3A04%3A05Z "));
	wpar_stream_close(stream);
	wpar_close(wpar);
}

static void serve_silence(struct fake *fake, int fd)
{
	char byte;
	(void)fake;
	stream_head(fd);
	while (read(fd, &byte, 1) > 0)
		;
}

static void wakes_and_times_out(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar = open_at(fake);
	struct wpar_stream *stream;
	json_t *event = NULL;
	int waker = eventfd(0, EFD_CLOEXEC);
	fake->serve = serve_silence;
	assert_int_equal(wpar_move_events(wpar, "m-1", &stream, &err), 0);
	assert_int_equal(wpar_stream_event(stream, waker, deadline_in_ms(50), &event, &err),
			 WPAR_NEXT_TIMEOUT);
	eventfd_write(waker, 1);
	assert_int_equal(wpar_stream_event(stream, waker, deadline_in_ms(5000), &event, &err),
			 WPAR_NEXT_WOKEN);
	close(waker);
	wpar_stream_close(stream);
	wpar_close(wpar);
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_start, fake_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKE(reads_events_however_they_are_cut),
		WITH_FAKE(a_cut_stream_is_no_end),
		WITH_FAKE(reads_refusals),
		WITH_FAKE(reads_a_long_log),
		WITH_FAKE(wakes_and_times_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
