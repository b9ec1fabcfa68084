// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/arrivals.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/keeper_client.h"
#include "lib/registry/decision.h"
#include "relocd/api/audit.h"
#include "relocd/cluster/cluster.h"
#include "relocd/cluster/hosts.h"
#include "relocd/cluster/trust.h"
#include "relocd/daemon/events.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/ownership.h"
#include "relocd/peers/bulk.h"
#include "relocd/peers/peers.h"
#include "relocd/supervisor/queue.h"
#include "relocd/supervisor/resolve.h"

#include <string.h>

#define CLEAR_MS 20000

struct arrival {
	struct worker *worker;
	char from[64];                // IP address
	char peer[REGISTRY_NAME_MAX]; // authenticated; "" before HELLO
	char move[40];                // that it has reserved for; ""
	char served[40];              // the same, also after its end
	bool join;
	bool call; // no longer counted among the arrivals
};

static struct partition *partition_of(const struct move *m)
{
	struct partition *p = partition_find(m->daemon, m->row.partition);
	return p && !strcmp(p->row.move, m->row.id) ? p : NULL;
}

// ---- reserve ------------------------------------------------------------------------------------

// A partition of that name may be here only as the trace of this very one, from an earlier epoch.
static int check_name(struct daemon *d, const struct partition_def *def, struct error *err)
{
	const struct partition *p = partition_find(d, def->name);
	if (!p)
		return 0;
	const char *host = d->config.host;
	if (p->row.state != STATE_DEPARTED || p->busy)
		return error_set(err, ERR_NAME_TAKEN, "%s has a partition %s (%s)", host, def->name,
				 state_name(p->row.state));
	if (strcmp(p->row.uuid, def->uuid) != 0)
		return error_set(err, ERR_NAME_TAKEN,
				 "%s knows another partition %s, which has moved to %s", host,
				 def->name, p->row.departed_to);
	return p->clearing ? error_set(err, ERR_NAME_TAKEN, "%s is still being cleared on %s",
				       def->name, host)
			   : 0;
}

// The epoch rises with each move that is begun: whoever comes with one that was used does not know
// what has become of the partition since.
static int check_epoch(struct daemon *d, const struct partition_def *def, uint64_t epoch,
		       struct error *err)
{
	uint64_t known = partition_known_epoch(d, def->uuid);
	if (epoch > known)
		return 0;
	return error_set(err, ERR_STALE, "epoch %llu of %s is not newer than %llu, which %s knows",
			 (unsigned long long)epoch, def->name, (unsigned long long)known,
			 d->config.host);
}

static int check_uuid(struct daemon *d, const struct partition_def *def, struct error *err)
{
	for (const struct partition *p = d->partitions; p; p = p->next)
		if (!strcmp(p->row.uuid, def->uuid) && strcmp(p->row.name, def->name) != 0)
			return error_set(err, ERR_NAME_TAKEN,
					 "%s has the partition with uuid %s as %s", d->config.host,
					 def->uuid, p->row.name);
	return 0;
}

int arrival_check_free(struct daemon *d, const struct partition_def *def, uint64_t epoch,
		       struct error *err)
{
	if (check_name(d, def, err) < 0 || check_uuid(d, def, err) < 0)
		return -1;
	return check_epoch(d, def, epoch, err);
}

// A move id is used once, ever: a replayed offer finds it taken.
static int check_move(struct daemon *d, const char *id, struct error *err)
{
	struct registry_move row;
	int found = registry_move_get(d->registry, id, &row, err);
	if (found > 0) {
		registry_move_clear(&row);
		return error_set(err, ERR_PROTOCOL, "move %s was here before", id);
	}
	return found;
}

// The row is Arriving until it has arrived; a Departed one keeps where it went and its epoch, to
// return to that.
static int mark_arriving(struct daemon *d, const struct move *m, const struct partition_def *def,
			 json_t *definition, struct error *err)
{
	struct partition *p = partition_find(d, def->name);
	if (!p) {
		struct registry_partition row = {.definition = definition,
						 .state = STATE_ARRIVING,
						 .exit_code = -1,
						 .revision = 1};
		snprintf(row.name, sizeof(row.name), "%s", def->name);
		snprintf(row.uuid, sizeof(row.uuid), "%s", def->uuid);
		snprintf(row.move, sizeof(row.move), "%s", m->row.id);
		if (!(p = partition_add(d, &row, err)))
			return -1;
		partition_take_definition(p, definition);
		p->row.epoch = m->row.epoch;
		return partition_save(p, err);
	}
	partition_take_definition(p, definition);
	p->row.epoch = m->row.epoch; // used up, whatever becomes of the move
	snprintf(p->row.move, sizeof(p->row.move), "%s", m->row.id);
	partition_set(p, STATE_ARRIVING, NULL);
	return 0;
}

static int reserve(struct arrival *a, const struct registry_move *row,
		   const struct partition_def *def, json_t *definition, struct error *err)
{
	struct daemon *d = a->worker->d;
	struct move *m = move_add(d, row);
	if (!m)
		return error_set(err, ERR_NOMEM, "no memory for a move");
	m->incoming = true;
	m->row.pid = a->worker->pid;
	m->row.pid_start = a->worker->pid_start;
	if (registry_move_add(d->registry, &m->row, err) < 0) {
		move_drop(m);
		return -1;
	}
	if (mark_arriving(d, m, def, definition, err) < 0) {
		move_finish(m, "refused", NULL, error_to_json(err));
		return -1;
	}
	m->worker = a->worker;
	strcpy(a->move, m->row.id);
	strcpy(a->served, m->row.id);
	move_note_begin(m);
	log_info("move %s: %s arrives from %s", m->row.id, def->name, m->row.source);
	return 0;
}

// With it further connections of this move are told from others.
static int answer_token(const struct registry_move *row, json_t *answer, struct error *err)
{
	uint8_t token[WIRE_TOKEN];
	char text[2 * WIRE_TOKEN + 1];
	if (bulk_token(row->id, row->epoch, token, err) < 0)
		return -1;
	for (size_t i = 0; i < WIRE_TOKEN; i++)
		snprintf(text + 2 * i, 3, "%02x", token[i]);
	json_object_set_new(answer, "token", json_string(text));
	return 0;
}

// The relocd that reserved it ended before it could answer, and is asked again.
static struct move *reserved_earlier(struct arrival *a, const char *id)
{
	struct move *m = move_find(a->worker->d, id);
	bool same = m && m->incoming && !m->finished && a->worker->attached &&
		    m->row.pid == a->worker->pid && m->row.pid_start == a->worker->pid_start;
	return same ? m : NULL;
}

static int op_reserve(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	struct daemon *d = a->worker->d;
	const char *id, *from;
	json_int_t epoch;
	int dry_run;
	json_t *definition;
	if (json_unpack((json_t *)q, "{s:s, s:I, s:b, s:s, s:o}", "move", &id, "epoch", &epoch,
			"dry_run", &dry_run, "from", &from, "definition", &definition) < 0)
		return error_set(err, ERR_PROTOCOL, "reserve is malformed");
	struct move *earlier = strcmp(from, a->peer) ? NULL : reserved_earlier(a, id);
	if (earlier) {
		earlier->worker = a->worker;
		strcpy(a->move, earlier->row.id);
		strcpy(a->served, earlier->row.id);
		return answer_token(&earlier->row, answer, err);
	}
	if (strcmp(from, a->peer) != 0 || a->move[0] || strlen(id) >= sizeof(a->move))
		return error_set(err, ERR_PROTOCOL, "reserve is out of order");
	_cleanup_definition_ struct partition_def *def = definition_from_json(definition, err);
	if (!def || hosts_accept(d, err) < 0 || ownership_check(d, def->name, err) < 0 ||
	    arrival_check_free(d, def, (uint64_t)epoch, err) < 0 ||
	    partition_addresses_free(d, definition, def->name, err) < 0)
		return -1;
	if (dry_run)
		return 0;
	struct registry_move row = {.epoch = (uint64_t)epoch, .state = "running"};
	snprintf(row.id, sizeof(row.id), "%s", id);
	snprintf(row.partition, sizeof(row.partition), "%s", def->name);
	snprintf(row.source, sizeof(row.source), "%s", from);
	snprintf(row.target, sizeof(row.target), "%s", d->config.host);
	clock_rfc3339(row.started);
	if (queue_check_arrivals(d, err) < 0 || check_move(d, id, err) < 0 ||
	    reserve(a, &row, def, definition, err) < 0)
		return -1;
	return answer_token(&row, answer, err);
}

// The row goes back to what it was: Departed, or nothing.
static void unreserve(const struct move *m)
{
	struct partition *p = partition_of(m);
	struct error err;
	if (!p)
		return;
	p->row.move[0] = 0;
	p->row.started[0] = 0;
	if (p->row.departed_to[0])
		partition_set(p, STATE_DEPARTED, NULL);
	else if (partition_drop(p, &err) < 0)
		log_error_of(&err, m->row.id);
}

static struct move *reserved_move(struct arrival *a, const json_t *q, struct error *err)
{
	const char *id = json_string_value(json_object_get(q, "move"));
	struct move *m = id && !strcmp(id, a->move) ? move_find(a->worker->d, id) : NULL;
	if (!m)
		error_set(err, ERR_PROTOCOL, "no such move is reserved");
	return m;
}

static int op_unreserve(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	struct move *m = reserved_move(a, q, err);
	(void)answer;
	if (!m)
		return -1;
	unreserve(m);
	return 0; // the move itself ends with its last event
}

// ---- arrived ------------------------------------------------------------------------------------

static void attach_arrived(struct daemon *d, const char *name)
{
	struct error err;
	if (lifecycle_attach(d, name, &err) == 0)
		return;
	log_error_of(&err, name);
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p && p->row.state == STATE_ACTIVE && p->watch < 0)
		partition_set(p, STATE_FAILED, "its keeper does not answer");
	daemon_unlock(d);
}

static void runs_here(struct partition *p, const struct registry_move *row, json_t *definition)
{
	if (definition)
		partition_take_definition(p, definition);
	p->row.epoch = p->row.arrived = row->epoch;
	p->row.move[0] = 0;
	p->row.departed_to[0] = 0;
	snprintf(p->row.came_from, sizeof(p->row.came_from), "%s", row->source);
	p->row.exit_code = -1;
	p->row.exit_signal = 0;
	p->stopping = p->exited = false;
	clock_rfc3339(p->row.started);
	partition_set(p, STATE_ACTIVE, NULL);
	daemon_thread(p->daemon, attach_arrived, p->row.name, NULL);
}

// An earlier relocd took note of it and ended before it could answer.
static bool has_arrived(struct arrival *a, const json_t *q)
{
	const char *id = json_string_value(json_object_get(q, "move"));
	struct registry_move row;
	if (!id || registry_move_get(a->worker->d->registry, id, &row, NULL) <= 0)
		return false;
	bool done = !strcmp(row.state, "done") && row.pid == a->worker->pid;
	registry_move_clear(&row);
	return done;
}

static int op_arrived(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	if (has_arrived(a, q))
		return 0;
	struct move *m = reserved_move(a, q, err);
	json_t *definition = json_object_get(q, "definition");
	json_t *downtime = json_object_get(q, "downtime_ms");
	struct partition *p = m ? partition_of(m) : NULL;
	(void)answer;
	if (!m)
		return -1;
	if (!p || !json_is_object(definition))
		return error_set(err, ERR_PROTOCOL, "arrived is malformed");
	a->move[0] = 0;
	// Later than the move's, when a person decided.
	json_int_t epoch = json_integer_value(json_object_get(q, "epoch"));
	runs_here(p, &m->row, definition);
	if (epoch > (json_int_t)p->row.epoch) {
		p->row.epoch = p->row.arrived = (uint64_t)epoch;
		partition_save(p, NULL);
	}
	move_finish(m, "done", downtime ? json_pack("{s:O}", "downtime_ms", downtime) : NULL, NULL);
	return 0;
}

// ---- peers --------------------------------------------------------------------------------------

static int op_peer(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	const char *name = json_string_value(json_object_get(q, "name"));
	const char *key = json_string_value(json_object_get(q, "key"));
	const char *address = json_string_value(json_object_get(q, "address"));
	(void)answer;
	if (!key || !name || !name[0] || strlen(name) >= sizeof(a->peer))
		return error_set(err, ERR_PROTOCOL, "the peer has no name");
	if (cluster_note_peer(a->worker->d, name, key, address, a->from, err) < 0)
		return -1;
	strcpy(a->peer, name);
	return 0;
}

static int op_join(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	if (!a->join)
		return error_set(err, ERR_PROTOCOL, "JOIN on a link that is none of a join");
	return cluster_admit(a->worker->d, q, a->from, answer, err);
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

// Somebody on the peer calls our API: as what it says, but no more than the peer may be here.
static int op_call(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	struct daemon *d = a->worker->d;
	const char *user = json_string_value(json_object_get(q, "user"));
	const char *asserted = json_string_value(json_object_get(q, "role"));
	enum role role, max = peers_max_role(d);
	if (!user || !user[0] || !is_printable(user) ||
	    strlen(user) >= sizeof(((struct request *)0)->user) || !asserted ||
	    role_of_name(asserted, &role) < 0 || a->worker->given < 0 || a->move[0] || a->call)
		return error_set(err, ERR_PROTOCOL, "call is malformed");
	if (role > max)
		role = max;
	if (role == ROLE_NONE)
		return error_set(err, ERR_DENIED, "hosts of the cluster may not call %s",
				 d->config.host);
	trust_learn(d, json_object_get(q, "revoked"), a->peer);
	json_object_set_new(answer, "revoked", trust_list(d));
	a->call = true;
	d->arrivals--;
	log_debug("call of %s on %s, as %s", user, a->peer, role_name(role));
	return peers_serve(d, take_fd(&a->worker->given), a->peer, user, role, err);
}

static int op_query(struct arrival *a, const json_t *q, json_t *answer, struct error *err)
{
	const char *id = json_string_value(json_object_get(q, "move"));
	struct registry_move row;
	int found = id ? registry_move_get(a->worker->d->registry, id, &row, err) : 0;
	if (found < 0)
		return -1;
	json_object_set_new(answer, "state", found ? json_string(row.state) : json_null());
	if (found)
		registry_move_clear(&row);
	return 0;
}

// ---- the process --------------------------------------------------------------------------------

static const struct {
	const char *op;
	bool greeted; // only after HELLO
	int (*run)(struct arrival *a, const json_t *q, json_t *answer, struct error *err);
} ops[] = {
	{"peer", false, op_peer},      {"join", false, op_join},
	{"reserve", true, op_reserve}, {"unreserve", true, op_unreserve},
	{"arrived", true, op_arrived}, {"query", true, op_query},
	{"call", true, op_call},
};

static int run_op(struct arrival *a, const char *op, const json_t *q, json_t *answer,
		  struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (strcmp(ops[i].op, op) != 0)
			continue;
		if (ops[i].greeted && !a->peer[0])
			break;
		return ops[i].run(a, q, answer, err);
	}
	return error_set(err, ERR_PROTOCOL, "arrival asked for \"%s\" out of order", op);
}

// What is asked for over the API leaves its record there. A move that finds no place comes again.
static void audit(const struct arrival *a, const char *op, const json_t *q, const struct error *why)
{
	const char *user = json_string_value(json_object_get(q, "user"));
	const char *move = json_string_value(json_object_get(q, "move"));
	if ((strcmp(op, "call") != 0 && strcmp(op, "reserve") != 0) || why->id == ERR_ARRIVALS_FULL)
		return;
	audit_peer_refused(a->worker->d, op, a->peer[0] ? a->peer : a->from, user, move, why);
}

static void answer_op(struct arrival *a, const char *op, const json_t *q)
{
	struct error err = {0};
	json_t *answer = json_object();
	if (run_op(a, op, q, answer, &err) == 0) {
		chan_reply(a->worker->chan, answer, NULL, 0, NULL);
		return;
	}
	json_decref(answer);
	audit(a, op, q, &err);
	error_at(&err, a->worker->d->config.host, NULL, NULL);
	log_error_of(&err, a->peer[0] ? a->peer : a->from);
	chan_reply_error(a->worker->chan, &err);
}

// Not the end: the arrival asks the peer until it knows.
static void note_doubt(struct move *m, const char *message)
{
	struct partition *p = partition_of(m);
	if (!p || p->row.state == STATE_IN_DOUBT)
		return;
	partition_set(p, STATE_IN_DOUBT, message);
	events_add(m->daemon, "move", "alarm", p->row.name, m->row.id,
		   json_pack("{s:s, s:s?}", "reason", "in-doubt", "message", message));
}

static void take_hello(struct arrival *a, const json_t *hello)
{
	const char *peer = json_string_value(json_object_get(hello, "peer"));
	if (peer && !a->peer[0])
		snprintf(a->peer, sizeof(a->peer), "%s", peer);
	move_hello(a->worker, hello);
}

static void on_event(struct arrival *a, const json_t *event)
{
	struct move *m = move_find(a->worker->d, a->move);
	const char *kind = json_string_value(json_object_get(event, "event"));
	const char *outcome = json_string_value(json_object_get(event, "outcome"));
	json_t *error = json_object_get(event, "error");
	if (!strcmp(kind, "hello")) {
		take_hello(a, event);
		return;
	}
	if (m && m->finished)
		worker_send(a->worker, json_pack("{s:s}", "op", "noted"), NULL);
	if (!m || m->finished)
		return;
	if (strcmp(kind, "failed") != 0) {
		move_event(m, event);
		return;
	}
	if (outcome && !strcmp(outcome, "in-doubt")) {
		note_doubt(m, json_string_value(json_object_get(error, "message")));
		return;
	}
	bool broken = outcome && !strcmp(outcome, "broken");
	move_event(m, event);
	if (broken)
		arrival_settle(m, outcome, json_string_value(json_object_get(error, "message")));
	else
		unreserve(m);
	move_finish(m, broken ? "broken" : "aborted", NULL, json_incref(error));
	a->move[0] = 0;
	worker_send(a->worker, json_pack("{s:s}", "op", "noted"), NULL);
}

static void on_message(struct worker *w, const json_t *message)
{
	struct arrival *a = w->arg;
	const char *op = json_string_value(json_object_get(message, "op"));
	if (op)
		answer_op(a, op, message);
	else if (json_string_value(json_object_get(message, "event")))
		on_event(a, message);
}

static void on_end(struct worker *w, int status)
{
	struct arrival *a = w->arg;
	struct move *m = a->move[0] ? move_find(w->d, a->move) : NULL;
	struct error why;
	char end[48];
	for (struct move *other = w->d->moves; other; other = other->next)
		if (other->worker == w)
			other->worker = NULL;
	if (a->served[0])
		move_drop_socket(a->served, true);
	w->d->arrivals -= !a->call;
	if (m && !m->finished && !m->deciding && !partition_of(m)) {
		move_finish(m, "refused", NULL, NULL); // it gave the reservation back
	} else if (m && !m->finished && !m->deciding) {
		error_set(&why, ERR_MOVE_FAILED, "the arrival process %s",
			  worker_end_text(w, status, end));
		error_at(&why, w->d->config.host, m->row.partition, m->phase);
		resolve_begin(m, &why);
	}
	free(a);
	daemon_changed(w->d);
}

static const struct worker_handler handler = {.message = on_message, .end = on_end};

static json_t *start_message(struct daemon *d, bool join)
{
	const struct config *c = &d->config;
	char address[REGISTRY_ADDRESS_MAX];
	daemon_address(d, address);
	return json_pack("{s:s, s:i, s:s, s:s*, s:o, s:b, s:s, s:s, s:i, s:o}", "op", "start", "v",
			 1, "host", c->host, "address", address[0] ? address : NULL, "tls",
			 daemon_tls(d), "join", join, "criu", c->criu, "criu_preload", c->preload,
			 "memory_for_arrivals_percent", (int)c->memory_for_arrivals_percent,
			 "shared", daemon_shared(d));
}

int arrival_begin(struct daemon *d, int sock, const char *from, bool join, struct error *err)
{
	if (d->arrivals >= ARRIVALS_MAX)
		return error_set(err, ERR_MOVE_BUSY, "%u connections of peers are served already",
				 d->arrivals);
	struct arrival *a = calloc(1, sizeof(*a));
	if (!a)
		return error_set(err, ERR_NOMEM, "no memory for a connection");
	a->join = join;
	snprintf(a->from, sizeof(a->from), "%s", from);
	a->worker = worker_start(d, "arrival", sock, &handler, a, err);
	if (!a->worker) {
		free(a);
		return -1;
	}
	d->arrivals++;
	if (worker_send(a->worker, start_message(d, join), err) == 0)
		return 0;
	worker_kill(a->worker);
	return -1;
}

// ---- an arrival of an earlier relocd
// -------------------------------------------------------------

int arrival_attach(struct daemon *d, struct move *m, pid_t pid, int pidfd, int chan,
		   struct error *err)
{
	struct arrival *a = calloc(1, sizeof(*a));
	if (!a) {
		close(pidfd);
		if (chan >= 0)
			close(chan);
		return error_set(err, ERR_NOMEM, "no memory for a connection");
	}
	if (m) {
		strcpy(a->move, m->row.id);
		strcpy(a->served, m->row.id);
		strcpy(a->peer, m->row.source);
	}
	a->worker = worker_attach(d, pid, pidfd, chan, &handler, a, err);
	if (!a->worker) {
		free(a);
		return -1;
	}
	if (m)
		m->worker = a->worker;
	d->arrivals++;
	return 0;
}

// ---- after an arrival that said nothing ---------------------------------------------------------

// It never ran here. The row is dropped when all is gone.
static void clear_unvoted(struct daemon *d, const char *name)
{
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p)
		lifecycle_clear(p);
	partition_wait_idle(d, name, deadline_in_ms(CLEAR_MS), NULL);
	p = partition_find(d, name);
	if (p && (p->row.state == STATE_ARRIVING || p->row.state == STATE_IN_DOUBT)) {
		p->row.move[0] = 0;
		if (p->row.departed_to[0])
			partition_set(p, STATE_DEPARTED, NULL);
		else
			partition_drop(p, NULL);
	}
	daemon_unlock(d);
}

void arrival_settle(struct move *m, const char *outcome, const char *reason)
{
	struct partition *p = partition_of(m);
	if (!p)
		return;
	if (!strcmp(outcome, "in-doubt")) {
		partition_set(p, STATE_IN_DOUBT, reason);
	} else if (!strcmp(outcome, "broken")) {
		partition_set(p, STATE_BROKEN, reason);
		lifecycle_clear(p); // its keeper, or it could not be started again
	} else if (!strcmp(outcome, "done")) {
		runs_here(p, &m->row, NULL);
	} else {
		daemon_thread(m->daemon, clear_unvoted, p->row.name, NULL);
	}
}
