// SPDX-License-Identifier: Apache-2.0
// The little that the test tools need to speak to Redis: one TCP connection, requests as text,
// replies read line by line with a deadline.
#ifndef WPAR_TESTS_REDIS_CONN_H
#define WPAR_TESTS_REDIS_CONN_H

#include "lib/base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct redis_conn {
	int fd;
	size_t start, end; // what is buffered and not yet taken
	char buf[65536];
};

// Connects; -1 with errno (EADDRNOTAVAIL: the address is not understood).
static inline int redis_connect(struct redis_conn *c, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *ai;
	int one = 1, saved;

	c->start = c->end = 0;
	c->fd = -1;
	if (getaddrinfo(host, port, &hints, &ai)) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	c->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 && connect(c->fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		saved = errno;
		close(c->fd);
		errno = saved;
		c->fd = -1;
	}
	freeaddrinfo(ai);
	if (c->fd < 0)
		return -1;
	return setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static inline int redis_send(struct redis_conn *c, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

// Reads more into the buffer. -1 with errno: ETIMEDOUT past the deadline, ECONNRESET at the end.
static inline int redis_fill(struct redis_conn *c, deadline_t deadline)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	ssize_t n;

	if (c->start > 0) {
		memmove(c->buf, c->buf + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	if (c->end == sizeof(c->buf)) {
		errno = EMSGSIZE;
		return -1;
	}
	for (;;) {
		int ready = poll(&p, 1, deadline_poll_ms(deadline));

		if (ready == 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (ready > 0)
			break;
		if (errno != EINTR)
			return -1;
	}
	n = recv(c->fd, c->buf + c->end, sizeof(c->buf) - c->end, 0);
	if (n == 0)
		errno = ECONNRESET;
	if (n <= 0)
		return -1;
	c->end += (size_t)n;
	return 0;
}

// The next line of the reply, without CR LF, NUL-terminated, valid until the next call. NULL with
// errno as redis_fill.
static inline char *redis_line(struct redis_conn *c, deadline_t deadline)
{
	for (;;) {
		char *line = c->buf + c->start;
		char *nl = memchr(line, '\n', c->end - c->start);

		if (nl && nl > line && nl[-1] == '\r') {
			nl[-1] = '\0';
			c->start = (size_t)(nl + 1 - c->buf);
			return line;
		}
		if (nl) {
			errno = EPROTO;
			return NULL;
		}
		if (redis_fill(c, deadline) < 0)
			return NULL;
	}
}

// The next `len` bytes and their CR LF, as redis_line.
static inline char *redis_bulk(struct redis_conn *c, size_t len, deadline_t deadline)
{
	char *data;

	while (c->end - c->start < len + 2)
		if (redis_fill(c, deadline) < 0)
			return NULL;
	data = c->buf + c->start;
	c->start += len + 2;
	return data;
}

#endif
