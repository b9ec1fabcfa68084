// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/events.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/registry/events.h"

#include <string.h>
#include <time.h>

#define FLUSH_MS   1000
#define PRUNE_MS   3600000
#define READ_MAX   256
#define WAIT_MAX   4096    // events that wait while the registry cannot be written
#define KEEP_MAX   1000000 // events in the registry, whatever their age
#define KEEP_READS 100000  // audit records of reads and refusals among them

struct events {
	int64_t last, pruned;
	json_t *waiting; // not in the registry yet
	uint64_t flush_watch, prune_watch;
};

static _Thread_local json_t *asked_by;

void events_asked(json_t *asked)
{
	asked_by = asked;
}

static void on_flush(void *arg, short revents)
{
	struct daemon *d = arg;
	(void)revents;
	loop_remove(d->loop, d->events->flush_watch);
	d->events->flush_watch = 0;
	events_flush(d);
}

static void prune(struct daemon *d)
{
	struct error err;
	int64_t last;
	char oldest[CLOCK_TEXT_MAX];
	time_t when = time(NULL) - (time_t)(d->config.events_keep_ms / 1000);
	struct tm parts;
	strftime(oldest, sizeof(oldest), "%FT%T.000Z", gmtime_r(&when, &parts));
	if (registry_events_prune(d->registry, oldest, KEEP_MAX, KEEP_READS, &err) < 0 ||
	    registry_events_span(d->registry, &last, &d->events->pruned, &err) < 0)
		log_error_of(&err, "events");
}

static void on_prune(void *arg, short revents)
{
	struct daemon *d = arg;
	(void)revents;
	loop_remove(d->loop, d->events->prune_watch);
	prune(d);
	d->events->prune_watch = loop_add(d->loop, -1, 0, deadline_in_ms(PRUNE_MS), on_prune, d);
}

int events_open(struct daemon *d, struct error *err)
{
	struct events *e = calloc(1, sizeof(*e));
	json_t *waiting = json_array();
	if (!e || !waiting) {
		free(e);
		json_decref(waiting);
		return error_set(err, ERR_NOMEM, "no memory for the events");
	}
	e->waiting = waiting;
	d->events = e;
	if (registry_events_span(d->registry, &e->last, &e->pruned, err) < 0)
		return -1;
	prune(d);
	e->prune_watch = loop_add(d->loop, -1, 0, deadline_in_ms(PRUNE_MS), on_prune, d);
	return 0;
}

void events_close(struct daemon *d)
{
	if (!d->events)
		return;
	events_flush(d);
	json_decref(d->events->waiting);
	free(d->events);
	d->events = NULL;
}

void events_flush(struct daemon *d)
{
	struct events *e = d->events;
	struct error err;
	if (!json_array_size(e->waiting))
		return;
	if (registry_events_add(d->registry, e->waiting, &err) == 0) {
		json_array_clear(e->waiting);
		return;
	}
	log_error_of(&err, "events");
	while (json_array_size(e->waiting) > WAIT_MAX)
		json_array_remove(e->waiting, 0);
}

void events_add(struct daemon *d, const char *kind, const char *event, const char *partition,
		const char *move, json_t *data)
{
	struct events *e = d->events;
	char time[CLOCK_TEXT_MAX];
	if (!e) { // a test that has no registry
		json_decref(data);
		return;
	}
	json_t *json = json_pack("{s:I, s:s, s:s, s:s, s:s?, s:s?, s:o?, s:O?}", "seq",
				 (json_int_t)(e->last + 1), "time", clock_rfc3339(time), "kind",
				 kind, "event", event, "partition", partition, "move", move, "data",
				 data, "asked", asked_by);
	if (!json || json_array_append_new(e->waiting, json) < 0) {
		log_error("events: no memory for \"%s %s\"", kind, event);
		return;
	}
	e->last++;
	daemon_changed(d);
	if (strcmp(kind, "audit") != 0)
		events_flush(d);
	else if (!e->flush_watch)
		e->flush_watch = loop_add(d->loop, -1, 0, deadline_in_ms(FLUSH_MS), on_flush, d);
}

// ---- read ---------------------------------------------------------------------------------------

int64_t events_last(const struct daemon *d)
{
	return d->events->last;
}

bool events_more(const struct daemon *d, const struct events_query *query)
{
	return d->events->last > query->after;
}

// The last one that is in the registry.
static int64_t written(const struct events *e)
{
	const json_t *first = json_array_get(e->waiting, 0);
	return first ? json_integer_value(json_object_get(first, "seq")) - 1 : e->last;
}

static struct registry_events_query for_registry(const struct events_query *query)
{
	return (struct registry_events_query){.after = query->after,
					      .kind = query->kind,
					      .but = query->audit ? NULL : "audit",
					      .limit = READ_MAX};
}

static void add_place(const struct daemon *d, json_t *list)
{
	size_t i;
	json_t *event;
	json_array_foreach (list, i, event)
		json_object_set_new(event, "host", json_string(d->config.host));
}

json_t *events_read(struct daemon *d, struct events_query *query, struct error *err)
{
	if (query->after && query->after < d->events->pruned) {
		error_set(err, ERR_EVENTS_PRUNED,
			  "the events after %lld are gone: the oldest that is kept comes after "
			  "%lld",
			  (long long)query->after, (long long)d->events->pruned);
		return NULL;
	}
	if (query->after > d->events->last) {
		error_set(err, ERR_EVENTS_PRUNED,
			  "no event %lld was ever there: the last one is %lld",
			  (long long)query->after, (long long)d->events->last);
		return NULL;
	}
	events_flush(d);
	int64_t last = written(d->events);
	struct registry_events_query asked = for_registry(query);
	json_t *list = registry_events_list(d->registry, &asked, err);
	if (!list)
		return NULL;
	size_t count = json_array_size(list);
	if (count < READ_MAX)
		query->after = last > query->after ? last : query->after;
	else
		query->after =
			json_integer_value(json_object_get(json_array_get(list, count - 1), "seq"));
	add_place(d, list);
	return list;
}

int events_seek_last(struct daemon *d, struct events_query *query, unsigned count,
		     struct error *err)
{
	struct registry_events_query asked = for_registry(query);
	events_flush(d);
	return registry_events_before_last(d->registry, &asked, count, &query->after, err);
}
