// SPDX-License-Identifier: Apache-2.0
#include "relocd/supervisor/adopt.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/registry/decision.h"
#include "lib/transport/dial.h"
#include "relocd/cluster/hosts.h"
#include "relocd/daemon/events.h"
#include "relocd/move/storage.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/ownership.h"
#include "relocd/partitions/volumes.h"
#include "relocd/peers/peers.h"
#include "relocd/supervisor/arrivals.h"
#include "relocd/supervisor/recover.h"

#include <string.h>

#define PROBE_MS 2000

// One partition that is to be adopted.
struct adoption {
	char name[REGISTRY_NAME_MAX], uuid[40], from[REGISTRY_NAME_MAX];
	char seen[CLOCK_TEXT_MAX];
	json_t *definition;
	uint64_t epoch; // the highest that anybody has seen
	bool runs;      // there, when it was seen last
	bool reserved;  // its row here is ours
	bool was_here;  // it had one before, Departed:
	struct registry_partition before;
	struct error error; // why it is not adopted
};

struct request_state {
	struct daemon *d;
	const char *reason;
	json_t *asked;
	struct adoption *all;
	size_t count;
};

// ---- which --------------------------------------------------------------------------------------

static void copy(char *to, size_t size, const json_t *from, const char *key)
{
	const char *text = json_string_value(json_object_get(from, key));
	snprintf(to, size, "%s", text ? text : "");
}

static void take_known(struct adoption *a, const json_t *known)
{
	copy(a->name, sizeof(a->name), known, "name");
	copy(a->uuid, sizeof(a->uuid), known, "uuid");
	copy(a->from, sizeof(a->from), known, "host");
	copy(a->seen, sizeof(a->seen), known, "seen");
	a->epoch = (uint64_t)json_integer_value(json_object_get(known, "epoch"));
	a->runs = json_is_true(json_object_get(known, "runs"));
	a->definition = json_deep_copy(json_object_get(known, "definition"));
}

// One that went from here to there, and of which its host has said nothing since.
static bool take_trace(struct adoption *a, const struct partition *p)
{
	if (!p || p->row.state != STATE_DEPARTED || p->row.epoch <= a->epoch)
		return false;
	json_decref(a->definition);
	snprintf(a->uuid, sizeof(a->uuid), "%s", p->row.uuid);
	snprintf(a->from, sizeof(a->from), "%s", p->row.departed_to);
	clock_rfc3339(a->seen);
	a->definition = partition_wanted(p);
	a->epoch = p->row.epoch;
	return a->runs = true;
}

static void choose_by_name(struct daemon *d, const char *name, struct adoption *a)
{
	snprintf(a->name, sizeof(a->name), "%s", name);
	_cleanup_json_ json_t *known = registry_known(d->registry, NULL, name, &a->error);
	if (!known)
		return;
	if (json_array_size(known))
		take_known(a, json_array_get(known, 0));
	if (take_trace(a, partition_find(d, name)) || a->definition)
		return;
	error_set(&a->error, ERR_NAME_UNKNOWN, "no partition %s of another host is known to %s",
		  name, d->config.host);
}

static int choose(struct request_state *s, const json_t *names, const char *from, struct error *err)
{
	struct daemon *d = s->d;
	size_t i;
	json_t *one;
	_cleanup_json_ json_t *known =
		from ? registry_known(d->registry, from, NULL, err) : json_incref((json_t *)names);
	if (!known)
		return -1;
	s->count = json_array_size(known);
	if (!s->count)
		return error_set(err, ERR_NAME_UNKNOWN, "no partition of %s is known to %s",
				 from ? from : "no name", d->config.host);
	if (!(s->all = calloc(s->count, sizeof(*s->all))))
		return error_set(err, ERR_NOMEM, "no memory for %zu partitions", s->count);
	json_array_foreach (known, i, one) {
		const char *name = from ? NULL : json_string_value(one);
		if (from)
			take_known(&s->all[i], one);
		else if (name && strlen(name) < REGISTRY_NAME_MAX)
			choose_by_name(d, name, &s->all[i]);
		else
			return error_set(err, ERR_USAGE, "\"names\" must be a list of names");
	}
	return 0;
}

// ---- checks -------------------------------------------------------------------------------------

// A machine that accepts or refuses a connection is not dead, whatever has become of its relocd.
static int check_silent(struct daemon *d, const char *host, struct error *err)
{
	struct registry_host known = {0};
	daemon_lock(d);
	int found = registry_host_get(d->registry, host, &known, err);
	daemon_unlock(d);
	if (found < 0)
		return -1;
	if (!strcmp(host, d->config.host))
		return error_set(err, ERR_USAGE, "%s is this host", host);
	if (!found || !known.address[0] || !dial_somebody(known.address, deadline_in_ms(PROBE_MS)))
		return 0;
	return error_set(err, ERR_HOST_ALIVE, "%s answers: it is not dead", host);
}

static int check_storage(const struct daemon *d, const struct adoption *a,
			 const struct partition_def *def, struct error *err)
{
	_cleanup_json_ json_t *start = json_pack("{s:o}", "shared", daemon_shared(d));
	if (def->image)
		return error_set(err, ERR_NOT_SHARED,
				 "%s is made of an image: what it wrote is on %s alone", a->name,
				 a->from);
	if (!def->storage || strcmp(def->storage, "shared") != 0 || !def->rootfs ||
	    !volumes_shared(&d->config, def->rootfs))
		return error_set(err, ERR_NOT_SHARED, "the root filesystem of %s is on %s alone",
				 a->name, a->from);
	return storage_check(start, def, err);
}

// With the lock held.
static int check_here(struct daemon *d, struct adoption *a, const struct partition_def *def,
		      struct error *err)
{
	uint64_t seen = partition_known_epoch(d, def->uuid);
	if (seen > a->epoch)
		a->epoch = seen;
	if (ownership_check(d, a->name, err) < 0 || hosts_accept(d, err) < 0 ||
	    arrival_check_free(d, def, a->epoch + 1, err) < 0)
		return -1;
	return partition_addresses_free(d, a->definition, a->name, err);
}

// ---- its row here -------------------------------------------------------------------------------

static int add_row(struct daemon *d, struct adoption *a, struct error *err)
{
	struct registry_partition row = {.definition = a->definition,
					 .state = STATE_DEFINED,
					 .epoch = a->epoch,
					 .exit_code = -1,
					 .revision = 1};
	snprintf(row.name, sizeof(row.name), "%s", a->name);
	snprintf(row.uuid, sizeof(row.uuid), "%s", a->uuid);
	struct partition *p = partition_add(d, &row, err);
	if (p)
		p->busy = "adopted";
	return p ? 0 : -1;
}

static void change_row(struct partition *p, struct adoption *a)
{
	a->was_here = true;
	a->before = p->row;
	p->row.definition = json_incref(a->definition);
	p->row.pending = NULL;
	p->row.departed_to[0] = 0;
	p->row.epoch = a->epoch;
	p->busy = "adopted";
	partition_set(p, STATE_DEFINED, NULL);
}

// From here on whoever else wants to adopt it sees that it is here.
static int reserve(struct daemon *d, struct adoption *a, struct error *err)
{
	_cleanup_definition_ struct partition_def *def = definition_from_json(a->definition, err);
	if (!def || check_storage(d, a, def, err) < 0 || lifecycle_check_host(def, err) < 0)
		return -1;
	daemon_lock(d);
	struct partition *p = partition_find(d, a->name);
	int failed = check_here(d, a, def, err);
	if (!failed && p)
		change_row(p, a);
	else if (!failed)
		failed = add_row(d, a, err);
	daemon_unlock(d);
	a->reserved = !failed;
	return failed;
}

static void unreserve(struct daemon *d, struct adoption *a)
{
	daemon_lock(d);
	struct partition *p = partition_find(d, a->name);
	if (p)
		p->busy = NULL;
	if (p && a->was_here) {
		registry_partition_clear(&p->row);
		p->row = a->before;
		a->before.definition = a->before.pending = NULL;
		partition_set(p, STATE_DEPARTED, NULL);
	} else if (p) {
		partition_drop(p, NULL);
	}
	daemon_unlock(d);
	a->reserved = false;
}

// ---- what the others say ------------------------------------------------------------------------

static int hear(struct adoption *a, const char *host, const json_t *theirs, struct error *err)
{
	char uuid[40], name[REGISTRY_NAME_MAX], state[32];
	copy(uuid, sizeof(uuid), theirs, "uuid");
	copy(name, sizeof(name), theirs, "name");
	copy(state, sizeof(state), theirs, "state");
	bool same = !strcmp(uuid, a->uuid);
	uint64_t epoch = (uint64_t)json_integer_value(json_object_get(theirs, "epoch"));
	if (same && epoch > a->epoch)
		a->epoch = epoch;
	if (!strcmp(state, state_name(STATE_DEPARTED)) || (!same && strcmp(name, a->name) != 0))
		return 0;
	error_set(err, ERR_NAME_TAKEN, "%s has %s %s (%s)", host,
		  same ? "it as" : "another partition", name, state);
	return error_hint(err,
			  "`wparctl status %s` shows it; one that was about to arrive there "
			  "is decided by `wparctl recover`",
			  name);
}

// All hosts but the lost one must answer: it may have gone to one of them meanwhile.
static int judge(struct adoption *a, const struct peer_answer *answer, struct error *err)
{
	bool lost = !strcmp(answer->host, a->from);
	if (lost && (answer->data || error_class_of(&answer->error) != ERROR_CLASS_UNREACHABLE))
		return error_set(err, ERR_HOST_ALIVE, "%s answers: it is not dead", a->from);
	if (!lost && !answer->data) {
		*err = answer->error;
		error_wrap(err, "whether %s is on %s is not known", a->name, answer->host);
		return error_hint(err,
				  "bring %s back; if it is gone for good: `wparctl cluster "
				  "remove-host %s --lost --reason TEXT`",
				  answer->host, answer->host);
	}
	size_t i;
	json_t *theirs;
	json_array_foreach (answer->data, i, theirs)
		if (hear(a, answer->host, theirs, err) < 0)
			return -1;
	return 0;
}

static int ask_others(struct request_state *s, struct error *err)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	if (peer_ask_all(s->d, &peer_relocd, "GET", "/v1/partitions?local=1", NULL,
			 deadline_in_ms(PEERS_ASK_MS), &answers, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < s->count; i++) {
		struct adoption *a = &s->all[i];
		for (size_t j = 0; j < count && !error_is_set(&a->error); j++)
			judge(a, &answers[j], &a->error);
	}
	peer_answers_free(answers, count);
	return 0;
}

// ---- the decision -------------------------------------------------------------------------------

// On disk before anything of it is here.
static int record(struct request_state *s, const struct adoption *a, struct registry_move *move,
		  struct error *err)
{
	*move = (struct registry_move){
		.epoch = a->epoch + 1, .state = "running", .asked = s->asked};
	snprintf(move->partition, sizeof(move->partition), "%s", a->name);
	snprintf(move->source, sizeof(move->source), "%s", a->from);
	snprintf(move->target, sizeof(move->target), "%s", s->d->config.host);
	clock_rfc3339(move->started);
	daemon_lock(s->d);
	int failed = move_new_id(s->d, move->id, err);
	daemon_unlock(s->d);
	if (failed)
		return -1;
	struct decision *file =
		decision_create(paths_moves(), move->id, DECISION_ARRIVAL, a->epoch, a->name, err);
	failed = !file || decision_append_as(file, DECISION_KEPT, a->epoch + 1, s->reason, err) < 0;
	decision_close(file, false);
	return failed ? -1 : 0;
}

static int note_move(struct daemon *d, const struct adoption *a, struct registry_move *move,
		     struct error *err)
{
	if (registry_move_add(d->registry, move, err) < 0)
		return -1;
	strcpy(move->state, "done");
	clock_rfc3339(move->ended);
	_cleanup_json_ json_t *result =
		json_pack("{s:{s:s, s:s}}", ADOPT_KEY, "uuid", a->uuid, "seen", a->seen);
	_cleanup_json_ json_t *events =
		json_pack("[{s:s, s:s, s:i, s:s, s:O}]", "event", "done", "move", move->id, "seq",
			  1, "time", move->ended, "result", result);
	move->result = result;
	return registry_move_end(d->registry, move, events, err);
}

static int decide(struct request_state *s, struct adoption *a, struct error *err)
{
	struct daemon *d = s->d;
	struct registry_move move;
	if (record(s, a, &move, err) < 0)
		return -1;
	daemon_lock(d);
	struct partition *p = partition_find(d, a->name);
	int failed = note_move(d, a, &move, err);
	if (!failed) {
		a->epoch = p->row.epoch = move.epoch;
		json_object_set_new(p->row.definition, "epoch",
				    json_integer((json_int_t)move.epoch));
		snprintf(p->row.came_from, sizeof(p->row.came_from), "%s", a->from);
		p->busy = NULL;
		partition_set(p, STATE_DEFINED, NULL);
		log_warn("partition %s: adopted from %s, which is said to be dead: %s", a->name,
			 a->from, s->reason);
		events_add(d, "partition", "adopted", a->name, move.id,
			   json_pack("{s:s, s:s, s:s, s:s, s:I}", "from", a->from, "to",
				     d->config.host, "reason", s->reason, "seen", a->seen, "epoch",
				     (json_int_t)move.epoch));
		a->reserved = false;
	}
	daemon_unlock(d);
	return failed;
}

// ---- the request --------------------------------------------------------------------------------

static void adopt(struct request_state *s, struct adoption *a)
{
	if (error_is_set(&a->error) || decide(s, a, &a->error) < 0)
		return;
	if (a->runs && lifecycle_start(s->d, a->name, &a->error) < 0)
		error_wrap(&a->error, "it is here now, but did not start");
}

static bool any_reserved(const struct request_state *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->all[i].reserved)
			return true;
	return false;
}

static void adopt_all(struct request_state *s, struct error *err)
{
	for (size_t i = 0; i < s->count; i++) {
		struct adoption *a = &s->all[i];
		if (!error_is_set(&a->error) && check_silent(s->d, a->from, &a->error) == 0)
			reserve(s->d, a, &a->error);
	}
	bool asked = any_reserved(s) && ask_others(s, err) == 0;
	for (size_t i = 0; i < s->count; i++) {
		struct adoption *a = &s->all[i];
		if (asked)
			adopt(s, a);
		if (a->reserved)
			unreserve(s->d, a);
		if (error_is_set(&a->error))
			error_at(&a->error, s->d->config.host, a->name, NULL);
	}
	recover_begin(s->d);
}

static json_t *outcome_json(struct daemon *d, const struct adoption *a)
{
	daemon_lock(d);
	const struct partition *p = partition_find(d, a->name);
	const char *state = p ? state_name(p->row.state) : NULL;
	json_t *one = json_pack("{s:s, s:s?, s:s, s:s?, s:I, s:s?, s:o}", "name", a->name, "from",
				a->from[0] ? a->from : NULL, "host", d->config.host, "state", state,
				"epoch", (json_int_t)a->epoch, "seen", a->seen[0] ? a->seen : NULL,
				"error",
				error_is_set(&a->error) ? error_to_json(&a->error) : json_null());
	daemon_unlock(d);
	return one;
}

static void free_all(struct request_state *s)
{
	for (size_t i = 0; i < s->count && s->all; i++) {
		json_decref(s->all[i].definition);
		registry_partition_clear(&s->all[i].before);
	}
	free(s->all);
}

static int run(struct request *q, struct request_state *s, const json_t *names, const char *from,
	       struct error *err)
{
	daemon_lock(s->d);
	int failed = choose(s, names, from, err);
	daemon_unlock(s->d);
	// Of all partitions of a host that answers there is one thing to say.
	if (failed || (from && check_silent(s->d, from, err) < 0))
		return -1;
	struct error why = {0};
	adopt_all(s, &why);
	if (error_is_set(&why)) {
		*err = why;
		return -1;
	}
	q->data = json_array();
	for (size_t i = 0; i < s->count; i++)
		json_array_append_new(q->data, outcome_json(s->d, &s->all[i]));
	return 0;
}

int api_adopt_partitions(struct request *q, struct error *err)
{
	json_t *names = NULL;
	const char *from = NULL, *reason = NULL;
	int dead = 0;
	if (api_body(q, err, "{s?o, s?s, s?b, s?s}", "names", &names, "from", &from, "peer_is_dead",
		     &dead, "reason", &reason) < 0)
		return -1;
	if (!json_is_array(names) == !from)
		return error_set(err, ERR_USAGE, "either \"names\", a list, or \"from\", a host");
	if (!dead || !reason || !reason[0])
		return error_set(err, ERR_USAGE,
				 "to adopt takes \"peer_is_dead\": true and a \"reason\": a copy "
				 "that still runs there would damage the data of the partition");
	struct request_state s = {.d = q->d, .reason = reason, .asked = q->asked};
	int failed = run(q, &s, names, from, err);
	free_all(&s);
	return failed;
}
