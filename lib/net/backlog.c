// SPDX-License-Identifier: Apache-2.0
#include "lib/net/backlog.h"

#include "lib/net/netlink.h"
#include "lib/net/unixdiag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_MAX 32768

static int open_here(struct error *err)
{
	struct timeval limit = {.tv_sec = 1};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot open a sock_diag socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

int backlog_open(int netns, struct error *err)
{
	_cleanup_netns_ int saved = -1;
	if (netns_enter(netns, &saved, err) < 0)
		return -1;
	return open_here(err);
}

static int ask(int sock, uint8_t family, struct error *err)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} message = {.header = {.nlmsg_len = sizeof(message),
				.nlmsg_type = SOCK_DIAG_BY_FAMILY,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		     .request = {.sdiag_family = family,
				 .sdiag_protocol = IPPROTO_TCP,
				 .idiag_states = 1u << TCP_LISTEN}};
	if (send(sock, &message, sizeof(message), 0) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot ask for listening sockets");
	return 0;
}

// Adds up one packet of the answer; *end when it was the last.
static int add_up(const struct nlmsghdr *h, size_t left, struct backlog *b, bool *end,
		  struct error *err)
{
	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		*end = h->nlmsg_type == NLMSG_DONE;
		if (*end)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR)
			return error_sys(err, ERR_NETWORK,
					 -((struct nlmsgerr *)NLMSG_DATA(h))->error,
					 "cannot list listening sockets");
		// Of a listening socket rqueue is the length of its accept queue (sock_diag(7)).
		const struct inet_diag_msg *socket = NLMSG_DATA(h);
		if (!socket->idiag_rqueue)
			continue;
		b->waiting += socket->idiag_rqueue;
		snprintf(b->where, sizeof(b->where), "TCP port %u", ntohs(socket->id.idiag_sport));
	}
	return 0;
}

static int count(int sock, uint8_t family, struct backlog *b, struct error *err)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	bool end = false;
	if (ask(sock, family, err) < 0)
		return -1;
	while (!end) {
		ssize_t n = recv(sock, answer, sizeof(answer), 0);
		if (n < 0)
			return error_sys(err, ERR_NETWORK, errno, "cannot list listening sockets");
		if (add_up((struct nlmsghdr *)answer, (size_t)n, b, &end, err) < 0)
			return -1;
	}
	return 0;
}

static int add_unix(const struct unixdiag_socket *socket, void *arg, struct error *err)
{
	struct backlog *b = arg;
	(void)err;
	if (!socket->waiting)
		return 0;
	b->waiting += socket->waiting;
	snprintf(b->where, sizeof(b->where), "UNIX socket %s",
		 socket->path[0] ? socket->path : "without a path");
	return 0;
}

int backlog_waiting(int sock, struct backlog *b, struct error *err)
{
	*b = (struct backlog){0};
	if (count(sock, AF_INET, b, err) < 0 || count(sock, AF_INET6, b, err) < 0)
		return -1;
	return unixdiag_each(sock, add_unix, b, err);
}
