// SPDX-License-Identifier: Apache-2.0
// What metrics.c counts and metrics_listen.c serves.
#ifndef RELOCD_METRICS_INNER_H
#define RELOCD_METRICS_INNER_H

#include "relocd/api/metrics.h"
#include "relocd/move/phase.h"

#include <microhttpd.h>

#define METRICS_BUCKETS 16
extern const double metrics_bounds[METRICS_BUCKETS]; // upper ones, in seconds

struct histogram {
	uint64_t buckets[METRICS_BUCKETS], count;
	double sum;
};

struct outcome {
	char kind[16], outcome[16], class[16];
	uint64_t count;
};

struct metrics {
	struct MHD_Daemon *http; // NULL: not served
	unsigned port;
	// Under relocd's lock:
	struct outcome outcomes[64];
	size_t outcome_count;
	struct histogram phases[PHASE_COUNT], downtime;
	double bytes;
	// Under a lock of its own, which is held while peers are asked:
	pthread_mutex_t scrape;
	json_t *peers;
	int64_t peers_ns;
};

#endif
