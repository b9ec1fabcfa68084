// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/squeeze.h"

#include "images/pageframe.h"
#include "lib/base/clock.h"

#include <lz4.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
	WINDOW = 16, // messages between two decisions, about 4 MB
	ZSTD_LEVEL = 1,
};

// Packing a message pays only if it gets shorter by at least an eighth.
#define WORTH(length) ((length) - (length) / 8)

// The link is what we wait for when it takes more than this part of the time.
#define BOUND 0.1

struct window {
	unsigned messages;
	uint64_t bytes, sent;
	int64_t fill_ns, wait_ns, pack_ns;
};

struct squeeze {
	struct memory_sink to;
	bool automatic;
	enum squeeze_method method;
	bool settled; // no more decisions
	bool held;    // none now
	bool bound;   // we wait for the link: what packing would cost is worth knowing
	struct squeeze_costs costs;
	struct window window;
	uint64_t bytes, sent;
	ZSTD_CCtx *zstd;
	uint8_t *whole; // what the engine fills while there is packing
	uint8_t *trial; // what probes pack into
	size_t room;
	int64_t placed_ns; // when the engine got its place
	bool direct;       // and it is the other sink's
};

static const char *const names[] = {[SQUEEZE_OFF] = "off",
				    [SQUEEZE_LZ4] = "lz4",
				    [SQUEEZE_ZSTD] = "zstd",
				    [SQUEEZE_AUTO] = "auto"};

const char *squeeze_name(enum squeeze_method method)
{
	return names[method];
}

int squeeze_parse(const char *text, enum squeeze_method *method, struct error *err)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] && !strcmp(text, names[i])) {
			*method = (enum squeeze_method)i;
			return 0;
		}
	return error_set(err, ERR_USAGE, "no compression %s: auto, off, lz4 or zstd", text);
}

// ---- what to do ---------------------------------------------------------------------------------

static double cost_of(const struct squeeze_costs *c, enum squeeze_method m)
{
	double ours = c->fill + c->pack[m], link = c->link * c->ratio[m];
	return ours > link ? ours : link;
}

enum squeeze_method squeeze_choose(const struct squeeze_costs *costs, enum squeeze_method now)
{
	enum squeeze_method best = now;
	for (int m = 0; m < SQUEEZE_METHODS; m++)
		if (costs->ratio[m] > 0 && cost_of(costs, m) < cost_of(costs, best))
			best = m;
	return cost_of(costs, best) < 0.9 * cost_of(costs, now) ? best : now;
}

// What the link can do shows only while we wait for it; otherwise it is at least as fast as we are.
static void decide(struct squeeze *s)
{
	const struct window *w = &s->window;
	double total = (double)(w->fill_ns + w->wait_ns + w->pack_ns);
	double link = total / (double)w->sent;
	s->costs.fill = (double)w->fill_ns / (double)w->bytes;
	s->bound = (double)w->wait_ns > BOUND * total;
	if (s->bound || link < s->costs.link)
		s->costs.link = link;
	s->method = squeeze_choose(&s->costs, s->method);
	s->window = (struct window){0};
}

// ---- packing ------------------------------------------------------------------------------------

// The length of the block in `to`; 0 when it is not worth it.
static size_t pack(struct squeeze *s, enum squeeze_method method, const uint8_t *from,
		   size_t length, uint8_t *to)
{
	size_t room = WORTH(length) - PAGEFRAME_HEADER, packed;
	if (method == SQUEEZE_LZ4)
		return (size_t)LZ4_compress_default((const char *)from, (char *)to, (int)length,
						    (int)room);
	packed = ZSTD_compressCCtx(s->zstd, to, room, from, length, ZSTD_LEVEL);
	return ZSTD_isError(packed) ? 0 : packed;
}

static bool packable(size_t length)
{
	return length > 2 * PAGEFRAME_PAGE; // less is not worth a call
}

// A running mean: memory is not the same everywhere.
static void learn(double *mean, double value)
{
	*mean = *mean == 0 ? value : 0.75 * *mean + 0.25 * value;
}

static size_t timed_pack(struct squeeze *s, enum squeeze_method method, const uint8_t *from,
			 size_t length, uint8_t *to)
{
	int64_t began = clock_now_ns();
	size_t packed = pack(s, method, from, length, to);
	learn(&s->costs.pack[method], (double)(clock_now_ns() - began) / (double)length);
	learn(&s->costs.ratio[method],
	      packed ? (double)(packed + PAGEFRAME_HEADER) / (double)length : 1);
	return packed;
}

static void probe(struct squeeze *s, const uint8_t *message, size_t length)
{
	int64_t began = clock_now_ns();
	for (int m = SQUEEZE_LZ4; m < SQUEEZE_METHODS; m++)
		if (m != (int)s->method)
			timed_pack(s, m, message, length, s->trial);
	// No part of what a method costs.
	s->placed_ns += clock_now_ns() - began;
}

// ---- the sink -----------------------------------------------------------------------------------

static void *lower_place(struct squeeze *s, size_t *room, struct error *err)
{
	int64_t began = clock_now_ns();
	void *place = s->to.place(s->to.arg, room, err);
	s->window.wait_ns += clock_now_ns() - began;
	return place;
}

// Both buffers have the size of the other sink's places, which is known with the first of them.
static int make_room(struct squeeze *s, size_t room, struct error *err)
{
	s->room = room;
	s->whole = malloc(room);
	s->trial = malloc(room);
	return s->whole && s->trial ? 0 : error_set(err, ERR_NOMEM, "no memory to pack pages");
}

static void *place(void *arg, size_t *room, struct error *err)
{
	struct squeeze *s = arg;
	uint8_t *at = s->whole;
	*room = s->room;
	s->direct = s->method == SQUEEZE_OFF || !s->whole;
	if (s->direct)
		at = lower_place(s, room, err);
	if (at && !s->whole && make_room(s, *room, err) < 0)
		return NULL;
	s->placed_ns = clock_now_ns();
	return at;
}

static int hand_on(struct squeeze *s, void *place, size_t length, struct error *err)
{
	int64_t began = clock_now_ns();
	int done = s->to.send(s->to.arg, place, length, err);
	s->window.wait_ns += clock_now_ns() - began;
	s->window.sent += length;
	s->sent += length;
	return done;
}

static int send_packed(struct squeeze *s, const uint8_t *message, size_t length, struct error *err)
{
	size_t room, packed = 0;
	uint8_t *to = lower_place(s, &room, err);
	if (!to)
		return -1;
	int64_t began = clock_now_ns();
	if (packable(length))
		packed = timed_pack(s, s->method, message, length, to + PAGEFRAME_HEADER);
	const struct pageframe header = {.vaddr = length,
					 .flags = s->method == SQUEEZE_LZ4 ? PAGEFRAME_LZ4
									   : PAGEFRAME_ZSTD};
	if (packed)
		pageframe_put(to, &header);
	else
		memcpy(to, message, length);
	s->window.pack_ns += clock_now_ns() - began;
	return hand_on(s, to, packed ? PAGEFRAME_HEADER + packed : length, err);
}

static int send(void *arg, void *message, size_t length, struct error *err)
{
	struct squeeze *s = arg;
	bool deciding = s->automatic && !s->settled && !s->held;
	if (deciding && s->bound && packable(length) && s->window.messages == 0)
		probe(s, message, length);
	s->window.fill_ns += clock_now_ns() - s->placed_ns;
	s->window.bytes += length;
	s->bytes += length;
	int done =
		s->direct ? hand_on(s, message, length, err) : send_packed(s, message, length, err);
	if (++s->window.messages >= WINDOW && deciding && done == 0)
		decide(s);
	return done;
}

static void order(void *arg, bool keep)
{
	struct squeeze *s = arg;
	memory_sink_order(&s->to, keep);
}

struct memory_sink squeeze_sink(struct squeeze *s)
{
	return (struct memory_sink){.place = place, .send = send, .order = order, .arg = s};
}

struct squeeze *squeeze_new(const struct memory_sink *to, enum squeeze_method method,
			    struct error *err)
{
	struct squeeze *s = calloc(1, sizeof(*s));
	if (s) {
		s->to = *to;
		s->automatic = method == SQUEEZE_AUTO;
		s->method = s->automatic ? SQUEEZE_OFF : method;
		s->costs.ratio[SQUEEZE_OFF] = 1;
		s->zstd = ZSTD_createCCtx();
	}
	if (s && s->zstd)
		return s;
	squeeze_free(s);
	error_set(err, ERR_NOMEM, "no memory to pack pages");
	return NULL;
}

void squeeze_free(struct squeeze *s)
{
	if (!s)
		return;
	ZSTD_freeCCtx(s->zstd);
	free(s->whole);
	free(s->trial);
	free(s);
}

void squeeze_settle(struct squeeze *s)
{
	s->settled = true;
}

void squeeze_hold(struct squeeze *s, bool held)
{
	if (s->held != held)
		s->window = (struct window){0};
	s->held = held;
}

void squeeze_figures(const struct squeeze *s, struct squeeze_figures *figures)
{
	*figures = (struct squeeze_figures){s->bytes, s->sent, s->method};
}
