// SPDX-License-Identifier: Apache-2.0
// What a move tells relocd while it runs, over the channel that relocd gave it (descriptor 3).
// relocd may be gone: a move goes on without it, so sending never fails a move. A new relocd finds
// the move again at RUN/moves/ID.SIDE.sock (chan.h): it gets HELLO, then all events so far but the
// progress, and from then on has the channel.
//
// HELLO: {"event":"hello","v":2,"oldest":1,"version":"0.1.0","side":"departure","move":ID, ...}. A
// relocd that does not speak any version from "oldest" to "v" may only watch the process.
#ifndef RELOCD_MOVE_REPORT_H
#define RELOCD_MOVE_REPORT_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "relocd/move/phase.h"

#include <stdbool.h>
#include <stdint.h>

#define REPORT_CHANNEL  3
#define REPORT_PROTOCOL 2 // 1: without HELLO, attaching and "noted"
#define REPORT_OLDEST   1

// Of copying in rounds: the one that runs, and what the last one measured.
struct report_round {
	unsigned number;     // 0: none
	uint64_t dirty_rate; // bytes a second; 0: not known yet
	double downtime_ms;  // predicted; 0: not known yet
};

struct report {
	int fd;              // -1 when relocd has gone
	int listener;        // where a new relocd attaches; -1
	char path[256];      // of that
	json_t *hello;       // what it is told
	json_t *events;      // and these
	bool cancelled;      // relocd asked for it
	uint64_t share;      // departure: of the host's bandwidth, bytes a second; 0: no limit
	unsigned streams;    // departure: connections that it may use at once; 0: all
	int bulk;            // a further connection of this move that relocd has passed on; -1
	json_t *keep;        // arrival in doubt: the order of a person to let its copy run
	json_t *answer;      // to report_call, as it comes
	bool noted;          // relocd has the last event
	deadline_t deadline; // by when the move must have come to its decision
	const char *peer;    // for the log
	uint64_t epoch;
	enum move_phase state; // of this side
	enum move_phase phase; // the last of its states that is one
	int64_t phase_began_ns;
	double phase_ms[PHASE_COUNT]; // complete ones
	int64_t progress_sent_ns;
	int64_t rate_since_ns;
	uint64_t rate_from_bytes;
	struct report_round round; // progress tells it
};

// Takes the channel and reads relocd's first message, {"op":"start",...}; the caller owns *start.
int report_open(struct report *r, json_t **start, struct error *err);

// From now on a new relocd can attach. `side`: "departure" or "arrival"; `facts` (taken over) goes
// into HELLO. Without it (a failure is logged) the move is only watched after a restart of relocd.
void report_serve(struct report *r, const char *move, const char *side, json_t *facts);
// Waits until a relocd is there: false when none came until the deadline.
bool report_wait_relocd(struct report *r, deadline_t deadline);
// Waits a moment for a message of relocd, or for a new relocd.
void report_pause(struct report *r, deadline_t deadline);
// The end. `linger`: the last event was sent; waits until a relocd has noted it, for a while also
// for a new one.
void report_close(struct report *r, bool linger);
#define REPORT_LINGER_MS 600000
// What to poll for reading, for report_listen.
int report_fd(const struct report *r);

// This side is in another state, because of an event: logs it and, unless it is an end, tells
// relocd. A phase begins where it is one.
void report_state(struct report *r, enum move_phase state, const char *event);
// At most ten times a second.
void report_progress(struct report *r, uint64_t bytes, uint64_t total_bytes);
// Sends any event object; takes ownership.
void report_event(struct report *r, json_t *event);
// {"validate":1.2,...} of all complete phases.
json_t *report_phases(struct report *r);

// Looks, without waiting, whether relocd asked for anything, passed a connection on, or a new
// relocd has come. Poll report_fd for reading.
void report_listen(struct report *r);

// Before the commit: -1 when the move was cancelled or has taken longer than it may.
int report_may_go_on(const struct report *r, struct error *err);
// When to look again at the latest, for a wait that ends at `deadline`.
deadline_t report_deadline(const struct report *r, deadline_t deadline);

// A question to relocd. One that goes away meanwhile is waited for, and asked again: not while
// anything is frozen.
int report_call(struct report *r, json_t *request, json_t **answer, struct error *err);

#endif
