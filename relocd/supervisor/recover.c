// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/recover.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/registry/resolve.h"
#include "relocd/daemon/events.h"
#include "relocd/move/query.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/peers/peers.h"
#include "relocd/supervisor/adopt.h"
#include "relocd/supervisor/arrivals.h"
#include "relocd/supervisor/departures.h"
#include "relocd/supervisor/disown.h"
#include "relocd/supervisor/resolve.h"
#include "relocd/supervisor/thaw.h"

#include <dirent.h>
#include <string.h>

#define LOOK_MS    3000 // a frozen partition waits for it
#define GIVE_UP_MS 40000
#define END_MS     20000 // from a kill to the end of departure or arrival
#define RUN_MS     60000 // until an arrival that was told to go on runs
#define FILE_MS    50
#define TELL_MS    5000 // between two tries to tell the other side

// One side of a move, as seen from here.
struct side {
	char host[REGISTRY_NAME_MAX];
	bool source;
	struct resolve_side known;
	char state[32], move_state[16];
	uint64_t epoch;
	struct error error; // why it could not be asked
};

struct recovery {
	struct daemon *d;
	char id[40], partition[REGISTRY_NAME_MAX];
	uint64_t epoch; // of the move
	bool incoming;
	char adopted[40]; // the uuid of what was adopted, and never moved; "": a move
	struct side own, peer;
};

// ---- which move ---------------------------------------------------------------------------------

static void copy(char *to, size_t size, const json_t *from, const char *key)
{
	const char *text = json_string_value(json_object_get(from, key));
	snprintf(to, size, "%s", text ? text : "");
}

static void note_end(struct side *s)
{
	enum query_outcome outcome = query_outcome_of(s->move_state);
	s->known.kept = outcome == QUERY_STAYED;
	s->known.left = outcome == QUERY_RUNS;
}

static void fill_own(struct recovery *r, const char *move_state)
{
	struct decision_facts facts;
	const struct partition *p = partition_find(r->d, r->partition);
	decision_look(paths_moves(), r->id, r->incoming ? DECISION_ARRIVAL : DECISION_DEPARTURE,
		      &facts);
	snprintf(r->own.host, sizeof(r->own.host), "%s", r->d->config.host);
	snprintf(r->own.state, sizeof(r->own.state), "%s", p ? state_name(p->row.state) : "none");
	snprintf(r->own.move_state, sizeof(r->own.move_state), "%s", move_state);
	r->own.epoch = facts.epoch;
	r->own.source = !r->incoming;
}

static int begin(struct daemon *d, const char *param, struct recovery *r, struct error *err)
{
	struct registry_move row;
	*r = (struct recovery){.d = d};
	daemon_lock(d);
	int failed = move_id_of(d, param, r->id, err);
	if (!failed && registry_move_get(d->registry, r->id, &row, err) <= 0)
		failed = error_set(err, ERR_MOVE_UNKNOWN, "move %s has not begun yet", r->id);
	if (!failed) {
		r->incoming = !strcmp(row.target, d->config.host);
		r->epoch = row.epoch;
		snprintf(r->partition, sizeof(r->partition), "%s", row.partition);
		snprintf(r->peer.host, sizeof(r->peer.host), "%s",
			 r->incoming ? row.source : row.target);
		r->peer.source = r->incoming;
		copy(r->adopted, sizeof(r->adopted), json_object_get(row.result, ADOPT_KEY),
		     "uuid");
		fill_own(r, row.state);
		registry_move_clear(&row);
	}
	daemon_unlock(d);
	if (!failed)
		resolve_look(r->id, r->incoming, r->partition, &r->own.known);
	note_end(&r->own);
	return failed;
}

// ---- the other side -----------------------------------------------------------------------------

static int ask(const struct recovery *r, json_t *body, int ms, json_t **answer, struct error *err)
{
	_cleanup_json_ json_t *owned = body;
	char path[96];
	snprintf(path, sizeof(path), "/v1/moves/%s/recover?local=1", r->id);
	if (!r->peer.host[0])
		return error_set(err, ERR_PEER_UNREACHABLE, "the other host is not known any more");
	return peer_ask(r->d, r->peer.host, &peer_relocd, "POST", path, owned, deadline_in_ms(ms),
			answer, err);
}

static void look_at_peer(struct recovery *r)
{
	_cleanup_json_ json_t *answer = NULL;
	struct side *peer = &r->peer;
	if (ask(r, json_pack("{s:b}", "look", 1), LOOK_MS, &answer, &peer->error) < 0) {
		// It is there, and has nothing of this move.
		peer->known.known = peer->error.id == ERR_MOVE_UNKNOWN;
		return;
	}
	const json_t *side = json_object_get(answer, "side");
	const char *decision = json_string_value(json_object_get(side, "decision"));
	copy(peer->state, sizeof(peer->state), side, "state");
	copy(peer->move_state, sizeof(peer->move_state), side, "move_state");
	peer->epoch = (uint64_t)json_integer_value(json_object_get(side, "epoch"));
	peer->known = (struct resolve_side){
		.known = true,
		.owned = json_is_true(json_object_get(side, "owned")),
		.alive = json_is_true(json_object_get(side, "alive")),
		.last = decision ? decision_of_name(decision) : DECISION_UNKNOWN,
	};
	note_end(peer);
}

// ---- show ---------------------------------------------------------------------------------------

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *side_json(const struct side *s)
{
	bool known = s->known.known;
	return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:b, s:b, s:o}", "host", s->host,
			 "reachable", known, "state", text_or_null(s->state), "decision",
			 known ? json_string(decision_name(s->known.last)) : json_null(), "epoch",
			 known ? json_integer((json_int_t)s->epoch) : json_null(), "move_state",
			 text_or_null(s->move_state), "alive", s->known.alive, "owned",
			 s->known.owned, "error",
			 known || !s->error.message[0] ? json_null() : error_to_json(&s->error));
}

static json_t *proposal_json(const struct recovery *r)
{
	const struct side *source = r->incoming ? &r->peer : &r->own;
	const struct side *target = r->incoming ? &r->own : &r->peer;
	const char *why;
	char act[REGISTRY_NAME_MAX + 8];
	char keep = resolve_propose(&source->known, &target->known, &why);
	if (keep == 's' || keep == 't')
		snprintf(act, sizeof(act), "keep-%s", keep == 's' ? source->host : target->host);
	else
		strcpy(act, keep == 'w' ? "wait" : "none");
	return json_pack("{s:s, s:s}", "act", act, "text", why);
}

static json_t *recovery_json(const struct recovery *r, const char *done)
{
	const struct side *first = r->incoming ? &r->peer : &r->own;
	const struct side *second = r->incoming ? &r->own : &r->peer;
	return json_pack("{s:s, s:s, s:[o,o], s:o, s:o}", "partition", r->partition, "move", r->id,
			 "sides", side_json(first), side_json(second), "proposal", proposal_json(r),
			 "done", done ? json_string(done) : json_null());
}

// ---- taking this side over ----------------------------------------------------------------------

// Ends departure or arrival of this side, if it lives: its decision file is ours then.
static int end_owner(struct recovery *r, struct error *err)
{
	deadline_t deadline = deadline_in_ms(END_MS);
	daemon_lock(r->d);
	struct move *m = move_find(r->d, r->id);
	if (m)
		m->deciding = true; // what its end means is being decided here
	if (m && m->worker)
		worker_kill(m->worker);
	while ((m = move_find(r->d, r->id)) && m->worker && daemon_wait(r->d, deadline))
		;
	bool gone = !m || !m->worker;
	if (m)
		m->resolving = false;
	daemon_unlock(r->d);
	return gone ? 0
		    : error_set(err, ERR_DEADLINE, "the process of move %s does not end", r->id);
}

// What was begun cannot be done: the records decide again.
static int leave(const struct recovery *r, const struct error *why)
{
	daemon_lock(r->d);
	struct move *m = move_find(r->d, r->id);
	if (m && m->deciding) {
		m->deciding = false;
		if (!m->worker)
			resolve_begin(m, why);
	}
	daemon_unlock(r->d);
	return -1;
}

static struct decision *open_file(const struct recovery *r, struct error *err)
{
	deadline_t deadline = deadline_in_ms(END_MS);
	for (;;) { // resolve.c holds it while it acts
		struct decision *file =
			decision_open(paths_moves(), r->id,
				      r->incoming ? DECISION_ARRIVAL : DECISION_DEPARTURE, err);
		if (file || err->id != ERR_MOVE_BUSY || deadline_passed(deadline))
			return file;
		clock_sleep_ms(FILE_MS);
	}
}

// From here on whatever resolve.c was about to do finds another record than it knew.
static int record(const struct recovery *r, enum decision_type type, uint64_t epoch,
		  const char *reason, struct error *err)
{
	struct decision *file = open_file(r, err);
	if (!file && err->id == ERR_STORAGE && r->own.known.last == DECISION_UNKNOWN)
		return decision_overrule(paths_moves(), r->id,
					 r->incoming ? DECISION_ARRIVAL : DECISION_DEPARTURE,
					 r->epoch, r->partition, type, epoch, reason, err);
	if (!file)
		return -1;
	int failed = decision_append_as(file, type, epoch, reason, err);
	decision_close(file, false);
	return failed;
}

static void note(const struct recovery *r, const char *event, const char *reason)
{
	log_warn("move %s: %s by a person's decision: %s", r->id, event, reason);
	events_add(r->d, "move", event, r->partition, r->id,
		   json_pack("{s:s, s:s}", "host", r->d->config.host, "reason", reason));
}

// What the end of the move is, in the table and the registry.
static void end_move(const struct recovery *r, const char *outcome, const char *sentence)
{
	struct error why;
	struct move *m = move_find(r->d, r->id);
	if (!m)
		return;
	m->resolving = m->deciding = false;
	error_set(&why, ERR_MOVE_FAILED, "%s", sentence);
	error_at(&why, r->d->config.host, r->partition, NULL);
	json_t *error = strcmp(outcome, "done") ? error_to_json(&why) : NULL;
	if (m->finished)
		move_amend(m, outcome, error);
	else
		move_finish(m, outcome, NULL, error);
}

// A later move has been here since: its epoch is what counts.
static bool is_superseded(const struct recovery *r, struct error *err)
{
	daemon_lock(r->d);
	const struct partition *p = partition_find(r->d, r->partition);
	uint64_t now = p ? p->row.epoch : 0;
	daemon_unlock(r->d);
	if (now <= r->epoch)
		return false;
	error_set(err, ERR_CONFLICT, "%s has epoch %llu by now; move %s was %llu", r->partition,
		  (unsigned long long)now, r->id, (unsigned long long)r->epoch);
	return true;
}

// ---- giving this side's copy up -----------------------------------------------------------------

static void mark_given_up(const struct recovery *r, uint64_t epoch)
{
	struct partition *p = partition_find(r->d, r->partition);
	if (!p)
		return;
	p->row.move[0] = 0;
	p->row.started[0] = 0;
	p->row.epoch = epoch;
	snprintf(p->row.departed_to, sizeof(p->row.departed_to), "%s", r->peer.host);
	partition_set(p, STATE_DEPARTED, NULL);
}

static int give_up(struct recovery *r, uint64_t epoch, const char *reason, struct error *err)
{
	enum decision_type last = r->own.known.last;
	if (last == DECISION_GIVEN_UP)
		return 0; // told again
	if (last == DECISION_NONE && !r->own.known.alive)
		return 0; // nothing of it is here
	if (last == DECISION_NONE || epoch <= r->own.epoch)
		return error_set(err, ERR_CONFLICT,
				 "%s has no record of this move that epoch %llu could end",
				 r->own.host, (unsigned long long)epoch);
	if (is_superseded(r, err) || end_owner(r, err) < 0 ||
	    record(r, DECISION_GIVEN_UP, epoch, reason, err) < 0)
		return leave(r, err);
	// What never ran here leaves no trace; what did is Departed, before its end, which is none
	// by itself.
	daemon_lock(r->d);
	const struct partition *here = partition_find(r->d, r->partition);
	bool ran = !r->incoming || last == DECISION_RESUMING || last == DECISION_ABORT ||
		   (here && here->row.state == STATE_ACTIVE);
	if (ran)
		mark_given_up(r, epoch);
	daemon_unlock(r->d);
	if (thaw_kill(r->partition, err) < 0)
		return leave(r, err);
	daemon_lock(r->d);
	struct partition *p = partition_find(r->d, r->partition);
	struct move *m = move_find(r->d, r->id);
	if (ran && p)
		lifecycle_clear(p);
	else if (m)
		arrival_settle(m, "aborted", NULL);
	end_move(r, r->incoming ? "aborted" : "done", "this copy was given up");
	note(r, "given-up", reason);
	daemon_unlock(r->d);
	return 0;
}

// ---- keeping this side's copy -------------------------------------------------------------------

// Whoever asked the peer after its copy was dead was faster: by the records it is this side's then,
// which is what the person wants.
static bool was_taken_back(const struct recovery *r, uint64_t *epoch)
{
	struct decision_facts facts;
	decision_look(paths_moves(), r->id, DECISION_DEPARTURE, &facts);
	if (facts.last != DECISION_REVOKED)
		return false;
	*epoch = facts.epoch;
	return true;
}

static int keep_at_source(struct recovery *r, uint64_t epoch, const char *reason, struct error *err)
{
	if (end_owner(r, err) < 0 ||
	    (record(r, DECISION_KEPT, epoch, reason, err) < 0 && !was_taken_back(r, &epoch)))
		return leave(r, err);
	daemon_lock(r->d);
	const struct partition *p = partition_find(r->d, r->partition);
	_cleanup_json_ json_t *definition = p ? json_deep_copy(p->row.definition) : NULL;
	daemon_unlock(r->d);
	if (thaw_partition(r->partition, definition, err) < 0)
		return leave(r, err);
	daemon_lock(r->d);
	struct move *m = move_find(r->d, r->id);
	if (m)
		departure_settle(m, "aborted", NULL, epoch);
	end_move(r, "aborted", "a person kept the copy of this host");
	daemon_unlock(r->d);
	return 0;
}

// Whose arrival is dead, and whose records are damaged: it ran, as CRIU would have killed it
// before.
static bool runs_unrecorded(const struct recovery *r)
{
	return r->own.known.last == DECISION_UNKNOWN && r->own.known.alive;
}

// Its arrival holds it, and lets it run.
static int keep_at_target(struct recovery *r, uint64_t epoch, const char *reason, struct error *err)
{
	deadline_t deadline = deadline_in_ms(RUN_MS);
	daemon_lock(r->d);
	struct move *m = move_find(r->d, r->id);
	int failed = 0;
	if (m && m->finished && runs_unrecorded(r)) {
		daemon_unlock(r->d); // it runs, and only has to say so
		return record(r, DECISION_KEPT, epoch, reason, err);
	}
	if (!m || m->finished)
		failed = error_set(err, ERR_WRONG_STATE, "the move has ended here");
	else if (!m->worker && !runs_unrecorded(r))
		failed = error_set(err, ERR_WRONG_STATE,
				   "the arrival that held this copy is dead, and the copy with it");
	else if (!m->worker)
		failed = record(r, DECISION_KEPT, epoch, reason, err);
	else
		failed = worker_send(m->worker,
				     json_pack("{s:s, s:I, s:s}", "op", "keep", "epoch",
					       (json_int_t)epoch, "reason", reason),
				     err);
	while (!failed && (m = move_find(r->d, r->id)) && !m->finished &&
	       daemon_wait(r->d, deadline))
		;
	if (!failed && (!m || strcmp(m->row.state, "done") != 0))
		failed = error_set(err, ERR_DEADLINE, "the copy of %s does not come to run",
				   r->own.host);
	daemon_unlock(r->d);
	return failed;
}

// It had gone further there than anybody here knew.
static void raise_epoch(const struct recovery *r, uint64_t epoch)
{
	daemon_lock(r->d);
	struct partition *p = partition_find(r->d, r->partition);
	if (p && !strcmp(p->row.uuid, r->adopted) && epoch > p->row.epoch) {
		p->row.epoch = epoch;
		json_object_set_new(p->row.definition, "epoch", json_integer((json_int_t)epoch));
		partition_save(p, NULL);
	}
	daemon_unlock(r->d);
}

static int tell_give_up(const struct recovery *r, uint64_t epoch, const char *reason,
			struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	json_t *body = json_pack("{s:I, s:s, s:s*}", "give_up", (json_int_t)epoch, "reason", reason,
				 "uuid", r->adopted[0] ? r->adopted : NULL);
	if (ask(r, body, GIVE_UP_MS, &answer, err) < 0)
		return -1;
	if (r->adopted[0])
		raise_epoch(r, (uint64_t)json_integer_value(json_object_get(answer, "epoch")));
	return 0;
}

static int keep_own(struct recovery *r, const char *reason, bool peer_is_dead, struct error *err)
{
	uint64_t epoch = r->epoch + 1;
	if (r->own.epoch >= epoch)
		epoch = r->own.epoch + 1;
	if (r->own.known.last == DECISION_KEPT || r->own.known.last == DECISION_SETTLED)
		return error_set(err, ERR_WRONG_STATE, "the copy of %s has been kept already",
				 r->own.host);
	if (is_superseded(r, err))
		return -1;
	if (resolve_may_keep(&r->own.known, &r->peer.known, peer_is_dead, r->own.host, r->peer.host,
			     err) < 0)
		return -1;
	// First the other copy dies, and says so.
	bool settled = r->peer.known.known && tell_give_up(r, epoch, reason, err) == 0;
	if (r->peer.known.known && !settled && !peer_is_dead)
		return error_wrap(err, "%s did not give its copy up", r->peer.host), -1;
	int failed = r->incoming ? keep_at_target(r, epoch, reason, err)
				 : keep_at_source(r, epoch, reason, err);
	if (failed)
		return -1;
	daemon_lock(r->d);
	note(r, "kept", reason);
	daemon_unlock(r->d);
	struct error unrecorded;
	if (settled && record(r, DECISION_SETTLED, epoch, NULL, &unrecorded) == 0)
		return 0;
	recover_begin(r->d);
	return 0;
}

// ---- telling the other side later ---------------------------------------------------------------

// Whether a decision of this file is not confirmed yet. "m-1.departure"
static bool is_unsettled(const char *name, char id[40], struct decision_facts *facts)
{
	const char *dot = strrchr(name, '.');
	if (!dot || dot - name >= 40)
		return false;
	bool departure = !strcmp(dot, ".departure");
	if (!departure && strcmp(dot, ".arrival") != 0)
		return false;
	snprintf(id, 40, "%.*s", (int)(dot - name), name);
	decision_look(paths_moves(), id, departure ? DECISION_DEPARTURE : DECISION_ARRIVAL, facts);
	return facts->kept;
}

static bool tell_one(struct daemon *d, const char *id, const struct decision_facts *facts)
{
	struct recovery r;
	struct error err;
	if (begin(d, id, &r, &err) < 0)
		return true; // the move is not known any more
	if (tell_give_up(&r, facts->epoch, facts->note, &err) < 0) {
		log_debug("move %s: %s has not confirmed: %s", id, r.peer.host, err.message);
		return false;
	}
	if (record(&r, DECISION_SETTLED, facts->epoch, NULL, &err) < 0)
		return false; // its arrival has not ended yet
	daemon_lock(d);
	events_add(d, "move", "settled", r.partition, id, json_pack("{s:s}", "host", r.peer.host));
	daemon_unlock(d);
	log_info("move %s: %s has confirmed that its copy is dead", id, r.peer.host);
	return true;
}

// True when nothing is left to tell.
static bool tell_all(struct daemon *d)
{
	struct dirent *entry;
	bool all = true;
	DIR *dir = opendir(paths_moves());
	while (dir && (entry = readdir(dir))) {
		struct decision_facts facts;
		char id[40];
		if (is_unsettled(entry->d_name, id, &facts))
			all = tell_one(d, id, &facts) && all;
	}
	if (dir)
		closedir(dir);
	return all;
}

static void tell(struct daemon *d, const char *unused)
{
	bool more = true;
	(void)unused;
	while (more && !tell_all(d)) {
		daemon_lock(d);
		deadline_t until = deadline_in_ms(TELL_MS);
		while (daemon_wait(d, until))
			;
		more = !d->stopping;
		daemon_unlock(d);
	}
	daemon_lock(d);
	d->telling = false;
	daemon_unlock(d);
}

void recover_begin(struct daemon *d)
{
	struct error err;
	daemon_lock(d);
	if (!d->telling) {
		d->telling = true;
		if (daemon_thread(d, tell, "", &err) < 0)
			log_error_of(&err, "recover");
	}
	daemon_unlock(d);
}

// ---- the request --------------------------------------------------------------------------------

static int keep_at_peer(struct recovery *r, const char *reason, bool peer_is_dead, json_t **answer,
			struct error *err)
{
	if (!r->peer.known.known)
		return error_set(err, ERR_PEER_UNREACHABLE,
				 "%s cannot be reached: its copy cannot be kept from here",
				 r->peer.host);
	return ask(r,
		   json_pack("{s:s, s:s, s:b}", "keep", r->peer.host, "reason", reason,
			     "peer_is_dead", peer_is_dead),
		   RUN_MS + GIVE_UP_MS, answer, err);
}

static int decide(struct request *q, struct recovery *r, const char *keep, const char *reason,
		  bool peer_is_dead, struct error *err)
{
	if (!reason || !reason[0])
		return error_set(err, ERR_USAGE, "to keep a copy needs a \"reason\"");
	look_at_peer(r);
	if (!strcmp(keep, r->peer.host))
		return keep_at_peer(r, reason, peer_is_dead, &q->data, err);
	if (strcmp(keep, r->own.host) != 0)
		return error_set(err, ERR_USAGE, "\"keep\" must be %s or %s", r->own.host,
				 r->peer.host);
	if (keep_own(r, reason, peer_is_dead, err) < 0)
		return -1;
	char done[200];
	snprintf(done, sizeof(done), "the copy of %s runs%s", r->own.host,
		 r->peer.known.known ? "; the other one is dead"
				     : "; the other host kills its copy when it returns");
	struct recovery after;
	if (begin(r->d, r->id, &after, err) < 0)
		return -1;
	after.peer = r->peer;
	q->data = recovery_json(&after, done);
	return 0;
}

int recover_give_up(struct daemon *d, const char *move, uint64_t epoch, const char *host,
		    const char *reason, struct error *err)
{
	struct recovery r;
	if (begin(d, move, &r, err) < 0)
		return -1;
	snprintf(r.peer.host, sizeof(r.peer.host), "%s", host);
	return give_up(&r, (epoch > r.own.epoch ? epoch : r.own.epoch) + 1, reason, err);
}

// Another host has adopted what this one had.
static int give_adopted_up(struct request *q, const char *uuid, uint64_t epoch, const char *reason,
			   struct error *err)
{
	uint64_t own;
	if (!q->peer[0] || !epoch)
		return error_set(err, ERR_USAGE, "\"uuid\" is for other hosts, with \"give_up\"");
	if (disown(q->d, uuid, epoch, q->peer, reason, &own, err) < 0)
		return -1;
	q->data = json_pack("{s:s, s:I}", "move", q->param, "epoch", (json_int_t)own);
	return 0;
}

int api_move_recover(struct request *q, struct error *err)
{
	const char *keep = NULL, *reason = NULL, *uuid = NULL;
	int peer_is_dead = 0, look = 0;
	json_int_t epoch = 0;
	struct recovery r;
	if (api_body(q, err, "{s?s, s?s, s?b, s?b, s?I, s?s}", "keep", &keep, "reason", &reason,
		     "peer_is_dead", &peer_is_dead, "look", &look, "give_up", &epoch, "uuid",
		     &uuid) < 0)
		return -1;
	if ((keep || epoch || uuid) && q->role < ROLE_ADMIN)
		return error_set(err, ERR_DENIED, "to decide a move in doubt takes the role admin");
	if (uuid)
		return give_adopted_up(q, uuid, (uint64_t)epoch, reason ? reason : "", err);
	if (begin(q->d, q->param, &r, err) < 0)
		return -1;
	if (keep)
		return decide(q, &r, keep, reason, peer_is_dead, err);
	if (epoch && give_up(&r, (uint64_t)epoch, reason ? reason : "", err) < 0)
		return -1;
	if (look || epoch) {
		q->data = json_pack("{s:s, s:s, s:o}", "partition", r.partition, "move", r.id,
				    "side", side_json(&r.own));
		return 0;
	}
	look_at_peer(&r);
	q->data = recovery_json(&r, NULL);
	return 0;
}
