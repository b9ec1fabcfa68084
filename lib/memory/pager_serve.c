// SPDX-License-Identifier: Apache-2.0
// The server's loop: CRIU's connection, faults and events of the tasks, the keeper.
#include "lib/memory/pager_inner.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define RESTORE_FINISHED 0x52535446 // CRIU's last word
#define BURST            32         // messages of a task before another one has its turn
#define STUCK_MS         5
#define UNTOLD_MS        15000 // who would tell us to fill is gone, then
#define RETRY_MS         1

enum { FROM_LISTENER = PAGER_SLOTS_MAX, FROM_CONNECTION, FROM_KEEPER, FROM_PARENT };

void pager_give_up(struct pager_server *s, const char *format, ...)
{
	char text[sizeof(s->h->broken)];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_error("%s", text);
	memcpy(s->h->broken, text, sizeof(text));
	_exit(1);
}

void pager_tell(struct pager_server *s)
{
	uint64_t total = atomic_load(&s->h->total), left = atomic_load(&s->h->left);
	uint64_t hundredths = total ? (total - left) * 100 / total : 100;
	if (hundredths == s->told)
		return;
	s->told = hundredths;
	eventfd_write(s->h->news, 1);
}

static void watch(struct pager_server *s, int fd, uint64_t who)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = who};
	if (fd >= 0 && epoll_ctl(s->h->poll, EPOLL_CTL_ADD, fd, &event) < 0)
		pager_give_up(s, "cannot wait: %s", strerror(errno));
}

static void drop(int32_t *fd)
{
	int old = *fd;
	*fd = -1;
	if (old >= 0)
		close(old);
}

// ---- CRIU ---------------------------------------------------------------------------------------

static void on_listener(struct pager_server *s)
{
	s->h->connection = accept4(s->h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s->h->connection < 0)
		return;
	watch(s, s->h->connection, FROM_CONNECTION);
	drop(&s->h->listener);
}

static void end_connection(struct pager_server *s)
{
	atomic_store(&s->h->restored, true);
	drop(&s->h->connection);
	drop(&s->h->images);
}

// The pid of the next task, straight into shared memory. That of a zombie is negative, and no
// descriptor follows.
static bool take_pid(struct pager_server *s)
{
	int32_t *pid = (int32_t *)&s->h->incoming;
	ssize_t n = recv(s->h->connection, pid, sizeof(*pid), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		end_connection(s);
		return false;
	}
	if (n != sizeof(*pid))
		pager_give_up(s, "CRIU sent half a pid");
	if (*pid == RESTORE_FINISHED || *pid <= 0)
		atomic_store(&s->h->incoming, 0);
	return true;
}

static bool take_descriptor(struct pager_server *s)
{
	char byte;
	int fd;
	size_t count = 1;
	struct error err;
	ssize_t n = fdio_recv_fds(s->h->connection, &byte, 1, &fd, &count, &err);
	if (n < 0 && (err.sys == EAGAIN || err.sys == EINTR))
		return false;
	if (n <= 0 || count != 1)
		pager_give_up(s, "CRIU sent no descriptor for task %d", (int)s->h->incoming);
	pager_add_root(s, s->h->incoming, fd);
	return true;
}

static void on_connection(struct pager_server *s)
{
	bool more = true;
	while (more && s->h->connection >= 0)
		more = atomic_load(&s->h->incoming) > 0 ? take_descriptor(s) : take_pid(s);
}

// ---- tasks --------------------------------------------------------------------------------------

static void on_task(struct pager_server *s, uint32_t number)
{
	struct pager_inbox *inbox = &s->h->inbox;
	for (int i = 0; i < BURST && s->task[number].slot; i++) {
		inbox->slot = number;
		inbox->number++;
		ssize_t n = read(s->task[number].slot->uffd, &inbox->msg, sizeof(inbox->msg));
		if (n != sizeof(inbox->msg))
			return;
		if (inbox->msg.event != UFFD_EVENT_PAGEFAULT) {
			pager_apply(s);
			continue;
		}
		uint64_t address = inbox->msg.arg.pagefault.address;
		inbox->msg.event = 0;
		pager_fault(s, number, address);
	}
}

// ---- taking over --------------------------------------------------------------------------------

// The connection that the predecessor had accepted and not noted: it has the listener's address.
static int find_connection(const struct pager_header *h)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	struct sockaddr_un wanted = {0}, address;
	socklen_t size = sizeof(wanted);
	if (!dir || getsockname(h->listener, (struct sockaddr *)&wanted, &size) < 0)
		return -1;
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name), listens = 1;
		socklen_t length = sizeof(listens);
		address = (struct sockaddr_un){0};
		size = sizeof(address);
		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && !listens &&
		    getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
		    address.sun_path[0] && !memcmp(&address, &wanted, sizeof(address)))
			return fd;
	}
	return -1;
}

static void take_up_connection(struct pager_server *s)
{
	if (s->h->listener < 0)
		return;
	if (s->h->connection < 0 && !atomic_load(&s->h->restored))
		s->h->connection = find_connection(s->h);
	if (s->h->connection >= 0)
		drop(&s->h->listener);
}

static void finish_closing(struct pager_server *s, uint32_t number)
{
	struct pager_slot *slot = &s->p->slot[number];
	if (pager_is_uffd(slot->uffd) && !pager_owns(s->p, slot->uffd))
		close(slot->uffd);
	atomic_store(&slot->state, slot->root == number ? SLOT_ENDED : SLOT_FREE);
}

static void take_up_incoming(struct pager_server *s)
{
	int32_t pid = atomic_load(&s->h->incoming);
	bool known = pid == RESTORE_FINISHED || pid <= 0;
	for (uint32_t i = 0; i < atomic_load(&s->h->slots) && !known; i++)
		known = s->task[i].slot && s->task[i].slot->vpid == pid;
	int fd = known ? -1 : pager_orphan(s->p);
	if (known)
		atomic_store(&s->h->incoming, 0);
	else if (fd >= 0)
		pager_add_root(s, pid, fd);
}

// Faults that the predecessor had read and not served: their tasks ask again.
static void wake_all(const struct pager_server *s)
{
	struct uffdio_range range = {.start = 1 << 16};
	range.len = (1ull << 47) - PAGER_PAGE - range.start;
	for (uint32_t i = 0; i < atomic_load(&s->h->slots); i++)
		if (s->task[i].slot)
			ioctl(s->task[i].slot->uffd, UFFDIO_WAKE, &range);
}

static void take_over(struct pager_server *s)
{
	uint64_t left = 0;
	pager_forget_looks();
	uint32_t count = atomic_load(&s->h->slots);
	for (uint32_t i = 0; i < count; i++)
		if (atomic_load(&s->p->slot[i].state) == SLOT_CLOSING)
			finish_closing(s, i);
	for (uint32_t i = 0; i < count; i++)
		if (atomic_load(&s->p->slot[i].state) == SLOT_LIVE) {
			pager_attach(s, i);
			left += s->task[i].left;
		}
	atomic_store(&s->h->left, left);
	if (s->h->inbox.msg.event && s->h->inbox.msg.event != UFFD_EVENT_PAGEFAULT)
		pager_apply(s);
	s->h->inbox.msg.event = 0;
	take_up_incoming(s);
	wake_all(s);
}

// ---- the keeper is gone -------------------------------------------------------------------------

// The guard's.
static bool is_pidfd(int fd)
{
	char path[64], target[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = 0;
	return strstr(target, "pidfd") != NULL; // anon_inode:[pidfd], pidfd:[NUMBER]
}

static bool ours(const struct pager *p, int fd)
{
	const int keep[] = {2,
			    p->fd,
			    p->h->listener,
			    p->h->images,
			    p->h->connection,
			    p->h->command,
			    p->h->news,
			    p->h->poll};
	for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
		if (keep[i] == fd)
			return true;
	return pager_owns(p, fd) || is_pidfd(fd) || pager_is_pagemap(fd);
}

// The rest of the table was its own; others learn of its end by their connections to it.
static void on_parent(struct pager_server *s)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	log_warn("the keeper is gone; the memory is filled all the same");
	while (dir && (entry = readdir(dir))) {
		int fd = atoi(entry->d_name);
		if (entry->d_name[0] != '.' && fd != dirfd(dir) && !ours(s->p, fd))
			close(fd);
	}
	drop(&s->h->parent);
	atomic_store(&s->h->fill, true); // nobody else will say it
	if (s->h->connection < 0)
		end_connection(s); // CRIU has not come, and without a keeper its restore fails
}

// ---- the loop -----------------------------------------------------------------------------------

static void handle(struct pager_server *s, uint64_t who)
{
	eventfd_t unused;
	switch (who) {
	case FROM_LISTENER:
		on_listener(s);
		break;
	case FROM_CONNECTION:
		on_connection(s);
		break;
	case FROM_KEEPER:
		eventfd_read(s->h->command, &unused);
		break;
	case FROM_PARENT:
		on_parent(s);
		break;
	default:
		on_task(s, (uint32_t)who);
	}
}

static void turn(struct pager_server *s)
{
	struct epoll_event events[64];
	bool restored = atomic_load(&s->h->restored);
	if (!restored)
		s->fill_at = deadline_in_ms(UNTOLD_MS);
	bool filling = restored && (atomic_load(&s->h->fill) || deadline_passed(s->fill_at));
	if (filling)
		atomic_store(&s->h->fill, true);
	int sweep = pager_sweep(s);
	bool more = filling && pager_fill_some(s);
	int idle = restored ? deadline_poll_ms(s->fill_at) : -1;
	int wait = more ? 0 : s->waits ? RETRY_MS : filling ? STUCK_MS : idle;
	if (sweep >= 0 && (wait < 0 || wait > sweep))
		wait = sweep;
	int n = epoll_wait(s->h->poll, events, ARRAY_SIZE(events), s->live || !filling ? wait : 0);
	for (int i = 0; i < n; i++)
		handle(s, events[i].data.u64);
	pager_retry(s);
	pager_tell(s);
}

static void open_loop(struct pager_server *s)
{
	drop(&s->h->poll);
	drop(&s->h->parent);
	s->h->poll = epoll_create1(EPOLL_CLOEXEC);
	if (s->h->poll < 0)
		pager_give_up(s, "cannot make an epoll: %s", strerror(errno));
	take_up_connection(s);
	watch(s, s->h->listener, FROM_LISTENER);
	watch(s, s->h->connection, FROM_CONNECTION);
	watch(s, s->h->command, FROM_KEEPER);
	s->h->parent = s->p->orphaned ? -1 : (int)syscall(SYS_pidfd_open, s->p->keeper, 0);
	watch(s, s->h->parent, FROM_PARENT);
}

static bool finished(const struct pager_server *s)
{
	return atomic_load(&s->h->fill) && atomic_load(&s->h->restored) && s->live == 0;
}

void pager_serve(struct pager *p)
{
	struct pager_server s = {
		.p = p, .h = p->h, .told = UINT64_MAX, .fill_at = deadline_in_ms(UNTOLD_MS)};
	char who[96];
	snprintf(who, sizeof(who), "pager:%s", p->h->name);
	prctl(PR_SET_NAME, who, 0, 0, 0);
	snprintf(who, sizeof(who), "pager %s", p->h->name);
	log_open(who);
	s.task = calloc(PAGER_SLOTS_MAX, sizeof(*s.task));
	s.store = calloc(PAGER_SLOTS_MAX, sizeof(*s.store));
	s.extent = calloc(PAGER_SLOTS_MAX, sizeof(*s.extent));
	if (!s.task || !s.store || !s.extent)
		pager_give_up(&s, "no memory for the page server");
	s.guards = pager_guards_possible();
	s.people.stale = true;
	open_loop(&s);
	take_over(&s);
	if (s.h->parent < 0)
		on_parent(&s); // it has ended already; what came in meanwhile has been taken up
	while (!finished(&s))
		turn(&s);
	atomic_store(&p->h->complete, true);
	eventfd_write(p->h->news, 1);
	_exit(0);
}
