// SPDX-License-Identifier: Apache-2.0
// In doubt: the vote is cast and the link is gone. Only the source's records can tell; until they
// do, the restored partition stays held. No deadline decides here.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/move/query.h"
#include "relocd/move/steps.h"

#define ASK_EVERY_MS 1000

static bool was_ended_at_peer(enum decision_type last)
{
	return last == DECISION_ABORT || last == DECISION_REVOKED || last == DECISION_KEPT ||
	       last == DECISION_SETTLED;
}

static void tell(struct arrival *a, struct error *why)
{
	error_at(why, a->host, a->def->name, phase_name(a->report.phase));
	log_error_of(why, "in doubt");
	report_event(&a->report,
		     json_pack("{s:s, s:s, s:s, s:o}", "event", "failed", "outcome", "in-doubt",
			       "move", a->offer->move, "error", error_to_json(why)));
	a->in_doubt = true;
	link_cut(a->link); // a source that waits for the vote stands still meanwhile
}

int arrival_ask(struct arrival *a, struct error *why)
{
	const char *peer = link_peer(a->link);
	if (!a->in_doubt)
		tell(a, why);
	else // what was known could not be recorded
		report_pause(&a->report, deadline_in_ms(ASK_EVERY_MS));
	while (decision_last(a->decision) != DECISION_KEPT) {
		struct error err = {0};
		if (arrival_copy_died(a, why))
			return EVENT_DIED;
		enum decision_type last = DECISION_UNKNOWN;
		if (a->peer_address)
			last = query_peer(a->peer_address, peer, a->host, &a->tls, a->offer->move,
					  a->offer->epoch, NULL, &err);
		if (last == DECISION_COMMIT)
			return EVENT_COMMITTED;
		if (was_ended_at_peer(last))
			return EVENT_ENDED;
		log_warn("in doubt: %s says of %s: %s %s", peer, a->offer->move,
			 decision_name(last), err.message);
		report_pause(&a->report, deadline_in_ms(ASK_EVERY_MS));
		report_listen(&a->report);
		if (a->report.keep)
			return EVENT_KEEP;
	}
	return EVENT_COMMITTED;
}

// relocd has made sure that the other copy is dead, or a person said so.
int arrival_record_keep(struct arrival *a, struct error *err)
{
	_cleanup_json_ json_t *order = take_ptr(a->report.keep);
	uint64_t epoch = (uint64_t)json_integer_value(json_object_get(order, "epoch"));
	const char *reason = json_string_value(json_object_get(order, "reason"));
	if (decision_append_as(a->decision, DECISION_KEPT, epoch, reason, err) < 0)
		return error_wrap(err, "keeping the copy of this host");
	log_warn("kept by a person's decision, epoch %llu", (unsigned long long)epoch);
	a->def->epoch = epoch;
	return 0;
}
