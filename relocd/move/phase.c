// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/phase.h"

static const char *const names[PHASE_STATES] = {
	[PHASE_CONNECT] = "connect", [PHASE_VALIDATE] = "validate", [PHASE_PREPARE] = "prepare",
	[PHASE_PRECOPY] = "precopy", [PHASE_FREEZE] = "freeze",     [PHASE_FINAL] = "final",
	[PHASE_RESTORE] = "restore", [PHASE_COMMIT] = "commit",     [PHASE_SWITCH] = "switch",
	[PHASE_RELEASE] = "release", [PHASE_ASK] = "ask",           [PHASE_RETURN] = "return",
	[PHASE_REFUSED] = "refused", [PHASE_CHECKED] = "checked",   [PHASE_ABORTED] = "aborted",
	[PHASE_LEFT] = "left",       [PHASE_RUNS] = "runs",         [PHASE_IN_DOUBT] = "in-doubt",
	[PHASE_BROKEN] = "broken",
};

const char *phase_name(enum move_phase phase)
{
	return names[phase];
}
