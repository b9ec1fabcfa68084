// SPDX-License-Identifier: Apache-2.0
// /v1/hosts, /v1/cluster, /v1/version.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "relocd/cluster/cluster.h"
#include "relocd/move/talk.h"

int api_version(struct request *q, struct error *err)
{
	(void)err;
	q->data = json_pack("{s:s, s:i, s:i, s:s}", "version", WPAR_VERSION, "api", 1, "protocol",
			    TALK_PROTOCOL, "host", q->d->config.host);
	return 0;
}

int api_cluster_init(struct request *q, struct error *err)
{
	if (api_body(q, err, "{}") < 0 || cluster_init(q->d, err) < 0)
		return -1;
	q->data = json_pack("{s:s}", "host", q->d->config.host);
	return 0;
}

int api_cluster_add_host(struct request *q, struct error *err)
{
	const char *name, *address;
	_cleanup_free_ char *token = NULL;
	if (api_body(q, err, "{s:s, s:s}", "name", &name, "address", &address) < 0 ||
	    cluster_invite(q->d, name, address, &token, err) < 0)
		return -1;
	q->data = json_pack("{s:s}", "token", token);
	return 0;
}

int api_cluster_join(struct request *q, struct error *err)
{
	const char *token;
	json_t *notes = NULL;
	if (api_body(q, err, "{s:s}", "token", &token) < 0 ||
	    cluster_join(q->d, token, &notes, err) < 0)
		return -1;
	q->data = json_pack("{s:s, s:o}", "host", q->d->config.host, "notes", notes);
	return 0;
}
