// SPDX-License-Identifier: Apache-2.0
// departure: one process per outgoing move. Reads what to do from relocd, moves the partition,
// reports.
#include "relocd/departure/departure.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/base/version.h"
#include "relocd/move/steps.h"

#include <signal.h>
#include <string.h>

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

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

static void tell(struct departure *d, const char *outcome, struct error *why)
{
	error_at(why, d->host, d->def ? d->def->name : NULL, phase_name(d->report.phase));
	log_error_of(why, outcome);
	report_event(&d->report, json_pack("{s:s, s:s, s:o, s:o?}", "event", "failed", "outcome",
					   outcome, "error", error_to_json(why), "result",
					   d->def ? result_of(d) : NULL));
}

static int departure_tell_failed(struct departure *d, struct error *why)
{
	if (d->peer)
		error_wrap(why,
			   d->report.state == PHASE_REFUSED ? "cannot move to %s"
							    : "the move to %s failed",
			   d->peer);
	tell(d, phase_name(d->report.state), why);
	return 0;
}

static int departure_tell_done(struct departure *d, struct error *err)
{
	if (d->lost) {
		error_set(err, ERR_BROKEN,
			  "%s went on with the partition, which died before it ran there", d->peer);
		tell(d, "lost", err);
		return 0;
	}
	report_event(&d->report, json_pack("{s:s, s:o}", "event", "done", "result", result_of(d)));
	return 0;
}

// ---- steps --------------------------------------------------------------------------------------

static int departure_check(struct departure *d, struct error *err)
{
	if (departure_validate(d, err) < 0)
		return -1;
	return d->dry_run ? EVENT_CHECKED : EVENT_DONE;
}

#define STEP(at, event, record, action, next) action,
#define EXPECT(at, type)                      NULL,
static int (*const actions[])(struct departure *d, struct error *err) = {
#include "relocd/departure/steps.def"
};

static int act(void *side, size_t row, struct error *err)
{
	return actions[row](side, err);
}

static int record(void *side, enum decision_type type, struct error *err)
{
	struct departure *d = side;
	if (type == DECISION_OPENED)
		d->decision = decision_create(paths_moves(), d->move, DECISION_DEPARTURE, d->epoch,
					      d->def->name, err);
	if (type == DECISION_OPENED)
		return d->decision ? 0 : -1;
	// Revoked, it is here one epoch on.
	uint64_t epoch = type == DECISION_REVOKED ? d->epoch + 1 : d->epoch;
	return decision_append_as(d->decision, type, epoch, NULL, err);
}

// Up to VALIDATE.
static int begin(struct departure *d, struct error *err)
{
	if (report_open(&d->report, &d->start, err) < 0 || read_start(d, err) < 0)
		return -1;
	char who[64];
	snprintf(who, sizeof(who), "departure %s", d->move);
	log_open(who);
	d->began_ns = clock_now_ns();
	d->report.peer = d->peer;
	d->report.epoch = d->epoch;
	if (d->dry_run)
		return 0;
	report_serve(
		&d->report, d->move, "departure",
		json_pack("{s:s, s:I}", "partition", d->def->name, "epoch", (json_int_t)d->epoch));
	return departure_wait_filled(d, err);
}

static int run(struct departure *d)
{
	static const struct steps_side side = {&steps_departure, record, act};
	struct error err = {0};
	unsigned event = begin(d, &err) < 0 ? EVENT_FAILED : EVENT_DONE;
	enum move_phase end = steps_run(&side, d, &d->report, event, &err);
	return end != PHASE_LEFT && end != PHASE_CHECKED;
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
