// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/departures.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/net/port.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/keeper_client.h"
#include "lib/registry/decision.h"
#include "relocd/cluster/cluster.h"
#include "relocd/cluster/trust.h"
#include "relocd/move/throttle.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/supervisor/queue.h"
#include "relocd/supervisor/resolve.h"
#include "relocd/supervisor/share.h"

#include <errno.h>
#include <string.h>

#define VALIDATE_MS 30000 // for one host
#define DEADLINE_MS 600000

// ---- its end, for the partition -----------------------------------------------------------------

static void reattach(struct daemon *d, const char *name)
{
	struct error err;
	if (lifecycle_attach(d, name, &err) == 0)
		return;
	log_error_of(&err, name);
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p && p->row.state == STATE_ACTIVE && p->watch < 0) {
		lifecycle_clear(p);
		partition_set(p, STATE_FAILED, "its keeper has died");
	}
	daemon_unlock(d);
}

// It is ours as before the move.
static void stays(struct partition *p)
{
	p->row.move[0] = 0;
	partition_set(p, STATE_ACTIVE, NULL);
	if (p->exited)
		lifecycle_note_exit(p);
	else if (p->watch < 0)
		daemon_thread(p->daemon, reattach, p->row.name, NULL);
}

static void left(struct partition *p, const char *target)
{
	p->row.move[0] = 0;
	p->row.started[0] = 0;
	p->row.exit_code = -1;
	p->row.exit_signal = 0;
	p->exited = false;
	snprintf(p->row.departed_to, sizeof(p->row.departed_to), "%s", target);
	partition_set(p, STATE_DEPARTED, NULL);
	lifecycle_clear(p);
}

// For people; the last epoch of it.
static uint64_t note_record(struct move *m)
{
	uint64_t epoch = m->row.epoch;
	enum decision_type last =
		decision_read(paths_moves(), m->row.id, DECISION_DEPARTURE, &epoch);
	if (last != DECISION_NONE)
		registry_record_add(m->daemon->registry, m->row.id, "departure",
				    decision_name(last), epoch, NULL);
	return epoch;
}

static void note_epoch(struct partition *p, uint64_t epoch)
{
	if (epoch <= p->row.epoch)
		return;
	p->row.epoch = epoch;
	json_object_set_new(p->row.definition, "epoch", json_integer((json_int_t)epoch));
}

// A departure that died may have slowed the partition down.
static void give_processors_back(const struct move *m)
{
	struct error err;
	if (throttle_end_of(m->row.partition, m->row.id, &err) < 0)
		log_error_of(&err, m->row.partition);
}

const char *departure_outcome(const char *end)
{
	return strcmp(end, "lost") != 0 ? end : "broken";
}

void departure_settle(struct move *m, const char *outcome, const char *reason, uint64_t epoch)
{
	give_processors_back(m);
	struct partition *p = partition_find(m->daemon, m->row.partition);
	if (!p || strcmp(p->row.move, m->row.id) != 0)
		return; // dealt with before
	note_epoch(p, epoch);
	if (!strcmp(outcome, "done") || !strcmp(outcome, "lost"))
		left(p, m->row.target);
	else if (!strcmp(outcome, "in-doubt"))
		partition_set(p, STATE_IN_DOUBT, reason);
	else if (!strcmp(outcome, "broken"))
		partition_set(p, STATE_BROKEN, reason);
	else
		stays(p);
}

void departure_drop_record(const struct move *m)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s.departure", paths_moves(), m->row.id);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

// An outcome that we know; whatever else a departure may say is a failure that changed nothing.
static const char *known_outcome(const char *outcome)
{
	static const char *const all[] = {"aborted", "refused", "broken", "in-doubt", "lost"};
	for (size_t i = 0; outcome && i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i], outcome))
			return all[i];
	return "aborted";
}

// The departure has killed what could never run again; nothing of it is kept.
static void clear_lost(const struct move *m)
{
	struct partition *p = partition_find(m->daemon, m->row.partition);
	if (!p || p->row.state != STATE_BROKEN)
		return;
	p->exited = false;
	lifecycle_clear(p);
}

static void on_last_event(struct move *m, const json_t *event, bool done)
{
	const char *outcome =
		done ? "done" : known_outcome(json_string_value(json_object_get(event, "outcome")));
	json_t *error = json_object_get(event, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	if (!m->dry_run)
		departure_settle(m, outcome, message, note_record(m));
	if (!strcmp(outcome, "broken"))
		clear_lost(m);
	bool over = done || !strcmp(outcome, "lost"); // there, for good
	if (move_finish(m, departure_outcome(outcome),
			json_incref(json_object_get(event, "result")), json_incref(error)) == 0 &&
	    over && !m->dry_run)
		departure_drop_record(m);
	worker_send(m->worker, json_pack("{s:s}", "op", "noted"), NULL); // it may have ended
}

// ---- the process --------------------------------------------------------------------------------

static void on_message(struct worker *w, const json_t *message)
{
	struct move *m = w->arg;
	const char *kind = json_string_value(json_object_get(message, "event"));
	if (!kind || m->finished)
		return;
	if (!strcmp(kind, "hello")) {
		move_hello(m->worker, message);
		return;
	}
	if (queue_again(m, message))
		return;
	move_event(m, message);
	bool done = !strcmp(kind, "done");
	if (done || !strcmp(kind, "failed"))
		on_last_event(m, message, done);
}

static void on_end(struct worker *w, int status)
{
	struct move *m = w->arg;
	struct daemon *d = w->d;
	struct error why;
	char end[48];
	m->worker = NULL;
	move_drop_socket(m->row.id, false);
	d->departures--;
	share_out(d);
	error_set(&why, ERR_MOVE_FAILED, "the departure process %s",
		  worker_end_text(w, status, end));
	error_at(&why, d->config.host, m->row.partition, m->phase);
	if (!m->finished && m->dry_run)
		move_finish(m, "aborted", NULL, error_to_json(&why));
	else if (!m->deciding && !m->queued && (!m->finished || !strcmp(m->row.state, "in-doubt")))
		resolve_begin(m, &why);
	queue_next(d);
	daemon_changed(d);
}

static const struct worker_handler handler = {.message = on_message, .end = on_end};

int departure_attach(struct move *m, pid_t pid, int pidfd, int chan, struct error *err)
{
	m->worker = worker_attach(m->daemon, pid, pidfd, chan, &handler, m, err);
	if (!m->worker)
		return -1;
	m->daemon->departures++;
	share_out(m->daemon);
	return 0;
}

static json_t *options_json(const struct config *c, const json_t *given, bool dry_run)
{
	json_t *options = json_pack(
		"{s:I, s:I, s:s, s:s, s:s, s:I}", "max_downtime_ms", (json_int_t)c->max_downtime_ms,
		"deadline_ms", (json_int_t)DEADLINE_MS, "on_diverge", c->on_diverge, "compress",
		c->compress, "restore", c->restore, "bandwidth_bytes", (json_int_t)c->bandwidth);
	if (given)
		json_object_update(options, (json_t *)given);
	json_object_set_new(options, "dry_run", json_boolean(dry_run));
	return options;
}

static json_t *start_message(struct daemon *d, const struct move *m, const struct partition *p,
			     const struct registry_host *peer, const json_t *options)
{
	char address[REGISTRY_ADDRESS_MAX];
	daemon_address(d, address);
	return json_pack(
		"{s:s, s:i, s:s, s:I, s:s, s:s*, s:o, s:{s:s, s:s}, s:o, s:s, s:s, s:o, s:o, s:o}",
		"op", "start", "v", 1, "move", m->row.id, "epoch", (json_int_t)m->row.epoch, "host",
		d->config.host, "address", address[0] ? address : NULL, "definition",
		partition_travels(p), "peer", "name", peer->name, "address", peer->address, "tls",
		daemon_tls(d), "criu", d->config.criu, "criu_preload", d->config.preload, "options",
		options_json(&d->config, options, m->dry_run), "shared", daemon_shared(d),
		"revoked", trust_list(d));
}

// ---- checks and the process ---------------------------------------------------------------------

static int check_peer(struct daemon *d, const char *host, struct registry_host *peer,
		      struct error *err)
{
	if (!strcmp(host, d->config.host))
		return error_set(err, ERR_MOVE_SELF, "the partition is on %s already", host);
	return cluster_peer(d, host, peer, err);
}

// The same question on behalf of a partition that is not there would be misleading: it comes first.
static struct partition *check_begin(struct daemon *d, const char *partition, const char *host,
				     enum partition_act act, struct registry_host *peer,
				     struct error *err)
{
	struct partition *p = partition_get(d, partition, err);
	if (!p)
		return NULL;
	if (!cluster_member(d)) {
		error_set(err, ERR_CLUSTER_NONE, "%s is not in a cluster", d->config.host);
		return NULL;
	}
	if (check_peer(d, host, peer, err) < 0) {
		error_at(err, NULL, partition, NULL);
		return NULL;
	}
	return partition_get_for(d, partition, act, err);
}

// Gives the move its process; the caller still has to send the start message.
static int attach_worker(struct move *m, struct error *err)
{
	m->worker = worker_start(m->daemon, "departure", -1, &handler, m, err);
	if (!m->worker)
		return -1;
	m->daemon->departures++;
	m->row.pid = m->worker->pid;
	m->row.pid_start = m->worker->pid_start;
	return 0;
}

// The record of a move is on disk before its process is told to begin. Without the message it ends
// by itself.
static int record(struct move *m, struct partition *p, struct error *err)
{
	int failed = m->recorded ? registry_move_begin(m->daemon->registry, &m->row, err)
				 : registry_move_add(m->daemon->registry, &m->row, err);
	if (failed)
		return -1;
	bool again = m->tries;
	m->recorded = m->hooked = true;
	p->row.epoch = m->row.epoch; // used up, whatever becomes of the move
	json_object_set_new(p->row.definition, "epoch", json_integer((json_int_t)p->row.epoch));
	strcpy(p->row.move, m->row.id);
	if (!again)
		move_note_begin(m);
	partition_set(p, STATE_MOVING, NULL);
	return 0;
}

static int fill_row(struct daemon *d, const struct partition *p, const char *host,
		    struct registry_move *row, struct error *err)
{
	*row = (struct registry_move){.epoch = p->row.epoch + 1, .state = "running"};
	snprintf(row->partition, sizeof(row->partition), "%s", p->row.name);
	snprintf(row->source, sizeof(row->source), "%s", d->config.host);
	snprintf(row->target, sizeof(row->target), "%s", host);
	clock_rfc3339(row->started);
	return move_new_id(d, row->id, err);
}

// Gives a move that is in the table its process and sets it off.
static int set_off(struct move *m, struct partition *p, const struct registry_host *peer,
		   struct error *err)
{
	if (attach_worker(m, err) < 0)
		return -1;
	if (record(m, p, err) < 0 ||
	    worker_send(m->worker, start_message(m->daemon, m, p, peer, m->row.options), err) < 0) {
		worker_kill(m->worker);
		departure_settle(m, "aborted", NULL, m->row.epoch);
		return -1;
	}
	share_out(m->daemon);
	log_info("move %s: %s from %s to %s begins", m->row.id, p->row.name, m->row.source,
		 m->row.target);
	return 0;
}

// What held when it was queued is looked at again.
int departure_leave_queue(struct move *m, struct error *err)
{
	struct registry_host peer;
	m->queued = false;
	snprintf(m->row.state, sizeof(m->row.state), "running");
	struct partition *p =
		check_begin(m->daemon, m->row.partition, m->row.target, ACT_MOVE, &peer, err);
	if (!p)
		return -1;
	m->row.epoch = p->row.epoch + 1;
	clock_rfc3339(m->row.started);
	return set_off(m, p, &peer, err);
}

void departure_drop(struct move *m, const struct error *why)
{
	struct error err;
	m->queued = false;
	// One that has never begun has no record yet.
	if (!m->recorded && registry_move_add(m->daemon->registry, &m->row, &err) < 0)
		log_error_of(&err, m->row.id);
	bool refused = error_class_of(why) == ERROR_CLASS_REFUSED;
	move_finish(m, refused ? "refused" : "aborted", NULL, error_to_json(why));
}

// ---- begin --------------------------------------------------------------------------------------

// Where it came from, when that is what is wanted.
static const char *host_of(struct daemon *d, const char *partition, const char *host,
			   struct error *err)
{
	if (host)
		return host;
	const struct partition *p = partition_get(d, partition, err);
	if (p && !p->row.came_from[0]) {
		error_set(err, ERR_HOST_UNKNOWN,
			  "%s has not come from another host: there is no way back", partition);
		error_at(err, d->config.host, partition, NULL);
	}
	return p && p->row.came_from[0] ? p->row.came_from : NULL;
}

int departure_begin(struct daemon *d, const char *partition, const char *host,
		    const json_t *options, const json_t *asked, char id[40], struct error *err)
{
	struct registry_host peer;
	struct registry_move row;
	if (!(host = host_of(d, partition, host, err)))
		return -1;
	struct partition *p = check_begin(d, partition, host, ACT_MOVE, &peer, err);
	if (!p)
		return -1;
	if (queue_has(d, partition)) {
		error_set(err, ERR_MOVE_BUSY, "a move of %s waits already", partition);
		error_at(err, d->config.host, partition, NULL);
		return -1;
	}
	if (fill_row(d, p, host, &row, err) < 0)
		return -1;
	struct move *m = move_add(d, &row);
	if (!m)
		return error_set(err, ERR_NOMEM, "no memory for a move");
	m->row.options = options ? json_deep_copy(options) : NULL;
	m->row.asked = asked ? json_copy((json_t *)asked) : NULL;
	m->end_exec = json_is_true(json_object_get(options, "end_exec"));
	strcpy(id, m->row.id);
	bool waits = queue_is_due(m);
	if ((waits ? queue_add(m, err) : set_off(m, p, &peer, err)) < 0) {
		departure_drop(m, err);
		return -1;
	}
	queue_next(d);
	return 0;
}

// ---- validate -----------------------------------------------------------------------------------

static struct move *begin_dry_run(struct daemon *d, const char *partition, const char *host,
				  const json_t *options, struct error *err)
{
	struct registry_host peer;
	struct registry_move row;
	struct partition *p = check_begin(d, partition, host, ACT_VALIDATE, &peer, err);
	if (!p || fill_row(d, p, host, &row, err) < 0)
		return NULL;
	struct move *m = move_add(d, &row);
	if (!m) {
		error_set(err, ERR_NOMEM, "no memory for a validation");
		return NULL;
	}
	m->dry_run = true;
	if (attach_worker(m, err) < 0) {
		move_drop(m);
		return NULL;
	}
	if (worker_send(m->worker, start_message(d, m, p, &peer, options), err)) {
		worker_kill(m->worker);
		move_finish(m, "aborted", NULL, NULL);
		return NULL;
	}
	return m;
}

// An error that is no check's: it stands as one of its own.
static void add_error(json_t *checks, const char *host, const json_t *error)
{
	size_t i;
	json_t *check;
	json_array_foreach (checks, i, check) {
		const char *outcome = json_string_value(json_object_get(check, "outcome"));
		if (outcome && !strcmp(outcome, "fail"))
			return;
	}
	json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:O?, s:O?, s:O?}", "check",
						"move", "outcome", "fail", "host", host, "code",
						json_object_get(error, "code"), "message",
						json_object_get(error, "message"), "hint",
						json_object_get(error, "hint")));
}

static json_t *row_of(struct move *m)
{
	json_t *checks = json_array();
	bool ok = !strcmp(m->row.state, "done");
	for (size_t i = 0; i < m->event_count; i++)
		json_array_extend(checks, json_object_get(m->events[i].json, "checks"));
	if (!ok)
		add_error(checks, m->row.target, m->row.error);
	return json_pack("{s:s, s:o, s:b, s:O?}", "host", m->row.target, "checks", checks, "ok", ok,
			 "error", m->row.error);
}

static json_t *failed_row(const char *host, const struct error *why)
{
	json_t *error = error_to_json(why), *checks = json_array();
	add_error(checks, host, error);
	return json_pack("{s:s, s:o, s:b, s:o}", "host", host, "checks", checks, "ok", 0, "error",
			 error);
}

static json_t *all_other_hosts(struct daemon *d, struct error *err)
{
	struct registry_host *hosts;
	size_t count;
	if (registry_hosts(d->registry, &hosts, &count, err) < 0)
		return NULL;
	json_t *names = json_array();
	for (size_t i = 0; i < count; i++)
		if (strcmp(hosts[i].name, d->config.host) != 0 && !hosts[i].revoked)
			json_array_append_new(names, json_string(hosts[i].name));
	free(hosts);
	return names;
}

// Runs until its last event; the lock is held.
static json_t *await_row(struct daemon *d, const char *id, const char *host)
{
	deadline_t deadline = deadline_in_ms(VALIDATE_MS);
	for (;;) {
		struct move *m = move_find(d, id);
		if (!m || m->finished) // dry runs are not dropped while few
			return m ? row_of(m) : NULL;
		if (daemon_wait(d, deadline))
			continue;
		struct error why;
		error_set(&why, ERR_DEADLINE, "the validation for %s took longer than %d s", host,
			  VALIDATE_MS / 1000);
		if (m->worker)
			worker_kill(m->worker);
		return failed_row(host, &why);
	}
}

static json_t *ask_host(struct daemon *d, const char *partition, const char *host,
			const json_t *options)
{
	struct error why;
	char id[40];
	struct move *m = begin_dry_run(d, partition, host, options, &why);
	if (!m)
		return failed_row(host, &why);
	strcpy(id, m->row.id);
	return await_row(d, id, host);
}

json_t *departure_validate(struct daemon *d, const char *partition, const json_t *hosts,
			   const json_t *options, struct error *err)
{
	_cleanup_json_ json_t *names = NULL;
	json_t *rows = NULL;
	daemon_lock(d);
	if (partition_get_for(d, partition, ACT_VALIDATE, err))
		names = json_array_size(hosts) ? json_copy((json_t *)hosts)
					       : all_other_hosts(d, err);
	if (names)
		rows = json_array();
	// One after the other: two hosts that probe the same address at once take each other for
	// its owner (RFC 5227 section 2.1.1).
	for (size_t i = 0; i < json_array_size(names) && !d->stopping; i++) {
		const char *host = json_string_value(json_array_get(names, i));
		json_t *row = ask_host(d, partition, host ? host : "", options);
		json_array_append_new(rows, row ? row : json_null());
	}
	daemon_unlock(d);
	return rows ? json_pack("{s:o}", "rows", rows) : NULL;
}
