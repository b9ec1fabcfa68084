// SPDX-License-Identifier: Apache-2.0
// What all hosts of the cluster have, in one list.
#include "relocd/peers/forward.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/cluster/cluster.h"
#include "relocd/partitions/partitions.h"
#include "relocd/peers/peers.h"
#include "relocd/peers/relay.h"

#include <string.h>

bool forward_is_local(struct request *q)
{
	return q->peer[0] || api_flag(q, "local") || !cluster_member(q->d);
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

// Asks all; what they have is appended to `list`, who does not answer becomes a warning.
static int gather(struct request *q, const char *path, json_t *list, struct error *err)
{
	struct peer_caller caller;
	struct peer_answer *answers = NULL;
	size_t count = 0;
	peer_caller_of(q, &caller);
	int failed = peer_ask_all(q->d, &caller, "GET", path, NULL, deadline_in_ms(PEERS_ASK_MS),
				  &answers, &count, err);
	for (size_t i = 0; i < count; i++) {
		if (json_is_array(answers[i].data))
			json_array_extend(list, answers[i].data);
		else
			api_warn(q, peer_warning(&answers[i]));
	}
	peer_answers_free(answers, count);
	return failed;
}

// ---- partitions ---------------------------------------------------------------------------------

// Traces of a partition that is shown as what it is on another host: where it came from, and where
// it is about to arrive.
static bool is_trace(const json_t *list, const json_t *one)
{
	size_t i;
	json_t *other;
	const char *state = text_of(one, "state");
	if (strcmp(state, "Departed") != 0 && strcmp(state, "Arriving") != 0)
		return false;
	json_array_foreach (list, i, other) {
		const char *theirs = text_of(other, "state");
		if (!strcmp(text_of(other, "uuid"), text_of(one, "uuid")) &&
		    strcmp(theirs, "Departed") != 0 && strcmp(theirs, "Arriving") != 0)
			return true;
	}
	return false;
}

static json_t *without_traces(const json_t *list)
{
	json_t *kept = json_array();
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one) {
		if (!is_trace(list, one))
			json_array_append(kept, one);
	}
	return kept;
}

int forward_gather_partitions(struct request *q, const char *query, struct error *err)
{
	char path[256];
	snprintf(path, sizeof(path), "/v1/partitions?local=1%s%s", query ? "&" : "",
		 query ? query : "");
	if (gather(q, path, q->data, err) < 0)
		return -1;
	json_t *kept = without_traces(q->data);
	json_decref(q->data);
	q->data = kept;
	return 0;
}

static bool is_own_trace(struct daemon *d, const char *name, const char *uuid)
{
	daemon_lock(d);
	const struct partition *p = partition_find(d, name);
	bool is = p && p->row.state == STATE_DEPARTED && (!uuid || !strcmp(p->row.uuid, uuid));
	daemon_unlock(d);
	return is;
}

int forward_drop_trace(struct daemon *d, const char *name, const char *uuid, struct error *err)
{
	if (!is_own_trace(d, name, uuid))
		return error_set(err, ERR_NAME_UNKNOWN, "no record of %s on %s", name,
				 d->config.host);
	return partition_remove(d, name, false, false, err);
}

int forward_name_free(struct request *q, const char *name, struct error *err)
{
	_cleanup_json_ json_t *list = json_array();
	size_t i;
	json_t *one;
	if (!cluster_member(q->d))
		return 0;
	if (gather(q, "/v1/partitions?local=1", list, err) < 0)
		return -1;
	json_array_foreach (list, i, one) {
		if (strcmp(text_of(one, "name"), name) != 0 ||
		    !strcmp(text_of(one, "state"), "Departed"))
			continue;
		error_set(err, ERR_NAME_TAKEN, "%s has a partition %s (%s)", text_of(one, "host"),
			  name, text_of(one, "state"));
		error_at(err, text_of(one, "host"), name, NULL);
		return -1;
	}
	if (q->warnings || !is_own_trace(q->d, name, NULL))
		return 0;
	return forward_drop_trace(q->d, name, NULL, err);
}

// ---- traces -------------------------------------------------------------------------------------

void forward_drop_traces(struct request *q, const char *name, const char *uuid)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	char path[192];
	struct error err;
	if (!cluster_member(q->d))
		return;
	snprintf(path, sizeof(path), "/v1/partitions/%s?local=1&trace=%s", name, uuid);
	if (peer_ask_all(q->d, &peer_relocd, "DELETE", path, NULL, deadline_in_ms(PEERS_ASK_MS),
			 &answers, &count, &err) < 0)
		log_error_of(&err, name);
	for (size_t i = 0; i < count; i++) {
		// It drops it by itself when somebody wants the name there.
		enum error_class class = error_class_of(&answers[i].error);
		if (!answers[i].data && class != ERROR_CLASS_NOT_FOUND)
			log_info("%s keeps its record of %s: %s", answers[i].host, name,
				 answers[i].error.message);
	}
	peer_answers_free(answers, count);
}

// ---- moves --------------------------------------------------------------------------------------

// Begun or noted last comes first.
static int compare_ages(const void *a, const void *b)
{
	const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
	const char *key = json_object_get(left, "time") ? "time" : "started";
	int order = strcmp(text_of(right, key), text_of(left, key));
	return order ? order : strcmp(text_of(left, "id"), text_of(right, "id"));
}

// A move's id; "" for what is none.
static const char *move_of(const json_t *one)
{
	return json_object_get(one, "direction")
		       ? text_of(one, json_object_get(one, "id") ? "id" : "move")
		       : "";
}

static bool is_incoming(const json_t *one)
{
	return !strcmp(text_of(one, "direction"), "in");
}

// {id: true} of those that their source tells of.
static json_t *told_by_source(const json_t *list)
{
	json_t *told = json_object();
	size_t i;
	json_t *one;
	json_array_foreach (list, i, one)
		if (!is_incoming(one))
			json_object_set_new(told, move_of(one), json_true());
	return told;
}

static json_t *merge_moves(const json_t *list, struct error *err)
{
	size_t count = json_array_size(list), kept = 0;
	_cleanup_free_ json_t **moves = calloc(count + 1, sizeof(json_t *));
	if (!moves) {
		error_set(err, ERR_NOMEM, "no memory for the moves");
		return NULL;
	}
	// Both sides have a record: the source's tells more.
	_cleanup_json_ json_t *told = told_by_source(list);
	for (size_t i = 0; i < count; i++) {
		json_t *one = json_array_get(list, i);
		if (!is_incoming(one) || !json_object_get(told, move_of(one)))
			moves[kept++] = one;
	}
	qsort(moves, kept, sizeof(*moves), compare_ages);
	json_t *merged = json_array();
	for (size_t i = 0; i < kept; i++)
		json_array_append(merged, moves[i]);
	return merged;
}

static int gather_merged(struct request *q, const char *path, struct error *err)
{
	if (!forward_is_local(q) && gather(q, path, q->data, err) < 0)
		return -1;
	json_t *merged = merge_moves(q->data, err);
	if (!merged)
		return -1;
	json_decref(q->data);
	q->data = merged;
	return 0;
}

int forward_gather_moves(struct request *q, struct error *err)
{
	return gather_merged(q, "/v1/moves?local=1", err);
}

// As it was asked for, but of each host alone.
int forward_gather_history(struct request *q, unsigned limit, struct error *err)
{
	_cleanup_buf_ struct buf path = BUF_INIT(ANSWER_HEAD_MAX);
	static const char begin[] = "/v1/history?local=1";
	if (buf_append(&path, begin, sizeof(begin) - 1, err) < 0)
		return -1;
	relay_arguments(q, &path);
	if (buf_append(&path, "", 1, err) < 0 || gather_merged(q, (const char *)path.data, err) < 0)
		return -1;
	while (json_array_size(q->data) > limit)
		json_array_remove(q->data, json_array_size(q->data) - 1);
	return 0;
}
