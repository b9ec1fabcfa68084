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
#include "relocd/move/steps.h"
#include "relocd/move/talk.h"

#include <signal.h>
#include <string.h>

#define SOCKET       4
#define HANDSHAKE_MS 10000
#define OFFER_MS     10000

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
	a->report.peer = link_peer(a->link);
	a->def->epoch = a->report.epoch = a->offer->epoch;
	free(a->def->owner);
	a->def->owner = strdup(a->host);
	return a->def->owner ? 0 : error_set(err, ERR_NOMEM, "no memory for a definition");
}

int arrival_check(struct arrival *a, struct error *err)
{
	char who[64];
	if (take_offer(a, &a->message, err) < 0)
		return -1;
	snprintf(who, sizeof(who), "arrival %s", a->offer->move);
	log_open(who);
	if (!a->offer->dry_run)
		report_serve(&a->report, a->offer->move, "arrival",
			     json_pack("{s:s, s:s, s:I}", "partition", a->def->name, "peer",
				       link_peer(a->link), "epoch", (json_int_t)a->offer->epoch));
	_cleanup_json_ json_t *checks = arrival_checks(a);
	if (send_checks(a, checks, err) < 0)
		return -1;
	return a->offer->dry_run || !checks_ok(checks) ? EVENT_CHECKED : EVENT_DONE;
}

#define STEP(at, event, record, action, next) action,
#define HEARD(at, type, record, action, next) action,
#define EXPECT(at, type)                      NULL,
static int (*const actions[])(struct arrival *a, struct error *err) = {
#include "relocd/arrival/steps.def"
};

// An abort that came while the action was under way has ended it.
static int act(void *side, size_t row, struct error *err)
{
	struct arrival *a = side;
	int event = actions[row](a, err);
	if (event >= 0 || !a->heard)
		return event;
	event = (int)a->heard;
	a->heard = 0;
	return event;
}

static int record(void *side, enum decision_type type, struct error *err)
{
	struct arrival *a = side;
	if (type == DECISION_KEPT)
		return arrival_record_keep(a, err);
	if (type == DECISION_RESUMING)
		a->commit_ns = clock_now_ns();
	if (type != DECISION_OPENED)
		return decision_append(a->decision, type, err);
	a->decision = decision_create(paths_moves(), a->offer->move, DECISION_ARRIVAL,
				      a->offer->epoch, a->def->name, err);
	return a->decision ? 0 : -1;
}

static int on_offer(struct arrival *a, const struct link_message *message)
{
	static const struct steps_side side = {&steps_arrival, record, act};
	struct error err = {0};
	a->message = *message;
	enum move_phase end = steps_run(&side, a, &a->report, EVENT_MESSAGE + WIRE_OFFER, &err);
	return end != PHASE_RUNS && end != PHASE_CHECKED;
}

// NULL: it does not say.
static json_t *ask_relocd(struct arrival *a, const char *move)
{
	struct error err;
	json_t *answer = NULL;
	if (report_call(&a->report, json_pack("{s:s, s:s}", "op", "query", "move", move), &answer,
			&err) < 0)
		log_error_of(&err, move);
	return answer;
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
	_cleanup_json_ json_t *known = last == DECISION_RESUMING || last == DECISION_NONE
					       ? ask_relocd(a, query->move)
					       : NULL;
	state.outcome = (char *)json_string_value(json_object_get(known, "state"));
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
		arrival_refuse(a, why);
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
		return on_offer(a, &message);
	if (message.type == WIRE_QUERY)
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
	if (a->link)
		link_done(a->link, &a->message);
	arrival_streams_close(a); // the peer has closed them by now, or is about to
	link_close(a->link);
	if (a->untold && report_wait_relocd(&a->report, deadline_in_ms(REPORT_LINGER_MS)))
		arrival_tell_arrived(a);
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
