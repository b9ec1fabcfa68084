// SPDX-License-Identifier: Apache-2.0
// Hosts that belong to the cluster no longer.
#include "relocd/cluster/trust.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/cluster/cluster.h"
#include "relocd/daemon/events.h"
#include "relocd/move/known.h"
#include "relocd/supervisor/moves.h"

#include <string.h>

#define TELL_MS 8000

json_t *trust_list(struct daemon *d)
{
	json_t *list = registry_revoked_list(d->registry, KNOWN_MAX, NULL);
	return list ? list : json_array();
}

// Nothing new comes from there or goes there; what is under way ends. Moves end by their records:
// one that runs here by now goes on running, one to there that has been committed is past a cancel.
static void cut(struct daemon *d, const char *host)
{
	struct error err;
	peers_cut(d, host);
	for (struct move *m = d->moves, *next; m; m = next) {
		next = m->next; // one that waits in the queue is dropped at once
		if (m->finished || strcmp(m->incoming ? m->row.source : m->row.target, host) != 0)
			continue;
		if (m->incoming && m->worker)
			worker_kill(m->worker);
		else if (!m->incoming && move_cancel(d, m->row.id, &err) < 0)
			log_error_of(&err, m->row.id);
	}
}

static int revoke_key(struct daemon *d, const char *host, const char *key, const char *reason,
		      struct error *err)
{
	int added = key[0] ? registry_revoked_add(d->registry, key, host, reason, err) : 0;
	if (added > 0) {
		log_warn("cluster: the key of %s is revoked: %s", host, reason);
		events_add(
			d, "cluster", "revoked", NULL, NULL,
			json_pack("{s:s, s:s, s:s}", "host", host, "key", key, "reason", reason));
	}
	return added < 0 ? -1 : 0;
}

// Under its name nobody is a peer any more, if that is the key which it uses.
static void learn_one(struct daemon *d, const char *host, const char *key, const char *peer)
{
	char used[REGISTRY_KEY_MAX], reason[128];
	struct error err;
	int found = registry_revoked(d->registry, key, &err);
	if (found || !strcmp(host, d->config.host))
		return;
	snprintf(reason, sizeof(reason), "%s says so", peer);
	if (revoke_key(d, host, key, reason, &err) < 0 ||
	    registry_host_key(d->registry, host, used, &err) < 0 ||
	    (!strcmp(used, key) && registry_host_revoke(d->registry, host, true, &err) < 0))
		log_error_of(&err, "revoked keys");
	else if (!strcmp(used, key))
		cut(d, host);
}

void trust_learn(struct daemon *d, const json_t *list, const char *peer)
{
	size_t i;
	json_t *entry;
	if (peers_max_role(d) < ROLE_ADMIN)
		return;
	json_array_foreach (list, i, entry) {
		const char *host = json_string_value(json_array_get(entry, 0));
		const char *key = json_string_value(json_array_get(entry, 1));
		if (host && key && i < KNOWN_MAX)
			learn_one(d, host, key, peer);
	}
}

// ---- telling others -----------------------------------------------------------------------------

static void tell_all(struct daemon *d, const struct peer_caller *caller, const char *path,
		     const json_t *body, json_t **warnings)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	struct error err;
	if (peer_ask_all(d, caller, "POST", path, body, deadline_in_ms(TELL_MS), &answers, &count,
			 &err) < 0)
		log_error_of(&err, "cluster");
	for (size_t i = 0; i < count; i++) {
		if (answers[i].data)
			continue;
		*warnings = *warnings ? *warnings : json_array();
		json_array_append_new(*warnings, peer_warning(&answers[i]));
	}
	peer_answers_free(answers, count);
}

static int check_other(struct daemon *d, const char *host, const char *verb, struct error *err)
{
	struct registry_host known;
	if (!strcmp(host, d->config.host)) {
		error_set(err, ERR_USAGE, "%s cannot %s itself", host, verb);
		return error_hint(err, "do it on another host of the cluster");
	}
	int found = registry_host_get(d->registry, host, &known, err);
	return found ? (found < 0 ? -1 : 0)
		     : error_set(err, ERR_HOST_UNKNOWN, "no host %s in the cluster", host);
}

// ---- revoke -------------------------------------------------------------------------------------

static int revoke_here(struct daemon *d, const char *host, const char *reason, struct error *err)
{
	char key[REGISTRY_KEY_MAX] = "";
	if (registry_host_key(d->registry, host, key, err) < 0 ||
	    revoke_key(d, host, key, reason, err) < 0 ||
	    registry_host_revoke(d->registry, host, true, err) < 0)
		return -1;
	cut(d, host);
	return 0;
}

int trust_revoke(struct daemon *d, const struct peer_caller *caller, const char *host,
		 const char *reason, json_t **warnings, struct error *err)
{
	daemon_lock(d);
	int failed =
		check_other(d, host, "revoke", err) < 0 || revoke_here(d, host, reason, err) < 0;
	daemon_unlock(d);
	if (failed)
		return -1;
	log_warn("cluster: %s is revoked: %s", host, reason);
	_cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "host", host, "reason", reason);
	if (caller)
		tell_all(d, caller, "/v1/cluster/revoke?local=1", body, warnings);
	return 0;
}

// ---- remove -------------------------------------------------------------------------------------

static int check_empty(const json_t *partitions, const char *host, struct error *err)
{
	size_t i, held = 0;
	json_t *one;
	const char *name = NULL;
	json_array_foreach (partitions, i, one) {
		const char *state = json_string_value(json_object_get(one, "state"));
		if (state && !strcmp(state, "Departed"))
			continue;
		name = json_string_value(json_object_get(one, "name"));
		held++;
	}
	if (!held)
		return 0;
	return error_set(err, ERR_HOST_HOLDS, "%s holds %zu partition%s (%s%s)", host, held,
			 held > 1 ? "s" : "", name ? name : "?", held > 1 ? ", ..." : "");
}

static int check_leaving(struct daemon *d, const struct peer_caller *caller, const char *host,
			 bool lost, const char *reason, struct error *err)
{
	_cleanup_json_ json_t *partitions = NULL;
	struct error why = {0};
	if (peer_ask(d, host, caller, "GET", "/v1/partitions?local=1", NULL,
		     deadline_in_ms(PEERS_ASK_MS), &partitions, &why) == 0)
		return check_empty(partitions, host, err);
	if (lost && reason[0])
		return 0;
	*err = why;
	error_wrap(err, "whether %s holds partitions is not known", host);
	return error_hint(err, "bring it back; if it is gone for good: --lost --reason TEXT");
}

// With a key that was never seen only its name can be kept out.
static int forget_host(struct daemon *d, const char *host, const char *reason, struct error *err)
{
	char key[REGISTRY_KEY_MAX] = "";
	daemon_lock(d);
	int failed = check_other(d, host, "remove", err) < 0 ||
		     registry_host_key(d->registry, host, key, err) < 0 ||
		     revoke_here(d, host, reason, err) < 0;
	if (!failed && key[0])
		failed = registry_host_delete(d->registry, host, err);
	if (!failed)
		events_add(d, "cluster", "removed", NULL, NULL,
			   json_pack("{s:s, s:s}", "host", host, "reason", reason));
	daemon_unlock(d);
	if (!failed)
		log_warn("cluster: %s is removed: %s", host, reason);
	return failed ? -1 : 0;
}

int trust_remove(struct daemon *d, const struct peer_caller *caller, const char *host, bool lost,
		 const char *reason, json_t **warnings, struct error *err)
{
	daemon_lock(d);
	int failed = check_other(d, host, "remove", err);
	struct registry_host known = {0};
	if (!failed)
		failed = registry_host_get(d->registry, host, &known, err) < 0;
	daemon_unlock(d);
	if (failed ||
	    (caller && !known.revoked && check_leaving(d, caller, host, lost, reason, err) < 0) ||
	    forget_host(d, host, reason, err) < 0)
		return -1;
	_cleanup_json_ json_t *body =
		json_pack("{s:s, s:b, s:s}", "host", host, "lost", 1, "reason", reason);
	if (caller)
		tell_all(d, caller, "/v1/cluster/remove-host?local=1", body, warnings);
	return 0;
}
