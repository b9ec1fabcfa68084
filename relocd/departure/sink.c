// SPDX-License-Identifier: Apache-2.0
// Where frames of pages go: straight into slots of the ring that a mover sends from. While the
// partition runs a bandwidth is kept; while it is frozen nothing waits for the link: what finds no
// free slot is put by, and goes out while CRIU does its part.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "relocd/move/facts.h"
#include "relocd/move/priority.h"
#include "relocd/move/talk.h"

#include <string.h>

struct put_by {
	struct put_by *next;
	bool in_order;
	size_t length;
	uint8_t bytes[LINK_DATA_MAX];
};

// ---- while it is frozen -------------------------------------------------------------------------

static void *new_place(struct departure *d, struct error *err)
{
	struct put_by *p = d->spare ? take_ptr(d->spare) : malloc(sizeof(*p));
	if (!p) {
		error_set(err, ERR_NOMEM, "no memory for pages");
		return NULL;
	}
	p->next = NULL;
	d->spare = p;
	return p->bytes;
}

static void put_by(struct departure *d, size_t length)
{
	struct put_by *p = take_ptr(d->spare);
	p->length = length;
	p->in_order = d->place_in_order;
	if (d->put_by_last)
		d->put_by_last->next = p;
	else
		d->put_by = p;
	d->put_by_last = p;
	d->put_by_bytes += length;
}

// VALIDATE asks this host for no memory: what there is to spare when it is frozen is the bound.
int departure_sink_bound(struct departure *d, struct error *err)
{
	uint64_t available, total;
	if (facts_memory(&available, &total, err) < 0)
		return -1;
	d->put_by_max = facts_spare(available);
	return 0;
}

int departure_sink_flush(struct departure *d, deadline_t deadline, struct error *err)
{
	while (d->put_by) {
		struct error why;
		struct put_by *p = d->put_by;
		struct link *of;
		void *slot = channels_slot(&d->channels, p->in_order, &of, deadline, &why);
		if (!slot && why.id == ERR_DEADLINE && deadline_passed(deadline))
			return 0;
		if (!slot) {
			*err = why;
			return -1;
		}
		memcpy(slot, p->bytes, p->length);
		if (channels_send(&d->channels, of, p->in_order, slot, p->length, err) < 0)
			return -1;
		d->put_by = p->next;
		d->put_by_last = d->put_by ? d->put_by_last : NULL;
		d->put_by_bytes -= p->length;
		free(p);
	}
	return 0;
}

int departure_sink_drain(struct departure *d, struct error *err)
{
	while (d->put_by) {
		deadline_t deadline = deadline_in_ms(TALK_SLOT_MS);
		uint64_t before = d->put_by_bytes;
		if (departure_sink_flush(d, deadline, err) < 0)
			return -1;
		if (d->put_by && d->put_by_bytes == before)
			return error_set(err, ERR_PEER_UNREACHABLE, "%s takes no data", d->peer);
	}
	return 0;
}

void departure_sink_forget(struct departure *d)
{
	while (d->put_by) {
		struct put_by *p = d->put_by;
		d->put_by = p->next;
		free(p);
	}
	free(take_ptr(d->spare));
	d->put_by_last = NULL;
	d->put_by_bytes = 0;
}

// Order is kept: as long as something is put by, what comes after it is put by as well.
static void *frozen_place(struct departure *d, struct error *err)
{
	struct error none_free;
	report_listen(&d->report);
	if (cable_collect(&d->cable, err) < 0 || report_may_go_on(&d->report, err) < 0 ||
	    departure_sink_flush(d, deadline_in_ms(0), err) < 0)
		return NULL;
	// Then the link is waited for after all.
	if (d->put_by_bytes >= d->put_by_max && departure_sink_drain(d, err) < 0)
		return NULL;
	if (!d->put_by) {
		void *slot = channels_slot(&d->channels, d->place_in_order, &d->place_of,
					   deadline_in_ms(0), &none_free);
		if (slot)
			return slot;
		if (none_free.id != ERR_DEADLINE) {
			*err = none_free;
			return NULL;
		}
	}
	return new_place(d, err);
}

// ---- while it runs ------------------------------------------------------------------------------

void departure_sink_idle(struct departure *d)
{
	int64_t now = clock_now_ns();
	if (channels_idle(&d->channels))
		d->idle_ns += now - d->handed_ns;
	d->handed_ns = now;
}

static int64_t waited_us(void *arg)
{
	struct departure *d = arg;
	return cgroup_cpu_waited_us(d->cgroup);
}

// The bulk of the memory has time, what is written meanwhile has not: only in the first round.
// Whoever waits for a processor tells nothing about the link.
static void step_back(struct departure *d)
{
	uint64_t taken = departure_taken(d) - d->round_from;
	int64_t ns = clock_now_ns() - d->round_ns - d->paused_ns;
	double rate = (double)taken * 1e9 / (double)(ns > 0 ? ns : 1);
	const struct priority_watch watch = {waited_us, d};
	if (d->report.round.number != 1 || taken < PRIORITY_YIELD_AFTER ||
	    !priority_yield(rate, priority_least(rate, (double)d->travel_bytes), &watch))
		return;
	squeeze_hold(d->squeeze, true);
	d->plain_bytes = taken;
	d->plain_ns = ns;
	d->work_due_ns = 0;
	d->paced_bytes = d->round_from + taken;
}

static void *running_place(struct departure *d, struct error *err)
{
	step_back(d);
	if (departure_pace(d, err) < 0 || departure_listen(d, err) < 0)
		return NULL;
	void *slot = channels_slot(&d->channels, d->place_in_order, &d->place_of,
				   deadline_in_ms(TALK_SLOT_MS), err);
	if (!slot && err->id == ERR_DEADLINE)
		err->id = ERR_PEER_UNREACHABLE; // as good as dead
	return slot;
}

static void *place(void *arg, size_t *room, struct error *err)
{
	struct departure *d = arg;
	*room = LINK_DATA_MAX;
	d->place_in_order = d->in_order;
	d->channels.most = d->report.streams;
	return d->frozen ? frozen_place(d, err) : running_place(d, err);
}

static void order(void *arg, bool keep)
{
	((struct departure *)arg)->in_order = keep;
}

static int hand_over(void *arg, void *bytes, size_t length, struct error *err)
{
	struct departure *d = arg;
	d->sent_bytes += length;
	departure_paced(d, length);
	report_progress(&d->report, d->sent_bytes, d->expected_bytes);
	if (d->spare && bytes == d->spare->bytes) {
		put_by(d, length);
		return 0;
	}
	if (!d->frozen && departure_listen(d, err) < 0)
		return -1;
	departure_sink_idle(d);
	return channels_send(&d->channels, d->place_of, d->place_in_order, bytes, length, err);
}

struct memory_sink departure_sink(struct departure *d)
{
	return (struct memory_sink){.place = place, .send = hand_over, .order = order, .arg = d};
}
