// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/moves.h"
#include "relocd/supervisor/departures.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/api/metrics.h"
#include "relocd/daemon/events.h"
#include "relocd/move/report.h"
#include "relocd/supervisor/hooks.h"

#include <string.h>
#include <sys/random.h>

#define KEPT_MAX   64   // moves that ended, in memory
#define LISTED_MAX 1000 // by GET /v1/moves
#define EVENTS_MAX 4096 // of one move: it has far fewer phases and rounds

int move_new_id(struct daemon *d, char id[40], struct error *err)
{
	for (int tries = 0; tries < 16; tries++) {
		struct registry_move other;
		uint32_t number;
		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return error_set(err, ERR_SYSTEM, "no random numbers");
		snprintf(id, 40, "m-%06x", number & 0xffffff);
		int found = registry_move_get(d->registry, id, &other, err);
		if (found < 0)
			return -1;
		if (!found && !move_find(d, id))
			return 0;
		if (found)
			registry_move_clear(&other);
	}
	return error_set(err, ERR_SYSTEM, "no free move id");
}

void move_drop(struct move *m)
{
	struct move **at = &m->daemon->moves;
	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	for (size_t i = 0; i < m->event_count; i++)
		json_decref(m->events[i].json);
	free(m->events);
	registry_move_clear(&m->row);
	free(m);
}

void moves_free(struct daemon *d)
{
	while (d->moves)
		move_drop(d->moves);
}

// The table has the newest first.
static void drop_old(struct daemon *d)
{
	unsigned kept = 0;
	for (struct move *m = d->moves, *next; m; m = next) {
		next = m->next;
		if (m->finished && !m->worker && !m->resolving && ++kept > KEPT_MAX)
			move_drop(m);
	}
}

struct move *move_add(struct daemon *d, const struct registry_move *row)
{
	struct move *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	drop_old(d);
	m->daemon = d;
	m->row = *row;
	m->next = d->moves;
	d->moves = m;
	return m;
}

struct move *move_find(struct daemon *d, const char *id)
{
	for (struct move *m = d->moves; m; m = m->next)
		if (!strcmp(m->row.id, id))
			return m;
	return NULL;
}

// ---- events -------------------------------------------------------------------------------------

static bool is_progress(const json_t *event)
{
	const char *kind = json_string_value(json_object_get(event, "event"));
	return kind && !strcmp(kind, "progress");
}

static void note_phase(struct move *m, const json_t *event)
{
	const char *phase = json_string_value(json_object_get(event, "phase"));
	if (phase)
		snprintf(m->phase, sizeof(m->phase), "%s", phase);
}

static bool make_room(struct move *m)
{
	if (m->event_count == EVENTS_MAX)
		return false;
	struct move_event *events = realloc(m->events, (m->event_count + 1) * sizeof(*m->events));
	if (events)
		m->events = events;
	return events;
}

void move_event(struct move *m, const json_t *event)
{
	json_t *copy = json_copy((json_t *)event);
	char time[CLOCK_TEXT_MAX];
	if (!copy || !make_room(m)) {
		json_decref(copy);
		return;
	}
	// One that a new relocd is told again has its own time.
	if (!json_object_get(copy, "time"))
		json_object_set_new(copy, "time", json_string(clock_rfc3339(time)));
	json_object_set_new(copy, "move", json_string(m->row.id));
	json_object_set_new(copy, "seq", json_integer((json_int_t)++m->last_seq));
	note_phase(m, event);
	if (m->event_count && is_progress(event) && is_progress(m->events[m->event_count - 1].json))
		json_decref(m->events[--m->event_count].json);
	m->events[m->event_count++] = (struct move_event){.seq = m->last_seq, .json = copy};
	daemon_changed(m->daemon);
}

int move_next_event(struct move *m, uint64_t *seq, json_t **event)
{
	for (size_t i = 0; i < m->event_count; i++)
		if (m->events[i].seq > *seq) {
			*seq = m->events[i].seq;
			*event = m->events[i].json;
			return 1;
		}
	return m->finished ? -1 : 0;
}

static json_t *events_json(const struct move *m)
{
	json_t *list = json_array();
	for (size_t i = 0; i < m->event_count; i++)
		json_array_append(list, m->events[i].json);
	return list;
}

// ---- the end ------------------------------------------------------------------------------------

static bool has_last_event(const struct move *m)
{
	if (!m->event_count)
		return false;
	const json_t *last = m->events[m->event_count - 1].json;
	const char *kind = json_string_value(json_object_get(last, "event"));
	return kind && (!strcmp(kind, "done") || !strcmp(kind, "failed"));
}

static void add_last_event(struct move *m)
{
	bool done = !strcmp(m->row.state, "done");
	_cleanup_json_ json_t *event =
		done ? json_pack("{s:s, s:O?}", "event", "done", "result", m->row.result)
		     : json_pack("{s:s, s:s, s:O?, s:O?}", "event", "failed", "outcome",
				 m->row.state, "error", m->row.error, "result", m->row.result);
	move_event(m, event);
}

static json_t *places_json(const struct move *m)
{
	return json_pack("{s:s, s:s, s:s}", "from", m->row.source, "to", m->row.target, "direction",
			 m->incoming ? "in" : "out");
}

void move_note_begin(const struct move *m)
{
	events_add(m->daemon, "move", "begun", m->row.partition, m->row.id, places_json(m));
}

// Its figures and its cause stay with the move (GET /v1/moves/{}).
static void note_end(const struct move *m)
{
	json_t *data = places_json(m);
	json_object_set_new(data, "outcome", json_string(m->row.state));
	if (m->row.error)
		json_object_set(data, "error", m->row.error);
	events_add(m->daemon, "move", "ended", m->row.partition, m->row.id, data);
}

int move_finish(struct move *m, const char *state, json_t *result, json_t *error)
{
	struct error err;
	const char *message = json_string_value(json_object_get(error, "message"));
	snprintf(m->row.state, sizeof(m->row.state), "%s", state);
	clock_rfc3339(m->row.ended);
	m->row.result = result;
	m->row.error = error;
	if (!has_last_event(m))
		add_last_event(m);
	m->finished = true;
	daemon_changed(m->daemon);
	if (m->dry_run)
		return 0;
	log_info("move %s: %s from %s to %s: %s%s%s", m->row.id, m->row.partition, m->row.source,
		 m->row.target, state, message ? ": " : "", message ? message : "");
	note_end(m);
	metrics_note_move(m->daemon, m);
	_cleanup_json_ json_t *events = events_json(m);
	int failed = registry_move_end(m->daemon->registry, &m->row, events, &err);
	hooks_after(m);
	if (!failed)
		return 0;
	log_error_of(&err, m->row.id);
	return -1;
}

// The doubt was not the end: who follows the events of the move gets one end only.
static void demote_last_event(struct move *m)
{
	if (has_last_event(m))
		json_object_set_new(m->events[m->event_count - 1].json, "event",
				    json_string("in-doubt"));
}

int move_amend(struct move *m, const char *state, json_t *error)
{
	json_decref(m->row.error);
	m->row.error = NULL;
	demote_last_event(m);
	return move_finish(m, state, m->row.result, error);
}

// ---- show ---------------------------------------------------------------------------------------

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

json_t *move_json(const struct registry_move *r, const char *phase, bool incoming)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:o, s:s, s:o, s:O?, s:O?, s:O?}",
			 "id", r->id, "partition", r->partition, "from", r->source, "to", r->target,
			 "direction", incoming ? "in" : "out", "epoch", (json_int_t)r->epoch,
			 "state", r->state, "phase", text_or_null(phase), "started", r->started,
			 "ended", text_or_null(r->ended), "result", r->result, "error", r->error,
			 "asked", r->asked);
}

static json_t *row_json(struct daemon *d, const struct registry_move *row)
{
	const struct move *m = move_find(d, row->id);
	return move_json(row, m && !m->finished ? m->phase : NULL,
			 !strcmp(row->target, d->config.host));
}

json_t *moves_json(struct daemon *d, struct error *err)
{
	struct registry_move *rows;
	size_t count;
	if (registry_moves(d->registry, false, LISTED_MAX, &rows, &count, err) < 0)
		return NULL;
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, row_json(d, &rows[i]));
	registry_moves_free(rows, count);
	return list;
}

static int unknown(const char *id, struct error *err)
{
	return error_set(err, ERR_MOVE_UNKNOWN, "no move %s is known here", id);
}

// 1, 0: none, -1.
static int last_move_of(struct daemon *d, const char *name, char id[40], struct error *err)
{
	struct registry_move *rows;
	size_t count, i = 0;
	if (registry_moves(d->registry, false, LISTED_MAX, &rows, &count, err) < 0)
		return -1;
	while (i < count && strcmp(rows[i].partition, name) != 0)
		i++;
	if (i < count)
		snprintf(id, 40, "%s", rows[i].id);
	registry_moves_free(rows, count);
	return i < count;
}

int move_id_of(struct daemon *d, const char *param, char id[40], struct error *err)
{
	struct registry_move row;
	const struct partition *p = partition_find(d, param);
	for (const struct move *m = d->moves; m; m = m->next)
		if (!m->finished && !m->dry_run && !strcmp(m->row.partition, param)) {
			snprintf(id, 40, "%s", m->row.id);
			return 0;
		}
	snprintf(id, 40, "%s", p && p->row.move[0] ? p->row.move : param);
	int found = move_find(d, id) ? 1 : registry_move_get(d->registry, id, &row, err);
	if (found > 0 && !move_find(d, id))
		registry_move_clear(&row);
	if (!found)
		found = last_move_of(d, param, id, err);
	return found > 0 ? 0 : found < 0 ? -1 : unknown(param, err);
}

json_t *move_get_json(struct daemon *d, const char *id, struct error *err)
{
	struct registry_move row;
	int found = registry_move_get(d->registry, id, &row, err);
	if (!found)
		unknown(id, err);
	if (found <= 0)
		return NULL;
	json_t *json = row_json(d, &row);
	registry_move_clear(&row);
	return json;
}

void move_hello(struct worker *w, const json_t *hello)
{
	json_int_t newest = json_integer_value(json_object_get(hello, "v"));
	json_int_t oldest = json_integer_value(json_object_get(hello, "oldest"));
	const char *version = json_string_value(json_object_get(hello, "version"));
	const char *id = json_string_value(json_object_get(hello, "move"));
	if (newest >= REPORT_OLDEST && oldest <= REPORT_PROTOCOL) {
		log_info("move %s: taken over from an earlier relocd (its process is of %s)",
			 id ? id : "?", version ? version : "?");
		return;
	}
	log_warn("move %s: its process is of relocd %s and speaks protocols %d to %d, not %d: it "
		 "is watched until its end and cannot be cancelled",
		 id ? id : "?", version ? version : "?", (int)oldest, (int)newest, REPORT_PROTOCOL);
	worker_mute(w);
}
