// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/state.h"

#include <string.h>

#define ALLOW(act) (1u << (act))

static const struct {
	const char *name;
	unsigned allowed;
	enum error_id refusal;
	const char *is; // "NAME <is>"
} states[STATE_COUNT] = {
	[STATE_DEFINED] = {"Defined", ALLOW(ACT_START) | ALLOW(ACT_STOP) | ALLOW(ACT_REMOVE),
			   ERR_WRONG_STATE, "does not run"},
	[STATE_ACTIVE] = {"Active",
			  ALLOW(ACT_START) | ALLOW(ACT_STOP) | ALLOW(ACT_EXEC) | ALLOW(ACT_MOVE) |
				  ALLOW(ACT_VALIDATE),
			  ERR_WRONG_STATE, "runs"},
	[STATE_FAILED] = {"Failed", ALLOW(ACT_START) | ALLOW(ACT_STOP) | ALLOW(ACT_REMOVE),
			  ERR_WRONG_STATE, "has failed and does not run"},
	[STATE_FROZEN] = {"Frozen", ALLOW(ACT_STOP), ERR_WRONG_STATE, "is frozen"},
	[STATE_MOVING] = {"Moving", 0, ERR_MOVE_BUSY, "is being moved away"},
	[STATE_ARRIVING] = {"Arriving", 0, ERR_MOVE_BUSY, "is arriving at this host"},
	[STATE_IN_DOUBT] = {"In-doubt", 0, ERR_IN_DOUBT,
			    "is in doubt: a move lost its peer after the vote"},
	[STATE_BROKEN] = {"Broken", ALLOW(ACT_START) | ALLOW(ACT_REMOVE), ERR_WRONG_STATE,
			  "was lost in a move"},
	[STATE_DEPARTED] = {"Departed", ALLOW(ACT_REMOVE) | ALLOW(ACT_ARRIVE), ERR_WRONG_STATE,
			    "has moved to another host"},
};

static const char *const acts[] = {
	[ACT_START] = "started",   [ACT_STOP] = "stopped", [ACT_REMOVE] = "removed",
	[ACT_EXEC] = "entered",    [ACT_MOVE] = "moved",   [ACT_VALIDATE] = "validated",
	[ACT_ARRIVE] = "received",
};

const char *state_name(enum partition_state state)
{
	return states[state].name;
}

int state_of_name(const char *name, enum partition_state *state)
{
	for (unsigned i = 0; i < STATE_COUNT; i++)
		if (!strcmp(states[i].name, name)) {
			*state = (enum partition_state)i;
			return 0;
		}
	return -1;
}

int state_allows(enum partition_state state, enum partition_act act, const char *name,
		 struct error *err)
{
	if (states[state].allowed & ALLOW(act))
		return 0;
	error_set(err, states[state].refusal, "%s %s (%s): it cannot be %s", name, states[state].is,
		  states[state].name, acts[act]);
	error_at(err, NULL, name, NULL);
	return -1;
}
