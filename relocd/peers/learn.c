// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/learn.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/api/api_handlers.h"
#include "relocd/cluster/cluster.h"
#include "relocd/partitions/partitions.h"
#include "relocd/peers/peers.h"
#include "relocd/supervisor/moves.h"

#include <string.h>
#include <xxhash.h>

#define LOOK_MS 2000

// ---- of others ----------------------------------------------------------------------------------

static bool in_state(const json_t *partition, enum partition_state state)
{
	const char *text = json_string_value(json_object_get(partition, "state"));
	return text && !strcmp(text, state_name(state));
}

// What is here but not the host's, or not yet, is left out.
static json_t *held(const json_t *partitions)
{
	json_t *list = json_array();
	size_t i;
	json_t *one;
	json_array_foreach (partitions, i, one) {
		const char *name, *uuid;
		json_t *definition;
		json_int_t epoch;
		if (in_state(one, STATE_DEPARTED) || in_state(one, STATE_ARRIVING) ||
		    json_unpack(one, "{s:s, s:s, s:I, s:o}", "name", &name, "uuid", &uuid, "epoch",
				&epoch, "definition", &definition) < 0)
			continue;
		bool rests = in_state(one, STATE_DEFINED) || in_state(one, STATE_FAILED) ||
			     in_state(one, STATE_BROKEN);
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b, s:O}", "name", name,
						      "uuid", uuid, "epoch", epoch, "runs", !rests,
						      "definition", definition));
	}
	return list;
}

static int keep(struct daemon *d, const char *host, const json_t *partitions, struct error *err)
{
	_cleanup_json_ json_t *list = held(partitions);
	daemon_lock(d);
	int failed = registry_known_replace(d->registry, host, list, err);
	daemon_unlock(d);
	return failed;
}

#define QUESTION "/v1/partitions?local=1&definitions=1"

int learn_from(struct daemon *d, const char *host, struct error *err)
{
	_cleanup_json_ json_t *answer = NULL;
	if (peer_ask(d, host, &peer_relocd, "GET", QUESTION, NULL, deadline_in_ms(PEERS_ASK_MS),
		     &answer, err) < 0)
		return -1;
	return keep(d, host, answer, err);
}

static void learn_all(struct daemon *d)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	struct error err = {0};
	if (peer_ask_all(d, &peer_relocd, "GET", QUESTION, NULL, deadline_in_ms(PEERS_ASK_MS),
			 &answers, &count, &err) < 0)
		log_error_of(&err, "asking the other hosts what they have");
	for (size_t i = 0; i < count; i++)
		if (answers[i].data && keep(d, answers[i].host, answers[i].data, &err) < 0)
			log_error_of(&err, answers[i].host);
	peer_answers_free(answers, count);
}

// ---- of ours ------------------------------------------------------------------------------------

// Changes with all that others keep of what is here.
static uint64_t fingerprint(const struct daemon *d)
{
	XXH64_hash_t sum = 1;
	for (const struct partition *p = d->partitions; p; p = p->next) {
		const uint64_t numbers[] = {p->row.epoch, p->row.revision, p->row.state};
		sum = XXH3_64bits_withSeed(numbers, sizeof(numbers), sum);
		sum = XXH3_64bits_withSeed(p->row.name, strlen(p->row.name), sum);
		sum = XXH3_64bits_withSeed(p->row.uuid, strlen(p->row.uuid), sum);
	}
	return sum;
}

static bool is_moving(const struct daemon *d)
{
	for (const struct move *m = d->moves; m; m = m->next)
		if (!m->finished && !m->queued)
			return true;
	return false;
}

// They ask us then. Who cannot be reached asks us when it asks all.
static void tell_all(struct daemon *d)
{
	struct peer_answer *answers = NULL;
	size_t count = 0;
	struct error err;
	_cleanup_json_ json_t *body = json_object();
	if (peer_ask_all(d, &peer_relocd, "POST", "/v1/cluster/changed?local=1", body,
			 deadline_in_ms(2 * PEERS_ASK_MS), &answers, &count, &err) < 0)
		log_error_of(&err, "telling the other hosts what is here");
	for (size_t i = 0; i < count; i++)
		if (!answers[i].data)
			log_debug("%s was not told what is here: %s", answers[i].host,
				  answers[i].error.message);
	peer_answers_free(answers, count);
}

struct learner {
	uint64_t told;     // the fingerprint that the others know
	deadline_t all_at; // when all are asked next
	deadline_t patience;
};

// Whether the others have to be told, with the lock held.
static bool has_changed(const struct daemon *d, struct learner *l)
{
	if (fingerprint(d) == l->told || !cluster_member(d)) {
		l->patience = deadline_in_ms(LEARN_POSTPONE_MS);
		return false;
	}
	return !is_moving(d) || deadline_passed(l->patience);
}

// Waits for something to do. With the lock held.
static void await_work(struct daemon *d, struct learner *l)
{
	while (!d->stopping && !has_changed(d, l) && !deadline_passed(l->all_at))
		daemon_wait(d, deadline_in_ms(LOOK_MS));
	deadline_t until = deadline_in_ms(LEARN_TELL_MS); // several changes come together
	while (daemon_wait(d, until))
		;
}

static void work(struct daemon *d, const char *unused)
{
	struct learner l = {.all_at = deadline_in_ms(0)};
	(void)unused;
	for (;;) {
		daemon_lock(d);
		await_work(d, &l);
		bool stopping = d->stopping, tell = has_changed(d, &l);
		bool ask = cluster_member(d) && deadline_passed(l.all_at);
		if (tell)
			l.told = fingerprint(d);
		daemon_unlock(d);
		if (stopping)
			return;
		if (tell)
			tell_all(d);
		if (ask)
			learn_all(d);
		if (deadline_passed(l.all_at))
			l.all_at = deadline_in_ms(LEARN_ALL_MS);
	}
}

void learn_begin(struct daemon *d)
{
	struct error err;
	daemon_lock(d);
	if (daemon_thread(d, work, "", &err) < 0)
		log_error_of(&err, "learning what other hosts have");
	daemon_unlock(d);
}

// ---- requests -----------------------------------------------------------------------------------

int api_cluster_changed(struct request *q, struct error *err)
{
	if (api_body(q, err, "{}") < 0)
		return -1;
	if (!q->peer[0])
		return error_set(err, ERR_USAGE, "only another host can say that it has changed");
	if (learn_from(q->d, q->peer, err) < 0)
		return -1;
	q->data = json_object();
	return 0;
}
