// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/once.h"

#include "images/digest.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/registry/once.h"

#include <string.h>

#define KEY_MAX 128
#define WAIT_MS 600000 // for the first of two

// Instead of a status: another host has done it and knows the answer; its name stands for ours.
#define DONE_ELSEWHERE 1

struct once {
	struct once *next;
	char caller[160], key[KEY_MAX + 1];
	char digest[DIGEST_TEXT];
};

static struct once *running; // under relocd's lock

static bool is_same(const struct once *a, const struct once *b)
{
	return !strcmp(a->caller, b->caller) && !strcmp(a->key, b->key);
}

static bool is_running(const struct once *wanted)
{
	for (const struct once *o = running; o; o = o->next)
		if (is_same(o, wanted))
			return true;
	return false;
}

static void leave(const struct once *once)
{
	struct once **at = &running;
	while (*at != once)
		at = &(*at)->next;
	*at = once->next;
}

static int read_key(struct request *q, char key[KEY_MAX + 1], struct error *err)
{
	const char *given =
		MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, "Idempotency-Key");
	key[0] = 0;
	if (!given)
		return 0;
	size_t length = strlen(given);
	bool plain = length >= 1 && length <= KEY_MAX;
	for (size_t i = 0; i < length; i++)
		plain = plain && given[i] > ' ' && given[i] < 127;
	if (!plain)
		return error_set(err, ERR_USAGE,
				 "an Idempotency-Key is 1 to %d printable characters", KEY_MAX);
	strcpy(key, given);
	return 0;
}

static enum MHD_Result add_argument(void *arg, enum MHD_ValueKind kind, const char *key,
				    const char *value)
{
	struct digest_ctx *c = arg;
	(void)kind;
	if (digest_update(c, key, strlen(key) + 1, NULL) < 0 ||
	    digest_update(c, value ? value : "", value ? strlen(value) + 1 : 1, NULL) < 0)
		return MHD_NO;
	return MHD_YES;
}

static int digest_request(struct request *q, const char *path, const void *body, size_t length,
			  char text[DIGEST_TEXT], struct error *err)
{
	struct digest digest;
	struct digest_ctx *c = digest_begin(err);
	if (!c || digest_update(c, path, strlen(path) + 1, err) < 0) {
		digest_free(c);
		return -1;
	}
	MHD_get_connection_values(q->connection, MHD_GET_ARGUMENT_KIND, add_argument, c);
	if (length && digest_update(c, body, length, err) < 0) {
		digest_free(c);
		return -1;
	}
	if (digest_end(c, &digest, err) < 0)
		return -1;
	digest_hex(&digest, text);
	return 0;
}

// With the lock held: 1 and the request's answer when it was done before, 2 and its done_by when
// another host did it, 0 when not.
static int recall(struct request *q, const struct once *once, struct error *err)
{
	struct registry_once before = {0};
	int found = registry_once_get(q->d->registry, once->caller, once->key, &before, err);
	if (found <= 0)
		return found;
	_cleanup_json_ json_t *answer = before.answer;
	if (strcmp(before.digest, once->digest) != 0)
		return error_set(err, ERR_KEY_REUSED,
				 "the Idempotency-Key %s was used for another request", once->key);
	if (!before.status) {
		q->status = MHD_HTTP_CONFLICT;
		return error_set(err, ERR_KEY_UNKNOWN,
				 "the request %s was begun by a relocd that ended meanwhile: it is "
				 "not known whether it was done",
				 once->key);
	}
	if (before.status == DONE_ELSEWHERE) {
		snprintf(q->done_by, sizeof(q->done_by), "%s", json_string_value(answer) ?: "");
		return 2;
	}
	q->status = (unsigned)before.status;
	q->data = json_incref(answer);
	return 1;
}

// With the lock held: waits while the same is being done, then looks whether it was.
static int enter(struct request *q, struct once *once, struct error *err)
{
	deadline_t deadline = deadline_in_ms(WAIT_MS);
	while (is_running(once))
		if (!daemon_wait(q->d, deadline) && is_running(once))
			return error_set(err, ERR_DEADLINE, "the request %s is still being done",
					 once->key);
	int known = recall(q, once, err);
	if (known)
		return known;
	if (registry_once_begin(q->d->registry, once->caller, once->key, once->digest, err) < 0)
		return -1;
	once->next = running;
	running = once;
	return 0;
}

int once_begin(struct request *q, const char *method, const char *path, const void *body,
	       size_t length, struct once **once, struct error *err)
{
	struct once o = {0};
	*once = NULL;
	if (strcmp(method, "POST") != 0 || read_key(q, o.key, err) < 0)
		return strcmp(method, "POST") ? 0 : -1;
	if (!o.key[0])
		return 0;
	if (q->peer[0])
		snprintf(o.caller, sizeof(o.caller), "%s@%s", q->user, q->peer);
	else
		snprintf(o.caller, sizeof(o.caller), "%d", (int)q->uid);
	if (digest_request(q, path, body, length, o.digest, err) < 0)
		return -1;
	struct once *mine = malloc(sizeof(*mine));
	if (!mine)
		return error_set(err, ERR_NOMEM, "no memory for a request");
	*mine = o;
	daemon_lock(q->d);
	int known = enter(q, mine, err);
	daemon_unlock(q->d);
	if (known)
		free(mine);
	else
		*once = mine;
	return known == 2 ? 0 : known;
}

void once_end(struct request *q, struct once *once, bool failed)
{
	struct error err;
	if (!once)
		return;
	_cleanup_json_ json_t *host = q->done_by[0] ? json_string(q->done_by) : NULL;
	int status = host ? DONE_ELSEWHERE : q->status ? (int)q->status : MHD_HTTP_OK;
	bool kept = !failed && (host || !q->response);
	daemon_lock(q->d);
	if (registry_once_end(q->d->registry, once->caller, once->key, kept ? status : 0,
			      host ? host : q->data, &err) < 0)
		log_error_of(&err, "idempotency");
	leave(once);
	daemon_changed(q->d);
	daemon_unlock(q->d);
	free(once);
}
