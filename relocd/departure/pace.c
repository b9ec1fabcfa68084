// SPDX-License-Identifier: Apache-2.0
// The bandwidth that a move may use while its partition runs: for memory, the image and the layer
// above it; and what other work on this host leaves over. What is frozen waits for nothing.
#include "relocd/departure/departure.h"

#include "relocd/move/priority.h"

#define PAUSE_MS 10
#define BURST_NS 20000000ll // so much of what was not used may be made up for

static double rate_of(const struct departure *d)
{
	uint64_t own = d->bandwidth, share = d->report.share;
	double most = (double)(own && share ? (own < share ? own : share) : own + share);
	double spare = priority_rate();
	return spare > 0 && (most <= 0 || spare < most) ? spare : most;
}

void departure_paced(struct departure *d, size_t bytes)
{
	double rate = rate_of(d);
	int64_t now = clock_now_ns();
	if (d->frozen || rate <= 0)
		return;
	if (d->due_ns < now - BURST_NS)
		d->due_ns = now - BURST_NS;
	d->due_ns += (int64_t)((double)bytes * 1e9 / rate);
}

int departure_pace(struct departure *d, struct error *err)
{
	int64_t began = clock_now_ns();
	while (rate_of(d) > 0 && clock_now_ns() < d->due_ns) {
		if (departure_listen(d, err) < 0)
			return -1;
		clock_sleep_ms(PAUSE_MS);
	}
	d->paused_ns += clock_now_ns() - began;
	return 0;
}
