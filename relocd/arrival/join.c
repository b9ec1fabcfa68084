// SPDX-License-Identifier: Apache-2.0
// A host without a certificate brings its one-time token: relocd checks it and signs.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "relocd/move/talk.h"

#include <string.h>

#define JOIN_MS   10000
#define HOSTS_MAX 1024

static json_t *request_of(const struct link_message *message, struct error *err)
{
	Wpar__Join *join = message->type == WIRE_JOIN
				   ? wpar__join__unpack(NULL, message->length, message->payload)
				   : NULL;
	if (!join) {
		error_set(err, ERR_PROTOCOL, "JOIN is malformed");
		return NULL;
	}
	json_t *request = json_pack("{s:s, s:s, s:s, s:s, s:s}", "op", "join", "token", join->token,
				    "csr", join->csr, "name", join->name, "address", join->address);
	wpar__join__free_unpacked(join, NULL);
	if (!request)
		error_set(err, ERR_PROTOCOL, "JOIN holds text that is not UTF-8");
	return request;
}

static int send_error(struct arrival *a, const struct error *why, struct error *err)
{
	Wpar__Joined joined = WPAR__JOINED__INIT;
	_cleanup_json_ json_t *object = error_to_json(why);
	_cleanup_free_ char *text = json_dumps(object, JSON_COMPACT);
	joined.error = text;
	return talk_send(a->link, WIRE_JOINED, &joined.base, err);
}

static int send_joined(struct arrival *a, const json_t *answer, struct error *err)
{
	Wpar__Joined joined = WPAR__JOINED__INIT;
	const json_t *hosts = json_object_get(answer, "hosts");
	size_t count = json_array_size(hosts) < HOSTS_MAX ? json_array_size(hosts) : HOSTS_MAX;
	_cleanup_free_ Wpar__Host *host = calloc(count + 1, sizeof(*host));
	_cleanup_free_ Wpar__Host **list = calloc(count + 1, sizeof(*list));
	if (!host || !list)
		return error_set(err, ERR_NOMEM, "no memory for the hosts");
	for (size_t i = 0; i < count; i++) {
		const json_t *entry = json_array_get(hosts, i);
		wpar__host__init(&host[i]);
		host[i].name = (char *)json_string_value(json_object_get(entry, "name"));
		host[i].address = (char *)json_string_value(json_object_get(entry, "address"));
		list[i] = &host[i];
		if (!host[i].name || !host[i].address)
			return error_set(err, ERR_INTERNAL, "relocd's list of hosts is malformed");
	}
	joined.cert = (char *)json_string_value(json_object_get(answer, "cert"));
	joined.ca = (char *)json_string_value(json_object_get(answer, "ca"));
	joined.hosts = list;
	joined.n_hosts = count;
	return talk_send(a->link, WIRE_JOINED, &joined.base, err);
}

int arrival_join(struct arrival *a, struct error *err)
{
	struct link_message message;
	struct error why = {0};
	_cleanup_json_ json_t *answer = NULL;
	int got = link_recv(a->link, deadline_in_ms(JOIN_MS), &message, err);
	if (got <= 0)
		return got ? -1 : error_set(err, ERR_DEADLINE, "no JOIN came in time");
	json_t *request = request_of(&message, err);
	link_done(a->link, &message);
	if (!request)
		return -1;
	if (report_call(&a->report, request, &answer, &why) < 0) {
		if (send_error(a, &why, err) == 0)
			*err = why;
		return -1;
	}
	return send_joined(a, answer, err);
}
