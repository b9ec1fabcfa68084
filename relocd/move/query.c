// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/query.h"

#include "lib/base/cleanup.h"
#include "relocd/move/talk.h"

#include <string.h>

#define ASK_MS 5000

enum query_outcome query_outcome_of(const char *move_state)
{
	static const struct {
		const char *state;
		enum query_outcome outcome;
	} all[] = {
		{"done", QUERY_RUNS},
		{"broken", QUERY_LOST},
		{"aborted", QUERY_STAYED},
		{"refused", QUERY_STAYED},
	};
	for (size_t i = 0; move_state && i < ARRAY_SIZE(all); i++)
		if (!strcmp(all[i].state, move_state))
			return all[i].outcome;
	return QUERY_OPEN;
}

static enum decision_type take_state(const struct link_message *message, const char *move,
				     uint64_t epoch, enum query_outcome *outcome, struct error *err)
{
	Wpar__State *state = message->type == WIRE_STATE
				     ? wpar__state__unpack(NULL, message->length, message->payload)
				     : NULL;
	enum decision_type last = DECISION_UNKNOWN;
	// A later epoch: the move was taken back, or a person decided.
	if (state && !strcmp(state->move, move) && (state->epoch >= epoch || state->epoch == 0))
		last = decision_of_name(state->last_record);
	else
		error_set(err, ERR_PROTOCOL, "the answer to QUERY is not one");
	if (last == DECISION_RESUMING || last == DECISION_NONE)
		*outcome = query_outcome_of(state->outcome);
	if (state)
		wpar__state__free_unpacked(state, NULL);
	return last;
}

static enum decision_type ask(struct link *link, const char *host, const char *move, uint64_t epoch,
			      enum query_outcome *outcome, struct error *err)
{
	Wpar__Query query = WPAR__QUERY__INIT;
	Wpar__Hello *hello;
	struct link_message message;
	query.move = (char *)move;
	query.epoch = epoch;
	if (talk_hello(link, host, NULL, deadline_in_ms(ASK_MS), &hello, err) < 0)
		return DECISION_UNKNOWN;
	wpar__hello__free_unpacked(hello, NULL);
	if (talk_send(link, WIRE_QUERY, &query.base, err) < 0)
		return DECISION_UNKNOWN;
	int got = link_recv(link, deadline_in_ms(ASK_MS), &message, err);
	if (got == 0)
		error_set(err, ERR_DEADLINE, "%s did not answer QUERY in time", link_peer(link));
	if (got <= 0)
		return DECISION_UNKNOWN;
	enum decision_type last = take_state(&message, move, epoch, outcome, err);
	link_done(link, &message);
	return last;
}

enum decision_type query_peer(const char *address, const char *peer, const char *host,
			      const struct link_tls *tls, const char *move, uint64_t epoch,
			      enum query_outcome *outcome, struct error *err)
{
	enum query_outcome unwanted;
	_cleanup_link_ struct link *link =
		link_connect(address, peer, tls, false, deadline_in_ms(ASK_MS), err);
	if (!outcome)
		outcome = &unwanted;
	*outcome = QUERY_OPEN;
	return link ? ask(link, host, move, epoch, outcome, err) : DECISION_UNKNOWN;
}
