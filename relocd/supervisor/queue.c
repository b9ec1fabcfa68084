// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/queue.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/supervisor/departures.h"
#include "relocd/supervisor/hooks.h"

#include <string.h>

#define RETRY_MS     500
#define RETRY_MAX_MS 30000
#define LOOK_MS      500

// ---- room ---------------------------------------------------------------------------------------

static bool takes_room(const struct move *m)
{
	return !m->incoming && !m->dry_run && (m->worker || m->hooking);
}

static bool has_room(const struct daemon *d)
{
	unsigned count = d->departures;
	for (const struct move *m = d->moves; m; m = m->next)
		count += m->hooking;
	return count < d->config.moves;
}

static bool link_has_room(const struct daemon *d, const char *target)
{
	unsigned count = 0;
	for (const struct move *m = d->moves; m; m = m->next)
		count += takes_room(m) && !strcmp(m->row.target, target);
	return count < d->config.moves_per_link;
}

// One in doubt waits for a person, not for us.
static bool is_arriving(const struct move *m)
{
	const struct partition *p = partition_find(m->daemon, m->row.partition);
	return m->incoming && !m->finished && p && !strcmp(p->row.move, m->row.id) &&
	       p->row.state == STATE_ARRIVING;
}

int queue_check_arrivals(const struct daemon *d, struct error *err)
{
	unsigned count = 0;
	for (const struct move *m = d->moves; m; m = m->next)
		count += is_arriving(m);
	if (count < d->config.arrivals)
		return 0;
	return error_set(err, ERR_ARRIVALS_FULL, "%u partitions arrive on %s already", count,
			 d->config.host);
}

// ---- order --------------------------------------------------------------------------------------

static json_int_t priority_of(const struct move *m)
{
	const struct partition *p = partition_find(m->daemon, m->row.partition);
	return p ? json_integer_value(json_object_get(p->row.definition, "priority")) : 0;
}

// When it was asked for; RFC 3339, so that texts are in order.
static const char *age_of(const struct move *m)
{
	const char *asked = json_string_value(json_object_get(m->row.asked, "time"));
	return asked ? asked : m->row.started;
}

static bool goes_before(const struct move *a, const struct move *b)
{
	json_int_t left = priority_of(a), right = priority_of(b);
	return left != right ? left > right : strcmp(age_of(a), age_of(b)) <= 0;
}

static bool may_go(const struct move *m)
{
	return m->queued && !m->hooking && !m->worker && deadline_passed(m->not_before) &&
	       link_has_room(m->daemon, m->row.target);
}

static struct move *first(struct daemon *d)
{
	struct move *best =
		NULL; // of two of the same moment the older one comes later in the table
	for (struct move *m = d->moves; m; m = m->next)
		if (may_go(m) && (!best || goes_before(m, best)))
			best = m;
	return best;
}

bool queue_has(const struct daemon *d, const char *partition)
{
	for (const struct move *m = d->moves; m; m = m->next)
		if (m->queued && !strcmp(m->row.partition, partition))
			return true;
	return false;
}

// ---- in and out ---------------------------------------------------------------------------------

static void wait_here(struct move *m, const char *why)
{
	_cleanup_json_ json_t *event =
		json_pack("{s:s, s:s, s:s?}", "event", "phase", "phase", "queued", "reason", why);
	m->queued = true;
	snprintf(m->row.state, sizeof(m->row.state), "queued");
	move_event(m, event);
}

bool queue_is_due(const struct move *m)
{
	return !has_room(m->daemon) || !link_has_room(m->daemon, m->row.target) || hooks_exist();
}

int queue_add(struct move *m, struct error *err)
{
	snprintf(m->row.state, sizeof(m->row.state), "queued");
	if (registry_move_add(m->daemon->registry, &m->row, err) < 0)
		return -1;
	m->recorded = true;
	wait_here(m, NULL);
	log_info("move %s: %s from %s to %s waits", m->row.id, m->row.partition, m->row.source,
		 m->row.target);
	return 0;
}

void queue_resume(struct move *m)
{
	m->recorded = true;
	wait_here(m, NULL);
	log_info("move %s: %s from %s to %s still waits", m->row.id, m->row.partition,
		 m->row.source, m->row.target);
}

static void set_off(struct move *m)
{
	struct error err;
	int failed = !m->hooked && hooks_exist() ? hooks_before(m, &err)
						 : departure_leave_queue(m, &err);
	if (failed)
		departure_drop(m, &err);
}

void queue_next(struct daemon *d)
{
	struct move *m;
	while (!d->stopping && has_room(d) && (m = first(d)))
		set_off(m);
}

// ---- a destination that is full -----------------------------------------------------------------

static bool is_postponed(const struct daemon *d)
{
	for (const struct move *m = d->moves; m; m = m->next)
		if (m->queued && m->not_before)
			return true;
	return false;
}

static void on_look(void *arg, short revents)
{
	struct daemon *d = arg;
	(void)revents;
	loop_remove(d->loop, d->queue_watch);
	d->queue_watch = 0;
	queue_next(d);
	if (is_postponed(d))
		d->queue_watch = loop_add(d->loop, -1, 0, deadline_in_ms(LOOK_MS), on_look, d);
}

static bool is_full(const json_t *event)
{
	const json_t *error = json_object_get(event, "error");
	struct error why;
	return json_is_object(error) && error_from_json(&why, error) < 0 &&
	       why.id == ERR_ARRIVALS_FULL;
}

bool queue_again(struct move *m, const json_t *event)
{
	struct daemon *d = m->daemon;
	struct error err;
	if (m->dry_run || m->incoming || !is_full(event))
		return false;
	int64_t ms = (int64_t)RETRY_MS << (m->tries < 6 ? m->tries++ : 6);
	m->not_before = deadline_in_ms(ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
	m->row.pid = 0;
	m->row.pid_start = 0;
	departure_settle(m, "refused", NULL, m->row.epoch);
	wait_here(m,
		  json_string_value(json_object_get(json_object_get(event, "error"), "message")));
	if (registry_move_begin(d->registry, &m->row, &err) < 0)
		log_error_of(&err, m->row.id);
	log_info("move %s: %s has no place for %s yet", m->row.id, m->row.target, m->row.partition);
	worker_send(m->worker, json_pack("{s:s}", "op", "noted"), NULL);
	if (!d->queue_watch)
		d->queue_watch = loop_add(d->loop, -1, 0, deadline_in_ms(LOOK_MS), on_look, d);
	return true;
}
