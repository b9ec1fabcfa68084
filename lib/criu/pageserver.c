// SPDX-License-Identifier: Apache-2.0
//
// The page-server end: see pageserver.h.
#include "lib/criu/pageserver.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Commands: the low 16 bits of the first word; the flags of an entry are above them.
enum command {
	CMD_OPEN = 4,
	CMD_PARENT = 5,
	CMD_ADD = 6,
	CMD_CLOSE = 0x1023,
	CMD_FORCE_CLOSE = 0x1024,
};

// u32 cmd, u32 nr_pages, u64 vaddr, u64 dst_id        (CRIU <= 4.1.1)
// u32 cmd, u32 -, u64 nr_pages, u64 vaddr, u64 dst_id (CRIU >= 4.2)
enum { SHORT_HEADER = 24, LONG_HEADER = 32 };

struct header {
	unsigned command;
	uint32_t flags;
	uint64_t nr_pages, vaddr, dst_id;
};

struct pageserver {
	int fd;
	const struct pageserver_ops *ops;
	void *arg;
	struct pageserver_limits limits;
	uint8_t header[LONG_HEADER];
	size_t header_used, header_size;
	bool form_known, closed;
	uint64_t dst_id; // open destination, 0: none
	uint64_t data_left;
	uint64_t entries, bytes;
	uint8_t reply[8];
	size_t reply_used;
};

struct pageserver *pageserver_new(int fd, const struct pageserver_limits *limits,
				  const struct pageserver_ops *ops, void *arg, struct error *err)
{
	struct pageserver *s = calloc(1, sizeof(*s));
	int flags;

	if (!s) {
		if (fd >= 0)
			close(fd);
		error_set(err, ERR_NOMEM, "no memory: page server");
		return NULL;
	}
	s->fd = fd;
	s->limits = *limits;
	s->ops = ops;
	s->arg = arg;
	s->header_size = SHORT_HEADER;
	if (fd < 0)
		return s;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		error_sys(err, ERR_CRIU, errno, "page server socket");
		pageserver_free(s);
		return NULL;
	}
	return s;
}

void pageserver_free(struct pageserver *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

int pageserver_fd(const struct pageserver *s)
{
	return s->fd;
}

uint64_t pageserver_bytes(const struct pageserver *s)
{
	return s->bytes;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static struct header decode(const struct pageserver *s)
{
	const uint8_t *p = s->header;
	struct header h = {.command = get32(p) & 0xffff, .flags = get32(p) >> 16};

	if (s->header_size == SHORT_HEADER) {
		h.nr_pages = get32(p + 4);
		h.vaddr = get64(p + 8);
		h.dst_id = get64(p + 16);
	} else {
		h.nr_pages = get64(p + 8);
		h.vaddr = get64(p + 16);
		h.dst_id = get64(p + 24);
	}
	return h;
}

static int check_dst(uint64_t dst_id, struct error *err)
{
	unsigned type = page_dst_type(dst_id);

	// No task has pid 0, but the first SysV segment of a namespace has id 0.
	if (type != PAGE_DST_SHMEM && (type != PAGE_DST_TASK || page_dst_number(dst_id) == 0))
		return error_set(err, ERR_CRIU, "page server: bad destination %#llx",
				 (unsigned long long)dst_id);
	return 0;
}

static void queue_reply(struct pageserver *s, const void *data, size_t size)
{
	memcpy(s->reply, data, size);
	s->reply_used = size;
}

static int on_open(struct pageserver *s, const struct header *h, struct error *err)
{
	const uint8_t has_parent = 0; // one layer, no parent images

	if (check_dst(h->dst_id, err) < 0 || s->ops->open(s->arg, h->dst_id, err) < 0)
		return -1;
	s->dst_id = h->dst_id;
	queue_reply(s, &has_parent, sizeof(has_parent));
	return 0;
}

static int on_parent(struct pageserver *s, const struct header *h, struct error *err)
{
	const int32_t has_parent = 0;

	if (check_dst(h->dst_id, err) < 0)
		return -1;
	queue_reply(s, &has_parent, sizeof(has_parent));
	return 0;
}

static int check_entry(struct pageserver *s, const struct header *h, struct error *err)
{
	uint64_t length;

	if (s->dst_id == 0 || h->dst_id != s->dst_id)
		return error_set(err, ERR_CRIU, "page server: pages for %#llx, which is not open",
				 (unsigned long long)h->dst_id);
	if (h->flags != PAGE_PRESENT && h->flags != (PAGE_PRESENT | PAGE_LAZY) &&
	    h->flags != PAGE_PARENT)
		return error_set(err, ERR_CRIU, "page server: entry with flags %#x", h->flags);
	if (h->nr_pages == 0 || h->nr_pages > s->limits.entry_pages || h->vaddr % PAGE_BYTES != 0 ||
	    __builtin_add_overflow(h->vaddr, h->nr_pages * PAGE_BYTES, &length))
		return error_set(err, ERR_CRIU, "page server: bad entry, %llu pages at %#llx",
				 (unsigned long long)h->nr_pages, (unsigned long long)h->vaddr);
	if (s->entries >= s->limits.entries ||
	    ((h->flags & PAGE_PRESENT) && h->nr_pages * PAGE_BYTES > s->limits.bytes - s->bytes))
		return error_set(err, ERR_CRIU, "page server: more pages than allowed");
	return 0;
}

static int on_add(struct pageserver *s, const struct header *h, struct error *err)
{
	if (check_entry(s, h, err) < 0 ||
	    s->ops->pages(s->arg, h->dst_id, h->vaddr, h->nr_pages, h->flags, err) < 0)
		return -1;
	s->entries++;
	if (h->flags & PAGE_PRESENT)
		s->data_left = h->nr_pages * PAGE_BYTES;
	return 0;
}

static int on_close(struct pageserver *s, struct error *err)
{
	int32_t status = s->ops->close(s->arg, err) < 0 ? -1 : 0;

	queue_reply(s, &status, sizeof(status));
	s->closed = true;
	return status;
}

static int on_header(struct pageserver *s, struct error *err)
{
	struct header h = decode(s);

	switch (h.command) {
	case CMD_OPEN:
		return on_open(s, &h, err);
	case CMD_PARENT:
		return on_parent(s, &h, err);
	case CMD_ADD:
		return on_add(s, &h, err);
	case CMD_CLOSE:
	case CMD_FORCE_CLOSE:
		return on_close(s, err);
	default:
		return error_set(err, ERR_CRIU, "page server: unknown command %#x", h.command);
	}
}

// The first message names a destination (never 0) at address 0. In the short form the destination
// is the third u64; in the long form that is the address.
static bool header_complete(struct pageserver *s)
{
	if (s->header_used < s->header_size)
		return false;
	if (!s->form_known && s->header_size == SHORT_HEADER && get64(s->header + 16) == 0) {
		s->header_size = LONG_HEADER;
		return false;
	}
	s->form_known = true;
	return true;
}

int pageserver_window(struct pageserver *s, void **buf, size_t *size, struct error *err)
{
	*size = 0;
	if (s->closed)
		return error_set(err, ERR_CRIU, "page server: data after the close");
	if (s->data_left == 0) {
		*buf = s->header + s->header_used;
		*size = s->header_size - s->header_used;
		return 0;
	}
	if (s->ops->space(s->arg, s->data_left, buf, size, err) < 0)
		return -1;
	if (*size > s->data_left)
		*size = s->data_left;
	return 0;
}

int pageserver_fed(struct pageserver *s, size_t n, struct error *err)
{
	if (s->data_left > 0) {
		s->data_left -= n;
		s->bytes += n;
		return s->ops->filled(s->arg, n, err);
	}
	s->header_used += n;
	if (!header_complete(s))
		return 0;
	s->header_used = 0;
	return on_header(s, err);
}

// 1: nothing left to send, 0: would block.
static int flush_reply(struct pageserver *s, struct error *err)
{
	while (s->reply_used > 0) {
		ssize_t n = send(s->fd, s->reply, s->reply_used, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return error_sys(err, ERR_CRIU, errno, "page server: reply");
		s->reply_used -= (size_t)n;
		memmove(s->reply, s->reply + n, s->reply_used);
	}
	return 1;
}

// 1: some bytes handled, 0: *state says why not.
static int read_some(struct pageserver *s, enum pageserver_state *state, struct error *err)
{
	size_t size;
	void *buf;
	ssize_t n;

	if (pageserver_window(s, &buf, &size, err) < 0)
		return -1;
	if (size == 0) {
		*state = PAGESERVER_FULL;
		return 0;
	}
	do {
		n = read(s->fd, buf, size);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN && errno != ECONNRESET)
		return error_sys(err, ERR_CRIU, errno, "page server");
	if (n <= 0) {
		*state = n < 0 && errno == EAGAIN ? PAGESERVER_AGAIN : PAGESERVER_EOF;
		return 0;
	}
	return pageserver_fed(s, (size_t)n, err) < 0 ? -1 : 1;
}

int pageserver_step(struct pageserver *s, size_t budget, enum pageserver_state *state,
		    struct error *err)
{
	uint64_t stop = s->bytes + budget;
	int r;

	*state = PAGESERVER_AGAIN;
	do {
		r = flush_reply(s, err);
		if (r > 0 && s->closed)
			*state = PAGESERVER_CLOSED;
		if (r <= 0 || s->closed)
			return r < 0 ? -1 : 0;
		r = read_some(s, state, err);
	} while (r > 0 && s->bytes < stop);
	if (r < 0 && s->closed) {
		// Tell CRIU at once that its dump failed; if that cannot be sent, our going away
		// tells it as well.
		(void)send(s->fd, s->reply, s->reply_used, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	return r < 0 ? -1 : 0;
}
