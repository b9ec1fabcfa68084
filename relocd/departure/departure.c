// SPDX-License-Identifier: Apache-2.0
// departure: one process per outgoing move. Reads what to do from relocd, moves the partition,
// reports.
#include "relocd/departure/departure.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/version.h"
#include "relocd/move/talk.h"

#include <signal.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

#define KILL_MS         20000
#define DEADLINE_MAX_MS (365ll * 24 * 3600 * 1000)

static void read_deadline(struct departure *d, const json_t *options)
{
	json_int_t ms = json_integer_value(json_object_get(options, "deadline_ms"));
	if (ms > 0)
		d->report.deadline = deadline_in_ms(ms < DEADLINE_MAX_MS ? ms : DEADLINE_MAX_MS);
}

static int read_downtime(struct departure *d, const json_t *options, struct error *err)
{
	const char *policy = text_at(options, "on_diverge"),
		   *compress = text_at(options, "compress"), *restore = text_at(options, "restore");
	d->max_downtime_ms = json_number_value(json_object_get(options, "max_downtime_ms"));
	d->strict_downtime = json_is_true(json_object_get(options, "strict_downtime"));
	d->bandwidth = (uint64_t)json_integer_value(json_object_get(options, "bandwidth_bytes"));
	d->streams = (unsigned)json_integer_value(json_object_get(options, "streams"));
	if ((compress && squeeze_parse(compress, &d->compress, err) < 0) ||
	    (restore && restore_parse(restore, &d->restore, err) < 0))
		return -1;
	return policy ? converge_policy_of(policy, &d->on_diverge, err) : 0;
}

static int read_start(struct departure *d, struct error *err)
{
	json_error_t why;
	const char *ca, *cert, *key;
	json_t *definition;
	json_int_t epoch;
	if (json_unpack_ex(d->start, &why, 0,
			   "{s:s, s:I, s:s, s:o, s:{s:s, s:s}, s:{s:s, s:s, s:s}}", "move",
			   &d->move, "epoch", &epoch, "host", &d->host, "definition", &definition,
			   "peer", "name", &d->peer, "address", &d->peer_address, "tls", "ca", &ca,
			   "cert", &cert, "key", &key) < 0)
		return error_set(err, ERR_INTERNAL, "relocd's start message is malformed: %s",
				 why.text);
	const json_t *options = json_object_get(d->start, "options");
	d->epoch = (uint64_t)epoch;
	d->tls = (struct link_tls){.ca = ca, .cert = cert, .key = key};
	d->dry_run = json_is_true(json_object_get(options, "dry_run"));
	d->end_exec = json_is_true(json_object_get(options, "end_exec"));
	read_deadline(d, options);
	d->rounds = json_array();
	d->def = definition_from_json(definition, err);
	if (!d->def || read_downtime(d, options, err) < 0)
		return -1;
	d->engine = memory_engine_find(text_at(options, "engine"), d->engine_why,
				       sizeof(d->engine_why), err);
	return d->engine ? 0 : -1;
}

static json_t *result_of(struct departure *d)
{
	json_t *result = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:I, s:o}", "move", d->move,
				   "partition", d->def->name, "from", d->host, "to", d->peer,
				   "downtime_ms", d->downtime_ms, "total_ms",
				   clock_ms_since(d->began_ns), "transferred_bytes",
				   (json_int_t)d->sent_bytes, "phases", report_phases(&d->report));
	if (result && d->engine && !d->dry_run) {
		json_object_set_new(result, "engine", json_string(d->engine->name));
		json_object_set(result, "rounds", d->rounds);
		json_object_set(result, "final", d->final);
		json_object_set_new(result, "compress", json_string(squeeze_name(d->compress)));
		json_object_set_new(result, "streams", json_integer((json_int_t)d->streams));
	}
	if (result && d->engine && !d->engine->round && d->downtime_ms > 0) {
		snprintf(d->limited_by, sizeof(d->limited_by),
			 "memory: it was copied while the partition stood still");
		d->advice = "engine track, where both hosts can do it (--engine)";
	}
	if (result && d->limited_by[0])
		json_object_set_new(result, "limited_by", json_string(d->limited_by));
	if (result && d->advice)
		json_object_set_new(result, "advice", json_string(d->advice));
	// As the destination measured them: without the way there and back.
	if (result && d->restore_ms > 0)
		json_object_set_new(result, "restore_ms", json_real(d->restore_ms));
	if (result && d->switch_ms > 0)
		json_object_set_new(result, "switch_ms", json_real(d->switch_ms));
	return result;
}

static void tell_failure(struct departure *d, const char *outcome, struct error *why)
{
	if (d->peer)
		error_wrap(why,
			   strcmp(outcome, "refused") ? "the move to %s failed"
						      : "cannot move to %s",
			   d->peer);
	error_at(why, d->host, d->def ? d->def->name : NULL, phase_name(d->report.phase));
	log_error_of(why, outcome);
	report_event(&d->report, json_pack("{s:s, s:s, s:o, s:o?}", "event", "failed", "outcome",
					   outcome, "error", error_to_json(why), "result",
					   d->def ? result_of(d) : NULL));
}

static void tell_done(struct departure *d)
{
	report_event(&d->report, json_pack("{s:s, s:o}", "event", "done", "result", result_of(d)));
}

// From the last object on an abort is on disk before anything runs again; if it cannot be, the
// original stays frozen: the peer may have been told to run, for all that the file says.
static int record_abort(struct departure *d, struct error *err)
{
	if (!d->decision || decision_last(d->decision) != DECISION_FINAL)
		return 0;
	return decision_append(d->decision, DECISION_ABORT, err);
}

// First the partition runs again, then the peer is told: it can do nothing without a COMMIT, and
// telling it may take long on a link that is cut.
static bool tell_abort(struct departure *d, const struct error *why)
{
	struct error err;
	struct talk_decision abort = {.move = d->move, .epoch = d->epoch, .why = why};
	if (d->link && talk_decision(d->link, WIRE_ABORT, &abort, &err) == 0)
		return true;
	if (d->link)
		log_warn("could not tell %s of the abort: %s", d->peer, err.message);
	return false;
}

// Its processes can never run again: the addresses are free, the rest is relocd's to clear away.
static void give_up(struct departure *d)
{
	struct error err;
	departure_give_back(d);
	if (cgroup_kill(d->cgroup, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "killing what is left");
	d->frozen = false;
}

// False: the partition is lost; *why then says so.
static bool abort_move(struct departure *d, struct error *why)
{
	struct error lost;
	bool broken = departure_undump(d, &lost) < 0;
	if (broken)
		give_up(d);
	else
		departure_thaw(d);
	departure_settle(d, tell_abort(d, why));
	departure_unprepare(d);
	if (broken)
		*why = lost;
	return !broken;
}

static enum departure_end move(struct departure *d, struct error *err)
{
	if (departure_prepare(d, err) < 0 || (d->def->image && departure_copy_upper(d, err) < 0) ||
	    departure_precopy(d, err) < 0 || departure_freeze(d, err) < 0 ||
	    departure_final(d, err) < 0) {
		departure_reason(d, err);
		return DEPARTURE_STAYS;
	}
	return departure_decide(d, err);
}

static int run(struct departure *d)
{
	struct error err = {0};
	if (report_open(&d->report, &d->start, &err) < 0 || read_start(d, &err) < 0) {
		tell_failure(d, "refused", &err);
		return 1;
	}
	char who[64];
	snprintf(who, sizeof(who), "departure %s", d->move);
	log_open(who);
	d->began_ns = clock_now_ns();
	if (!d->dry_run)
		report_serve(&d->report, d->move, "departure",
			     json_pack("{s:s, s:I}", "partition", d->def->name, "epoch",
				       (json_int_t)d->epoch));
	if (!d->dry_run && departure_wait_filled(d, &err) < 0) {
		tell_failure(d, "refused", &err);
		return 1;
	}
	report_phase(&d->report, PHASE_VALIDATE);
	if (departure_validate(d, &err) < 0) {
		tell_failure(d, "refused", &err);
		return 1;
	}
	if (d->dry_run) {
		tell_done(d);
		return 0;
	}
	switch (move(d, &err)) {
	case DEPARTURE_LEFT:
		departure_unprepare(d);
		tell_done(d);
		return 0;
	case DEPARTURE_IN_DOUBT:
		tell_failure(d, "in-doubt", &err);
		return 1;
	case DEPARTURE_STAYS:
		break;
	}
	struct error unrecorded;
	if (record_abort(d, &unrecorded) < 0) {
		tell_failure(d, "in-doubt", &unrecorded);
		return 1;
	}
	tell_failure(d, abort_move(d, &err) ? "aborted" : "broken", &err);
	return 1;
}

static void release(struct departure *d)
{
	departure_close_image(d);
	link_close(d->link);
	report_close(&d->report, true);
	manifest_free(&d->manifest);
	cgroup_close(d->cgroup);
	definition_free(d->def);
	json_decref(d->rounds);
	json_decref(d->final);
	json_decref(d->start);
	if (d->keeper >= 0)
		close(d->keeper);
}

int main(int argc, char **argv)
{
	if (version_asked(argc, argv, "departure"))
		return 0;
	struct departure d = {.keeper = -1,
			      .images = -1,
			      .image = -1,
			      .upper = -1,
			      .blank = -1,
			      .cpu_percent = 100,
			      .status.pidfd = -1,
			      .report = {.fd = -1, .listener = -1}};
	log_open("departure");
	fault_begin("departure");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN); // relocd's end is not ours; `cancel` ends a move
	int status = run(&d);
	release(&d);
	return status;
}
