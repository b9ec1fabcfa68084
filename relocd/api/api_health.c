// SPDX-License-Identifier: Apache-2.0
// /healthz: relocd answers. /readyz: it can do its work.
#include "relocd/api/api_handlers.h"

#include "lib/base/cleanup.h"
#include "relocd/cluster/cluster.h"

#include <unistd.h>

int api_health(struct request *q, struct error *err)
{
	(void)err;
	q->data = json_pack("{s:b}", "ok", 1);
	return 0;
}

static bool add(json_t *checks, const char *check, bool ok, const char *message)
{
	json_array_append_new(checks, json_pack("{s:s, s:b, s:s?}", "check", check, "ok", ok,
						"message", ok ? NULL : message));
	return ok;
}

static bool check_all(struct daemon *d, json_t *checks)
{
	struct error err = {0};
	char time[CLOCK_TEXT_MAX];
	bool registry =
		registry_meta_put(d->registry, "ready-checked", clock_rfc3339(time), &err) == 0;
	bool ok = add(checks, "registry", registry, err.message);
	ok &= add(checks, "moves", d->resumed,
		  "what an earlier relocd was doing is being taken up");
	ok &= add(checks, "peers", !cluster_member(d) || d->listener,
		  "peers cannot connect: look at listen in relocd.yaml and at the log");
	ok &= add(checks, "running", !d->stopping, "relocd is stopping");
	return ok;
}

int api_ready(struct request *q, struct error *err)
{
	json_t *checks = json_array();
	(void)err;
	daemon_lock(q->d);
	bool ok = check_all(q->d, checks);
	daemon_unlock(q->d);
	q->data = json_pack("{s:b, s:o}", "ok", ok, "checks", checks);
	if (!ok)
		q->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	return 0;
}
