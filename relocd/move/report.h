// SPDX-License-Identifier: Apache-2.0
// What a move tells relocd while it runs, over the channel that relocd gave it (descriptor 3).
// relocd may be gone: a move goes on without it, so sending never fails a move.
#ifndef RELOCD_MOVE_REPORT_H
#define RELOCD_MOVE_REPORT_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "relocd/move/phase.h"

#include <stdbool.h>
#include <stdint.h>

#define REPORT_CHANNEL 3

struct report {
	int fd;              // -1 when relocd has gone
	bool cancelled;      // relocd asked for it
	int bulk;            // a further connection of this move that relocd has passed on; -1
	deadline_t deadline; // by when the move must have come to its decision
	enum move_phase phase;
	int64_t phase_began_ns;
	double phase_ms[PHASE_COUNT]; // complete ones
	int64_t progress_sent_ns;
	int64_t rate_since_ns;
	uint64_t rate_from_bytes;
};

// Takes the channel and reads relocd's first message, {"op":"start",...}; the caller owns *start.
int report_open(struct report *r, json_t **start, struct error *err);

// Ends the current phase, begins the next, and tells relocd.
void report_phase(struct report *r, enum move_phase phase);
// At most ten times a second.
void report_progress(struct report *r, uint64_t bytes, uint64_t total_bytes);
// Sends any event object; takes ownership.
void report_event(struct report *r, json_t *event);
// {"validate":1.2,...} of all complete phases.
json_t *report_phases(struct report *r);

// Looks, without waiting, whether relocd asked to cancel or passed a connection on. Poll r->fd for
// reading.
void report_listen(struct report *r);

// Before the commit: -1 when the move was cancelled or has taken longer than it may.
int report_may_go_on(const struct report *r, struct error *err);
// When to look again at the latest, for a wait that ends at `deadline`.
deadline_t report_deadline(const struct report *r, deadline_t deadline);

// A question to relocd (arrival's chan_call). Fails when relocd has gone.
int report_call(struct report *r, json_t *request, json_t **answer, struct error *err);

#endif
