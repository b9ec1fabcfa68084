// SPDX-License-Identifier: Apache-2.0
#include "lib/net/unixdiag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#define ANSWER_MAX 32768

typedef int each_fn(const struct unixdiag_socket *socket, void *arg, struct error *err);

static int ask(int sock, struct error *err)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req request;
	} message = {
		.header = {.nlmsg_len = sizeof(message),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = {.sdiag_family = AF_UNIX,
			    .udiag_states = ~0u,
			    .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN}};
	if (send(sock, &message, sizeof(message), 0) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot ask for UNIX sockets");
	return 0;
}

static void read_name(const struct rtattr *a, struct unixdiag_socket *s)
{
	size_t length = RTA_PAYLOAD(a);
	const char *name = RTA_DATA(a);
	if (length == 0 || !name[0] || length >= sizeof(s->path))
		return;
	memcpy(s->path, name, length);
	s->path[length] = 0;
}

// The device is the kernel's own form: 20 bits of minor number.
static void read_file(const struct rtattr *a, struct unixdiag_socket *s)
{
	struct unix_diag_vfs vfs;
	if (RTA_PAYLOAD(a) < sizeof(vfs))
		return;
	memcpy(&vfs, RTA_DATA(a), sizeof(vfs));
	s->file = vfs.udiag_vfs_ino;
	s->filesystem = makedev(vfs.udiag_vfs_dev >> 20, vfs.udiag_vfs_dev & 0xfffff);
}

static void read_queue(const struct rtattr *a, struct unixdiag_socket *s)
{
	struct unix_diag_rqlen queue;
	if (RTA_PAYLOAD(a) < sizeof(queue) || !s->listening)
		return;
	memcpy(&queue, RTA_DATA(a), sizeof(queue));
	s->waiting = queue.udiag_rqueue;
}

static int read_socket(const struct nlmsghdr *h, each_fn *each, void *arg, struct error *err)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	const struct rtattr *a = (const void *)((const char *)m + NLMSG_ALIGN(sizeof(*m)));
	struct unixdiag_socket s = {.inode = m->udiag_ino,
				    .listening = m->udiag_state == TCP_LISTEN};
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == UNIX_DIAG_NAME)
			read_name(a, &s);
		else if (a->rta_type == UNIX_DIAG_VFS)
			read_file(a, &s);
		else if (a->rta_type == UNIX_DIAG_RQLEN)
			read_queue(a, &s);
	}
	return each(&s, arg, err);
}

// One packet of the answer. A failure of `each` is kept until the answer is read to its end: the
// socket is used again.
static void read_packet(const struct nlmsghdr *h, size_t left, each_fn *each, void *arg, bool *end,
			int *result, struct error *err)
{
	for (; NLMSG_OK(h, left) && !*end; h = NLMSG_NEXT(h, left)) {
		*end = h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR;
		if (h->nlmsg_type == NLMSG_ERROR)
			*result = error_sys(err, ERR_NETWORK,
					    -((struct nlmsgerr *)NLMSG_DATA(h))->error,
					    "cannot list UNIX sockets");
		else if (!*end && *result == 0)
			*result = read_socket(h, each, arg, err);
	}
}

int unixdiag_each(int sock, each_fn *each, void *arg, struct error *err)
{
	_Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	bool end = false;
	int result = 0;
	if (ask(sock, err) < 0)
		return -1;
	while (!end) {
		ssize_t n = recv(sock, answer, sizeof(answer), 0);
		if (n < 0)
			return error_sys(err, ERR_NETWORK, errno, "cannot list UNIX sockets");
		read_packet((struct nlmsghdr *)answer, (size_t)n, each, arg, &end, &result, err);
	}
	return result;
}
