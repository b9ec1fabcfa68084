// SPDX-License-Identifier: Apache-2.0
// Exec sessions: the upgrade, frames both ways, refusals.
#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/client/exec_frame.h"
#include "lib/client/wpar.h"

#include "tests/unit/fake_relocd.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct wpar_exec *session_of(struct fake *fake, struct wpar **wpar, struct wpar_error *err)
{
	struct wpar_exec *session = NULL;
	*wpar = wpar_open(fake->path, err);
	assert_non_null(*wpar);
	wpar_exec(*wpar, "db1", json_pack("{s:[s]}", "args", "true"), &session, err);
	return session;
}

// Waits for one frame; its bytes as text.
static enum wpar_channel next_frame(struct wpar_exec *session, char *text, size_t size)
{
	struct wpar_error err = {0};
	struct wpar_exec_frame frame;
	int got;
	while ((got = wpar_exec_receive(session, &frame, &err)) == 0) {
		struct pollfd ready = {.fd = wpar_exec_fd(session), .events = POLLIN};
		assert_int_equal(poll(&ready, 1, 5000), 1);
	}
	assert_int_equal(got, 1);
	assert_true(frame.length < size);
	memcpy(text, frame.bytes, frame.length);
	text[frame.length] = 0;
	return frame.channel;
}

static void write_frame(int fd, enum wpar_channel channel, const char *text)
{
	struct buf frame = BUF_INIT(4096);
	assert_int_equal(exec_frame_append(&frame, channel, text, strlen(text), NULL), 0);
	// Byte by byte, the worst that a network does.
	for (size_t i = 0; i < frame.length; i++)
		fake_write(fd, (char *)frame.data + i, 1);
	buf_free(&frame);
}

// Reads the client's next frame into text.
static int read_frame(int fd, char *text, size_t size)
{
	uint8_t head[EXEC_FRAME_HEADER];
	if (recv(fd, head, sizeof(head), MSG_WAITALL) != sizeof(head))
		return -1;
	size_t length = (size_t)head[3] << 8 | head[4];
	if (length >= size || (length && recv(fd, text, length, MSG_WAITALL) != (ssize_t)length))
		return -1;
	text[length] = 0;
	return head[0];
}

static char seen[3][256];
static int seen_channel[3];

static void serve_session(struct fake *fake, int fd)
{
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
				   "Upgrade: wpar-exec/1\r\n\r\n";
	(void)fake;
	fake_write(fd, head, strlen(head));
	for (int i = 0; i < 3; i++)
		seen_channel[i] = read_frame(fd, seen[i], sizeof(seen[i]));
	write_frame(fd, WPAR_STDOUT, "out");
	write_frame(fd, WPAR_STDERR, "err");
	write_frame(fd, WPAR_STDOUT, "");
	write_frame(fd, WPAR_CONTROL, "{\"exit\":3}");
}

static void talks_both_ways(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar;
	char text[256];
	fake->serve = serve_session;
	fake->hang_up = true;
	struct wpar_exec *session = session_of(fake, &wpar, &err);
	assert_non_null(session);
	assert_int_equal(wpar_exec_send(session, WPAR_STDIN, "hello", 5, &err), 0);
	assert_int_equal(wpar_exec_send(session, WPAR_STDIN, NULL, 0, &err), 0);
	assert_true(wpar_exec_pending(session));
	assert_int_equal(wpar_exec_flush(session, &err), 0);
	assert_false(wpar_exec_pending(session));
	assert_int_equal(next_frame(session, text, sizeof(text)), WPAR_STDOUT);
	assert_string_equal(text, "out");
	assert_int_equal(next_frame(session, text, sizeof(text)), WPAR_STDERR);
	assert_string_equal(text, "err");
	assert_int_equal(next_frame(session, text, sizeof(text)), WPAR_STDOUT);
	assert_string_equal(text, "");
	assert_int_equal(next_frame(session, text, sizeof(text)), WPAR_CONTROL);
	assert_string_equal(text, "{\"exit\":3}");
	struct wpar_exec_frame frame;
	struct pollfd ready = {.fd = wpar_exec_fd(session), .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(wpar_exec_receive(session, &frame, &err), -1);
	assert_int_equal(error_id_of(err.code), ERR_UNREACHABLE);
	wpar_exec_close(session);
	wpar_close(wpar);
	assert_non_null(strstr(fake->request, "POST /v1/partitions/db1/exec HTTP/1.1\r\n"));
	assert_non_null(strstr(fake->request, "Upgrade: wpar-exec/1\r\n"));
	assert_int_equal(seen_channel[0], WPAR_CONTROL);
	assert_string_equal(seen[0], "{\"args\":[\"true\"]}");
	assert_int_equal(seen_channel[1], WPAR_STDIN);
	assert_string_equal(seen[1], "hello");
	assert_int_equal(seen_channel[2], WPAR_STDIN);
	assert_string_equal(seen[2], "");
}

static void reads_why_there_is_no_session(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar;
	fake_answer(fake, "409 Conflict",
		    "{\"schema\":1,\"errors\":[{\"code\":\"WPAR-P004\",\"message\":\"db1 is "
		    "Defined\"}]}");
	assert_null(session_of(fake, &wpar, &err));
	assert_int_equal(error_id_of(err.code), ERR_WRONG_STATE);
	assert_string_equal(err.message, "db1 is Defined");
	wpar_close(wpar);
}

static void distrusts_other_answers(void **state)
{
	struct fake *fake = *state;
	struct wpar_error err = {0};
	struct wpar *wpar;
	fake_answer(fake, "200 OK", "{\"schema\":1,\"data\":null}");
	assert_null(session_of(fake, &wpar, &err));
	assert_int_equal(error_id_of(err.code), ERR_PROTOCOL);
	wpar_close(wpar);
	strcpy(fake->answer, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
	assert_null(session_of(fake, &wpar, &err));
	assert_int_equal(error_id_of(err.code), ERR_PROTOCOL);
	wpar_close(wpar);
}

static void frames_survive_any_cut(void **state)
{
	(void)state;
	struct error err = {0};
	struct wpar_exec_frame frame;
	struct buf all = BUF_INIT(4 << 20);
	size_t size = 0;
	assert_int_equal(exec_frame_append(&all, WPAR_STDERR, "abc", 3, &err), 0);
	for (size_t have = 0; have < EXEC_FRAME_HEADER + 3; have++) {
		struct buf part = {.data = all.data, .length = have, .max = have};
		assert_int_equal(exec_frame_next(&part, &frame, &size, &err), 0);
	}
	assert_int_equal(exec_frame_next(&all, &frame, &size, &err), 1);
	assert_int_equal(size, EXEC_FRAME_HEADER + 3);
	assert_memory_equal(frame.bytes, "abc", 3);
	buf_free(&all);
}

static void long_data_takes_several_frames(void **state)
{
	(void)state;
	struct error err = {0};
	struct wpar_exec_frame frame;
	struct buf all = BUF_INIT(4 << 20);
	size_t size = 0, sum = 0;
	char *data = calloc(1, EXEC_FRAME_MAX + 10);
	assert_int_equal(exec_frame_append(&all, WPAR_STDIN, data, EXEC_FRAME_MAX + 10, &err), 0);
	while (exec_frame_next(&all, &frame, &size, &err) == 1) {
		sum += frame.length;
		buf_consume(&all, size);
	}
	assert_int_equal(sum, EXEC_FRAME_MAX + 10);
	assert_int_equal(all.length, 0);
	free(data);
	buf_free(&all);
}

static void refuses_what_is_no_frame(void **state)
{
	(void)state;
	struct error err = {0};
	struct wpar_exec_frame frame;
	size_t size;
	uint8_t channel[] = {4, 0, 0, 0, 0}, length[] = {1, 0xff, 0xff, 0xff, 0xff};
	struct buf bad = {.data = channel, .length = 5, .max = 5};
	assert_int_equal(exec_frame_next(&bad, &frame, &size, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
	bad.data = length;
	assert_int_equal(exec_frame_next(&bad, &frame, &size, &err), -1);
	assert_int_equal(err.id, ERR_PROTOCOL);
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_start, fake_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FAKE(talks_both_ways),
		WITH_FAKE(reads_why_there_is_no_session),
		WITH_FAKE(distrusts_other_answers),
		cmocka_unit_test(frames_survive_any_cut),
		cmocka_unit_test(long_data_takes_several_frames),
		cmocka_unit_test(refuses_what_is_no_frame),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
