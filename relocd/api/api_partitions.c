// SPDX-License-Identifier: Apache-2.0
// /v1/partitions: create, show, change, start, stop, restart, remove, validate.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/partition/name.h"
#include "relocd/cluster/hosts.h"
#include "relocd/partitions/lifecycle.h"
#include "relocd/partitions/ownership.h"
#include "relocd/peers/forward.h"
#include "relocd/supervisor/departures.h"

#include <string.h>

#define GRACE_MAX_MS 3600000

// Who may only look sees no values of environment variables.
static void redact(json_t *partition)
{
	json_t *process = json_object_get(json_object_get(partition, "definition"), "process");
	json_t *env = json_object_get(process, "env");
	for (size_t i = 0; i < json_array_size(env); i++) {
		const char *text = json_string_value(json_array_get(env, i));
		int name = text ? (int)strcspn(text, "=") : 0;
		json_array_set_new(env, i, json_sprintf("%.*s=(hidden)", name, text ? text : ""));
	}
}

static int show(struct request *q, const char *name, struct error *err)
{
	daemon_lock(q->d);
	struct partition *p = partition_get(q->d, name, err);
	json_t *shown = p ? partition_json(p, true) : NULL;
	if (p)
		partition_etag(p, q->etag);
	q->data = shown ? json_deep_copy(shown) : NULL;
	json_decref(shown);
	daemon_unlock(q->d);
	if (!p)
		return -1;
	if (q->role < ROLE_ADMIN)
		redact(q->data);
	return 0;
}

// For other hosts (peers/learn.h). A registry in doubt tells nobody that it has nothing.
static int list_definitions(struct request *q, struct error *err)
{
	if (q->role < ROLE_ADMIN)
		return error_set(err, ERR_DENIED, "definitions of all partitions take the role %s",
				 role_name(ROLE_ADMIN));
	q->data = json_array();
	daemon_lock(q->d);
	int failed = ownership_check(q->d, NULL, err);
	for (const struct partition *p = q->d->partitions; !failed && p; p = p->next) {
		_cleanup_json_ json_t *shown = partition_json(p, true);
		json_array_append_new(q->data, json_deep_copy(shown));
	}
	daemon_unlock(q->d);
	return failed;
}

int api_partition_list(struct request *q, struct error *err)
{
	char text[32];
	enum partition_state wanted = STATE_DEFINED;
	if (api_flag(q, "definitions"))
		return list_definitions(q, err);
	const char *only = api_argument(q, "state", text, sizeof(text));
	if (only && state_of_name(only, &wanted) < 0)
		return error_set(err, ERR_USAGE, "\"%s\" is not a state of a partition", only);
	q->data = json_array();
	daemon_lock(q->d);
	for (const struct partition *p = q->d->partitions; p; p = p->next)
		if (!only || p->row.state == wanted)
			json_array_append_new(q->data, partition_json(p, false));
	daemon_unlock(q->d);
	if (forward_is_local(q))
		return 0;
	char query[48];
	snprintf(query, sizeof(query), "state=%s", only ? state_name(wanted) : "");
	return forward_gather_partitions(q, only ? query : NULL, err);
}

int api_partition_get(struct request *q, struct error *err)
{
	return show(q, q->param, err);
}

// Created and started is one thing: what cannot be started is not left behind.
static int start_new(struct request *q, const char *name, struct error *err)
{
	if (lifecycle_start(q->d, name, err) == 0)
		return 0;
	struct error second;
	if (partition_remove(q->d, name, true, false, &second) < 0)
		log_error_of(&second, name);
	return -1;
}

// "bundle":"fd:N" or "image":"oci:fd:N": the descriptor, the caller's; -1: there is none to take.
static int take_source(struct request *q, int *source, struct error *err)
{
	char name[16];
	const char *bundle = json_string_value(json_object_get(q->body, "bundle"));
	const char *image = json_string_value(json_object_get(q->body, "image"));
	const char *text = bundle ? bundle : image ? strchr(image, ':') : NULL;
	if (text && !bundle)
		text++;
	if (!text || strncmp(text, "fd:", 3) != 0)
		return 0;
	snprintf(name, sizeof(name), "%.*s", (int)(3 + strcspn(text + 3, ":")), text);
	*source = api_descriptor(q, name, err);
	return *source < 0 ? -1 : 0;
}

// What other hosts send here is refused while this one is cordoned.
static int accepts(struct daemon *d, struct error *err)
{
	daemon_lock(d);
	int failed = hosts_accept(d, err);
	daemon_unlock(d);
	return failed;
}

// The name in a body of any form, if it has one.
static const char *name_of(const json_t *body)
{
	const json_t *definition = json_object_get(body, "definition");
	return json_string_value(json_object_get(definition ? definition : body, "name"));
}

// Two hosts that are asked for the same name at once may both have found it free: so each asks once
// more when its own can be seen, and whoever sees the other gives up.
static int claim_name(struct request *q, const char *name, struct error *err)
{
	json_decref(q->warnings); // those who do not answer are named again
	q->warnings = NULL;
	if (forward_name_free(q, name, err) == 0)
		return 0;
	struct error second;
	if (partition_remove(q->d, name, true, false, &second) < 0)
		log_error_of(&second, name);
	return -1;
}

int api_partition_create(struct request *q, struct error *err)
{
	char name[REGISTRY_NAME_MAX];
	_cleanup_json_ json_t *notes = NULL;
	_cleanup_close_ int source = -1;
	const json_t *start = json_object_get(q->body, "start");
	if (start && !json_is_boolean(start))
		return error_set(err, ERR_USAGE, "\"start\" must be true or false");
	if (q->peer[0] && accepts(q->d, err) < 0)
		return -1;
	const char *wanted = name_of(q->body);
	if (wanted && name_check(wanted, NULL) == 0 && forward_name_free(q, wanted, err) < 0)
		return -1;
	if (take_source(q, &source, err) < 0 ||
	    partition_create(q->d, q->body, source, name, &notes, err) < 0 ||
	    claim_name(q, name, err) < 0)
		return -1;
	if (json_is_true(start) && start_new(q, name, err) < 0)
		return -1;
	if (show(q, name, err) < 0)
		return -1;
	json_object_set(q->data, "notes", notes);
	q->status = MHD_HTTP_CREATED;
	return 0;
}

int api_partition_start(struct request *q, struct error *err)
{
	if (api_body(q, err, "{}") < 0 || lifecycle_start(q->d, q->param, err) < 0)
		return -1;
	return show(q, q->param, err);
}

static int stop_or_restart(struct request *q,
			   int (*act)(struct daemon *d, const char *name, int64_t grace_ms,
				      bool kill, struct error *err),
			   struct error *err)
{
	json_int_t grace_ms = -1;
	int kill = 0;
	if (api_body(q, err, "{s?I, s?b}", "grace_ms", &grace_ms, "kill", &kill) < 0)
		return -1;
	if (grace_ms > GRACE_MAX_MS)
		return error_set(err, ERR_USAGE, "a grace period of more than an hour");
	if (act(q->d, q->param, grace_ms, kill, err) < 0)
		return -1;
	return show(q, q->param, err);
}

int api_partition_stop(struct request *q, struct error *err)
{
	return stop_or_restart(q, lifecycle_stop, err);
}

int api_partition_restart(struct request *q, struct error *err)
{
	return stop_or_restart(q, lifecycle_restart, err);
}

// One that was never moved has left no traces.
static bool uuid_of_moved(struct request *q, char uuid[40])
{
	daemon_lock(q->d);
	const struct partition *p = partition_find(q->d, q->param);
	bool moved = p && p->row.epoch > 1 && p->row.state != STATE_DEPARTED;
	snprintf(uuid, 40, "%s", p ? p->row.uuid : "");
	daemon_unlock(q->d);
	return moved;
}

int api_partition_remove(struct request *q, struct error *err)
{
	char uuid[40];
	if (api_argument(q, "trace", uuid, sizeof(uuid)))
		return forward_drop_trace(q->d, q->param, uuid, err); // it was here before
	bool moved = uuid_of_moved(q, uuid);
	if (partition_remove(q->d, q->param, api_flag(q, "force"), api_flag(q, "volumes"), err) < 0)
		return -1;
	if (moved)
		forward_drop_traces(q, q->param, uuid);
	return 0;
}

// A new name is free on all hosts, as that of a new partition.
static int check_new_name(struct request *q, struct error *err)
{
	const char *to = json_string_value(json_object_get(q->body, "name"));
	if (!to || json_object_size(q->body) != 1 || !strcmp(to, q->param) ||
	    name_check(to, NULL) < 0)
		return 0;
	return forward_name_free(q, to, err);
}

int api_partition_change(struct request *q, struct error *err)
{
	char name[REGISTRY_NAME_MAX], uuid[40];
	const char *if_match =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "If-Match");
	bool moved = uuid_of_moved(q, uuid);
	if (name_check(q->param, err) < 0 || check_new_name(q, err) < 0)
		return -1;
	snprintf(name, sizeof(name), "%s", q->param);
	if (partition_change(q->d, name, q->body, if_match, err) < 0) {
		if (err->id == ERR_CONFLICT)
			q->status = MHD_HTTP_PRECONDITION_FAILED;
		return -1;
	}
	// Where it was before it is known by the name that it had.
	if (moved && strcmp(name, q->param) != 0)
		forward_drop_traces(q, q->param, uuid);
	return show(q, name, err);
}

int api_partition_validate(struct request *q, struct error *err)
{
	json_t *hosts = NULL, *options = NULL;
	if (api_body(q, err, "{s?o, s?o}", "hosts", &hosts, "options", &options) < 0 ||
	    api_move_options(options, err) < 0)
		return -1;
	if (hosts && !json_is_array(hosts))
		return error_set(err, ERR_USAGE, "\"hosts\" must be a list of names");
	q->data = departure_validate(q->d, q->param, hosts, options, err);
	return q->data ? 0 : -1;
}
