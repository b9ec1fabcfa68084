// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/watch.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

// A page that no program can have (vm.mmap_min_addr), to ask whether there is an address space.
#define NO_PAGE 4096

struct watched {
	int uffd;
	pid_t pid; // 0: of a child that was forked, not known which
	uint64_t start_time;
};

struct watch {
	pthread_t thread;
	int wake;             // an eventfd: the thread shall end
	int ready;            // an epoll of it and of all userfaultfds
	pthread_mutex_t lock; // of what follows, and of reading
	struct watched *list;
	size_t count;
	bool lost, dropped;
};

// ---- with the lock held -------------------------------------------------------------------------

static int keep(struct watch *w, const struct watched *more)
{
	struct epoll_event what = {.events = EPOLLIN};
	struct watched *list = reallocarray(w->list, w->count + 1, sizeof(*list));
	if (list)
		w->list = list;
	if (!list || epoll_ctl(w->ready, EPOLL_CTL_ADD, more->uffd, &what) < 0)
		return -1;
	w->list[w->count++] = *more;
	return 0;
}

static void take_message(struct watch *w, const struct uffd_msg *message)
{
	const struct watched child = {.uffd = (int)message->arg.fork.ufd};
	switch (message->event) {
	case UFFD_EVENT_FORK:
		if (keep(w, &child) == 0)
			break;
		// From now on it does what we cannot see.
		close(child.uffd);
		w->dropped = true;
		break;
	case UFFD_EVENT_REMOVE:
		w->dropped = true;
		break;
	default:
		w->lost = true;
	}
}

// False: it cannot be read (no descriptor for a child).
static bool read_from(struct watch *w, int uffd)
{
	struct uffd_msg message;
	ssize_t n;
	while ((n = read(uffd, &message, sizeof(message))) == sizeof(message))
		take_message(w, &message);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void read_all(struct watch *w)
{
	for (size_t i = 0; i < w->count; i++) { // it may grow meanwhile
		int uffd = w->list[i].uffd;
		if (read_from(w, uffd))
			continue;
		// The task would wait for its reader for ever.
		close(uffd);
		w->list[i--] = w->list[--w->count];
		w->dropped = true;
	}
}

static bool is_alive(int uffd)
{
	struct uffdio_zeropage nothing = {.range = {NO_PAGE, NO_PAGE}};
	return ioctl(uffd, UFFDIO_ZEROPAGE, &nothing) == 0 || errno != ESRCH;
}

static void drop_ended(struct watch *w)
{
	size_t kept = 0;
	for (size_t i = 0; i < w->count; i++)
		if (is_alive(w->list[i].uffd)) {
			w->list[kept++] = w->list[i];
		} else {
			close(w->list[i].uffd);
			w->lost = true;
		}
	w->count = kept;
}

// ---- the thread ---------------------------------------------------------------------------------

static void *watch_main(void *arg)
{
	struct watch *w = arg;
	struct epoll_event event;
	uint64_t woken;
	for (;;) {
		if (epoll_wait(w->ready, &event, 1, -1) < 0 && errno != EINTR)
			return NULL;
		if (read(w->wake, &woken, sizeof(woken)) == sizeof(woken))
			return NULL;
		pthread_mutex_lock(&w->lock);
		read_all(w);
		pthread_mutex_unlock(&w->lock);
	}
}

static int start(struct watch *w)
{
	struct epoll_event what = {.events = EPOLLIN};
	sigset_t all, was;
	if (w->wake < 0 || w->ready < 0 || epoll_ctl(w->ready, EPOLL_CTL_ADD, w->wake, &what) < 0)
		return errno;
	// Signals of this process are for its first thread.
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	int failed = pthread_create(&w->thread, NULL, watch_main, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return failed;
}

static void discard(struct watch *w)
{
	for (size_t i = 0; i < w->count; i++)
		close(w->list[i].uffd);
	if (w->wake >= 0)
		close(w->wake);
	if (w->ready >= 0)
		close(w->ready);
	pthread_mutex_destroy(&w->lock);
	free(w->list);
	free(w);
}

struct watch *watch_new(struct error *err)
{
	struct watch *w = calloc(1, sizeof(*w));
	if (!w) {
		error_set(err, ERR_NOMEM, "no memory to watch shared segments");
		return NULL;
	}
	pthread_mutex_init(&w->lock, NULL);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->ready = epoll_create1(EPOLL_CLOEXEC);
	int failed = start(w);
	if (!failed)
		return w;
	discard(w);
	error_sys(err, ERR_SYSTEM, failed, "cannot watch shared segments");
	return NULL;
}

void watch_free(struct watch *w)
{
	const uint64_t one = 1;
	if (!w)
		return;
	while (write(w->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(w->thread, NULL);
	discard(w);
}

// ---- for its user -------------------------------------------------------------------------------

int watch_add(struct watch *w, int uffd, pid_t pid, uint64_t start_time, struct error *err)
{
	const struct watched task = {uffd, pid, start_time};
	pthread_mutex_lock(&w->lock);
	int kept = keep(w, &task);
	pthread_mutex_unlock(&w->lock);
	if (kept == 0)
		return 0;
	close(uffd);
	return error_set(err, ERR_NOMEM, "no memory to watch shared segments");
}

size_t watch_count(struct watch *w, pid_t pid, uint64_t start_time)
{
	size_t n = 0;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < w->count; i++)
		n += w->list[i].pid == pid && w->list[i].start_time == start_time &&
		     is_alive(w->list[i].uffd);
	pthread_mutex_unlock(&w->lock);
	return n;
}

void watch_take(struct watch *w, struct watch_news *news)
{
	pthread_mutex_lock(&w->lock);
	read_all(w);
	drop_ended(w);
	*news = (struct watch_news){.lost = w->lost, .dropped = w->dropped};
	for (size_t i = 0; i < w->count; i++)
		*(w->list[i].pid ? &news->tasks : &news->children) += 1;
	w->lost = false;
	pthread_mutex_unlock(&w->lock);
}
