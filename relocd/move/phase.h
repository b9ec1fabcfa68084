// SPDX-License-Identifier: Apache-2.0
// The states of a side of a move (wpar-protocol(7)): its phases, in order; where it gets to when
// the other side is silent or the move fails; and its ends. The same words are in reports, records
// and errors.
#ifndef RELOCD_MOVE_PHASE_H
#define RELOCD_MOVE_PHASE_H

enum move_phase {
	PHASE_CONNECT,
	PHASE_VALIDATE,
	PHASE_PREPARE,
	PHASE_PRECOPY,
	PHASE_FREEZE,
	PHASE_FINAL,
	PHASE_RESTORE,
	PHASE_COMMIT,
	PHASE_SWITCH,
	PHASE_RELEASE,
	PHASE_COUNT,

	PHASE_ASK = PHASE_COUNT, // only the other side's records can tell: it is asked for them
	PHASE_RETURN,            // departure: the partition stays, and runs again

	PHASE_ENDS,
	PHASE_REFUSED = PHASE_ENDS, // nothing was touched
	PHASE_CHECKED,              // that was all that was asked for
	PHASE_ABORTED,              // it runs on at the source
	PHASE_LEFT,                 // departure: it runs at the destination, and is gone here
	PHASE_RUNS,                 // arrival: it runs here
	PHASE_IN_DOUBT,             // departure: frozen; relocd goes on asking
	PHASE_BROKEN,               // lost
	PHASE_STATES,
};

const char *phase_name(enum move_phase phase); // "validate"

#endif
