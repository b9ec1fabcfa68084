// SPDX-License-Identifier: Apache-2.0
// arrival: one process per connection that a peer opens. relocd has read the preamble and nothing
// else.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/base/version.h"
#include "relocd/move/checks.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define SOCKET       4
#define HANDSHAKE_MS 10000
#define OFFER_MS     10000
#define PHASE_MS     180000 // without a message of the peer

static int on_abort(struct arrival *a, const struct link_message *message, struct error *err)
{
	Wpar__Decision *decision =
		talk_read_decision(message, a->offer->move, a->offer->epoch, err);
	if (!decision)
		return -1;
	talk_reason(decision, link_peer(a->link), err);
	wpar__decision__free_unpacked(decision, NULL);
	a->over = true;
	return -1;
}

static int on_released(struct arrival *a, const struct link_message *message, struct error *err)
{
	(void)message;
	(void)err;
	a->over = true;
	return 0;
}

static void tell_arrived(struct arrival *a)
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

// All that the move needed here is given back before relocd may begin another one.
static void settle(struct arrival *a)
{
	arrival_finish(a);
	tell_arrived(a);
}

static int on_commit(struct arrival *a, const struct link_message *message, struct error *err)
{
	int done = arrival_on_commit(a, message, err);
	if (a->resumed)
		settle(a);
	return done;
}

static int on_ping(struct arrival *a, const struct link_message *message, struct error *err)
{
	(void)a;
	(void)message;
	(void)err;
	return 0;
}

// Which message of the peer may come when, and what is done then.
static const struct {
	uint16_t type;
	unsigned phases;
	int (*handle)(struct arrival *a, const struct link_message *message, struct error *err);
} rules[] = {
	{WIRE_ROUND, TALK_IN(PHASE_PRECOPY), arrival_on_round},
	{WIRE_MARK, TALK_IN(PHASE_PRECOPY) | TALK_IN(PHASE_FINAL), arrival_on_mark},
	{WIRE_FROZEN, TALK_IN(PHASE_PRECOPY), arrival_on_frozen},
	{WIRE_OBJECT, TALK_IN(PHASE_FINAL), arrival_on_object},
	{WIRE_CHUNK, TALK_IN(PHASE_FINAL), arrival_on_chunk},
	{WIRE_OBJECT_END, TALK_IN(PHASE_FINAL), arrival_on_object_end},
	{WIRE_PAGES, TALK_IN(PHASE_PRECOPY) | TALK_IN(PHASE_FINAL), arrival_on_pages},
	{WIRE_HELD, TALK_IN(PHASE_FINAL), arrival_on_held},
	{WIRE_UPPER, TALK_IN(PHASE_PRECOPY) | TALK_IN(PHASE_FINAL), arrival_on_upper},
	{WIRE_UPPER_END, TALK_IN(PHASE_FINAL), arrival_on_upper_end},
	{WIRE_MANIFEST, TALK_IN(PHASE_FINAL), arrival_on_manifest},
	{WIRE_COMMIT, TALK_IN(PHASE_COMMIT), on_commit},
	{WIRE_RELEASED, TALK_IN(PHASE_RELEASE), on_released},
	{WIRE_ABORT,
	 TALK_IN(PHASE_PREPARE) | TALK_IN(PHASE_PRECOPY) | TALK_IN(PHASE_FINAL) |
		 TALK_IN(PHASE_RESTORE) | TALK_IN(PHASE_COMMIT),
	 on_abort},
	{WIRE_PING, ~0u, on_ping},
};

int arrival_dispatch(struct arrival *a, const struct link_message *message, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].type == message->type && (rules[i].phases & TALK_IN(a->report.phase)))
			return rules[i].handle(a, message, err);
	return error_set(err, ERR_PROTOCOL, "message %s of %s is not legal in phase %s",
			 wire_name(message->type), link_peer(a->link), phase_name(a->report.phase));
}

static int wait_for_something(struct arrival *a, deadline_t deadline, struct error *err)
{
	arrival_streams_accept(a); // what relocd passed on may have been heard at any time
	struct pollfd fds[2 + ARRIVAL_STREAMS_MAX + DEFINITION_NETWORKS_MAX] = {
		{.fd = link_fd(a->link), .events = POLLIN},
		{.fd = report_fd(&a->report), .events = POLLIN}};
	size_t count = 2 + arrival_streams_poll(a, fds + 2);
	count += cable_poll(&a->cable, fds + count);
	if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
		return error_sys(err, ERR_SYSTEM, errno, "poll failed");
	report_listen(&a->report);
	return cable_collect(&a->cable, err);
}

// Before the vote a cancel ends the move here; afterwards only the peer can decide.
int arrival_check_cancel(struct arrival *a, struct error *err)
{
	report_listen(&a->report);
	if (!a->report.cancelled || a->report.phase >= PHASE_COMMIT)
		return 0;
	return error_set(err, ERR_CANCELLED, "the move was cancelled on %s", a->host);
}

int arrival_listen(struct arrival *a, struct error *err)
{
	struct link_message message;
	int got;
	report_listen(&a->report);
	while ((got = link_recv(a->link, deadline_in_ms(0), &message, err)) > 0) {
		got = arrival_dispatch(a, &message, err);
		link_done(a->link, &message);
		if (got < 0)
			return -1;
	}
	return got < 0 ? -1 : arrival_check_cancel(a, err);
}

// A message of each connection; 0: there is none.
static int take_some(struct arrival *a, struct error *err)
{
	struct link_message message;
	int further = arrival_streams_step(a, err);
	if (further < 0)
		return -1;
	int got = link_recv(a->link, deadline_in_ms(0), &message, err);
	if (got <= 0)
		return got < 0 ? -1 : further;
	got = arrival_dispatch(a, &message, err);
	link_done(a->link, &message);
	return got < 0 ? -1 : 1;
}

static int serve(struct arrival *a, struct error *err)
{
	deadline_t deadline = deadline_in_ms(PHASE_MS);
	while (!a->over) {
		int got = take_some(a, err);
		if (got > 0) {
			deadline = deadline_in_ms(PHASE_MS);
			continue;
		}
		if (got < 0 || arrival_check_cancel(a, err) < 0)
			return -1;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "%s fell silent in phase %s",
					 link_peer(a->link), phase_name(a->report.phase));
		if (wait_for_something(a, deadline, err) < 0)
			return -1;
	}
	return 0;
}

static void tell_failed(struct arrival *a, const char *outcome, const struct error *why)
{
	report_event(&a->report,
		     json_pack("{s:s, s:s, s:s, s:o}", "event", "failed", "outcome", outcome,
			       "move", a->offer->move, "error", error_to_json(why)));
}

static void refuse(struct arrival *a, const struct error *why)
{
	struct error err;
	struct talk_decision refusal = {
		.move = a->offer->move, .epoch = a->offer->epoch, .why = why};
	if (!a->over && talk_decision(a->link, WIRE_REFUSE, &refusal, &err) < 0)
		log_warn("%s was not told: %s", link_peer(a->link), err.message);
}

// The partition runs here; only the release of the original is missing, which is the peer's
// business.
static int end_running(struct arrival *a, const struct error *why)
{
	if (why)
		log_warn("%s did not confirm the release: %s", link_peer(a->link), why->message);
	arrival_demand_fill(a);
	arrival_forget(a, a->over); // RELEASED has come: nobody will ask
	return 0;
}

static int end_failed(struct arrival *a, struct error *why)
{
	error_at(why, a->host, a->def->name, phase_name(a->report.phase));
	log_error_of(why, "move");
	bool broken = a->decision && decision_last(a->decision) == DECISION_RESUMING;
	bool voted = a->decision && decision_last(a->decision) == DECISION_PREPARED;
	if (voted && !a->over) {
		tell_failed(a, "in-doubt", why);
		if (arrival_ask_peer(a)) {
			if (arrival_resume(a, why) == 0) {
				settle(a);
				return end_running(a, NULL);
			}
			broken = true;
		}
	}
	if (!broken && !voted)
		refuse(a, why);
	arrival_clear(a);
	// A voted arrival ends only with the peer's abort of this epoch: both sides know. One that
	// was committed and did not come to run keeps its record: the peer will ask.
	arrival_forget(a, !broken);
	tell_failed(a, broken ? "broken" : "aborted", why);
	a->failed = true;
	return 1;
}

static int send_checks(struct arrival *a, json_t *checks, struct error *err)
{
	_cleanup_free_ char *text = json_dumps(checks, JSON_COMPACT);
	Wpar__Checks message = WPAR__CHECKS__INIT;
	if (!text)
		return error_set(err, ERR_NOMEM, "no memory for the checks");
	message.checks = text;
	message.ok = checks_ok(checks);
	message.has_rounds = message.rounds = true;
	message.has_on_demand = true;
	message.on_demand = arrival_demand_possible(a);
	return talk_send(a->link, WIRE_CHECKS, &message.base, err);
}

static int take_offer(struct arrival *a, const struct link_message *message, struct error *err)
{
	a->offer = wpar__offer__unpack(NULL, message->length, message->payload);
	if (!a->offer || !a->offer->move[0] || strlen(a->offer->move) >= DECISION_MOVE_MAX ||
	    !manifest_name_ok(a->offer->move) || a->offer->n_stdio != 2)
		return error_set(err, ERR_PROTOCOL, "OFFER of %s is malformed", link_peer(a->link));
	a->def = definition_from_text(a->offer->definition, strlen(a->offer->definition), err);
	if (!a->def)
		return -1;
	a->def->epoch = a->offer->epoch;
	free(a->def->owner);
	a->def->owner = strdup(a->host);
	return a->def->owner ? 0 : error_set(err, ERR_NOMEM, "no memory for a definition");
}

static int on_offer(struct arrival *a, const struct link_message *message)
{
	struct error err = {0};
	report_phase(&a->report, PHASE_VALIDATE);
	if (take_offer(a, message, &err) < 0) {
		log_error_of(&err, "offer");
		if (a->offer)
			refuse(a, &err);
		return 1;
	}
	char who[64];
	snprintf(who, sizeof(who), "arrival %s", a->offer->move);
	log_open(who);
	if (!a->offer->dry_run)
		report_serve(&a->report, a->offer->move, "arrival",
			     json_pack("{s:s, s:s, s:I}", "partition", a->def->name, "peer",
				       link_peer(a->link), "epoch", (json_int_t)a->offer->epoch));
	_cleanup_json_ json_t *checks = arrival_checks(a);
	int sent = send_checks(a, checks, &err);
	if (a->offer->dry_run || !checks_ok(checks)) {
		arrival_clear(a);
		return sent < 0;
	}
	struct talk_decision arranged = {.move = a->offer->move,
					 .epoch = a->offer->epoch,
					 .token = a->has_token ? a->token : NULL};
	report_phase(&a->report, PHASE_PREPARE);
	if (sent < 0 || arrival_prepare(a, &err) < 0 ||
	    talk_decision(a->link, WIRE_ARRANGED, &arranged, &err) < 0)
		return end_failed(a, &err);
	report_phase(&a->report, PHASE_PRECOPY);
	int served = serve(a, &err);
	if (a->resumed)
		return end_running(a, served < 0 ? &err : NULL);
	return served < 0 ? end_failed(a, &err) : 0;
}

// What this host's decision files say of a move, whichever side it was.
static int on_query(struct arrival *a, const struct link_message *message)
{
	struct error err;
	Wpar__Query *query = wpar__query__unpack(NULL, message->length, message->payload);
	Wpar__State state = WPAR__STATE__INIT;
	uint64_t epoch = 0;
	if (!query || !manifest_name_ok(query->move) || strlen(query->move) >= DECISION_MOVE_MAX) {
		if (query)
			wpar__query__free_unpacked(query, NULL);
		return 1;
	}
	enum decision_type last =
		decision_read(paths_moves(), query->move, DECISION_DEPARTURE, &epoch);
	if (last == DECISION_NONE)
		last = decision_read(paths_moves(), query->move, DECISION_ARRIVAL, &epoch);
	state.move = query->move;
	state.epoch = epoch;
	state.last_record = (char *)decision_name(last);
	int done = talk_send(a->link, WIRE_STATE, &state.base, &err);
	wpar__query__free_unpacked(query, NULL);
	return done < 0;
}

static int register_peer(struct arrival *a, const char *address, struct error *err)
{
	a->peer_address = address ? strdup(address) : NULL;
	return report_call(&a->report,
			   json_pack("{s:s, s:s, s:s, s:s?}", "op", "peer", "name",
				     link_peer(a->link), "key", link_peer_key(a->link), "address",
				     address),
			   NULL, err);
}

static int greet(struct arrival *a, struct error *err)
{
	Wpar__Hello *hello;
	const char *address = json_string_value(json_object_get(a->start, "address"));
	if (talk_hello(a->link, a->host, address, deadline_in_ms(HANDSHAKE_MS), &hello, err) < 0)
		return -1;
	a->unwanted = register_peer(a, hello->address, err) < 0;
	wpar__hello__free_unpacked(hello, NULL);
	return 0;
}

// relocd does not want this peer: whatever it asks is answered with why. Returns -1.
static int refuse_peer(struct arrival *a, const struct error *why)
{
	struct link_message message;
	struct error err;
	if (link_recv(a->link, deadline_in_ms(OFFER_MS), &message, &err) <= 0)
		return -1;
	if (message.type == WIRE_CALL)
		arrival_refuse_call(a, why);
	else if (message.type == WIRE_OFFER && take_offer(a, &message, &err) == 0)
		refuse(a, why);
	link_done(a->link, &message);
	return -1;
}

static int first_message(struct arrival *a, struct error *err)
{
	struct link_message message;
	int got = link_recv(a->link, deadline_in_ms(OFFER_MS), &message, err);
	if (got <= 0)
		return 0; // a peer that only wanted to be known
	int status = 1;
	if (message.type == WIRE_OFFER)
		status = on_offer(a, &message);
	else if (message.type == WIRE_QUERY)
		status = on_query(a, &message);
	else if (message.type == WIRE_CALL)
		status = arrival_call(a, &message);
	else
		log_warn("%s began with %s", link_peer(a->link), wire_name(message.type));
	link_done(a->link, &message);
	return status;
}

static int run(struct arrival *a, struct error *err)
{
	if (report_open(&a->report, &a->start, err) < 0)
		return -1;
	const char *ca = NULL, *cert = NULL, *key = NULL;
	int join = 0;
	json_error_t why;
	if (json_unpack_ex(a->start, &why, 0, "{s:s, s:b, s:{s:s, s:s, s:s}}", "host", &a->host,
			   "join", &join, "tls", "ca", &ca, "cert", &cert, "key", &key) < 0)
		return error_set(err, ERR_INTERNAL, "relocd's start message is malformed: %s",
				 why.text);
	a->tls = (struct link_tls){.ca = ca, .cert = cert, .key = key};
	a->link = link_accept(SOCKET, join, &a->tls, deadline_in_ms(HANDSHAKE_MS), err);
	if (!a->link)
		return -1;
	if (join)
		return arrival_join(a, err);
	if (greet(a, err) < 0)
		return -1;
	return a->unwanted ? refuse_peer(a, err) : first_message(a, err);
}

static void release(struct arrival *a)
{
	arrival_streams_close(a); // the peer has closed them by now, or is about to
	link_close(a->link);
	if (a->untold && report_wait_relocd(&a->report, deadline_in_ms(REPORT_LINGER_MS)))
		tell_arrived(a);
	report_close(&a->report, a->failed);
	if (a->offer)
		wpar__offer__free_unpacked(a->offer, NULL);
	definition_free(a->def);
	free(a->peer_address);
	json_decref(a->start);
}

int main(int argc, char **argv)
{
	if (version_asked(argc, argv, "arrival"))
		return 0;
	struct arrival a = {.keeper = -1,
			    .criu_pidfd = -1,
			    .images = -1,
			    .image = -1,
			    .upper = -1,
			    .object.fd = -1,
			    .report = {.fd = -1, .listener = -1},
			    .auditor = {.channel = -1, .pidfd = -1}};
	struct error err = {0};
	log_open("arrival");
	fault_begin("arrival");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN); // relocd's end is not ours
	int status = run(&a, &err);
	if (status < 0)
		log_error_of(&err, "connection");
	release(&a);
	return status != 0;
}
