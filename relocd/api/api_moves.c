// SPDX-License-Identifier: Apache-2.0
// /v1/moves: start, show, follow, cancel.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "lib/memory/converge.h"
#include "lib/memory/engine.h"
#include "lib/memory/restore.h"
#include "lib/memory/squeeze.h"
#include "relocd/api/lines.h"
#include "relocd/move/share.h"
#include "relocd/peers/forward.h"
#include "relocd/supervisor/departures.h"

#include <string.h>

#define DOWNTIME_MAX_MS (3600 * 1000)

struct words {
	const char *engine, *on_diverge, *compress, *restore;
};

static int check_words(const struct words *w, struct error *err)
{
	enum converge_policy policy;
	enum squeeze_method method;
	enum restore_wish wish;
	if (w->engine && !memory_engine_exists(w->engine))
		return error_set(err, ERR_USAGE, "there is no memory engine \"%s\"", w->engine);
	if (w->on_diverge && converge_policy_of(w->on_diverge, &policy, err) < 0)
		return error_wrap(err, "on_diverge");
	if (w->compress && squeeze_parse(w->compress, &method, err) < 0)
		return error_wrap(err, "compress");
	if (w->restore && restore_parse(w->restore, &wish, err) < 0)
		return error_wrap(err, "restore");
	return 0;
}

int api_move_options(const json_t *options, struct error *err)
{
	json_int_t downtime_ms = 1, deadline_ms = 1, bandwidth = 0, streams = 1;
	struct words w = {0};
	int end_exec, strict;
	json_error_t why;
	if (options &&
	    json_unpack_ex((json_t *)options, &why, JSON_STRICT,
			   "{s?I, s?I, s?I, s?I, s?s, s?s, s?s, s?s, s?b, s?b}", "max_downtime_ms",
			   &downtime_ms, "deadline_ms", &deadline_ms, "bandwidth_bytes", &bandwidth,
			   "streams", &streams, "engine", &w.engine, "on_diverge", &w.on_diverge,
			   "compress", &w.compress, "restore", &w.restore, "strict_downtime",
			   &strict, "end_exec", &end_exec) < 0)
		return error_set(err, ERR_USAGE, "the move's options are not right: %s", why.text);
	if (downtime_ms <= 0 || downtime_ms > DOWNTIME_MAX_MS || deadline_ms <= 0)
		return error_set(err, ERR_USAGE,
				 "a downtime is above 0 and at most an hour, a deadline above 0");
	if (bandwidth < 0)
		return error_set(err, ERR_USAGE, "the move's bandwidth is negative");
	if (streams < 1 || streams > SHARE_STREAMS_MAX)
		return error_set(err, ERR_USAGE, "a move uses 1 to %d streams", SHARE_STREAMS_MAX);
	return check_words(&w, err);
}

int api_move_start(struct request *q, struct error *err)
{
	const char *partition, *host = NULL;
	json_t *options = NULL, *where = NULL;
	int back = 0;
	char id[40];
	if (api_body(q, err, "{s:s, s?o, s?b, s?o}", "partition", &partition, "host", &where,
		     "back", &back, "options", &options) < 0 ||
	    api_move_options(options, err) < 0)
		return -1;
	host = json_string_value(where);
	if (!host != !!back)
		return error_set(err, ERR_USAGE, "a move needs either a host or \"back\": true");
	daemon_lock(q->d);
	int failed = departure_begin(q->d, partition, host, options, q->asked, id, err);
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
	if (!q->data)
		return -1;
	return forward_gather_moves(q, err);
}

// {} is a move's id or a partition's name.
static int take_id(struct request *q, struct error *err)
{
	char id[40];
	daemon_lock(q->d);
	int failed = move_id_of(q->d, q->param, id, err);
	daemon_unlock(q->d);
	if (!failed)
		snprintf(q->param, sizeof(q->param), "%s", id);
	return failed;
}

int api_move_get(struct request *q, struct error *err)
{
	if (take_id(q, err) < 0)
		return -1;
	daemon_lock(q->d);
	q->data = move_get_json(q->d, q->param, err);
	daemon_unlock(q->d);
	return q->data ? 0 : -1;
}

int api_move_cancel(struct request *q, struct error *err)
{
	if (api_body(q, err, "{}") < 0 || take_id(q, err) < 0)
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
};

// Waits for the next event; the end when none will come, or nobody wants it.
static int next_event(void *arg, struct buf *to)
{
	struct follower *f = arg;
	int got;
	daemon_lock(f->d);
	for (;;) {
		struct move *m = move_find(f->d, f->id);
		json_t *event;
		got = m ? move_next_event(m, &f->seq, &event) : -1;
		if (got > 0 && lines_append(to, event, NULL) < 0)
			got = 0;
		if (got || !lines_wait(f->d, f->connection))
			break;
	}
	daemon_unlock(f->d);
	return got > 0;
}

static int follow(struct request *q, uint64_t after, struct error *err)
{
	struct follower *f = calloc(1, sizeof(*f));
	if (!f)
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	*f = (struct follower){.d = q->d, .connection = q->connection, .seq = after};
	snprintf(f->id, sizeof(f->id), "%s", q->param);
	struct lines_source source = {.next = next_event, .release = free, .arg = f};
	return lines_respond(q, &source, err);
}

// Events of versions that did not number them count from 1.
static uint64_t number_of(const json_t *event, size_t index)
{
	const json_t *seq = json_object_get(event, "seq");
	return seq ? (uint64_t)json_integer_value(seq) : index + 1;
}

// A move that is no longer in memory: all its events at once.
static int replay(struct request *q, const json_t *events, uint64_t after, struct error *err)
{
	struct buf all = BUF_INIT(64 << 20);
	size_t i;
	json_t *event;
	json_array_foreach (events, i, event)
		if (number_of(event, i) > after && lines_append(&all, event, err) < 0) {
			buf_free(&all);
			return -1;
		}
	q->response = MHD_create_response_from_buffer(all.length, all.data, MHD_RESPMEM_MUST_FREE);
	if (!q->response) {
		buf_free(&all);
		return error_set(err, ERR_NOMEM, "no memory for the events");
	}
	MHD_add_response_header(q->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/x-ndjson");
	return 0;
}

int api_move_events(struct request *q, struct error *err)
{
	_cleanup_json_ json_t *known = NULL, *events = NULL;
	int64_t after = 0;
	if (api_number(q, "after", INT64_MAX, &after, err) < 0 || take_id(q, err) < 0)
		return -1;
	daemon_lock(q->d);
	bool in_memory = move_find(q->d, q->param);
	if (!in_memory) {
		known = move_get_json(q->d, q->param, err);
		events = known ? registry_move_events(q->d->registry, q->param, err) : NULL;
	}
	daemon_unlock(q->d);
	if (!in_memory && !events)
		return -1;
	return in_memory ? follow(q, (uint64_t)after, err)
			 : replay(q, events, (uint64_t)after, err);
}
