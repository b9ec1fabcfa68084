// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/ownership.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/partition/keeper_client.h"
#include "lib/partition/name.h"
#include "lib/registry/decision.h"
#include "relocd/api/api_handlers.h"
#include "relocd/cluster/cluster.h"
#include "relocd/daemon/events.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/revive.h"
#include "relocd/peers/peers.h"
#include "relocd/supervisor/thaw.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define ASK_OFTEN_MS  2000
#define ASK_OFTEN     15 // times
#define ASK_SELDOM_MS 15000
#define UNKNOWN       "ownership-unknown"

// ---- is it our registry -------------------------------------------------------------------------

// Beside the registry, so that one that was exchanged or lost is noticed.
static char *marker_path(char path[512])
{
	snprintf(path, 512, "%s/registry.id", paths_state());
	return path;
}

static bool is_empty(struct daemon *d)
{
	struct registry_host *hosts = NULL;
	size_t count = 0;
	if (registry_hosts(d->registry, &hosts, &count, NULL) < 0)
		return false;
	free(hosts);
	return !count && !d->partitions;
}

// Why it is not to be believed; NULL: it is.
static const char *distrust(struct daemon *d, const char *id, const char *marker)
{
	char restored[8];
	if (registry_meta_get(d->registry, "restored", restored, sizeof(restored), NULL) > 0 &&
	    restored[0])
		return "it was restored from a backup";
	if (!cluster_member(d))
		return NULL; // nobody else can have what is here
	if (!id[0] && is_empty(d))
		return "it is empty";
	if (registry_lost_log(d->registry))
		return "its log is damaged, and what was written last is missing";
	if (marker && strcmp(marker, id) != 0)
		return "it is not the one that this host had";
	return NULL;
}

static int set_marks(struct daemon *d, char id[40], struct error *err)
{
	char path[512];
	if (!id[0]) {
		definition_make_uuid(id);
		if (registry_meta_put(d->registry, "id", id, err) < 0)
			return -1;
	}
	return fdio_replace_file(marker_path(path), id, strlen(id), 0600, err);
}

int ownership_open(struct daemon *d, struct error *err)
{
	char path[512], id[40] = "";
	_cleanup_free_ char *marker = fdio_read_file(AT_FDCWD, marker_path(path), 128, NULL);
	if (registry_meta_get(d->registry, "id", id, sizeof(id), err) < 0)
		return -1;
	const char *why = distrust(d, id, marker);
	if (why && (registry_meta_put(d->registry, "quarantine", why, err) < 0 ||
		    registry_meta_put(d->registry, "restored", "", err) < 0))
		return -1;
	if (registry_meta_get(d->registry, "quarantine", d->quarantine, sizeof(d->quarantine),
			      err) < 0)
		return -1;
	if (d->quarantine[0]) {
		log_warn("quarantine: the registry is in doubt (%s); nothing starts or arrives",
			 d->quarantine);
		events_add(d, "host", "quarantine", NULL, NULL,
			   json_pack("{s:s}", "reason", d->quarantine));
	}
	return set_marks(d, id, err);
}

int ownership_check(struct daemon *d, const char *name, struct error *err)
{
	if (!d->quarantine[0])
		return 0;
	error_set(
		err, ERR_QUARANTINE,
		"%s is in quarantine: its registry is in doubt (%s), and not all other hosts have "
		"confirmed what belongs to it",
		d->config.host, d->quarantine);
	error_at(err, d->config.host, name, NULL);
	return -1;
}

// ---- keepers without a row ----------------------------------------------------------------------

// The move that froze it, with what is left of its record: moves_resume() finds it.
static void add_move(struct daemon *d, struct registry_partition *row)
{
	struct registry_move move = {.epoch = row->epoch, .state = "running"}, known;
	uint64_t newest;
	struct error err;
	if (!decision_find(paths_moves(), DECISION_DEPARTURE, row->name, move.id, &newest)) {
		row->state = STATE_FROZEN;
		snprintf(row->reason, sizeof(row->reason), "found frozen; no move of it is known");
		return;
	}
	snprintf(move.partition, sizeof(move.partition), "%s", row->name);
	snprintf(move.source, sizeof(move.source), "%s", d->config.host);
	clock_rfc3339(move.started);
	snprintf(row->move, sizeof(row->move), "%s", move.id);
	row->state = STATE_MOVING;
	if (registry_move_get(d->registry, move.id, &known, NULL) > 0)
		registry_move_clear(&known);
	else if (registry_move_add(d->registry, &move, &err) < 0)
		log_error_of(&err, row->name);
}

static void add_row(struct daemon *d, const char *name, json_t *definition)
{
	struct registry_partition row = {
		.definition = definition, .state = STATE_ACTIVE, .exit_code = -1, .revision = 1};
	char move[DECISION_MOVE_MAX];
	uint64_t newest = 0;
	struct error err;
	const char *uuid = json_string_value(json_object_get(definition, "uuid"));
	snprintf(row.name, sizeof(row.name), "%s", name);
	snprintf(row.uuid, sizeof(row.uuid), "%s", uuid ? uuid : "");
	row.epoch = (uint64_t)json_integer_value(json_object_get(definition, "epoch"));
	decision_find(paths_moves(), DECISION_DEPARTURE, name, move, &newest);
	row.epoch = newest > row.epoch ? newest : row.epoch; // also those of moves that failed
	clock_rfc3339(row.started);
	if (thaw_is_frozen(name))
		add_move(d, &row);
	log_warn("partition %s: runs, and was not in the registry: taken into it", name);
	if (!partition_add(d, &row, &err))
		log_error_of(&err, name);
	else
		events_add(d, "partition", "found", name, row.move[0] ? row.move : NULL, NULL);
}

// One that holds nothing is of an arrival or of a start that ended with its relocd, unless the
// arrival lives.
static void end_idle(int conn, const char *name)
{
	char move[DECISION_MOVE_MAX];
	uint64_t newest;
	struct decision_facts facts = {0};
	if (decision_find(paths_moves(), DECISION_ARRIVAL, name, move, &newest))
		decision_look(paths_moves(), move, DECISION_ARRIVAL, &facts);
	if (!facts.owned && !thaw_alive(name))
		keeper_quit(conn, NULL);
}

static void adopt(struct daemon *d, const char *name)
{
	struct keeper_status status;
	struct error err;
	_cleanup_close_ int conn = keeper_connect(name, NULL);
	if (conn < 0 || keeper_status(conn, &status, NULL) < 0)
		return;
	_cleanup_close_ int pidfd = status.pidfd;
	(void)pidfd;
	if (status.state != KEEPER_RUNNING) {
		end_idle(conn, name);
		return;
	}
	_cleanup_json_ json_t *definition = keeper_definition(conn, &err);
	if (!definition) {
		log_error_of(&err, name);
		return;
	}
	daemon_lock(d);
	add_row(d, name, definition);
	daemon_unlock(d);
	if (lifecycle_attach(d, name, &err) < 0)
		log_error_of(&err, name);
}

void ownership_adopt(struct daemon *d)
{
	char folder[512];
	struct dirent *entry;
	snprintf(folder, sizeof(folder), "%s/partitions", paths_run());
	DIR *dir = opendir(folder);
	while (dir && (entry = readdir(dir)))
		if (name_check(entry->d_name, NULL) == 0 && !partition_find(d, entry->d_name))
			adopt(d, entry->d_name);
	if (dir)
		closedir(dir);
}

// ---- what the others say ------------------------------------------------------------------------

static bool may_run(enum partition_state state)
{
	return state != STATE_DEFINED && state != STATE_FAILED && state != STATE_BROKEN &&
	       state != STATE_DEPARTED;
}

enum ownership_verdict ownership_judge(enum partition_state own, uint64_t own_epoch,
				       const struct ownership_claim *claim)
{
	if (claim->state == STATE_DEPARTED || claim->state == STATE_ARRIVING)
		return OWNERSHIP_OURS; // it waits for us, or it went there and further
	if (may_run(own) && may_run(claim->state))
		return OWNERSHIP_CONFLICT;
	if (may_run(claim->state))
		return OWNERSHIP_THEIRS;
	if (may_run(own) || claim->epoch < own_epoch)
		return OWNERSHIP_OURS;
	return claim->epoch > own_epoch ? OWNERSHIP_THEIRS : OWNERSHIP_CONFLICT;
}

static bool is_ours_to_ask(const struct partition *p)
{
	enum partition_state s = p->row.state;
	return s == STATE_DEFINED || s == STATE_FAILED || s == STATE_ACTIVE || s == STATE_FROZEN;
}

static void raise_epoch(struct partition *p, uint64_t epoch)
{
	if (epoch <= p->row.epoch)
		return;
	p->row.epoch = epoch;
	json_object_set_new(p->row.definition, "epoch", json_integer((json_int_t)epoch));
	partition_save(p, NULL);
}

static void give_up(struct partition *p, const char *host, uint64_t epoch)
{
	log_warn("partition %s: %s has it, epoch %llu: it is no longer ours", p->row.name, host,
		 (unsigned long long)epoch);
	snprintf(p->row.departed_to, sizeof(p->row.departed_to), "%s", host);
	p->row.epoch = epoch;
	p->unconfirmed = false;
	partition_set(p, STATE_DEPARTED, NULL);
	events_add(p->daemon, "partition", "owner", p->row.name, NULL,
		   json_pack("{s:s}", "host", host));
}

static void note_conflict(struct partition *p, const char *host)
{
	char why[200];
	snprintf(why, sizeof(why), UNKNOWN ": %s has a partition of the same uuid, too", host);
	if (!strcmp(p->row.reason, why))
		return;
	log_error("partition %s: %s", p->row.name, why);
	partition_set(p, p->row.state, why);
	events_add(p->daemon, "partition", "alarm", p->row.name, NULL,
		   json_pack("{s:s, s:s}", "reason", "two-owners", "host", host));
}

// False: a conflict.
static bool hear(struct daemon *d, const char *host, const json_t *theirs)
{
	const char *uuid = json_string_value(json_object_get(theirs, "uuid"));
	const char *state = json_string_value(json_object_get(theirs, "state"));
	struct ownership_claim claim = {
		.epoch = (uint64_t)json_integer_value(json_object_get(theirs, "epoch"))};
	if (!uuid || !state || state_of_name(state, &claim.state) < 0)
		return true;
	struct partition *p = d->partitions;
	while (p && strcmp(p->row.uuid, uuid) != 0)
		p = p->next;
	if (!p || !is_ours_to_ask(p))
		return true;
	switch (ownership_judge(p->row.state, p->row.epoch, &claim)) {
	case OWNERSHIP_THEIRS:
		give_up(p, host, claim.epoch);
		return true;
	case OWNERSHIP_CONFLICT:
		note_conflict(p, host);
		return false;
	default:
		raise_epoch(p, claim.epoch);
		return true;
	}
}

static bool hear_all(struct daemon *d, const struct peer_answer *answers, size_t count)
{
	bool clear = true;
	for (size_t i = 0; i < count; i++) {
		size_t at;
		json_t *theirs;
		json_array_foreach (answers[i].data, at, theirs)
			clear = hear(d, answers[i].host, theirs) && clear;
	}
	return clear;
}

static const char *silent_host(const struct peer_answer *answers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!answers[i].data)
			return answers[i].host;
	return NULL;
}

static bool is_unknown_reason(const struct partition *p)
{
	return !strncmp(p->row.reason, UNKNOWN, strlen(UNKNOWN));
}

static void mark_unknown(struct daemon *d, const char *host)
{
	char why[200];
	snprintf(why, sizeof(why), UNKNOWN ": %s %s", host ? host : "no other host",
		 host ? "cannot be asked" : "is known");
	for (struct partition *p = d->partitions; p; p = p->next)
		if (p->unconfirmed && strcmp(p->row.reason, why) != 0)
			partition_set(p, p->row.state, why);
}

static void confirm_all(struct daemon *d, const char *by)
{
	struct error err;
	for (struct partition *p = d->partitions; p; p = p->next) {
		p->unconfirmed = false;
		if (is_unknown_reason(p))
			partition_set(p, p->row.state, NULL);
	}
	if (!d->quarantine[0])
		return;
	log_info("quarantine ends: %s", by);
	events_add(d, "host", "quarantine-ended", NULL, NULL, json_pack("{s:s}", "by", by));
	d->quarantine[0] = 0;
	if (registry_meta_put(d->registry, "quarantine", "", &err) < 0)
		log_error_of(&err, "quarantine");
}

// A registry that was lost has lost the hosts as well: one that is known tells of the others.
static void learn_hosts(struct daemon *d, const json_t *hosts)
{
	size_t i;
	json_t *host;
	json_array_foreach (hosts, i, host) {
		const char *name = json_string_value(json_object_get(host, "name"));
		const char *address = json_string_value(json_object_get(host, "address"));
		struct registry_host known;
		struct error err;
		if (name && address && address[0] &&
		    registry_host_get(d->registry, name, &known, NULL) == 0 &&
		    registry_host_put(d->registry, name, address, &err) < 0)
			log_error_of(&err, name);
	}
}

static void ask_for_hosts(struct daemon *d)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	struct error err;
	if (peer_ask_all(d, &peer_relocd, "GET", "/v1/hosts", NULL, deadline_in_ms(PEERS_ASK_MS),
			 &answers, &count, &err) < 0)
		return;
	daemon_lock(d);
	for (size_t i = 0; i < count; i++)
		learn_hosts(d, answers[i].data);
	daemon_unlock(d);
	peer_answers_free(answers, count);
}

// True when all is known.
static bool ask_once(struct daemon *d)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	struct error err = {0};
	if (peer_ask_all(d, &peer_relocd, "GET", "/v1/partitions?local=1", NULL,
			 deadline_in_ms(PEERS_ASK_MS), &answers, &count, &err) < 0) {
		log_error_of(&err, "asking the other hosts");
		return false;
	}
	daemon_lock(d);
	const char *silent = silent_host(answers, count);
	bool clear = hear_all(d, answers, count);
	// In quarantine the list of hosts may be lost, too: nobody has confirmed anything then.
	bool enough = !silent && (count || !d->quarantine[0]);
	if (enough && clear)
		confirm_all(d, "all other hosts have answered");
	else if (!enough)
		mark_unknown(d, silent);
	daemon_unlock(d);
	peer_answers_free(answers, count);
	return enough && clear;
}

static bool is_open(struct daemon *d)
{
	if (d->quarantine[0])
		return true;
	for (const struct partition *p = d->partitions; p; p = p->next)
		if (p->unconfirmed)
			return true;
	return false;
}

// True to try again.
static bool pause_between(struct daemon *d, unsigned tries)
{
	daemon_lock(d);
	deadline_t until = deadline_in_ms(tries < ASK_OFTEN ? ASK_OFTEN_MS : ASK_SELDOM_MS);
	while (is_open(d) && daemon_wait(d, until))
		;
	bool more = is_open(d) && !d->stopping;
	daemon_unlock(d);
	return more;
}

static void ask(struct daemon *d, const char *unused)
{
	(void)unused;
	for (unsigned tries = 0;; tries++) {
		if (d->quarantine[0])
			ask_for_hosts(d);
		if (ask_once(d) || !pause_between(d, tries))
			break;
	}
	if (!d->stopping)
		revive_begin(d);
}

void ownership_begin(struct daemon *d)
{
	struct error err;
	bool needed = false;
	daemon_lock(d);
	bool ask_all = cluster_member(d) && (d->quarantine[0] || revive_host_was_started());
	for (struct partition *p = d->partitions; ask_all && p; p = p->next)
		needed |= p->unconfirmed = is_ours_to_ask(p) && (d->quarantine[0] || !p->pid);
	if (d->quarantine[0])
		needed = true;
	bool begun = needed && daemon_thread(d, ask, "", &err) == 0;
	daemon_unlock(d);
	if (needed && !begun)
		log_error_of(&err, "asking the other hosts");
	if (!needed)
		revive_begin(d);
}

int ownership_trust_local(struct daemon *d, const char *reason, struct error *err)
{
	if (!is_open(d))
		return error_set(err, ERR_WRONG_STATE,
				 "%s is not in quarantine: there is nothing to trust",
				 d->config.host);
	log_warn("this host's registry is trusted by a person's decision: %s", reason);
	events_add(d, "host", "trust-local", NULL, NULL, json_pack("{s:s}", "reason", reason));
	confirm_all(d, "a person trusts the registry of this host");
	return 0;
}

int api_cluster_trust_local(struct request *q, struct error *err)
{
	const char *reason;
	if (api_body(q, err, "{s:s}", "reason", &reason) < 0)
		return -1;
	if (!reason[0])
		return error_set(err, ERR_USAGE, "\"reason\" is empty");
	daemon_lock(q->d);
	int failed = ownership_trust_local(q->d, reason, err);
	daemon_unlock(q->d);
	if (!failed)
		q->data = json_pack("{s:s}", "host", q->d->config.host);
	return failed;
}
