// SPDX-License-Identifier: Apache-2.0
// The states of a partition and what each allows: one table (wpar(7) prints it).
#ifndef WPAR_REGISTRY_STATE_H
#define WPAR_REGISTRY_STATE_H

#include "lib/base/error.h"

#include <stdbool.h>

enum partition_state {
	STATE_DEFINED,  // exists, does not run
	STATE_ACTIVE,   // runs
	STATE_FAILED,   // ended by itself with an error or by a signal
	STATE_FROZEN,   // runs, but its processes are stopped
	STATE_MOVING,   // is leaving this host
	STATE_ARRIVING, // is coming to this host
	STATE_IN_DOUBT, // a move lost its peer after the vote
	STATE_BROKEN,   // lost
	STATE_DEPARTED, // runs on another host now
};
#define STATE_COUNT (STATE_DEPARTED + 1)

enum partition_act {
	ACT_START,
	ACT_STOP,
	ACT_RESTART,
	ACT_REMOVE,
	ACT_SET,
	ACT_RENAME,
	ACT_EXEC,
	ACT_MOVE,
	ACT_VALIDATE,
	ACT_CANCEL,
	ACT_RECOVER,
	ACT_ARRIVE, // let the partition come (back) to this host; not a verb
};
#define ACT_COUNT (ACT_ARRIVE + 1)

const char *state_name(enum partition_state state); // "In-doubt"
// -1 for a name that is none.
int state_of_name(const char *name, enum partition_state *state);
// For people: "runs", "stop".
const char *state_meaning(enum partition_state state);
const char *state_way_out(enum partition_state state);
// The verb of wparctl; NULL: none.
const char *state_verb(enum partition_act act);

bool state_may(enum partition_state state, enum partition_act act);
// Whether `name`, being in `state`, may be started, stopped ...: 0, or -1 with a sentence
// (ERR_WRONG_STATE; ERR_MOVE_BUSY or ERR_IN_DOUBT where a move is the reason).
int state_allows(enum partition_state state, enum partition_act act, const char *name,
		 struct error *err);

#endif
