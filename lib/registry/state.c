// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/state.h"

#include <string.h>

#define ALLOW(act) (1u << (act))

// Of one that does not run, and of which nobody else may have a copy that runs.
#define AT_REST                                                                        \
	(ALLOW(ACT_START) | ALLOW(ACT_STOP) | ALLOW(ACT_RESTART) | ALLOW(ACT_REMOVE) | \
	 ALLOW(ACT_SET) | ALLOW(ACT_RENAME))

static const struct {
	const char *name;
	unsigned allowed;
	enum error_id refusal;
	const char *is; // "NAME <is>"
	const char *meaning, *way_out;
} states[STATE_COUNT] = {
	[STATE_DEFINED] = {"Defined", AT_REST, ERR_WRONG_STATE, "does not run",
			   "exists and does not run", "start"},
	[STATE_ACTIVE] = {"Active",
			  ALLOW(ACT_START) | ALLOW(ACT_STOP) | ALLOW(ACT_RESTART) | ALLOW(ACT_SET) |
				  ALLOW(ACT_EXEC) | ALLOW(ACT_MOVE) | ALLOW(ACT_VALIDATE),
			  ERR_WRONG_STATE, "runs", "runs", "stop"},
	[STATE_FAILED] = {"Failed", AT_REST, ERR_WRONG_STATE, "has failed and does not run",
			  "ended by itself with an error or by a signal; "
			  "its restart policy may start it again",
			  "logs, then start"},
	[STATE_FROZEN] = {"Frozen", ALLOW(ACT_STOP), ERR_WRONG_STATE, "is frozen",
			  "its processes are stopped", "stop, then start"},
	[STATE_MOVING] = {"Moving", ALLOW(ACT_CANCEL) | ALLOW(ACT_RECOVER), ERR_MOVE_BUSY,
			  "is being moved away", "leaves this host", "wait, or cancel"},
	[STATE_ARRIVING] = {"Arriving", ALLOW(ACT_CANCEL) | ALLOW(ACT_RECOVER), ERR_MOVE_BUSY,
			    "is arriving at this host", "comes to this host", "wait, or cancel"},
	[STATE_IN_DOUBT] = {"In-doubt", ALLOW(ACT_RECOVER), ERR_IN_DOUBT,
			    "is in doubt: a move lost its peer after the vote",
			    "a move lost its peer after the vote",
			    "bring the other host back, or recover"},
	[STATE_BROKEN] = {"Broken",
			  ALLOW(ACT_START) | ALLOW(ACT_REMOVE) | ALLOW(ACT_SET) |
				  ALLOW(ACT_RENAME) | ALLOW(ACT_RECOVER),
			  ERR_WRONG_STATE, "was lost in a move", "was lost in a move",
			  "start it anew"},
	[STATE_DEPARTED] = {"Departed", ALLOW(ACT_REMOVE) | ALLOW(ACT_RECOVER) | ALLOW(ACT_ARRIVE),
			    ERR_WRONG_STATE, "has moved to another host",
			    "has moved to another host, which is named", "ask that host"},
};

static const struct {
	const char *verb, *done; // "start", "it cannot be <started>"
} acts[ACT_COUNT] = {
	[ACT_START] = {"start", "started"},
	[ACT_STOP] = {"stop", "stopped"},
	[ACT_RESTART] = {"restart", "restarted"},
	[ACT_REMOVE] = {"remove", "removed"},
	[ACT_SET] = {"set", "changed"},
	[ACT_RENAME] = {"rename", "renamed"},
	[ACT_EXEC] = {"exec", "entered"},
	[ACT_MOVE] = {"relocate", "moved"},
	[ACT_VALIDATE] = {"validate", "validated"},
	[ACT_CANCEL] = {"cancel", "cancelled"},
	[ACT_RECOVER] = {"recover", "recovered"},
	[ACT_ARRIVE] = {NULL, "received"},
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

const char *state_meaning(enum partition_state state)
{
	return states[state].meaning;
}

const char *state_way_out(enum partition_state state)
{
	return states[state].way_out;
}

const char *state_verb(enum partition_act act)
{
	return acts[act].verb;
}

bool state_may(enum partition_state state, enum partition_act act)
{
	return states[state].allowed & ALLOW(act);
}

int state_allows(enum partition_state state, enum partition_act act, const char *name,
		 struct error *err)
{
	if (state_may(state, act))
		return 0;
	error_set(err, states[state].refusal, "%s %s (%s): it cannot be %s", name, states[state].is,
		  states[state].name, acts[act].done);
	error_at(err, NULL, name, NULL);
	return -1;
}
