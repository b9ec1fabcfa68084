// SPDX-License-Identifier: Apache-2.0
// Answers without an end of their own: read piece by piece as they come, by the caller's clock.
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/client/client_http.h"

#include <string.h>

#define STREAM_HELD_MAX (4 << 20)
#define STREAM_PAUSE_AT \
	(512 << 10) // unread bytes at which the socket is left alone; the longest line

struct wpar_stream {
	const struct wpar *wpar;
	CURL *easy;
	CURLM *multi;
	struct buf held;
	size_t taken; // of `held`: handed out by the last call
	bool paused, ended;
	CURLcode code;
};

static long status_of(const struct wpar_stream *stream)
{
	long status = 0;
	curl_easy_getinfo(stream->easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

// An error answer: its bytes are an envelope, to be read whole.
static bool is_refusal(const struct wpar_stream *stream)
{
	return status_of(stream) >= 400;
}

static size_t hold(char *bytes, size_t size, size_t count, void *to)
{
	struct wpar_stream *stream = to;
	if (stream->held.length > STREAM_PAUSE_AT && !is_refusal(stream)) {
		stream->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	return buf_append(&stream->held, bytes, size * count, NULL) < 0 ? 0 : size * count;
}

static struct wpar_stream *stream_new(struct wpar *wpar, const char *path, struct error *err)
{
	struct wpar_stream *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		error_set(err, ERR_NOMEM, "no memory for a stream");
		return NULL;
	}
	stream->wpar = wpar;
	stream->held = BUF_INIT(STREAM_HELD_MAX);
	stream->multi = curl_multi_init();
	stream->easy = client_easy_new(wpar, err);
	if (!stream->multi || !stream->easy || client_set_path(wpar, stream->easy, path, err) < 0) {
		wpar_stream_close(stream);
		return NULL;
	}
	curl_easy_setopt(stream->easy, CURLOPT_WRITEFUNCTION, hold);
	curl_easy_setopt(stream->easy, CURLOPT_WRITEDATA, stream);
	curl_multi_add_handle(stream->multi, stream->easy);
	return stream;
}

void wpar_stream_close(struct wpar_stream *stream)
{
	if (!stream)
		return;
	if (stream->multi && stream->easy)
		curl_multi_remove_handle(stream->multi, stream->easy);
	if (stream->easy)
		curl_easy_cleanup(stream->easy);
	if (stream->multi)
		curl_multi_cleanup(stream->multi);
	buf_free(&stream->held);
	free(stream);
}

// Lets curl take what the socket has, without waiting.
static int run(struct wpar_stream *stream, struct error *err)
{
	int running = 0, left;
	if (stream->paused && stream->held.length <= STREAM_PAUSE_AT) {
		stream->paused = false;
		curl_easy_pause(stream->easy, CURLPAUSE_CONT);
	}
	CURLMcode code = curl_multi_perform(stream->multi, &running);
	if (code != CURLM_OK)
		return error_set(err, ERR_INTERNAL, "a transfer failed: %s",
				 curl_multi_strerror(code));
	CURLMsg *message;
	while ((message = curl_multi_info_read(stream->multi, &left)))
		if (message->msg == CURLMSG_DONE) {
			stream->ended = true;
			stream->code = message->data.result;
		}
	return 0;
}

static void drop_taken(struct wpar_stream *stream)
{
	if (stream->taken)
		buf_consume(&stream->held, stream->taken);
	stream->taken = 0;
}

// At the end of the transfer: how it went. Held bytes of an error answer are its envelope.
static enum wpar_next conclude(struct wpar_stream *stream, struct error *err)
{
	if (stream->code != CURLE_OK) {
		client_error_curl(stream->wpar, stream->easy, stream->code, err);
		return WPAR_NEXT_ERROR;
	}
	if (is_refusal(stream)) {
		client_read_envelope(stream->held.data, stream->held.length, status_of(stream),
				     NULL, NULL, err);
		return WPAR_NEXT_ERROR;
	}
	return WPAR_NEXT_END;
}

// Waits for more than `had` held bytes, the end, the waker or the deadline.
static enum wpar_next more(struct wpar_stream *stream, size_t had, int wake_fd, deadline_t deadline,
			   struct error *err)
{
	for (;;) {
		if (run(stream, err) < 0)
			return WPAR_NEXT_ERROR;
		if (stream->held.length > had && !is_refusal(stream))
			return WPAR_NEXT_DATA;
		if (stream->ended)
			return conclude(stream, err);
		if (deadline_passed(deadline))
			return WPAR_NEXT_TIMEOUT;
		struct curl_waitfd waker = {.fd = wake_fd, .events = CURL_WAIT_POLLIN};
		int ms = deadline_poll_ms(deadline);
		CURLMcode code = curl_multi_poll(stream->multi, &waker, wake_fd >= 0 ? 1 : 0,
						 ms < 0 || ms > 60000 ? 60000 : ms, NULL);
		if (code != CURLM_OK) {
			error_set(err, ERR_INTERNAL, "waiting failed: %s",
				  curl_multi_strerror(code));
			return WPAR_NEXT_ERROR;
		}
		if (wake_fd >= 0 && waker.revents)
			return WPAR_NEXT_WOKEN;
	}
}

enum wpar_next wpar_stream_read(struct wpar_stream *stream, int wake_fd, int64_t deadline,
				const void **bytes, size_t *length, struct wpar_error *err)
{
	struct error why;
	drop_taken(stream);
	enum wpar_next next = more(stream, 0, wake_fd, deadline, &why);
	if (next == WPAR_NEXT_ERROR)
		client_publish(err, &why);
	if (next == WPAR_NEXT_DATA) {
		*bytes = stream->held.data;
		*length = stream->taken = stream->held.length;
	}
	return next;
}

// A line that lacks its newline at the end of the stream was cut off.
static enum wpar_next cut_off(struct wpar_stream *stream, struct error *err)
{
	error_set(err, ERR_UNREACHABLE, "relocd at %s broke off in the middle of an event",
		  stream->wpar->socket);
	return WPAR_NEXT_ERROR;
}

static enum wpar_next next_event(struct wpar_stream *stream, int wake_fd, deadline_t deadline,
				 json_t **event, struct error *err)
{
	for (;;) {
		drop_taken(stream);
		size_t had = stream->held.length;
		uint8_t *end = had ? memchr(stream->held.data, '\n', had) : NULL;
		if (!end && had > STREAM_PAUSE_AT) {
			error_set(err, ERR_PROTOCOL, "relocd sent an event of more than %zu bytes",
				  had);
			return WPAR_NEXT_ERROR;
		}
		if (!end || is_refusal(stream)) {
			enum wpar_next next = more(stream, had, wake_fd, deadline, err);
			if (next == WPAR_NEXT_END && had)
				return cut_off(stream, err);
			if (next != WPAR_NEXT_DATA)
				return next;
			continue;
		}
		size_t length = (size_t)(end - stream->held.data);
		stream->taken = length + 1;
		if (!length)
			continue; // an empty line keeps the connection alive
		*event = json_loadb((char *)stream->held.data, length, 0, NULL);
		if (*event)
			return WPAR_NEXT_DATA;
		error_set(err, ERR_PROTOCOL, "relocd sent an event that is not JSON");
		return WPAR_NEXT_ERROR;
	}
}

enum wpar_next wpar_stream_event(struct wpar_stream *stream, int wake_fd, int64_t deadline,
				 json_t **event, struct wpar_error *err)
{
	struct error why;
	enum wpar_next next = next_event(stream, wake_fd, deadline, event, &why);
	if (next == WPAR_NEXT_ERROR)
		client_publish(err, &why);
	return next;
}

int wpar_stream_open(struct wpar *wpar, const char *path, struct wpar_stream **stream,
		     struct wpar_error *err)
{
	struct error why;
	*stream = stream_new(wpar, path, &why);
	return *stream ? 0 : client_publish(err, &why);
}

static void add_after(char **path, int64_t after)
{
	char number[24];
	snprintf(number, sizeof(number), "%lld", (long long)after);
	client_add_query(path, "after", after > 0 ? number : NULL);
}

int wpar_events(struct wpar *wpar, int64_t after, bool follow, struct wpar_stream **stream,
		struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/events");
	add_after(&path, after);
	client_add_query(&path, "follow", follow ? "1" : NULL);
	return wpar_stream_open(wpar, path, stream, err);
}

int wpar_move_events_after(struct wpar *wpar, const char *id, int64_t after,
			   struct wpar_stream **stream, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/moves/%s/events", id);
	add_after(&path, after);
	return wpar_stream_open(wpar, path, stream, err);
}

int wpar_move_events(struct wpar *wpar, const char *id, struct wpar_stream **stream,
		     struct wpar_error *err)
{
	return wpar_move_events_after(wpar, id, 0, stream, err);
}

int wpar_logs(struct wpar *wpar, const char *name, bool follow, const char *since,
	      struct wpar_stream **stream, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/logs", name);
	client_add_query(&path, "follow", follow ? "1" : NULL);
	client_add_query(&path, "since", since);
	return wpar_stream_open(wpar, path, stream, err);
}
