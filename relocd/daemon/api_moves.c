// SPDX-License-Identifier: Apache-2.0
// /v1/moves: start, show, follow, cancel.
#include "relocd/daemon/api_handlers.h"

#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "relocd/daemon/departures.h"

#include <string.h>

#define LOOK_MS 500 // how often a waiting stream looks whether its client is still there

static int check_options(const json_t *options, struct error *err)
{
	json_int_t downtime_ms = 0, deadline_ms = 1;
	const char *engine;
	json_error_t why;
	if (options && json_unpack_ex((json_t *)options, &why, JSON_STRICT, "{s?I, s?I, s?s}",
				      "max_downtime_ms", &downtime_ms, "deadline_ms", &deadline_ms,
				      "engine", &engine) < 0)
		return error_set(err, ERR_USAGE, "the move's options are not right: %s", why.text);
	if (downtime_ms < 0 || deadline_ms <= 0)
		return error_set(err, ERR_USAGE, "the move's options hold a negative time");
	return 0;
}

int api_move_start(struct request *q, struct error *err)
{
	const char *partition, *host;
	json_t *options = NULL;
	char id[40];
	if (api_body(q, err, "{s:s, s:s, s?o}", "partition", &partition, "host", &host, "options",
		     &options) < 0 ||
	    check_options(options, err) < 0)
		return -1;
	daemon_lock(q->d);
	int failed = departure_begin(q->d, partition, host, options, id, err);
	daemon_unlock(q->d);
	if (failed)
		return -1;
	q->data = json_pack("{s:s}", "move", id);
	q->status = MHD_HTTP_ACCEPTED;
	return 0;
}

int api_move_list(struct request *q, struct error *err)
{
	daemon_lock(q->d);
	q->data = moves_json(q->d, err);
	daemon_unlock(q->d);
	return q->data ? 0 : -1;
}

int api_move_get(struct request *q, struct error *err)
{
	daemon_lock(q->d);
	q->data = move_get_json(q->d, q->param, err);
	daemon_unlock(q->d);
	return q->data ? 0 : -1;
}

int api_move_cancel(struct request *q, struct error *err)
{
	if (api_body(q, err, "{}") < 0)
		return -1;
	daemon_lock(q->d);
	int failed = move_cancel(q->d, q->param, err);
	daemon_unlock(q->d);
	if (!failed)
		q->data = json_pack("{s:s}", "move", q->param);
	return failed;
}

// ---- events -------------------------------------------------------------------------------------

struct follower {
	struct daemon *d;
	struct MHD_Connection *connection;
	char id[40];
	uint64_t seq;
	char *line; // what is left of an event, with its newline
	size_t length, sent;
};

static void set_line(struct follower *f, const json_t *event)
{
	char *text = json_dumps(event, JSON_COMPACT);
	int n = text ? asprintf(&f->line, "%s\n", text) : -1;
	free(text);
	if (n < 0)
		f->line = NULL;
	f->length = f->line ? (size_t)n : 0;
	f->sent = 0;
}

// Waits for the next event: false when none will come, or nobody wants it.
static bool next_line(struct follower *f)
{
	daemon_lock(f->d);
	for (;;) {
		struct move *m = move_find(f->d, f->id);
		json_t *event;
		int got = m ? move_next_event(m, &f->seq, &event) : -1;
		if (got > 0)
			set_line(f, event);
		if (got)
			break;
		daemon_wait(f->d, deadline_in_ms(LOOK_MS));
		if (f->d->stopping || api_client_gone(f->connection))
			break;
	}
	daemon_unlock(f->d);
	return f->line;
}

static ssize_t read_events(void *arg, uint64_t at, char *to, size_t room)
{
	struct follower *f = arg;
	(void)at;
	if (!f->line && !next_line(f))
		return MHD_CONTENT_READER_END_OF_STREAM;
	size_t n = f->length - f->sent < room ? f->length - f->sent : room;
	memcpy(to, f->line + f->sent, n);
	f->sent += n;
	if (f->sent == f->length) {
		free(f->line);
		f->line = NULL;
	}
	return (ssize_t)n;
}

static void free_follower(void *arg)
{
	struct follower *f = arg;
	free(f->line);
	free(f);
}

static int follow(struct request *q, struct error *err)
{
	struct follower *f = calloc(1, sizeof(*f));
	if (!f)
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	*f = (struct follower){.d = q->d, .connection = q->connection};
	snprintf(f->id, sizeof(f->id), "%s", q->param);
	q->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, read_events, f,
							free_follower);
	return 0;
}

// A move that is no longer in memory: all its events at once.
static int replay(struct request *q, const json_t *events, struct error *err)
{
	struct buf all = BUF_INIT(64 << 20);
	size_t i;
	json_t *event;
	json_array_foreach (events, i, event) {
		_cleanup_free_ char *text = json_dumps(event, JSON_COMPACT);
		if (!text || buf_append(&all, text, strlen(text), err) < 0 ||
		    buf_append(&all, "\n", 1, err) < 0) {
			buf_free(&all);
			return error_set(err, ERR_NOMEM, "no memory for the events");
		}
	}
	q->response = MHD_create_response_from_buffer(all.length, all.data, MHD_RESPMEM_MUST_FREE);
	return 0;
}

int api_move_events(struct request *q, struct error *err)
{
	_cleanup_json_ json_t *known = NULL, *events = NULL;
	daemon_lock(q->d);
	bool in_memory = move_find(q->d, q->param);
	if (!in_memory) {
		known = move_get_json(q->d, q->param, err);
		events = known ? registry_move_events(q->d->registry, q->param, err) : NULL;
	}
	daemon_unlock(q->d);
	if (!in_memory && !events)
		return -1;
	if ((in_memory ? follow(q, err) : replay(q, events, err)) < 0)
		return -1;
	if (!q->response)
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	MHD_add_response_header(q->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
	return 0;
}
