// SPDX-License-Identifier: Apache-2.0
// The operations on relocd itself, on partitions and on moves.
#include "lib/base/cleanup.h"
#include "lib/client/client_http.h"

#include <string.h>

#define START_TIMEOUT_MS 120000
#define STOP_MARGIN_MS   120000 // a restart starts it as well
#define STOP_TIMEOUT_MS  600000 // where the partition's own grace period counts

static int get(struct wpar *wpar, const char *path, json_t **data, struct wpar_error *err)
{
	return wpar_call(wpar, "GET", path, NULL, WPAR_TIMEOUT_MS, data, err);
}

int wpar_version(struct wpar *wpar, json_t **version, struct wpar_error *err)
{
	return get(wpar, "/v1/version", version, err);
}

int wpar_health(struct wpar *wpar, json_t **state, struct wpar_error *err)
{
	return get(wpar, "/healthz", state, err);
}

int wpar_ready(struct wpar *wpar, json_t **state, struct wpar_error *err)
{
	return get(wpar, "/readyz", state, err);
}

int wpar_openapi(struct wpar *wpar, json_t **document, struct wpar_error *err)
{
	struct error why;
	struct client_request request = {.method = "GET",
					 .path = "/v1/openapi.json",
					 .timeout_ms = WPAR_TIMEOUT_MS,
					 .bare = true};
	if (client_ask(wpar, &request, document, &why) < 0)
		return client_publish(err, &why);
	return 0;
}

// ---- partitions ---------------------------------------------------------------------------------

int wpar_partitions(struct wpar *wpar, bool local, const char *state, json_t **list,
		    struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions");
	client_add_query(&path, "local", local ? "1" : NULL);
	client_add_query(&path, "state", state);
	return wpar_call(wpar, "GET", path, NULL, CLIENT_PEER_MS, list, err);
}

int wpar_partition(struct wpar *wpar, const char *name, json_t **partition, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s", name);
	return get(wpar, path, partition, err);
}

int wpar_create(struct wpar *wpar, json_t *body, json_t **partition, struct wpar_error *err)
{
	return wpar_call(wpar, "POST", "/v1/partitions", body, STOP_TIMEOUT_MS, partition, err);
}

int wpar_start(struct wpar *wpar, const char *name, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/start", name);
	return wpar_call(wpar, "POST", path, json_object(), START_TIMEOUT_MS, NULL, err);
}

static int end(struct wpar *wpar, const char *path, int64_t grace_ms, bool kill,
	       struct wpar_error *err)
{
	json_t *body = json_pack("{s:b}", "kill", kill);
	int64_t timeout = STOP_TIMEOUT_MS;
	if (grace_ms >= 0) {
		json_object_set_new(body, "grace_ms", json_integer(grace_ms));
		timeout = grace_ms < INT32_MAX - STOP_MARGIN_MS ? grace_ms + STOP_MARGIN_MS
								: INT32_MAX;
	}
	return wpar_call(wpar, "POST", path, body, (int)timeout, NULL, err);
}

int wpar_stop(struct wpar *wpar, const char *name, int64_t grace_ms, bool kill,
	      struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/stop", name);
	return end(wpar, path, grace_ms, kill, err);
}

int wpar_restart(struct wpar *wpar, const char *name, int64_t grace_ms, bool kill,
		 struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/restart", name);
	return end(wpar, path, grace_ms, kill, err);
}

// The entity tag of a partition as it was shown: "UUID-REVISION".
static char *tag_of(const json_t *seen)
{
	char *tag = NULL;
	const char *uuid = json_string_value(json_object_get(seen, "uuid"));
	const json_t *revision = json_object_get(seen, "revision");
	if (!uuid || !json_is_integer(revision) ||
	    asprintf(&tag, "\"%s-%lld\"", uuid, (long long)json_integer_value(revision)) < 0)
		return NULL;
	return tag;
}

int wpar_set(struct wpar *wpar, const char *name, json_t *patch, const json_t *seen,
	     json_t **partition, struct wpar_error *err)
{
	struct error why;
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s", name);
	_cleanup_free_ char *tag = seen ? tag_of(seen) : NULL;
	struct client_request request = {.method = "PATCH",
					 .path = path,
					 .if_match = tag,
					 .body = patch,
					 .timeout_ms = START_TIMEOUT_MS};
	if (seen && !tag) {
		json_decref(patch);
		return client_fail(err, ERR_USAGE, "that is not a partition as relocd shows it");
	}
	if (client_ask(wpar, &request, partition, &why) < 0)
		return client_publish(err, &why);
	return 0;
}

int wpar_rename(struct wpar *wpar, const char *name, const char *new_name, struct wpar_error *err)
{
	json_t *patch = json_pack("{s:s}", "name", new_name);
	if (!patch)
		return client_fail(err, ERR_USAGE, "a name is not text in UTF-8");
	return wpar_set(wpar, name, patch, NULL, NULL, err);
}

int wpar_remove(struct wpar *wpar, const char *name, unsigned flags, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s", name);
	client_add_query(&path, "force", flags & WPAR_REMOVE_FORCE ? "1" : NULL);
	client_add_query(&path, "volumes", flags & WPAR_REMOVE_VOLUMES ? "1" : NULL);
	return wpar_call(wpar, "DELETE", path, NULL, START_TIMEOUT_MS, NULL, err);
}

int wpar_validate(struct wpar *wpar, const char *name, json_t *hosts, json_t *options,
		  json_t **report, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/partitions/%s/validate", name);
	return wpar_call(wpar, "POST", path,
			 json_pack("{s:o, s:o*}", "hosts", hosts, "options", options),
			 CLIENT_PEER_MS, report, err);
}

// ---- moves --------------------------------------------------------------------------------------

int wpar_relocate(struct wpar *wpar, const char *name, const char *host, json_t *options,
		  json_t **move, struct wpar_error *err)
{
	json_t *body = host ? json_pack("{s:s, s:s}", "partition", name, "host", host)
			    : json_pack("{s:s, s:b}", "partition", name, "back", 1);
	if (!body) {
		json_decref(options);
		return client_fail(err, ERR_USAGE, "a name is not text in UTF-8");
	}
	if (options)
		json_object_set_new(body, "options", options);
	return wpar_call(wpar, "POST", "/v1/moves", body, CLIENT_PEER_MS, move, err);
}

int wpar_moves(struct wpar *wpar, json_t **list, struct wpar_error *err)
{
	return get(wpar, "/v1/moves", list, err);
}

int wpar_history(struct wpar *wpar, const char *of, const char *since, bool failed, json_t **list,
		 struct wpar_error *err)
{
	_cleanup_free_ char *path = strdup("/v1/history");
	client_add_query(&path, "of", of);
	client_add_query(&path, "since", since);
	client_add_query(&path, "failed", failed ? "1" : NULL);
	return get(wpar, path, list, err);
}

int wpar_move(struct wpar *wpar, const char *id, json_t **move, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/moves/%s", id);
	return get(wpar, path, move, err);
}

int wpar_cancel(struct wpar *wpar, const char *id, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/moves/%s/cancel", id);
	return wpar_call(wpar, "POST", path, json_object(), WPAR_TIMEOUT_MS, NULL, err);
}

int wpar_recover(struct wpar *wpar, const char *id, json_t *decision, json_t **answer,
		 struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/moves/%s/recover", id);
	return wpar_call(wpar, "POST", path, decision ? decision : json_object(), CLIENT_PEER_MS,
			 answer, err);
}

int wpar_adopt(struct wpar *wpar, json_t *names, const char *from, const char *reason,
	       json_t **list, struct wpar_error *err)
{
	json_t *body = json_pack("{s:o*, s:s*, s:b, s:s}", "names", names, "from", from,
				 "peer_is_dead", 1, "reason", reason);
	if (!body)
		return client_fail(err, ERR_USAGE, "an argument is not text in UTF-8");
	return wpar_call(wpar, "POST", "/v1/adopt", body, CLIENT_PEER_MS, list, err);
}
