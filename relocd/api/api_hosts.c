// SPDX-License-Identifier: Apache-2.0
// /v1/hosts, and of /v1/cluster what concerns all hosts: status, certificates, who leaves.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "relocd/cluster/hosts.h"
#include "relocd/cluster/trust.h"
#include "relocd/peers/forward.h"

#include <string.h>

static json_t *hosts_of(struct request *q, struct error *err)
{
	struct peer_caller caller;
	peer_caller_of(q, &caller);
	if (!forward_is_local(q))
		return hosts_all(q->d, &caller, err);
	json_t *self = hosts_self(q->d, err);
	return self ? json_pack("[o]", self) : NULL;
}

int api_hosts(struct request *q, struct error *err)
{
	q->data = hosts_of(q, err);
	return q->data ? 0 : -1;
}

int api_host_get(struct request *q, struct error *err)
{
	_cleanup_json_ json_t *list = hosts_of(q, err);
	size_t i;
	json_t *host;
	if (!list)
		return -1;
	json_array_foreach (list, i, host) {
		const char *name = json_string_value(json_object_get(host, "name"));
		if (name && !strcmp(name, q->param))
			q->data = json_incref(host);
	}
	return q->data ? 0
		       : error_set(err, ERR_HOST_UNKNOWN, "no host %s in the cluster", q->param);
}

// The host in the path has been passed the request; another one would be a peer's mistake.
static int check_self(const struct request *q, struct error *err)
{
	if (!strcmp(q->param, q->d->config.host))
		return 0;
	return error_set(err, ERR_HOST_UNKNOWN, "this is %s, not %s", q->d->config.host, q->param);
}

int api_host_cordon(struct request *q, struct error *err)
{
	const char *reason = "";
	if (check_self(q, err) < 0 || api_body(q, err, "{s?s}", "reason", &reason) < 0 ||
	    hosts_cordon(q->d, reason, err) < 0)
		return -1;
	q->data = hosts_self(q->d, err);
	return q->data ? 0 : -1;
}

int api_host_uncordon(struct request *q, struct error *err)
{
	if (check_self(q, err) < 0 || api_body(q, err, "{}") < 0 ||
	    hosts_cordon(q->d, NULL, err) < 0)
		return -1;
	q->data = hosts_self(q->d, err);
	return q->data ? 0 : -1;
}

int api_host_check(struct request *q, struct error *err)
{
	if (check_self(q, err) < 0)
		return -1;
	q->data = json_pack("{s:o}", "checks", hosts_check(q->d));
	return 0;
}

int api_cluster_status(struct request *q, struct error *err)
{
	struct peer_caller caller;
	peer_caller_of(q, &caller);
	q->data = hosts_cluster(q->d, forward_is_local(q) ? NULL : &caller, err);
	return q->data ? 0 : -1;
}

// ---- certificates -------------------------------------------------------------------------------

int api_cluster_renew(struct request *q, struct error *err)
{
	const json_t *host = NULL;
	int ca = 0;
	struct peer_caller caller;
	if (api_body(q, err, "{s?o, s?b}", "host", &host, "ca", &ca) < 0)
		return -1;
	if (host && !json_is_null(host) && !json_is_string(host))
		return error_set(err, ERR_USAGE, "\"host\" must be a name");
	peer_caller_of(q, &caller);
	const char *name = json_string_value(host);
	bool self = api_flag(q, "local"); // a peer that asks all
	q->data =
		trust_renew(q->d, &caller, self ? q->d->config.host : name, ca, &q->warnings, err);
	return q->data ? 0 : -1;
}

// Between hosts: a host may have its own certificate signed, and nobody else's.
int api_cluster_sign(struct request *q, struct error *err)
{
	const char *csr;
	if (api_body(q, err, "{s:s}", "csr", &csr) < 0)
		return -1;
	q->data = trust_sign(q->d, csr, q->peer[0] ? q->peer : q->d->config.host, err);
	return q->data ? 0 : -1;
}

int api_cluster_trust(struct request *q, struct error *err)
{
	const char *ca;
	if (api_body(q, err, "{s:s}", "ca", &ca) < 0 || trust_cas(q->d, ca, err) < 0)
		return -1;
	q->data = json_pack("{s:s}", "host", q->d->config.host);
	return 0;
}

// ---- who leaves ---------------------------------------------------------------------------------

static const struct peer_caller *teller(struct request *q, struct peer_caller *caller)
{
	peer_caller_of(q, caller);
	return forward_is_local(q) ? NULL : caller;
}

int api_cluster_revoke(struct request *q, struct error *err)
{
	const char *host, *reason = "";
	struct peer_caller caller;
	if (api_body(q, err, "{s:s, s?s}", "host", &host, "reason", &reason) < 0 ||
	    trust_revoke(q->d, teller(q, &caller), host, reason, &q->warnings, err) < 0)
		return -1;
	q->data = json_pack("{s:s}", "host", host);
	return 0;
}

int api_cluster_remove_host(struct request *q, struct error *err)
{
	const char *host, *reason = "";
	int lost = 0;
	struct peer_caller caller;
	if (api_body(q, err, "{s:s, s?b, s?s}", "host", &host, "lost", &lost, "reason", &reason) <
		    0 ||
	    trust_remove(q->d, teller(q, &caller), host, lost, reason, &q->warnings, err) < 0)
		return -1;
	q->data = json_pack("{s:s}", "host", host);
	return 0;
}
