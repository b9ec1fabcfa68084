// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/dial.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/transport/link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

// Probes an idle peer; TCP_USER_TIMEOUT then says when to give up, not a number of probes (tcp(7)).
#define KEEPALIVE_SECONDS 3

static int split(const char *address, char host[256], char port[8], struct error *err)
{
	const char *colon = strrchr(address, ':'), *start = address, *end = colon;
	if (colon && address[0] == '[') {
		start = address + 1;
		end = colon - 1;
		if (*end != ']')
			colon = NULL;
	} else if (colon && strchr(address, ':') != colon) {
		colon = NULL; // IPv6 without brackets: which colon is it?
	}
	size_t length = colon && end > start ? (size_t)(end - start) : 0;
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
	if (!length || length >= 256 || !digits || digits > 5 || colon[1 + digits])
		return error_set(err, ERR_USAGE, "\"%s\" is not ADDRESS:PORT", address);
	memcpy(host, start, length);
	host[length] = 0;
	memcpy(port, colon + 1, digits + 1);
	return 0;
}

// *refused: there is somebody, who does not listen.
static int connect_one(const struct addrinfo *to, deadline_t deadline, bool *refused,
		       struct error *err)
{
	_cleanup_close_ int sock =
		socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a socket");
	if (connect(sock, to->ai_addr, to->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return error_sys(err, ERR_PEER_UNREACHABLE, errno, "cannot connect");
		int ready = fdio_wait(sock, POLLOUT, deadline, err);
		if (ready < 0)
			return -1;
		if (!ready)
			return error_set(err, ERR_PEER_UNREACHABLE, "no answer in time");
		int why = 0;
		socklen_t length = sizeof(why);
		bool known = getsockopt(sock, SOL_SOCKET, SO_ERROR, &why, &length) == 0;
		*refused = why == ECONNREFUSED;
		if (!known || why)
			return error_sys(err, ERR_PEER_UNREACHABLE, why ? why : errno,
					 "cannot connect");
	}
	return take_fd(&sock);
}

static int dial_all(const char *address, deadline_t deadline, bool *refused, struct error *err)
{
	char host[256], port[8];
	if (split(address, host, port, err) < 0)
		return -1;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *all = NULL;
	int failed = getaddrinfo(host, port, &hints, &all);
	if (failed)
		return error_set(err, ERR_PEER_UNREACHABLE, "cannot resolve %s: %s", host,
				 gai_strerror(failed));
	int sock = -1;
	for (const struct addrinfo *one = all; one && sock < 0; one = one->ai_next)
		sock = connect_one(one, deadline, refused, err);
	freeaddrinfo(all);
	return sock;
}

int dial(const char *address, deadline_t deadline, struct error *err)
{
	bool refused;
	return dial_all(address, deadline, &refused, err);
}

bool dial_somebody(const char *address, deadline_t deadline)
{
	bool refused = false;
	_cleanup_close_ int sock = dial_all(address, deadline, &refused, NULL);
	return sock >= 0 || refused;
}

static int set_number(int sock, int level, int option, int value)
{
	return setsockopt(sock, level, option, &value, sizeof(value));
}

int dial_set_options(int sock, struct error *err)
{
	if (fdio_set_nonblock(sock, false, err) < 0)
		return -1;
	if (set_number(sock, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
	    set_number(sock, SOL_SOCKET, SO_KEEPALIVE, 1) < 0 ||
	    set_number(sock, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_SECONDS) < 0 ||
	    set_number(sock, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_SECONDS) < 0 ||
	    set_number(sock, IPPROTO_TCP, TCP_USER_TIMEOUT, LINK_DEAD_PEER_MS) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot set up the connection");
	return 0;
}

void dial_linger(int sock, deadline_t deadline)
{
	char dropped[4096];
	shutdown(sock, SHUT_WR);
	while (fdio_wait(sock, POLLIN, deadline, NULL) == 1)
		if (recv(sock, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0)
			return;
}
