// SPDX-License-Identifier: Apache-2.0
// The phases of a move, in order (wpar-protocol(7)); the same words in reports, records and
// errors.
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
};

const char *phase_name(enum move_phase phase); // "validate"

#endif
