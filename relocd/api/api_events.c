// SPDX-License-Identifier: Apache-2.0
// /v1/events: the journal, once or followed, from a number on.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/api/lines.h"
#include "relocd/daemon/events.h"

#include <string.h>

#define LAST_MAX 100000

struct reader {
	struct daemon *d;
	struct MHD_Connection *connection;
	struct events_query query;
	char kind[16];
	bool follow;
	int64_t end;   // without it: where to stop
	json_t *first; // what was read to see that it can be
};

static int append_all(struct buf *to, const json_t *events)
{
	size_t i;
	json_t *event;
	json_array_foreach (events, i, event)
		if (lines_append(to, event, NULL) < 0)
			return -1;
	return 1;
}

// With the lock held: waits until there is something to read. False: the end.
static bool wait_for_more(struct reader *r)
{
	if (!r->follow)
		return r->query.after < r->end;
	while (!events_more(r->d, &r->query))
		if (!lines_wait(r->d, r->connection))
			return false;
	return !r->d->stopping;
}

// With the lock held. *events: some, or NULL: the end.
static int read_more(struct reader *r, json_t **events, struct error *err)
{
	*events = NULL;
	while (wait_for_more(r)) {
		*events = events_read(r->d, &r->query, err);
		if (!*events || json_array_size(*events))
			return *events ? 0 : -1;
		json_decref(*events); // none of those is for us
		*events = NULL;
	}
	return 0;
}

static int next(void *arg, struct buf *to)
{
	struct reader *r = arg;
	_cleanup_json_ json_t *events = take_ptr(r->first);
	struct error err;
	int failed = 0;
	if (!json_array_size(events)) {
		json_decref(events);
		events = NULL;
		daemon_lock(r->d);
		failed = read_more(r, &events, &err);
		daemon_unlock(r->d);
	}
	if (failed) {
		log_error_of(&err, "events");
		return -1;
	}
	return json_array_size(events) ? append_all(to, events) : 0;
}

static void release(void *arg)
{
	struct reader *r = arg;
	json_decref(r->first);
	free(r);
}

static int read_kind(struct request *q, struct reader *r, struct error *err)
{
	static const char *const kinds[] = {"partition", "move", "host", "cluster", "audit"};
	if (!MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, "kind"))
		return 0;
	const char *given = api_argument(q, "kind", r->kind, sizeof(r->kind));
	for (size_t i = 0; given && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(given, kinds[i])) {
			r->query.kind = r->kind;
			return 0;
		}
	return error_set(err, ERR_USAGE,
			 "\"kind\" must be partition, move, host, cluster or audit");
}

// The first events are read before the answer begins, so that what cannot be read is an error.
static int begin(struct request *q, struct reader *r, struct error *err)
{
	int64_t last = 0;
	if (read_kind(q, r, err) < 0 || api_number(q, "after", INT64_MAX, &r->query.after, err) < 0)
		return -1;
	int wants_last = api_number(q, "last", LAST_MAX, &last, err);
	if (wants_last < 0)
		return -1;
	daemon_lock(q->d);
	int failed = wants_last ? events_seek_last(q->d, &r->query, (unsigned)last, err) : 0;
	r->end = events_last(q->d);
	if (!failed)
		r->first = events_read(q->d, &r->query, err);
	daemon_unlock(q->d);
	return r->first ? 0 : -1;
}

int api_events(struct request *q, struct error *err)
{
	struct reader *r = calloc(1, sizeof(*r));
	if (!r)
		return error_set(err, ERR_NOMEM, "no memory for a stream");
	*r = (struct reader){
		.d = q->d, .connection = q->connection, .follow = api_flag(q, "follow")};
	r->query.audit = q->role >= ROLE_ADMIN;
	if (begin(q, r, err) < 0) {
		if (err && err->id == ERR_EVENTS_PRUNED)
			q->status = MHD_HTTP_GONE;
		release(r);
		return -1;
	}
	struct lines_source source = {.next = next, .release = release, .arg = r};
	return lines_respond(q, &source, err);
}
