// SPDX-License-Identifier: Apache-2.0
// In doubt: the vote is cast and the link is gone. Only the source's records can tell; until they
// do, the restored partition stays held. No deadline decides here.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/move/query.h"

#define ASK_EVERY_MS 1000

// relocd has made sure that the other copy is dead, or a person said so.
static bool keep(struct arrival *a)
{
	struct error err;
	uint64_t epoch = (uint64_t)json_integer_value(json_object_get(a->report.keep, "epoch"));
	const char *reason = json_string_value(json_object_get(a->report.keep, "reason"));
	json_decref(take_ptr(a->report.keep));
	if (decision_append_as(a->decision, DECISION_KEPT, epoch, reason, &err) < 0) {
		log_error_of(&err, "keeping the copy of this host");
		return false;
	}
	log_warn("kept by a person's decision, epoch %llu", (unsigned long long)epoch);
	a->def->epoch = epoch;
	return true;
}

static bool was_ended_at_peer(enum decision_type last)
{
	return last == DECISION_ABORT || last == DECISION_REVOKED || last == DECISION_KEPT ||
	       last == DECISION_SETTLED;
}

bool arrival_ask_peer(struct arrival *a)
{
	const char *peer = link_peer(a->link);
	for (;;) {
		struct error err = {0};
		enum decision_type last = DECISION_UNKNOWN;
		if (a->peer_address)
			last = query_peer(a->peer_address, peer, a->host, &a->tls, a->offer->move,
					  a->offer->epoch, &err);
		if (last == DECISION_COMMIT)
			return true;
		if (was_ended_at_peer(last))
			return false;
		log_warn("in doubt: %s says of %s: %s %s", peer, a->offer->move,
			 decision_name(last), err.message);
		report_pause(&a->report, deadline_in_ms(ASK_EVERY_MS));
		report_listen(&a->report);
		if (a->report.keep && keep(a))
			return true;
	}
}
