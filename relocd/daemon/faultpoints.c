// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/faultpoints.h"

#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "lib/registry/decision.h"
#include "lib/transport/wire.h"
#include "relocd/move/phase.h"

#include <stdbool.h>
#include <stdio.h>

// What a side has of each kind, in the order of a move; 0 ends it. NAMES_MAX is the longest.
#define NAMES_MAX 16

static const struct side {
	const char *process;
	bool freezes;
	enum decision_type records[NAMES_MAX];
	enum wire_type sent[NAMES_MAX], received[NAMES_MAX];
	const char *notifications[NAMES_MAX];
} sides[] = {
	{.process = "departure",
	 .freezes = true,
	 .records = {DECISION_OPENED, DECISION_FINAL, DECISION_COMMIT, DECISION_RELEASED,
		     DECISION_ABORT, DECISION_REVOKED},
	 .sent = {WIRE_HELLO, WIRE_OFFER, WIRE_ROUND, WIRE_FROZEN, WIRE_OBJECT, WIRE_OBJECT_END,
		  WIRE_MANIFEST, WIRE_COMMIT, WIRE_RELEASED, WIRE_ABORT},
	 .received = {WIRE_HELLO, WIRE_CHECKS, WIRE_ARRANGED, WIRE_ROUND_ACK, WIRE_READY,
		      WIRE_RUNNING, WIRE_REFUSE},
	 .notifications = {"pre-dump", "query-ext-files", "post-dump"}},
	{.process = "arrival",
	 .records = {DECISION_OPENED, DECISION_PREPARED, DECISION_RESUMING, DECISION_REFUSED},
	 .sent = {WIRE_HELLO, WIRE_CHECKS, WIRE_ARRANGED, WIRE_ROUND_ACK, WIRE_READY, WIRE_RUNNING,
		  WIRE_REFUSE},
	 .received = {WIRE_HELLO, WIRE_OFFER, WIRE_ROUND, WIRE_FROZEN, WIRE_OBJECT, WIRE_OBJECT_END,
		      WIRE_MANIFEST, WIRE_COMMIT, WIRE_RELEASED, WIRE_ABORT},
	 .notifications = {"pre-restore", "setup-namespaces", "post-setup-namespaces",
			   "post-restore", "pre-resume", "post-resume"}},
};

static void print(const struct side *s, enum fault_kind kind, const char *name,
		  enum fault_when when)
{
	char point[FAULT_POINT_MAX];
	fault_point(point, s->process, kind, name, when);
	puts(point);
}

static void print_both(const struct side *s, enum fault_kind kind, const char *name)
{
	print(s, kind, name, FAULT_BEFORE);
	print(s, kind, name, FAULT_AFTER);
}

static void print_side(const struct side *s)
{
	for (enum move_phase p = PHASE_VALIDATE; p < PHASE_COUNT; p++)
		if (p != PHASE_FREEZE || s->freezes)
			print(s, FAULT_PHASE, phase_name(p), FAULT_BEFORE);
	for (size_t i = 0; i < NAMES_MAX && s->records[i]; i++)
		print_both(s, FAULT_RECORD, decision_name(s->records[i]));
	for (size_t i = 0; i < NAMES_MAX && s->sent[i]; i++)
		print_both(s, FAULT_SEND, wire_name(s->sent[i]));
	for (size_t i = 0; i < NAMES_MAX && s->received[i]; i++)
		print(s, FAULT_RECEIVE, wire_name(s->received[i]), FAULT_BEFORE);
	for (size_t i = 0; i < NAMES_MAX && s->notifications[i]; i++)
		print_both(s, FAULT_CRIU, s->notifications[i]);
}

int faultpoints_print(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++)
		print_side(&sides[i]);
	return fflush(stdout);
}
