// SPDX-License-Identifier: Apache-2.0
// Engine `stop`: no tracking and no rounds. All pages are what CRIU hands to its page server while
// the partition is frozen, read from its socket straight into the frames that leave. Downtime grows
// with memory.
#include "lib/memory/engine.h"

#include "images/pageframe.h"
#include "lib/base/cleanup.h"
#include "lib/criu/pageserver.h"
#include "lib/memory/streams.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct memory_run {
	struct memory_sink sink;
	struct pageserver *server;
	struct streams streams;

	// The entry that CRIU is sending: cut into frames as places allow.
	struct pageframe entry;
	uint64_t entry_left; // pages of it that are not in a frame yet
	uint8_t *place;      // of the frame being filled; NULL: none
	size_t frame_data;   // bytes of page data that this frame will have
	size_t filled;       // of them there
	uint64_t bytes;
};

static bool stop_usable(char *why, size_t size)
{
	(void)why;
	(void)size;
	return true;
}

static struct memory_run *stop_begin(const struct memory_subject *subject,
				     const struct memory_sink *sink, struct error *err)
{
	(void)subject;
	struct memory_run *run = calloc(1, sizeof(*run));
	if (!run) {
		error_set(err, ERR_NOMEM, "no memory for a memory engine");
		return NULL;
	}
	run->sink = *sink;
	memory_sink_order(sink, true); // CRIU's own, in the order of its map
	return run;
}

// A stream may stay without pages; the other side must know of it all the same: a frame of none
// begins it.
static int on_open(void *arg, uint64_t destination, struct error *err)
{
	struct memory_run *run = arg;
	size_t room = 0;
	if (streams_open(&run->streams, destination, err) < 0)
		return -1;
	void *place = run->sink.place(run->sink.arg, &room, err);
	if (!place)
		return -1;
	pageframe_put(place, &(struct pageframe){.destination = destination});
	return run->sink.send(run->sink.arg, place, PAGEFRAME_HEADER, err);
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

static int open_frame(struct memory_run *run, struct error *err)
{
	size_t room = 0;
	run->place = run->sink.place(run->sink.arg, &room, err);
	if (!run->place)
		return -1;
	uint64_t pages = (room - PAGEFRAME_HEADER) / PAGE_BYTES;
	if (pages > run->entry_left)
		pages = run->entry_left;
	struct pageframe head = run->entry;
	head.pages = pages;
	pageframe_put(run->place, &head);
	run->frame_data = pages * PAGE_BYTES;
	run->filled = 0;
	return 0;
}

static int on_space(void *arg, size_t want, void **buf, size_t *size, struct error *err)
{
	struct memory_run *run = arg;
	if (!run->place && open_frame(run, err) < 0)
		return -1;
	*buf = run->place + PAGEFRAME_HEADER + run->filled;
	*size = run->frame_data - run->filled < want ? run->frame_data - run->filled : want;
	return 0;
}

static int close_frame(struct memory_run *run, struct error *err)
{
	uint64_t pages = run->frame_data / PAGE_BYTES;
	struct pageframe frame = run->entry;
	frame.pages = pages;
	// Hashed before it is handed on: from then on the mover may write to that memory.
	if (streams_count(&run->streams, &frame, err) < 0 ||
	    run->sink.send(run->sink.arg, run->place, PAGEFRAME_HEADER + run->frame_data, err) < 0)
		return -1;
	run->bytes += run->frame_data;
	run->entry.vaddr += run->frame_data;
	run->entry_left -= pages;
	run->place = NULL;
	return 0;
}

static int on_filled(void *arg, size_t n, struct error *err)
{
	struct memory_run *run = arg;
	run->filled += n;
	return run->filled == run->frame_data ? close_frame(run, err) : 0;
}

static int on_close(void *arg, struct error *err)
{
	struct memory_run *run = arg;
	return run->place ? error_set(err, ERR_PROTOCOL, "CRIU closed in the middle of an entry")
			  : 0;
}

static const struct pageserver_ops ops = {.open = on_open,
					  .pages = on_pages,
					  .space = on_space,
					  .filled = on_filled,
					  .close = on_close};

static int stop_final_open(struct memory_run *run, int *criu_side, struct error *err)
{
	static const struct pageserver_limits limits = PAGESERVER_LIMITS_DEFAULT;
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket pair");
	int bytes = 4 << 20; // fewer turns between CRIU and us; what is not permitted is no loss
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	*criu_side = ends[1];
	run->server = pageserver_new(ends[0], &limits, &ops, run, err);
	return run->server ? 0 : -1;
}

static int stop_final_fd(const struct memory_run *run)
{
	return pageserver_fd(run->server);
}

static int stop_final_step(struct memory_run *run, size_t budget, bool *done, struct error *err)
{
	enum pageserver_state state;
	if (pageserver_step(run->server, budget, &state, err) < 0)
		return -1;
	if (state == PAGESERVER_EOF)
		return error_set(err, ERR_CRIU_DUMP, "CRIU ended before it had sent all pages");
	*done = state == PAGESERVER_CLOSED;
	return 0;
}

static void stop_final_close(struct memory_run *run)
{
	pageserver_free(run->server);
	run->server = NULL;
}

static int stop_manifest(struct memory_run *run, struct manifest *m, struct error *err)
{
	return streams_manifest(&run->streams, m, err);
}

static uint64_t stop_bytes(const struct memory_run *run)
{
	return run->bytes;
}

static void stop_end(struct memory_run *run)
{
	if (!run)
		return;
	pageserver_free(run->server);
	streams_free(&run->streams);
	free(run);
}

const struct memory_engine memory_engine_stop = {
	.name = "stop",
	.usable = stop_usable,
	.begin = stop_begin,
	.final_open = stop_final_open,
	.final_fd = stop_final_fd,
	.final_step = stop_final_step,
	.final_close = stop_final_close,
	.manifest = stop_manifest,
	.bytes = stop_bytes,
	.end = stop_end,
};
