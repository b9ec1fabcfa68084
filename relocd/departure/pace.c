// SPDX-License-Identifier: Apache-2.0
// The bandwidth that a move may use while its partition runs: for memory, the image and the layer
// above it; and what other work on this host leaves over. What is frozen waits for nothing.
//
// The link is counted in bytes that it carries, but work in bytes of memory: a page that is packed
// well is as much to do as any other.
#include "relocd/departure/departure.h"

#include "relocd/move/priority.h"

#define PAUSE_MS 10
#define BURST_NS 20000000ll // so much of what was not used may be made up for

static double link_rate(const struct departure *d)
{
	uint64_t own = d->bandwidth, share = d->report.share;
	return (double)(own && share ? (own < share ? own : share) : own + share);
}

uint64_t departure_taken(const struct departure *d)
{
	struct squeeze_figures figures = {0};
	if (d->squeeze)
		squeeze_figures(d->squeeze, &figures);
	return figures.bytes;
}

static void add(int64_t *due_ns, double bytes, double rate)
{
	int64_t earliest = clock_now_ns() - BURST_NS;
	if (rate <= 0)
		return;
	if (*due_ns < earliest)
		*due_ns = earliest;
	*due_ns += (int64_t)(bytes * 1e9 / rate);
}

void departure_paced(struct departure *d, size_t bytes)
{
	uint64_t taken = departure_taken(d);
	if (!d->frozen) {
		add(&d->due_ns, (double)bytes, link_rate(d));
		add(&d->work_due_ns, (double)(taken - d->paced_bytes), priority_rate());
	}
	d->paced_bytes = taken;
}

static bool is_early(const struct departure *d)
{
	int64_t now = clock_now_ns();
	return (now < d->due_ns && link_rate(d) > 0) ||
	       (now < d->work_due_ns && priority_rate() > 0);
}

int departure_pace(struct departure *d, struct error *err)
{
	int64_t began = clock_now_ns();
	while (is_early(d)) {
		if (departure_listen(d, err) < 0)
			return -1;
		clock_sleep_ms(PAUSE_MS);
	}
	d->paused_ns += clock_now_ns() - began;
	return 0;
}
