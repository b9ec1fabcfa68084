// SPDX-License-Identifier: Apache-2.0
#include "relocd/departure/channels.h"

#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "relocd/move/talk.h"

#include <errno.h>

#define CONNECT_MS 10000

static int connect_one(struct channels *c, const struct channels_peer *peer, struct error *err)
{
	_cleanup_link_ struct link *link = link_connect_further(
		peer->address, peer->name, peer->tls, peer->token, deadline_in_ms(CONNECT_MS), err);
	if (!link || talk_mark(link, c->move, c->epoch, 0, err) < 0)
		return -1;
	c->link[c->count++] = take_ptr(link);
	return 0;
}

void channels_open(struct channels *c, struct link *control, const char *move, uint64_t epoch,
		   unsigned streams, const struct channels_peer *peer)
{
	struct error why;
	*c = (struct channels){.link = {control}, .count = 1, .move = move, .epoch = epoch};
	while (peer->token && c->count < streams)
		if (connect_one(c, peer, &why) < 0) {
			log_warn("the move goes on with %zu of %u connections: %s", c->count,
				 streams, why.message);
			return;
		}
}

// ---- slots --------------------------------------------------------------------------------------

static size_t usable(const struct channels *c)
{
	return c->most && c->most < c->count ? c->most : c->count;
}

// Without waiting, beginning behind the one that was used last. NULL without *err: none is free.
static void *free_slot(struct channels *c, struct link **of, struct error *err)
{
	const size_t count = usable(c);
	for (size_t i = 1; i <= count; i++) {
		struct error why = {0};
		size_t n = (c->last + i) % count;
		void *slot = link_slot(c->link[n], deadline_in_ms(0), &why);
		if (slot) {
			c->last = n;
			*of = c->link[n];
			return slot;
		}
		if (why.id != ERR_DEADLINE) {
			*err = why;
			return NULL;
		}
	}
	return NULL;
}

bool channels_idle(const struct channels *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (!link_idle(c->link[i]))
			return false;
	return true;
}

size_t channels_poll(const struct channels *c, struct pollfd fds[CHANNELS_MAX])
{
	for (size_t i = 0; i < c->count; i++)
		fds[i] = (struct pollfd){.fd = link_fd(c->link[i]), .events = POLLIN};
	return c->count;
}

void *channels_slot(struct channels *c, bool in_order, struct link **of, deadline_t deadline,
		    struct error *err)
{
	*of = c->link[0];
	if (in_order || usable(c) == 1)
		return link_slot(c->link[0], deadline, err);
	for (;;) {
		struct error why = {0};
		struct pollfd fds[CHANNELS_MAX];
		void *slot = free_slot(c, of, &why);
		if (slot)
			return slot;
		if (error_is_set(&why)) {
			*err = why;
			return NULL;
		}
		if (deadline_passed(deadline)) {
			error_set(err, ERR_DEADLINE, "the peer takes no data");
			return NULL;
		}
		if (poll(fds, channels_poll(c, fds), deadline_poll_ms(deadline)) < 0 &&
		    errno != EINTR) {
			error_sys(err, ERR_SYSTEM, errno, "poll failed");
			return NULL;
		}
	}
}

// ---- order --------------------------------------------------------------------------------------

// The control link's comes last: the peer then waits for nothing that is not on its way.
int channels_mark(struct channels *c, struct error *err)
{
	if (!c->spread)
		return 0;
	c->marks++;
	for (size_t i = c->count; i-- > 0;)
		if (talk_mark(c->link[i], c->move, c->epoch, c->marks, err) < 0)
			return -1;
	c->spread = false;
	return 0;
}

int channels_send(struct channels *c, struct link *of, bool in_order, void *slot, size_t length,
		  struct error *err)
{
	if (in_order && channels_mark(c, err) < 0)
		return -1;
	c->spread |= of != c->link[0];
	return link_send_slot(of, WIRE_PAGES, slot, length, err);
}

void channels_close(struct channels *c)
{
	for (size_t i = 1; i < c->count; i++)
		link_end(c->link[i]);
	while (c->count > 1)
		link_close(take_ptr(c->link[--c->count]));
	c->count = 0;
}
