// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/lines.h"

#include "lib/base/cleanup.h"

#include <string.h>

#define LOOK_MS  500 // how often a waiting stream looks whether its client is still there
#define HELD_MAX (8 << 20)

struct stream {
	struct lines_source source;
	struct buf held;
	size_t sent; // of `held`
};

int lines_append(struct buf *to, const json_t *object, struct error *err)
{
	_cleanup_free_ char *text = json_dumps(object, JSON_COMPACT);
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for an event");
	if (buf_append(to, text, strlen(text), err) < 0)
		return -1;
	return buf_append(to, "\n", 1, err);
}

bool lines_wait(struct daemon *d, struct MHD_Connection *connection)
{
	daemon_wait(d, deadline_in_ms(LOOK_MS));
	return !d->stopping && !api_client_gone(connection);
}

static ssize_t read_lines(void *arg, uint64_t at, char *to, size_t room)
{
	struct stream *s = arg;
	(void)at;
	if (s->sent == s->held.length) {
		s->held.length = s->sent = 0;
		int got = s->source.next(s->source.arg, &s->held);
		if (got <= 0)
			return got ? MHD_CONTENT_READER_END_WITH_ERROR
				   : MHD_CONTENT_READER_END_OF_STREAM;
	}
	size_t n = s->held.length - s->sent < room ? s->held.length - s->sent : room;
	memcpy(to, s->held.data + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}

static void free_stream(void *arg)
{
	struct stream *s = arg;
	s->source.release(s->source.arg);
	buf_free(&s->held);
	free(s);
}

int lines_respond(struct request *q, const struct lines_source *source, struct error *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	if (!s) {
		source->release(source->arg);
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	}
	*s = (struct stream){.source = *source, .held = BUF_INIT(HELD_MAX)};
	q->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, read_lines, s,
							free_stream);
	if (!q->response) {
		free_stream(s);
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	}
	MHD_add_response_header(q->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
	return 0;
}
