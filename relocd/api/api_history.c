// SPDX-License-Identifier: Apache-2.0
// /v1/history: who did what, when, and what came of it.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "lib/registry/history.h"
#include "relocd/peers/forward.h"

#include <string.h>
#include <time.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000
#define SECONDS_SIZE  sizeof("2026-01-31T08:00:00")

// What is not in every result is null, so that the form is always the same.
static json_t *figure(const json_t *result, const char *key)
{
	json_t *value = json_object_get(result, key);
	return value ? json_incref(value) : json_null();
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *of_move(const struct registry_move *r, const char *host)
{
	const json_t *rounds = json_object_get(r->result, "rounds");
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:O?, "
		"s:o, s:o, s:o, s:o, s:o, s:o, s:O?, s:n}",
		"kind", "move", "time", r->started, "host", host, "what", "relocate", "move", r->id,
		"partition", r->partition, "from", r->source, "to", r->target, "direction",
		strcmp(r->target, host) ? "out" : "in", "epoch", (json_int_t)r->epoch, "outcome",
		r->state, "started", r->started, "ended", text_or_null(r->ended), "asked", r->asked,
		"phases_ms", figure(r->result, "phases"), "rounds",
		json_is_array(rounds) ? json_integer((json_int_t)json_array_size(rounds))
				      : json_null(),
		"transferred_bytes", figure(r->result, "transferred_bytes"), "downtime_ms",
		figure(r->result, "downtime_ms"), "total_ms", figure(r->result, "total_ms"),
		"engine", figure(r->result, "engine"), "error", r->error, "reason");
}

static json_t *of_event(const json_t *event, const char *host)
{
	const char *kind = json_string_value(json_object_get(event, "kind"));
	const char *what = json_string_value(json_object_get(event, "event"));
	const json_t *data = json_object_get(event, "data");
	bool decision =
		strcmp(kind, "partition") || !strcmp(what, "adopted") || !strcmp(what, "disowned");
	return json_pack(
		"{s:s, s:O, s:s, s:s, s:O, s:O, s:O, s:O?, s:O}", "kind",
		decision ? "decision" : "partition", "time", json_object_get(event, "time"), "host",
		host, "what", what, "move", json_object_get(event, "move"), "partition",
		json_object_get(event, "partition"), "asked", json_object_get(event, "asked"),
		"reason", json_object_get(data, "reason"), "data", json_object_get(event, "data"));
}

static json_t *read_local(struct daemon *d, const struct registry_history *query, struct error *err)
{
	struct registry_move *moves = NULL;
	size_t count = 0, i;
	json_t *event;
	daemon_lock(d);
	_cleanup_json_ json_t *events = registry_history_events(d->registry, query, err);
	int failed = events ? registry_history_moves(d->registry, query, &moves, &count, err) : -1;
	daemon_unlock(d);
	if (failed)
		return NULL;
	json_t *list = json_array();
	for (i = 0; i < count; i++)
		json_array_append_new(list, of_move(&moves[i], d->config.host));
	json_array_foreach (events, i, event)
		json_array_append_new(list, of_event(event, d->config.host));
	registry_moves_free(moves, count);
	return list;
}

// ---- the request --------------------------------------------------------------------------------

struct wanted {
	char of[ROUTE_PARAM_MAX], since[64];
	int64_t limit;
	struct registry_history query;
};

// Times in UTC are in order as texts, up to the seconds.
static int check_since(char *since, struct error *err)
{
	struct tm parts;
	const char *rest = strptime(since, "%Y-%m-%dT%H:%M:%S", &parts);
	if (!rest || rest - since + 1 != SECONDS_SIZE || !strchr(rest, 'Z'))
		return error_set(err, ERR_USAGE,
				 "\"since\" must be a time in UTC as 2026-01-31T08:00:00Z");
	since[SECONDS_SIZE - 1] = 0;
	return 0;
}

static int read_query(struct request *q, struct wanted *w, struct error *err)
{
	*w = (struct wanted){.limit = LIMIT_DEFAULT};
	w->query.of = api_argument(q, "of", w->of, sizeof(w->of));
	w->query.since = api_argument(q, "since", w->since, sizeof(w->since));
	w->query.failed = api_flag(q, "failed");
	if ((w->query.since && check_since(w->since, err) < 0) ||
	    api_number(q, "limit", LIMIT_MAX, &w->limit, err) < 0)
		return -1;
	w->query.limit = (unsigned)w->limit;
	return 0;
}

int api_history(struct request *q, struct error *err)
{
	struct wanted w;
	if (read_query(q, &w, err) < 0 || !(q->data = read_local(q->d, &w.query, err)))
		return -1;
	return forward_gather_history(q, w.query.limit, err);
}
