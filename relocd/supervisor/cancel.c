// SPDX-License-Identifier: Apache-2.0
// Whether a move can still be cancelled, and by whom: what is on disk says so.
#include "relocd/supervisor/moves.h"

#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/registry/decision.h"
#include "relocd/supervisor/departures.h"

#include <string.h>

static enum decision_type last_record(const struct move *m)
{
	uint64_t epoch;
	return decision_read(paths_moves(), m->row.id,
			     m->incoming ? DECISION_ARRIVAL : DECISION_DEPARTURE, &epoch);
}

static int refuse(const struct move *m, struct error *err)
{
	error_set(err, ERR_WRONG_STATE,
		  "move %s cannot be cancelled any more: it is committed, and %s is %s's",
		  m->row.id, m->row.partition, m->row.target);
	return error_hint(err, "when it has ended: `wparctl relocate %s %s` brings it back",
			  m->row.partition, m->row.source);
}

// The source could not be asked, or it is not to be. Before its vote the destination may end a move
// by itself.
static int check_incoming(const struct move *m, struct error *err)
{
	enum decision_type last = last_record(m);
	if (last == DECISION_NONE || last == DECISION_OPENED)
		return 0;
	if (last != DECISION_PREPARED && last != DECISION_UNKNOWN)
		return refuse(m, err);
	error_set(err, ERR_IN_DOUBT,
		  "%s has voted for move %s: only %s, where it came from, can take it back",
		  m->row.target, m->row.id, m->row.source);
	return error_hint(err,
			  "bring %s back: it is asked until it answers; if it is lost: `wparctl "
			  "recover %s`",
			  m->row.source, m->row.partition);
}

static int check_outgoing(const struct move *m, struct error *err)
{
	enum decision_type last = last_record(m);
	bool committed = last == DECISION_COMMIT || last == DECISION_RELEASED;
	return committed ? refuse(m, err) : 0;
}

// One that was cancelled is: asking again is no mistake.
static int refuse_ended(const struct registry_move *row, struct error *err)
{
	struct error why = {0};
	if (row->error && error_from_json(&why, row->error) < 0 && why.id == ERR_CANCELLED)
		return 0;
	if (!strcmp(row->state, "in-doubt"))
		return error_set(err, ERR_IN_DOUBT,
				 "move %s is in doubt: it is committed, or may be", row->id);
	return error_set(err, ERR_WRONG_STATE, "move %s has ended (%s)", row->id, row->state);
}

static int cancel_recorded(struct daemon *d, const char *id, struct error *err)
{
	struct registry_move row;
	int found = registry_move_get(d->registry, id, &row, err);
	if (found <= 0)
		return found < 0 ? -1
				 : error_set(err, ERR_MOVE_UNKNOWN, "no move %s is known here", id);
	int failed = refuse_ended(&row, err);
	registry_move_clear(&row);
	return failed;
}

static void leave_queue(struct move *m)
{
	struct error why;
	error_set(&why, ERR_CANCELLED, "the move was cancelled before it began");
	error_at(&why, m->daemon->config.host, m->row.partition, NULL);
	departure_drop(m, &why);
}

int move_cancel(struct daemon *d, const char *id, struct error *err)
{
	struct move *m = move_find(d, id);
	if (!m)
		return cancel_recorded(d, id, err);
	if (m->finished)
		return refuse_ended(&m->row, err);
	if (m->queued) {
		leave_queue(m);
		return 0;
	}
	if ((m->incoming ? check_incoming(m, err) : check_outgoing(m, err)) < 0)
		return -1;
	if (!m->worker || m->worker->chan < 0)
		return error_set(err, ERR_WRONG_STATE,
				 "the process of move %s %s: it cannot be cancelled", id,
				 m->worker ? "does not listen to this relocd" : "has ended");
	log_info("move %s: cancel", id);
	return worker_send(m->worker, json_pack("{s:s}", "op", "cancel"), err);
}
