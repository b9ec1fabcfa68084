// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/resolve.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/registry/resolve.h"
#include "relocd/daemon/events.h"
#include "relocd/move/query.h"
#include "relocd/move/sockets.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/supervisor/arrivals.h"
#include "relocd/supervisor/departures.h"
#include "relocd/supervisor/thaw.h"

#include <string.h>

#define ASK_OFTEN_MS  1000
#define ASK_OFTEN     30 // times
#define ASK_SELDOM_MS 10000

struct job {
	struct daemon *d;
	char id[40], partition[REGISTRY_NAME_MAX];
	char peer[REGISTRY_NAME_MAX], address[REGISTRY_ADDRESS_MAX];
	bool incoming;
	bool lost;      // at the peer, which had promised to go on
	uint64_t epoch; // of the move, or the one after it when it was taken back
	json_t *definition;
	struct error why;
};

static enum decision_side side_of(const struct job *j)
{
	return j->incoming ? DECISION_ARRIVAL : DECISION_DEPARTURE;
}

void resolve_look(const char *id, bool incoming, const char *partition, struct resolve_side *side)
{
	struct decision_facts facts;
	decision_look(paths_moves(), id, incoming ? DECISION_ARRIVAL : DECISION_DEPARTURE, &facts);
	*side = (struct resolve_side){.known = true,
				      .owned = facts.owned,
				      .alive = thaw_alive(partition),
				      .last = facts.last};
}

static void ask_peer(struct job *j, struct resolve_side *peer)
{
	const struct config *c = &j->d->config;
	const struct link_tls tls = {.ca = c->tls_ca, .cert = c->tls_cert, .key = c->tls_key};
	struct error err = {0};
	enum query_outcome outcome;
	peer->last =
		query_peer(j->address, j->peer, c->host, &tls, j->id, j->epoch, &outcome, &err);
	j->lost = outcome == QUERY_LOST;
	peer->kept = outcome == QUERY_STAYED;
	peer->left = outcome == QUERY_RUNS;
	peer->known = peer->last != DECISION_UNKNOWN || !err.message[0];
	log_info("move %s: %s says: %s %s", j->id, j->peer, decision_name(peer->last), err.message);
}

// ---- the acts -----------------------------------------------------------------------------------

// Whoever acts on a record holds the file meanwhile, and looks whether it is still the last: since
// it was read the peer was asked, and a person may have decided. A damaged file cannot be held, but
// nothing can be added to it either. *file is NULL when there is none to hold.
static int hold(const struct job *j, enum decision_type last, struct decision **file,
		struct error *err)
{
	*file = NULL;
	if (last == DECISION_NONE || last == DECISION_UNKNOWN)
		return 0;
	*file = decision_open(paths_moves(), j->id, side_of(j), err);
	if (!*file)
		return -1;
	if (decision_last(*file) == last)
		return 0;
	error_set(err, ERR_CONFLICT, "the last record is %s by now, not %s",
		  decision_name(decision_last(*file)), decision_name(last));
	decision_close(take_ptr(*file), false);
	return -1;
}

// The abort is on disk before anything runs.
static int stay(struct job *j, struct decision *file, enum decision_type last, struct error *err)
{
	if (last == DECISION_FINAL && decision_append(file, DECISION_ABORT, err) < 0)
		return -1;
	sockets_undo(j->id);
	return thaw_partition(j->partition, j->definition, err);
}

static int take_back(struct job *j, struct decision *file, enum decision_type last,
		     struct error *err)
{
	(void)last;
	if (decision_append_as(file, DECISION_REVOKED, j->epoch + 1, NULL, err) < 0)
		return -1;
	j->epoch++;
	sockets_undo(j->id);
	return thaw_partition(j->partition, j->definition, err);
}

static int release(struct job *j, struct decision *file, enum decision_type last, struct error *err)
{
	if (thaw_kill(j->partition, err) < 0)
		return -1;
	sockets_forget(j->id);
	return last == DECISION_COMMIT ? decision_append(file, DECISION_RELEASED, err) : 0;
}

static int refuse(struct job *j, struct decision *file, enum decision_type last, struct error *err)
{
	if (thaw_kill(j->partition, err) < 0)
		return -1;
	if (last == DECISION_PREPARED)
		return decision_append(file, DECISION_REFUSED, err);
	return last == DECISION_KEPT ? decision_append_as(file, DECISION_GIVEN_UP,
							  decision_epoch(file), NULL, err)
				     : 0;
}

static int commit(struct job *j, struct decision *file, enum decision_type last, struct error *err)
{
	(void)j, (void)last;
	return decision_append(file, DECISION_COMMIT, err);
}

static int holding(struct job *j, enum decision_type last,
		   int (*what)(struct job *j, struct decision *file, enum decision_type last,
			       struct error *err),
		   struct error *err)
{
	struct decision *file;
	if (hold(j, last, &file, err) < 0)
		return -1;
	int failed = what(j, file, last, err);
	decision_close(file, false);
	return failed;
}

// "done", "aborted", "broken", "lost"; NULL: not yet.
static const char *act_source(struct job *j, bool ask, struct error *err)
{
	struct resolve_side own, peer = {0};
	resolve_look(j->id, false, j->partition, &own);
	enum resolve_act act = resolve_source(&own, &peer);
	if (act == RESOLVE_COMMIT && holding(j, own.last, commit, err) == 0) {
		own.last = DECISION_COMMIT;
		act = RESOLVE_WAIT;
	}
	if (act == RESOLVE_WAIT && ask && !own.owned) {
		ask_peer(j, &peer);
		act = resolve_source(&own, &peer);
	}
	if (act == RESOLVE_STAY)
		return holding(j, own.last, stay, err) < 0 ? NULL : "aborted";
	if (act == RESOLVE_REVOKE)
		return holding(j, own.last, take_back, err) < 0 ? NULL : "aborted";
	if (act == RESOLVE_RELEASE && holding(j, own.last, release, err) == 0)
		return j->lost ? "lost" : "done";
	return NULL;
}

static const char *act_target(struct job *j, bool ask, struct error *err)
{
	struct resolve_side own, peer = {0};
	resolve_look(j->id, true, j->partition, &own);
	if (ask && own.last == DECISION_UNKNOWN && !own.owned)
		ask_peer(j, &peer);
	switch (resolve_target(&own, &peer)) {
	case RESOLVE_CLEAR:
	case RESOLVE_REFUSE:
		return holding(j, own.last, refuse, err) < 0 ? NULL : "aborted";
	case RESOLVE_RUNS:
		return thaw_adopt(j->partition, err) < 0 ? "broken" : "done";
	case RESOLVE_LOST:
		return "broken";
	default:
		return NULL;
	}
}

static const char *act(struct job *j, bool ask)
{
	struct error err = {0};
	const char *outcome = j->incoming ? act_target(j, ask, &err) : act_source(j, ask, &err);
	if (err.message[0])
		log_error_of(&err, j->id);
	return outcome;
}

// ---- what it means for relocd -------------------------------------------------------------------

static void take_job(struct daemon *d, const struct move *m, const struct error *why, struct job *j)
{
	struct registry_host host = {0};
	const struct partition *p = partition_find(d, m->row.partition);
	const char *peer = m->incoming ? m->row.source : m->row.target;
	*j = (struct job){.d = d,
			  .incoming = m->incoming,
			  .epoch = m->row.epoch,
			  .definition = p ? json_deep_copy(p->row.definition) : NULL,
			  .why = *why};
	snprintf(j->id, sizeof(j->id), "%s", m->row.id);
	snprintf(j->partition, sizeof(j->partition), "%s", m->row.partition);
	snprintf(j->peer, sizeof(j->peer), "%s", peer);
	if (registry_host_get(d->registry, peer, &host, NULL) > 0)
		snprintf(j->address, sizeof(j->address), "%s", host.address);
}

static void settle(struct job *j, const char *outcome, bool late)
{
	struct move *m = move_find(j->d, j->id);
	if (!m)
		return;
	log_warn("move %s: %s; so: %s", j->id, j->why.message, outcome);
	if (j->incoming)
		arrival_settle(m, outcome, j->why.message);
	else
		departure_settle(m, outcome, j->why.message, j->epoch);
	struct error why = j->why;
	if (!strcmp(outcome, "in-doubt"))
		why.id = ERR_IN_DOUBT;
	if (!strcmp(outcome, "lost") || !strcmp(outcome, "broken"))
		why.id = ERR_BROKEN;
	const char *state = departure_outcome(outcome);
	json_t *error = !strcmp(outcome, "done") ? NULL : error_to_json(&why);
	int failed = late ? move_amend(m, state, error) : move_finish(m, state, NULL, error);
	if (!failed && !j->incoming && (!strcmp(outcome, "done") || !strcmp(outcome, "lost")))
		departure_drop_record(m);
}

// Told once; `wparctl wait` ends with its own exit status then.
static void mark_in_doubt(struct job *j)
{
	struct move *m = move_find(j->d, j->id);
	if (!m || m->finished)
		return;
	settle(j, "in-doubt", false);
	events_add(j->d, "move", "alarm", j->partition, j->id,
		   json_pack("{s:s, s:s}", "reason", "in-doubt", "message", j->why.message));
}

// True to try again.
static bool pause_between(struct daemon *d, const char *id, unsigned tries)
{
	deadline_t until = deadline_in_ms(tries < ASK_OFTEN ? ASK_OFTEN_MS : ASK_SELDOM_MS);
	while (daemon_wait(d, until))
		;
	struct move *m = move_find(d, id);
	return !d->stopping && m && m->resolving;
}

// One attempt. True to try again.
static bool attempt(struct job *j, unsigned tries)
{
	struct daemon *d = j->d;
	const char *outcome = act(j, true);
	bool more = false;
	daemon_lock(d);
	struct move *m = move_find(d, j->id);
	if (m && m->resolving && outcome) {
		settle(j, outcome, m->finished);
		m->resolving = false;
		daemon_changed(d);
	} else if (m && m->resolving) { // else a person was faster
		mark_in_doubt(j);
		more = pause_between(d, j->id, tries);
	}
	daemon_unlock(d);
	return more;
}

static void work(struct daemon *d, const char *id)
{
	struct job j;
	daemon_lock(d);
	const struct move *m = move_find(d, id);
	if (m)
		take_job(d, m, &m->why, &j);
	daemon_unlock(d);
	if (!m)
		return;
	for (unsigned tries = 0; attempt(&j, tries); tries++)
		;
	json_decref(j.definition);
}

void resolve_begin(struct move *m, const struct error *why)
{
	struct error err;
	m->why = *why;
	m->resolving = true;
	if (daemon_thread(m->daemon, work, m->row.id, &err) < 0)
		log_error_of(&err, m->row.id);
}

bool resolve_now(struct daemon *d, const char *id, const struct error *why)
{
	struct job j;
	struct move *m = move_find(d, id);
	bool late = m->finished;
	take_job(d, m, why, &j);
	const char *outcome = act(&j, false);
	daemon_lock(d);
	if (outcome)
		settle(&j, outcome, late);
	daemon_unlock(d);
	json_decref(j.definition);
	return outcome;
}
