// SPDX-License-Identifier: Apache-2.0
#include "relocd/peers/listener.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/transport/wire.h"
#include "relocd/peers/bulk.h"
#include "relocd/peers/ratelimit.h"
#include "relocd/supervisor/arrivals.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG  64
#define PAUSE_MS 200

// A connection whose preamble is being read.
struct pending {
	struct pending *next;
	struct daemon *d;
	int sock;
	uint64_t watch;
	char from[64];
	struct ratelimit_source source;
	uint8_t preamble[WIRE_PREAMBLE];
	size_t length;
};

struct listener {
	int sock;
	uint64_t watch;
	struct pending *pending;
	unsigned pending_count;
	struct ratelimit limit;
	bool complained; // of a source that comes too often, since one last did not
};

static void drop(struct pending *p)
{
	struct listener *l = p->d->listener;
	struct pending **at = &l->pending;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	l->pending_count--;
	loop_remove(p->d->loop, p->watch);
	if (p->sock >= 0)
		close(p->sock);
	free(p);
}

// A host of ours sends its preamble at once, so those that wait longest are the others.
static void drop_oldest(struct listener *l)
{
	struct pending *oldest = l->pending; // the newest comes first
	while (oldest->next)
		oldest = oldest->next;
	log_debug("too many connections that say nothing: that of %s closed", oldest->from);
	drop(oldest);
}

static int hand_over(struct pending *p, struct error *err)
{
	enum wire_kind kind;
	if (wire_preamble_get(p->preamble, &kind, err) < 0 ||
	    fdio_set_nonblock(p->sock, false, err) < 0)
		return -1;
	if (kind == WIRE_KIND_BULK)
		return bulk_hand_over(p->d, p->sock, wire_preamble_token(p->preamble), err);
	return arrival_begin(p->d, p->sock, p->from, kind == WIRE_KIND_JOIN, err);
}

static void on_pending(void *arg, short revents)
{
	struct pending *p = arg;
	if (!revents) { // the deadline
		log_debug("connection from %s said nothing", p->from);
		drop(p);
		return;
	}
	ssize_t n = recv(p->sock, p->preamble + p->length, WIRE_PREAMBLE - p->length, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		p->length += (size_t)n;
		if (p->length < WIRE_PREAMBLE)
			return;
		struct error err;
		if (hand_over(p, &err) < 0)
			log_warn("connection from %s dropped: %s", p->from, err.message);
	}
	drop(p);
}

static void add_pending(struct daemon *d, int sock, const struct sockaddr_storage *from,
			socklen_t length)
{
	struct listener *l = d->listener;
	struct pending *p = calloc(1, sizeof(*p));
	if (!p) {
		close(sock);
		return;
	}
	p->d = d;
	p->sock = sock;
	p->source = ratelimit_source_of(from);
	if (getnameinfo((const struct sockaddr *)from, length, p->from, sizeof(p->from), NULL, 0,
			NI_NUMERICHOST))
		strcpy(p->from, "?");
	if (!strncmp(p->from, "::ffff:", 7)) // IPv4 on the dual-stack socket
		memmove(p->from, p->from + 7, strlen(p->from + 7) + 1);
	p->next = l->pending;
	l->pending = p;
	l->pending_count++;
	p->watch = loop_add(d->loop, sock, POLLIN, deadline_in_ms(LISTENER_PREAMBLE_MS), on_pending,
			    p);
	if (!p->watch)
		drop(p);
}

// A source that comes too often, or waits with too many connections, costs no more than an accept;
// what it does leaves room for others.
static bool is_welcome(struct listener *l, const struct sockaddr_storage *from)
{
	struct ratelimit_source source = ratelimit_source_of(from);
	unsigned waiting = 0;
	for (const struct pending *p = l->pending; p; p = p->next)
		waiting += ratelimit_same(p->source, source);
	bool welcome = waiting < LISTENER_PENDING_SOURCE &&
		       ratelimit_take(&l->limit, source, clock_now_ns());
	if (!welcome && !l->complained)
		log_warn("one source opens too many connections; some are closed unread");
	l->complained = !welcome;
	return welcome;
}

static void on_listener(void *arg, short revents);

static void watch_listener(struct daemon *d, short events, deadline_t deadline)
{
	loop_remove(d->loop, d->listener->watch);
	d->listener->watch = loop_add(d->loop, d->listener->sock, events, deadline, on_listener, d);
}

// Out of descriptors, say: the socket stays readable, so it is left alone for a moment.
static void pause_listener(struct daemon *d, int why)
{
	if (why == EAGAIN || why == EINTR || why == ECONNABORTED)
		return;
	log_warn("accept failed: %s", strerror(why));
	watch_listener(d, 0, deadline_in_ms(PAUSE_MS));
}

static void on_listener(void *arg, short revents)
{
	struct daemon *d = arg;
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	if (!revents) { // the pause is over
		watch_listener(d, POLLIN, DEADLINE_NEVER);
		return;
	}
	int sock = accept4(d->listener->sock, (struct sockaddr *)&from, &length,
			   SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0) {
		pause_listener(d, errno);
		return;
	}
	if (!is_welcome(d->listener, &from)) {
		close(sock);
		return;
	}
	if (d->listener->pending_count >= LISTENER_PENDING_MAX)
		drop_oldest(d->listener);
	add_pending(d, sock, &from, length);
}

static int bind_to(const struct addrinfo *to, const char *address, struct error *err)
{
	int on = 1, off = 0;
	_cleanup_close_ int sock =
		socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot make a socket for %s", address);
	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (to->ai_family == AF_INET6)
		setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(sock, to->ai_addr, to->ai_addrlen) < 0 || listen(sock, BACKLOG) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot listen on %s", address);
	return take_fd(&sock);
}

static int open_socket(const char *address, struct error *err)
{
	char host[256], port[8];
	struct addrinfo wanted = {.ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	if (config_split_address(address, host, port, err) < 0)
		return -1;
	int rc = getaddrinfo(host, port, &wanted, &found);
	if (rc)
		return error_set(err, ERR_NETWORK, "cannot listen on %s: %s", address,
				 gai_strerror(rc));
	int sock = bind_to(found, address, err);
	freeaddrinfo(found);
	return sock;
}

int listener_start(struct daemon *d, struct error *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	if (!l)
		return error_set(err, ERR_NOMEM, "no memory for the listener");
	l->sock = open_socket(d->config.listen, err);
	l->watch = l->sock < 0 ? 0
			       : loop_add(d->loop, l->sock, POLLIN, DEADLINE_NEVER, on_listener, d);
	if (!l->watch) {
		if (l->sock >= 0)
			close(l->sock);
		free(l);
		return -1;
	}
	d->listener = l;
	log_info("listening for peers on %s", d->config.listen);
	return 0;
}

void listener_stop(struct daemon *d)
{
	struct listener *l = d->listener;
	if (!l)
		return;
	while (l->pending)
		drop(l->pending);
	loop_remove(d->loop, l->watch);
	close(l->sock);
	free(l);
	d->listener = NULL;
}
