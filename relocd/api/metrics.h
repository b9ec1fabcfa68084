// SPDX-License-Identifier: Apache-2.0
// Figures for Prometheus: /metrics and /healthz over TCP (metrics.listen), nothing else, and
// nothing that can be changed. The text is version 0.0.4 of the exposition format
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
#ifndef RELOCD_METRICS_H
#define RELOCD_METRICS_H

#include "relocd/supervisor/moves.h"

struct metrics;

// Opens the port unless metrics.listen is "none". A port that cannot be had is logged: relocd works
// without.
int metrics_start(struct daemon *d, struct error *err);
void metrics_stop(struct daemon *d);

// With the lock held: a move has ended.
void metrics_note_move(struct daemon *d, const struct move *m);
// Without the lock: the text, the caller's; NULL: no memory.
char *metrics_text(struct daemon *d);
// The port that it listens on; 0: none.
unsigned metrics_port(const struct daemon *d);

#endif
