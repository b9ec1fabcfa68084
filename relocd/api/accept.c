// SPDX-License-Identifier: Apache-2.0
#include "relocd/api/accept.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 128   // all
#define OF_USER_MAX     48    // of one user but root
#define OF_NOBODY_MAX   4     // of one user without a role
#define ACCEPT_PAUSE_MS 100   // when there are no descriptors left
#define FIRST_BYTE_MS   30000 // from connect to the first byte

struct connection {
	int sock; // -1: free
	uid_t uid;
	bool served; // else it has not sent anything yet
	deadline_t deadline;
	int fds[ACCEPT_FDS_MAX];
	unsigned fd_count;
};

struct acceptor {
	pthread_mutex_t lock; // of the table
	pthread_t thread;
	int listener, wake;
	bool quiet;
	struct roles *roles;
	bool (*serve)(void *arg, int sock);
	void *arg;
	struct connection table[CONNECTIONS_MAX];
};

// ---- the table ----------------------------------------------------------------------------------

static void drop_fds(struct connection *c)
{
	while (c->fd_count)
		close(c->fds[--c->fd_count]);
}

static void forget(struct connection *c)
{
	drop_fds(c);
	c->sock = -1;
}

static struct connection *find(struct acceptor *a, int sock)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (a->table[i].sock == sock)
			return &a->table[i];
	return NULL;
}

static unsigned count_of(const struct acceptor *a, uid_t uid)
{
	unsigned count = 0;
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (a->table[i].sock >= 0 && a->table[i].uid == uid)
			count++;
	return count;
}

static bool too_many(const struct acceptor *a, int sock, uid_t *uid)
{
	pid_t pid;
	*uid = (uid_t)-1;
	enum role role = roles_of_socket(a->roles, sock, uid, &pid);
	unsigned max = *uid == 0 ? CONNECTIONS_MAX : role ? OF_USER_MAX : OF_NOBODY_MAX;
	if (count_of(a, *uid) < max)
		return false;
	log_warn("api: uid %u has %u connections: one more is refused", (unsigned)*uid, max);
	return true;
}

static void take_in(struct acceptor *a)
{
	_cleanup_close_ int sock = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uid_t uid;
	if (sock < 0) {
		if (errno == EMFILE || errno == ENFILE)
			clock_sleep_ms(ACCEPT_PAUSE_MS);
		return;
	}
	pthread_mutex_lock(&a->lock);
	struct connection *free_one = find(a, -1);
	if (free_one && !too_many(a, sock, &uid))
		*free_one = (struct connection){.sock = take_fd(&sock),
						.uid = uid,
						.deadline = deadline_in_ms(FIRST_BYTE_MS)};
	pthread_mutex_unlock(&a->lock);
}

// ---- the first bytes ----------------------------------------------------------------------------

static void keep_fds(struct connection *c, const struct cmsghdr *header)
{
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++) {
		int fd;
		memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
		if (c->fd_count < ACCEPT_FDS_MAX)
			c->fds[c->fd_count++] = fd;
		else
			close(fd);
	}
}

// False: it is closed, or sent more descriptors than may be.
static bool look_at_first_bytes(struct connection *c)
{
	char byte;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(ACCEPT_FDS_MAX * sizeof(int))];
	} control;
	struct iovec bytes = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &bytes,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(c->sock, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
			keep_fds(c, h);
	c->served = true;
	return !(message.msg_flags & MSG_CTRUNC);
}

static void look(struct acceptor *a, int sock)
{
	pthread_mutex_lock(&a->lock);
	struct connection *c = find(a, sock);
	bool good = look_at_first_bytes(c), serve = good && c->served;
	if (!good) {
		forget(c);
		close(sock);
	}
	pthread_mutex_unlock(&a->lock);
	if (serve && !a->serve(a->arg, sock))
		acceptor_closed(a, sock);
}

static void drop_late(struct acceptor *a)
{
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *c = &a->table[i];
		if (c->sock < 0 || c->served || !deadline_passed(c->deadline))
			continue;
		close(c->sock);
		forget(c);
	}
}

// ---- the thread ---------------------------------------------------------------------------------

static size_t collect(struct acceptor *a, struct pollfd *fds, deadline_t *deadline)
{
	size_t count = 0;
	*deadline = DEADLINE_NEVER;
	fds[count++] = (struct pollfd){.fd = a->wake, .events = POLLIN};
	fds[count++] = (struct pollfd){.fd = a->listener, .events = POLLIN};
	for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
		const struct connection *c = &a->table[i];
		if (c->sock < 0 || c->served)
			continue;
		fds[count++] = (struct pollfd){.fd = c->sock, .events = POLLIN};
		*deadline = deadline_earlier(*deadline, c->deadline);
	}
	return count;
}

static void *run(void *arg)
{
	struct acceptor *a = arg;
	struct pollfd fds[CONNECTIONS_MAX + 2];
	for (;;) {
		deadline_t deadline;
		pthread_mutex_lock(&a->lock);
		drop_late(a);
		size_t count = collect(a, fds, &deadline);
		pthread_mutex_unlock(&a->lock);
		if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		for (size_t i = 2; i < count; i++)
			if (fds[i].revents)
				look(a, fds[i].fd);
		if (fds[1].revents)
			take_in(a);
	}
}

int acceptor_start(int listener, struct roles *roles, bool (*serve)(void *arg, int sock), void *arg,
		   struct acceptor **made, struct error *err)
{
	struct acceptor *a = calloc(1, sizeof(*a));
	int wake = eventfd(0, EFD_CLOEXEC);
	*made = NULL;
	if (!a || wake < 0) {
		free(a);
		if (wake >= 0)
			close(wake);
		close(listener);
		return error_set(err, ERR_NOMEM, "no memory for connections");
	}
	*a = (struct acceptor){
		.listener = listener, .wake = wake, .roles = roles, .serve = serve, .arg = arg};
	pthread_mutex_init(&a->lock, NULL);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		a->table[i].sock = -1;
	*made = a;
	int rc = pthread_create(&a->thread, NULL, run, a);
	if (!rc)
		return 0;
	a->quiet = true;
	close(listener);
	acceptor_free(a);
	*made = NULL;
	return error_sys(err, ERR_SYSTEM, rc, "cannot start a thread");
}

void acceptor_quiet(struct acceptor *a)
{
	if (a->quiet)
		return;
	a->quiet = true;
	eventfd_write(a->wake, 1);
	pthread_join(a->thread, NULL);
	close(a->listener);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (a->table[i].sock >= 0 && !a->table[i].served) {
			close(a->table[i].sock);
			forget(&a->table[i]);
		}
}

void acceptor_free(struct acceptor *a)
{
	if (!a)
		return;
	acceptor_quiet(a);
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		if (a->table[i].sock >= 0)
			forget(&a->table[i]);
	close(a->wake);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

int acceptor_descriptor(struct acceptor *a, int sock, unsigned n)
{
	pthread_mutex_lock(&a->lock);
	const struct connection *c = sock >= 0 ? find(a, sock) : NULL;
	int fd = c && n < c->fd_count ? fcntl(c->fds[n], F_DUPFD_CLOEXEC, 3) : -1;
	pthread_mutex_unlock(&a->lock);
	return fd;
}

void acceptor_drop_descriptors(struct acceptor *a, int sock)
{
	pthread_mutex_lock(&a->lock);
	struct connection *c = sock >= 0 ? find(a, sock) : NULL;
	if (c)
		drop_fds(c);
	pthread_mutex_unlock(&a->lock);
}

void acceptor_closed(struct acceptor *a, int sock)
{
	pthread_mutex_lock(&a->lock);
	struct connection *c = sock >= 0 ? find(a, sock) : NULL;
	if (c)
		forget(c);
	pthread_mutex_unlock(&a->lock);
}
