// SPDX-License-Identifier: Apache-2.0
// The operations on hosts and the cluster.
#include "lib/base/cleanup.h"
#include "lib/client/client_http.h"

// `body` NULL: json_pack() found a text that is none.
static int post(struct wpar *wpar, const char *path, json_t *body, json_t **answer,
		struct wpar_error *err)
{
	if (!body)
		return client_fail(err, ERR_USAGE, "an argument is not text in UTF-8");
	return wpar_call(wpar, "POST", path, body, CLIENT_PEER_MS, answer, err);
}

static int get(struct wpar *wpar, const char *path, json_t **answer, struct wpar_error *err)
{
	return wpar_call(wpar, "GET", path, NULL, CLIENT_PEER_MS, answer, err);
}

int wpar_hosts(struct wpar *wpar, json_t **list, struct wpar_error *err)
{
	return get(wpar, "/v1/hosts", list, err);
}

int wpar_host(struct wpar *wpar, const char *host, json_t **answer, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/hosts/%s", host);
	return get(wpar, path, answer, err);
}

int wpar_cordon(struct wpar *wpar, const char *host, const char *reason, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/hosts/%s/cordon", host);
	return post(wpar, path, json_pack("{s:s*}", "reason", reason), NULL, err);
}

int wpar_uncordon(struct wpar *wpar, const char *host, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/hosts/%s/uncordon", host);
	return post(wpar, path, json_object(), NULL, err);
}

int wpar_check_host(struct wpar *wpar, const char *host, json_t **answer, struct wpar_error *err)
{
	_cleanup_free_ char *path = wpar_path("/v1/hosts/%s/check", host);
	return get(wpar, path, answer, err);
}

// ---- the cluster --------------------------------------------------------------------------------

int wpar_cluster_init(struct wpar *wpar, json_t **answer, struct wpar_error *err)
{
	return post(wpar, "/v1/cluster/init", json_object(), answer, err);
}

int wpar_cluster_add_host(struct wpar *wpar, const char *host, const char *address, json_t **answer,
			  struct wpar_error *err)
{
	return post(wpar, "/v1/cluster/add-host",
		    json_pack("{s:s, s:s}", "name", host, "address", address), answer, err);
}

int wpar_cluster_join(struct wpar *wpar, const char *token, json_t **answer, struct wpar_error *err)
{
	json_t *body = json_pack("{s:s}", "token", token);
	if (!body)
		return client_fail(err, ERR_TOKEN, "the token is not text in UTF-8");
	return post(wpar, "/v1/cluster/join", body, answer, err);
}

int wpar_cluster_status(struct wpar *wpar, json_t **answer, struct wpar_error *err)
{
	return get(wpar, "/v1/cluster", answer, err);
}

int wpar_cluster_renew(struct wpar *wpar, const char *host, bool ca, json_t **answer,
		       struct wpar_error *err)
{
	return post(wpar, "/v1/cluster/renew", json_pack("{s:s?, s:b}", "host", host, "ca", ca),
		    answer, err);
}

int wpar_cluster_revoke(struct wpar *wpar, const char *host, const char *reason, json_t **answer,
			struct wpar_error *err)
{
	return post(wpar, "/v1/cluster/revoke",
		    json_pack("{s:s, s:s*}", "host", host, "reason", reason), answer, err);
}

int wpar_cluster_remove_host(struct wpar *wpar, const char *host, bool lost, const char *reason,
			     json_t **answer, struct wpar_error *err)
{
	return post(wpar, "/v1/cluster/remove-host",
		    json_pack("{s:s, s:b, s:s*}", "host", host, "lost", lost, "reason", reason),
		    answer, err);
}

int wpar_cluster_trust_local(struct wpar *wpar, const char *reason, json_t **answer,
			     struct wpar_error *err)
{
	return post(wpar, "/v1/cluster/trust-local", json_pack("{s:s*}", "reason", reason), answer,
		    err);
}
