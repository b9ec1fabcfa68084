// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/steps.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"

#define STEP(at, event, record, action, next) \
	{PHASE_##at, EVENT_##event, DECISION_##record, #action, PHASE_##next},
#define HEARD(at, type, record, action, next) \
	{PHASE_##at, EVENT_MESSAGE + WIRE_##type, DECISION_##record, #action, PHASE_##next},
#define EXPECT(at, type) {PHASE_##at, EVENT_MESSAGE + WIRE_##type, DECISION_NONE, NULL, PHASE_##at},

static const struct step departure_rows[] = {
#include "relocd/departure/steps.def"
};

static const struct step arrival_rows[] = {
#include "relocd/arrival/steps.def"
};

const struct steps steps_departure = {"departure", departure_rows, ARRAY_SIZE(departure_rows)};
const struct steps steps_arrival = {"arrival", arrival_rows, ARRAY_SIZE(arrival_rows)};

static const char *const events[EVENT_MESSAGE] = {
	[EVENT_DONE] = "done",       [EVENT_FAILED] = "failed", [EVENT_UNRECORDED] = "unrecorded",
	[EVENT_CHECKED] = "checked", [EVENT_RUNS] = "runs",     [EVENT_NEVER_RAN] = "never-ran",
	[EVENT_LOST] = "lost",       [EVENT_KILLED] = "killed", [EVENT_COMMITTED] = "committed",
	[EVENT_ENDED] = "ended",     [EVENT_KEEP] = "keep",     [EVENT_DIED] = "died",
};

const char *steps_event(unsigned event)
{
	return event < EVENT_MESSAGE ? events[event] : wire_name((uint16_t)(event - EVENT_MESSAGE));
}

const struct step *steps_find(const struct steps *s, enum move_phase at, unsigned event)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->rows[i].at == at && s->rows[i].event == event)
			return &s->rows[i];
	return NULL;
}

int steps_check(const struct steps *s, enum move_phase at, uint16_t type, const char *peer,
		struct error *err)
{
	if (steps_find(s, at, EVENT_MESSAGE + type))
		return 0;
	return error_set(err, ERR_PROTOCOL, "message %s of %s is not legal in phase %s",
			 wire_name(type), peer, phase_name(at));
}

bool steps_enters(const struct steps *s, enum move_phase state)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->rows[i].next == state && s->rows[i].action)
			return true;
	return false;
}

bool steps_records(const struct steps *s, enum decision_type record)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->rows[i].record == record)
			return true;
	return false;
}

bool steps_hears(const struct steps *s, uint16_t type)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->rows[i].event == (unsigned)EVENT_MESSAGE + type)
			return true;
	return false;
}

static unsigned take(const struct steps_side *s, void *side, const struct step *step,
		     struct error *err)
{
	if (step->record != DECISION_NONE && s->record(side, step->record, err) < 0) {
		log_error_of(err, decision_name(step->record));
		return EVENT_UNRECORDED;
	}
	int event = s->act(side, (size_t)(step - s->steps->rows), err);
	return event < 0 ? EVENT_FAILED : (unsigned)event;
}

enum move_phase steps_run(const struct steps_side *s, void *side, struct report *report,
			  unsigned event, struct error *err)
{
	enum move_phase at = PHASE_CONNECT;
	while (at < PHASE_ENDS) {
		const struct step *step = steps_find(s->steps, at, event);
		if (!step || !step->action) {
			error_set(err, ERR_INTERNAL, "%s has no step for \"%s\" in state %s",
				  s->steps->side, steps_event(event), phase_name(at));
			step = steps_find(s->steps, at, EVENT_FAILED);
		}
		if (step->next != at)
			report_state(report, step->next, steps_event(event));
		at = step->next;
		event = take(s, side, step, err);
	}
	return at;
}
