// SPDX-License-Identifier: Apache-2.0
// A side of a move is a Mealy machine. Its table has a row for each state and what may happen in
// it: the record that is made durable first, the action, and the state that it belongs to. What the
// action comes to is the next event.
//
// The tables are relocd/departure/steps.def and relocd/arrival/steps.def, in these words:
//	STEP(state, event, record, action, next)
//	HEARD(state, message, record, action, next)	the event is a message of the peer
//	EXPECT(state, message)				it is for the action that is under way
// An action returns an event, or -1 with an error: EVENT_FAILED.
#ifndef RELOCD_MOVE_STEPS_H
#define RELOCD_MOVE_STEPS_H

#include "lib/base/error.h"
#include "lib/registry/decision.h"
#include "lib/transport/wire.h"
#include "relocd/move/phase.h"
#include "relocd/move/report.h"

#include <stdbool.h>
#include <stddef.h>

enum step_event {
	EVENT_DONE,       // the action has done its work
	EVENT_FAILED,     // it has not, and the error says why
	EVENT_UNRECORDED, // the record is not on disk: nothing that it permits has been done
	EVENT_CHECKED,    // nothing more than checks is wanted, or they have failed
	EVENT_RUNS,       // it runs at the destination
	EVENT_NEVER_RAN,  // that has on disk that it never ran there
	EVENT_LOST,       // it went on there, and died before it ran
	EVENT_KILLED,     // the original is dead
	EVENT_COMMITTED, // the source has on disk that it is the destination's, or a person said so
	EVENT_ENDED,     // the source has on disk that it stays there
	EVENT_KEEP,      // a person wants this copy
	EVENT_DIED,      // it died while it was held
	EVENT_MESSAGE,   // and its type
};

struct step {
	enum move_phase at;
	unsigned event;
	enum decision_type record; // DECISION_NONE: none
	const char *action;        // NULL: of EXPECT
	enum move_phase next;
};

struct steps {
	const char *side; // "departure"
	const struct step *rows;
	size_t count;
};

extern const struct steps steps_departure, steps_arrival;

// "done"; of a message its name
const char *steps_event(unsigned event);
// NULL: that cannot happen
const struct step *steps_find(const struct steps *s, enum move_phase at, unsigned event);
// ERR_PROTOCOL unless a message of `peer` may come in this state.
int steps_check(const struct steps *s, enum move_phase at, uint16_t type, const char *peer,
		struct error *err);

// What the table says of a side: whether it can come into a state, writes a record, hears a
// message.
bool steps_enters(const struct steps *s, enum move_phase state);
bool steps_records(const struct steps *s, enum decision_type record);
bool steps_hears(const struct steps *s, uint16_t type);

struct steps_side {
	const struct steps *steps;
	int (*record)(void *side, enum decision_type type, struct error *err);
	int (*act)(void *side, size_t row, struct error *err);
};

// From PHASE_CONNECT and this event to an end, which is returned. Each step is reported. What
// cannot happen is a failure, with ERR_INTERNAL.
enum move_phase steps_run(const struct steps_side *s, void *side, struct report *report,
			  unsigned event, struct error *err);

#endif
