// SPDX-License-Identifier: Apache-2.0
// What the partition has written above its image travels in rounds while it runs: before memory
// does, and again when memory is about to be frozen, since much may have been written meanwhile.
// What changed after the last of them travels while it is frozen.
#include "relocd/departure/departure.h"

#include "lib/base/log.h"
#include "relocd/move/talk.h"

#include <string.h>

#define ROUNDS_MAX   6
#define SMALL        (1u << 20) // a round of so little needs no further one
#define FROZEN_MS    5000       // that the rest may take, as the rounds before tell
#define FROZEN_HARD  15000      // that it may take indeed
#define FROZEN_BYTES (1ull << 30)
#define FRESH_MS     200 // a round that began so lately need not be made again
#define AGAIN_MAX    3   // times, for memory has to go again after it

// Fills slots of the ring.
struct upper_sink {
	struct departure *d;
	uint8_t *slot;
	size_t used;
};

static int may_go_on(struct departure *d, struct error *err)
{
	if ((!d->frozen && departure_pace(d, err) < 0) || departure_listen(d, err) < 0)
		return -1;
	if (d->frozen && cable_collect(&d->cable, err) < 0)
		return -1;
	if (d->frozen && deadline_passed(d->upper_deadline))
		return error_set(err, ERR_UPPER_BUSY,
				 "what changed of its files could not be sent in %d s",
				 FROZEN_HARD / 1000);
	return 0;
}

static int hand_over(struct upper_sink *s, struct error *err)
{
	struct departure *d = s->d;
	size_t length = s->used;
	uint8_t *slot = s->slot;
	s->slot = NULL;
	s->used = 0;
	if (!slot)
		return 0;
	if (digest_update(d->digest, slot, length, err) < 0 ||
	    link_send_slot(d->link, WIRE_UPPER, slot, length, err) < 0)
		return -1;
	departure_paced(d, length);
	d->sent_bytes += length;
	d->file_bytes += length;
	d->digested += length;
	uint64_t files = d->digested > d->upper_bytes ? 0 : d->upper_bytes - d->digested;
	report_progress(&d->report, d->sent_bytes, d->memory_bytes + d->file_bytes + files);
	return 0;
}

static int put(void *arg, const void *bytes, size_t length, struct error *err)
{
	struct upper_sink *s = arg;
	while (length) {
		if (!s->slot && may_go_on(s->d, err) < 0)
			return -1;
		if (!s->slot)
			s->slot = talk_slot(s->d->link, deadline_in_ms(TALK_SLOT_MS), err);
		if (!s->slot)
			return -1;
		size_t room = LINK_DATA_MAX - s->used, part = room < length ? room : length;
		memcpy(s->slot + s->used, bytes, part);
		s->used += part;
		bytes = (const uint8_t *)bytes + part;
		length -= part;
		if (s->used == LINK_DATA_MAX && hand_over(s, err) < 0)
			return -1;
	}
	return 0;
}

static int send_round(struct departure *d, bool last, struct snapshot_round *round,
		      struct error *err)
{
	struct upper_sink state = {.d = d};
	int64_t began = clock_now_ns();
	const struct folder_sink sink = {put, &state};
	if (snapshot_send(d->snapshot, d->upper, last, &sink, round, err) < 0 ||
	    hand_over(&state, err) < 0)
		return -1;
	d->upper_ns = began;
	log_info("files: %llu entries, %llu KiB, %llu removed, %.1f ms",
		 (unsigned long long)round->entries, (unsigned long long)(round->bytes >> 10),
		 (unsigned long long)round->removed, round->ms);
	return 0;
}

// Freezing it is of no use when it changes more than can be sent in the time.
static int check_pace(struct departure *d, const struct snapshot_round *last, struct error *err)
{
	double ms = d->upper_rate > 0 ? (double)last->bytes / d->upper_rate : 0;
	d->upper_ms = ms;
	if (last->bytes <= FROZEN_BYTES && ms <= FROZEN_MS)
		return 0;
	return error_set(
		err, ERR_UPPER_BUSY,
		"of its files %llu MiB changed in %.1f s: sending that would freeze it for "
		"%.1f s",
		(unsigned long long)(last->bytes >> 20), last->ms / 1000, ms / 1000);
}

int departure_copy_upper(struct departure *d, struct error *err)
{
	struct snapshot_round first = {.ms = 0}, last = {.ms = 0};
	d->paused_ns = 0;
	if (!(d->digest = digest_begin(err)) || !(d->snapshot = snapshot_new(err)) ||
	    send_round(d, false, &first, err) < 0)
		return -1;
	first.ms -= (double)d->paused_ns / 1e6; // nothing is held back while it is frozen
	uint64_t before = first.bytes;
	for (int i = 1; i < ROUNDS_MAX; i++) {
		if (send_round(d, false, &last, err) < 0)
			return -1;
		if (last.bytes <= SMALL || last.bytes > before / 2)
			break;
		before = last.bytes;
	}
	if (first.bytes > SMALL && first.ms > 0)
		d->upper_rate = (double)first.bytes / first.ms;
	return check_pace(d, &last, err);
}

bool departure_upper_is_old(const struct departure *d)
{
	return d->def->image && d->upper_again < AGAIN_MAX &&
	       clock_ms_since(d->upper_ns) > FRESH_MS;
}

int departure_copy_upper_again(struct departure *d, struct error *err)
{
	struct snapshot_round round;
	d->upper_again++;
	return send_round(d, false, &round, err) < 0 ? -1 : check_pace(d, &round, err);
}

int departure_finish_upper(struct departure *d, struct error *err)
{
	struct snapshot_round round;
	struct digest sum;
	Wpar__ObjectEnd end = WPAR__OBJECT_END__INIT;
	d->upper_deadline = deadline_in_ms(FROZEN_HARD);
	if (send_round(d, true, &round, err) < 0)
		return -1;
	struct digest_ctx *digest = d->digest;
	d->digest = NULL;
	if (digest_end(digest, &sum, err) < 0)
		return -1;
	end.sha256 = (ProtobufCBinaryData){.len = sizeof(sum.b), .data = sum.b};
	if (talk_send(d->link, WIRE_UPPER_END, &end.base, err) < 0)
		return -1;
	return manifest_add_object(&d->manifest, "upper", d->digested, &sum, err);
}
