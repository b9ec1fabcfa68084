// SPDX-License-Identifier: Apache-2.0
// The line that shows a move while it runs:
//   db1  hostA -> hostB   pre-copy round 3   [####----]  1.9/2.3 GiB   812 MiB/s   dirty 96 MiB/s
//   downtime ~41 ms   0:03
// Pure: events in, text out.
#ifndef WPARCTL_PROGRESS_H
#define WPARCTL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	char partition[64], from[64], to[64]; // from may be empty
	char phase[16];                       // as the API calls it; empty: not begun
	uint64_t bytes, total, rate;
	unsigned round;      // of pre-copy; 0: none
	uint64_t dirty_rate; // that the last round measured; 0: not known
	double predicted_ms; // downtime; 0: not known
	bool copied;         // all memory is over there: bytes and rate are no news any more
	double shown;        // part of the bar that was drawn; it never falls
};

// "pre-copy" for "precopy" and so on.
const char *progress_phase(const char *phase);
// Takes in a "phase" or "progress" event; true when a new phase began. Others change nothing.
bool progress_event(struct progress *progress, const json_t *event);
// The line for a terminal of `columns`, without newline; fields that do not fit are left out from
// the right. Returns text.
char *progress_line(struct progress *progress, uint64_t seconds, unsigned columns, char *text,
		    size_t size);

#endif
