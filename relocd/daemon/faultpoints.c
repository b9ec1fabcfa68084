// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/faultpoints.h"

#include "lib/base/cleanup.h"
#include "lib/base/fault.h"
#include "relocd/move/steps.h"

#include <stdio.h>

#define NOTIFICATIONS_MAX 8

// What the tables of the steps say of a side is not said again.
static const struct side {
	const struct steps *steps, *peer;
	const char *notifications[NOTIFICATIONS_MAX]; // of CRIU
} sides[] = {
	{&steps_departure, &steps_arrival, {"pre-dump", "query-ext-files", "post-dump"}},
	{&steps_arrival,
	 &steps_departure,
	 {"pre-restore", "setup-namespaces", "post-setup-namespaces", "post-restore", "pre-resume",
	  "post-resume"}},
};

static void print(const struct side *s, enum fault_kind kind, const char *name,
		  enum fault_when when)
{
	char point[FAULT_POINT_MAX];
	fault_point(point, s->steps->side, kind, name, when);
	puts(point);
}

static void print_both(const struct side *s, enum fault_kind kind, const char *name)
{
	print(s, kind, name, FAULT_BEFORE);
	print(s, kind, name, FAULT_AFTER);
}

// What one side hears the other sends; HELLO comes before the first step.
static void print_message(const struct side *s, uint16_t type)
{
	if (type == WIRE_HELLO || steps_hears(s->peer, type))
		print_both(s, FAULT_SEND, wire_name(type));
	if (type == WIRE_HELLO || steps_hears(s->steps, type))
		print(s, FAULT_RECEIVE, wire_name(type), FAULT_BEFORE);
}

static void print_side(const struct side *s)
{
	for (enum move_phase p = PHASE_CONNECT; p < PHASE_ENDS; p++)
		if (steps_enters(s->steps, p))
			print(s, FAULT_PHASE, phase_name(p), FAULT_BEFORE);
	for (enum decision_type t = DECISION_OPENED; t < DECISION_UNKNOWN; t++)
		if (steps_records(s->steps, t))
			print_both(s, FAULT_RECORD, decision_name(t));
	for (uint16_t type = WIRE_HELLO; type <= WIRE_MARK; type++)
		if (!wire_is_data(type))
			print_message(s, type);
	for (size_t i = 0; i < NOTIFICATIONS_MAX && s->notifications[i]; i++)
		print_both(s, FAULT_CRIU, s->notifications[i]);
}

int faultpoints_print(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++)
		print_side(&sides[i]);
	return fflush(stdout);
}
