// SPDX-License-Identifier: Apache-2.0
// Engine `track`: relocd moves the memory (track.h), CRIU the rest. Rounds while the partition
// runs; once it is frozen, what was written since; then whatever pages CRIU still sends and that
// were not ours to send (the vdso, rings of asynchronous I/O); at last the list of all pages that
// there are. CRIU is told to leave out what we have (lib/criu/blank.h); where that does not work,
// it sends those pages too, and they are dropped here.
#include "images/pageframe.h"
#include "lib/base/cleanup.h"
#include "lib/criu/blank.h"
#include "lib/criu/pageserver.h"
#include "lib/memory/engine.h"
#include "lib/memory/streams.h"
#include "lib/memory/track.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define DROP_BYTES (256u << 10)

struct memory_run {
	struct memory_sink sink;
	struct track *track;
	struct streams streams;
	uint64_t bytes;

	struct pageserver *server;
	// The entry that CRIU is sending, cut into pieces that are ours (dropped) and that are not.
	struct pageframe entry;
	uint64_t entry_left; // pages of it that no piece covers yet
	uint8_t *place;      // of the frame that takes the piece; NULL: it is dropped
	size_t piece;        // bytes of the piece, 0: none is begun
	size_t filled;
	uint8_t *drop;

	// All pages that there are: the tracker's, then those of CRIU.
	struct track_entry *map;
	size_t map_count, map_room, tracked;
};

// ---- the sink -----------------------------------------------------------------------------------

// The tracker's frames pass through here, several in one place.
static int count_frames(struct memory_run *run, const uint8_t *bytes, size_t length,
			struct error *err)
{
	while (length) {
		struct pageframe frame;
		if (length < PAGEFRAME_HEADER)
			return error_set(err, ERR_INTERNAL, "a frame of pages is cut off");
		pageframe_get(bytes, &frame);
		size_t data = frame.flags & PAGEFRAME_ZERO ? 0 : frame.pages * PAGE_BYTES;
		if (data > length - PAGEFRAME_HEADER)
			return error_set(err, ERR_INTERNAL, "a frame of pages is cut off");
		if (streams_count(&run->streams, &frame, err) < 0)
			return -1;
		run->bytes += data;
		bytes += PAGEFRAME_HEADER + data;
		length -= PAGEFRAME_HEADER + data;
	}
	return 0;
}

static void *take_place(void *arg, size_t *room, struct error *err)
{
	struct memory_run *run = arg;
	return run->sink.place(run->sink.arg, room, err);
}

static void order_frames(void *arg, bool keep)
{
	struct memory_run *run = arg;
	memory_sink_order(&run->sink, keep);
}

static int take_frames(void *arg, void *place, size_t length, struct error *err)
{
	struct memory_run *run = arg;
	if (count_frames(run, place, length, err) < 0)
		return -1;
	return run->sink.send(run->sink.arg, place, length, err);
}

// ---- rounds -------------------------------------------------------------------------------------

static struct memory_run *begin(const struct memory_subject *subject,
				const struct memory_sink *sink, struct error *err)
{
	const struct track_tasks tasks = {.list = subject->tasks, .arg = subject->arg};
	struct memory_run *run = calloc(1, sizeof(*run));
	uint8_t *drop = malloc(DROP_BYTES);
	if (!run || !drop) {
		free(run);
		free(drop);
		error_set(err, ERR_NOMEM, "no memory for a memory engine");
		return NULL;
	}
	run->sink = *sink;
	run->drop = drop;
	const struct memory_sink ours = {
		.place = take_place, .send = take_frames, .order = order_frames, .arg = run};
	run->track = track_begin(subject->init, &tasks, &ours, err);
	if (run->track)
		return run;
	free(drop);
	free(run);
	return NULL;
}

static void figures_of(const struct track_round *r, struct memory_round *result)
{
	*result =
		(struct memory_round){.bytes = r->sent_bytes,
				      .zero_bytes = r->zero_bytes,
				      .ms = (double)r->ns / 1e6,
				      .scan_ms = (double)(r->ns - r->copy_ns + r->compare_ns) / 1e6,
				      .frozen_ms = (double)r->final_ns / 1e6,
				      .stop_ms = (double)r->arm_ns / 1e6,
				      .unarmed = r->unarmed};
	snprintf(result->unarmed_why, sizeof(result->unarmed_why), "%s", r->unarmed_why);
}

static int round_of(struct memory_run *run, struct memory_round *result, struct error *err)
{
	struct track_round r = {0};
	if (track_round(run->track, &r, err) < 0)
		return -1;
	figures_of(&r, result);
	return 0;
}

static int dirty(struct memory_run *run, uint64_t *bytes, struct error *err)
{
	return track_dirty(run->track, bytes, err);
}

// ---- frozen -------------------------------------------------------------------------------------

static int map_add(struct memory_run *run, const struct track_entry *list, size_t count,
		   struct error *err)
{
	if (run->map_count + count > run->map_room) {
		size_t room = (run->map_count + count) * 2;
		struct track_entry *more = reallocarray(run->map, room, sizeof(*more));
		if (!more)
			return error_set(err, ERR_NOMEM, "no memory for a list of pages");
		run->map = more;
		run->map_room = room;
	}
	if (count)
		memcpy(run->map + run->map_count, list, count * sizeof(*list));
	run->map_count += count;
	return 0;
}

static int hide(const struct memory_run *run, int blank, struct error *err)
{
	const struct track_segment *segments;
	_cleanup_free_ struct criu_blank_flags *flags = NULL;
	size_t count, flags_count;
	track_segments(run->track, &segments, &count);
	_cleanup_free_ struct criu_blank_segment *list = calloc(count + 1, sizeof(*list));
	if (!list)
		return error_set(err, ERR_NOMEM, "no memory for a list of segments");
	for (size_t i = 0; i < count; i++)
		list[i] = (struct criu_blank_segment){segments[i].dev, segments[i].inode};
	if (track_flags(run->track, &flags, &flags_count, err) < 0)
		return -1;
	return criu_blank_hide(blank, &(struct criu_blank_list){list, count, flags, flags_count},
			       err);
}

static int frozen(struct memory_run *run, int blank, struct memory_round *result, struct error *err)
{
	struct track_round r = {0};
	const struct track_entry *list;
	const struct track_segment *segments;
	size_t count;
	if (track_final(run->track, &r, err) < 0)
		return -1;
	figures_of(&r, result);
	track_map(run->track, &list, &count);
	if (map_add(run, list, count, err) < 0)
		return -1;
	run->tracked = count;
	track_segments(run->track, &segments, &count);
	for (size_t i = 0; i < count; i++)
		if (streams_open(&run->streams, segments[i].destination, err) < 0)
			return -1;
	return blank < 0 ? 0 : hide(run, blank, err);
}

// ---- what CRIU sends ----------------------------------------------------------------------------

static int compare(const void *a, const void *b)
{
	const struct track_entry *x = a, *y = b;
	if (x->destination != y->destination)
		return x->destination < y->destination ? -1 : 1;
	return x->vaddr < y->vaddr ? -1 : x->vaddr > y->vaddr;
}

// The first of the tracker's entries that ends behind that address of the destination, or begins
// in a later one; `tracked`: none.
static size_t find(const struct memory_run *run, uint64_t destination, uint64_t vaddr)
{
	size_t low = 0, high = run->tracked;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct track_entry *e = &run->map[middle];
		if (e->destination < destination ||
		    (e->destination == destination && e->vaddr + e->pages * PAGE_BYTES <= vaddr))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

// How many pages from there on are alike, and whether they are ours.
static uint64_t run_of(const struct memory_run *run, bool *ours)
{
	const struct pageframe *f = &run->entry;
	size_t at = find(run, f->destination, f->vaddr);
	const struct track_entry *e = &run->map[at];
	uint64_t pages = run->entry_left, alike;
	*ours = false;
	if (at == run->tracked || e->destination != f->destination)
		return pages;
	*ours = e->vaddr <= f->vaddr;
	alike = *ours ? e->pages - (f->vaddr - e->vaddr) / PAGE_BYTES
		      : (e->vaddr - f->vaddr) / PAGE_BYTES;
	return alike < pages ? alike : pages;
}

static int on_open(void *arg, uint64_t destination, struct error *err)
{
	struct memory_run *run = arg;
	return streams_open(&run->streams, destination, err) < 0 ? -1 : 0;
}

static int on_pages(void *arg, uint64_t destination, uint64_t vaddr, uint64_t pages, uint32_t flags,
		    struct error *err)
{
	struct memory_run *run = arg;
	if (!(flags & PAGE_PRESENT))
		return error_set(err, ERR_PROTOCOL, "CRIU sent pages without their contents");
	run->entry = (struct pageframe){destination, vaddr, pages, flags};
	run->entry_left = pages;
	return 0;
}

static int begin_piece(struct memory_run *run, struct error *err)
{
	bool ours;
	uint64_t pages = run_of(run, &ours), most = DROP_BYTES / PAGE_BYTES;
	if (!ours) {
		size_t room = 0;
		run->place = run->sink.place(run->sink.arg, &room, err);
		if (!run->place)
			return -1;
		most = (room - PAGEFRAME_HEADER) / PAGE_BYTES;
	}
	if (pages > most)
		pages = most;
	run->piece = pages * PAGE_BYTES;
	run->filled = 0;
	return 0;
}

static int on_space(void *arg, size_t want, void **buf, size_t *size, struct error *err)
{
	struct memory_run *run = arg;
	if (!run->piece && begin_piece(run, err) < 0)
		return -1;
	*buf = (run->place ? run->place + PAGEFRAME_HEADER : run->drop) + run->filled;
	*size = run->piece - run->filled < want ? run->piece - run->filled : want;
	return 0;
}

static int send_piece(struct memory_run *run, uint64_t pages, struct error *err)
{
	const struct pageframe frame = {run->entry.destination, run->entry.vaddr, pages,
					PAGEFRAME_ROUND};
	const struct track_entry entry = {frame.destination, frame.vaddr, pages,
					  (uint32_t)run->entry.flags};
	uint8_t *place = take_ptr(run->place);
	pageframe_put(place, &frame);
	if (streams_count(&run->streams, &frame, err) < 0 || map_add(run, &entry, 1, err) < 0)
		return -1;
	run->bytes += run->piece;
	return run->sink.send(run->sink.arg, place, PAGEFRAME_HEADER + run->piece, err);
}

static int on_filled(void *arg, size_t n, struct error *err)
{
	struct memory_run *run = arg;
	run->filled += n;
	if (run->filled < run->piece)
		return 0;
	uint64_t pages = run->piece / PAGE_BYTES;
	if (run->place && send_piece(run, pages, err) < 0)
		return -1;
	run->entry.vaddr += run->piece;
	run->entry_left -= pages;
	run->piece = 0;
	return 0;
}

static int on_close(void *arg, struct error *err)
{
	struct memory_run *run = arg;
	return run->piece || run->entry_left
		       ? error_set(err, ERR_PROTOCOL, "CRIU closed in the middle of an entry")
		       : 0;
}

static const struct pageserver_ops ops = {.open = on_open,
					  .pages = on_pages,
					  .space = on_space,
					  .filled = on_filled,
					  .close = on_close};

static int final_open(struct memory_run *run, int *criu_side, struct error *err)
{
	static const struct pageserver_limits limits = PAGESERVER_LIMITS_DEFAULT;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket pair");
	*criu_side = ends[1];
	run->server = pageserver_new(ends[0], &limits, &ops, run, err);
	return run->server ? 0 : -1;
}

static int final_fd(const struct memory_run *run)
{
	return pageserver_fd(run->server);
}

// ---- the list of all pages ----------------------------------------------------------------------

// Frames without data, many in one place.
struct listing {
	struct memory_run *run;
	uint8_t *place;
	size_t room, used;
};

static int listing_send(struct listing *l, struct error *err)
{
	uint8_t *place = take_ptr(l->place);
	if (!place)
		return 0;
	return l->run->sink.send(l->run->sink.arg, place, l->used, err);
}

static int listing_add(struct listing *l, const struct pageframe *frame, struct error *err)
{
	if (l->place && l->room - l->used < PAGEFRAME_HEADER && listing_send(l, err) < 0)
		return -1;
	if (!l->place) {
		l->place = l->run->sink.place(l->run->sink.arg, &l->room, err);
		l->used = 0;
	}
	if (!l->place)
		return -1;
	pageframe_put(l->place + l->used, frame);
	l->used += PAGEFRAME_HEADER;
	return 0;
}

// A stream may stay without pages; the other side must know of it all the same.
static int list_streams(struct listing *l, struct error *err)
{
	for (size_t i = 0; i < l->run->streams.count; i++) {
		const struct pageframe frame = {.destination = streams_at(&l->run->streams, i),
						.flags = PAGEFRAME_MAP};
		if (listing_add(l, &frame, err) < 0)
			return -1;
	}
	return 0;
}

static int list_pages(struct memory_run *run, struct error *err)
{
	struct listing l = {.run = run};
	memory_sink_order(&run->sink, true); // it is about all that was sent
	if (list_streams(&l, err) < 0)
		return -1;
	qsort(run->map, run->map_count, sizeof(*run->map), compare);
	for (size_t i = 0; i < run->map_count; i++) {
		const struct track_entry *e = &run->map[i];
		const struct pageframe frame = {e->destination, e->vaddr, e->pages,
						PAGEFRAME_MAP | e->flags};
		if (streams_count(&run->streams, &frame, err) < 0 ||
		    listing_add(&l, &frame, err) < 0)
			return -1;
	}
	return listing_send(&l, err);
}

static int final_step(struct memory_run *run, size_t budget, bool *done, struct error *err)
{
	enum pageserver_state state;
	if (pageserver_step(run->server, budget, &state, err) < 0)
		return -1;
	if (state == PAGESERVER_EOF)
		return error_set(err, ERR_CRIU_DUMP, "CRIU ended before it had sent all pages");
	*done = state == PAGESERVER_CLOSED;
	return *done ? list_pages(run, err) : 0;
}

static void final_close(struct memory_run *run)
{
	pageserver_free(run->server);
	run->server = NULL;
}

static int manifest(struct memory_run *run, struct manifest *m, struct error *err)
{
	return streams_manifest(&run->streams, m, err);
}

static size_t flags_changed(const struct memory_run *run)
{
	return track_flags_changed(run->track);
}

static uint64_t bytes(const struct memory_run *run)
{
	return run->bytes;
}

static void end(struct memory_run *run)
{
	if (!run)
		return;
	pageserver_free(run->server);
	track_end(run->track);
	streams_free(&run->streams);
	free(run->map);
	free(run->drop);
	free(run);
}

const struct memory_engine memory_engine_track = {
	.name = "track",
	.usable = track_usable,
	.begin = begin,
	.round = round_of,
	.dirty = dirty,
	.frozen = frozen,
	.final_open = final_open,
	.final_fd = final_fd,
	.final_step = final_step,
	.final_close = final_close,
	.manifest = manifest,
	.flags_changed = flags_changed,
	.bytes = bytes,
	.end = end,
};
