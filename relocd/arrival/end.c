// SPDX-License-Identifier: Apache-2.0
// How an arrival ends, and who is told.
#include "relocd/arrival/arrival.h"

#include "lib/base/log.h"
#include "relocd/move/talk.h"

void arrival_tell_arrived(struct arrival *a)
{
	struct error err;
	json_t *message =
		json_pack("{s:s, s:s, s:I, s:o}", "op", "arrived", "move", a->offer->move, "epoch",
			  (json_int_t)a->def->epoch, "definition", definition_to_json(a->def));
	if (a->downtime_ms > 0)
		json_object_set_new(message, "downtime_ms", json_real(a->downtime_ms));
	a->untold = report_call(&a->report, message, NULL, &err) < 0;
	if (a->untold)
		log_error_of(&err, "relocd does not know of the arrival");
}

int arrival_answered(struct arrival *a, struct error *err)
{
	(void)err;
	arrival_clear(a);
	return 0;
}

// ---- it runs ------------------------------------------------------------------------------------

// Nobody will ask for the record any more.
int arrival_confirmed(struct arrival *a, struct error *err)
{
	(void)err;
	arrival_demand_fill(a);
	arrival_forget(a, true);
	return 0;
}

// Only the release of the original is missing, which is the peer's business.
int arrival_unconfirmed(struct arrival *a, struct error *err)
{
	log_warn("%s did not confirm the release: %s", link_peer(a->link), err->message);
	arrival_demand_fill(a);
	arrival_forget(a, false);
	return 0;
}

// ---- it does not run ----------------------------------------------------------------------------

void arrival_refuse(struct arrival *a, const struct error *why)
{
	struct error err;
	struct talk_decision refusal = {
		.move = a->offer->move, .epoch = a->offer->epoch, .why = why};
	if (talk_decision(a->link, WIRE_REFUSE, &refusal, &err) < 0)
		log_warn("%s was not told: %s", link_peer(a->link), err.message);
}

// relocd knows of it once it has reserved for it.
static void clear_and_tell(struct arrival *a, bool forget, const struct error *why)
{
	bool known = a->reserved;
	arrival_clear(a);
	arrival_forget(a, forget);
	if (known)
		report_event(&a->report, json_pack("{s:s, s:s, s:s, s:o}", "event", "failed",
						   "outcome", phase_name(a->report.state), "move",
						   a->offer->move, "error", error_to_json(why)));
	a->failed = known;
}

static void say_why(struct arrival *a, struct error *why)
{
	error_at(why, a->host, a->def ? a->def->name : NULL, phase_name(a->report.phase));
	log_error_of(why, "move");
}

int arrival_give_up(struct arrival *a, struct error *why)
{
	say_why(a, why);
	if (a->offer)
		arrival_refuse(a, why);
	clear_and_tell(a, true, why);
	return 0;
}

// Both sides know.
int arrival_end(struct arrival *a, struct error *why)
{
	say_why(a, why);
	clear_and_tell(a, true, why);
	return 0;
}

// This host has on disk that it never will.
int arrival_return(struct arrival *a, struct error *why)
{
	say_why(a, why);
	return 0;
}

// The peer will ask for the record.
int arrival_never_ran(struct arrival *a, struct error *why)
{
	clear_and_tell(a, false, why);
	return 0;
}

// The partition is this host's, which keeps what is known of it.
int arrival_lost(struct arrival *a, struct error *why)
{
	say_why(a, why);
	a->kept = true;
	clear_and_tell(a, false, why);
	return 0;
}
