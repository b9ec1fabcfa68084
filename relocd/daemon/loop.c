// SPDX-License-Identifier: Apache-2.0
#include "relocd/daemon/loop.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

struct watch {
	uint64_t id;
	int fd;
	short events;
	deadline_t deadline;
	loop_callback callback;
	void *arg;
};

struct loop {
	pthread_mutex_t *lock;
	int wake; // eventfd: the set of watches has changed
	bool stop;
	uint64_t last_id;
	struct watch *watches;
	size_t count, room;
};

struct loop *loop_new(pthread_mutex_t *lock, struct error *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (!loop) {
		error_set(err, ERR_NOMEM, "no memory for the event loop");
		return NULL;
	}
	loop->lock = lock;
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake >= 0)
		return loop;
	error_sys(err, ERR_SYSTEM, errno, "cannot make an eventfd");
	free(loop);
	return NULL;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->wake);
	free(loop->watches);
	free(loop);
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t ignored = write(loop->wake, &one, sizeof(one)); // a full counter wakes as well
	(void)ignored;
}

uint64_t loop_add(struct loop *loop, int fd, short events, deadline_t deadline,
		  loop_callback callback, void *arg)
{
	if (loop->count == loop->room) {
		size_t room = loop->room ? loop->room * 2 : 32;
		struct watch *watches = realloc(loop->watches, room * sizeof(*watches));
		if (!watches)
			return 0;
		loop->watches = watches;
		loop->room = room;
	}
	loop->watches[loop->count++] = (struct watch){.id = ++loop->last_id,
						      .fd = fd,
						      .events = events,
						      .deadline = deadline,
						      .callback = callback,
						      .arg = arg};
	wake(loop);
	return loop->last_id;
}

static struct watch *find(struct loop *loop, uint64_t id)
{
	for (size_t i = 0; i < loop->count; i++)
		if (loop->watches[i].id == id)
			return &loop->watches[i];
	return NULL;
}

void loop_remove(struct loop *loop, uint64_t id)
{
	struct watch *watch = find(loop, id);
	if (watch)
		*watch = loop->watches[--loop->count];
	wake(loop);
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
	wake(loop);
}

// What one poll(2) works on, while watches may change.
struct turn {
	struct pollfd *fds;
	uint64_t *ids;
	size_t count;
	deadline_t deadline;
};

static int begin_turn(struct loop *loop, struct turn *turn, struct error *err)
{
	size_t room = loop->count + 1;
	struct pollfd *fds = realloc(turn->fds, room * sizeof(*fds));
	if (fds)
		turn->fds = fds;
	uint64_t *ids = realloc(turn->ids, room * sizeof(*ids));
	if (ids)
		turn->ids = ids;
	if (!fds || !ids)
		return error_set(err, ERR_NOMEM, "no memory for the event loop");
	turn->count = loop->count;
	turn->deadline = DEADLINE_NEVER;
	for (size_t i = 0; i < loop->count; i++) {
		const struct watch *w = &loop->watches[i];
		turn->fds[i] = (struct pollfd){.fd = w->fd, .events = w->events};
		turn->ids[i] = w->id;
		turn->deadline = deadline_earlier(turn->deadline, w->deadline);
	}
	turn->fds[turn->count] = (struct pollfd){.fd = loop->wake, .events = POLLIN};
	return 0;
}

static void dispatch(struct loop *loop, const struct turn *turn)
{
	for (size_t i = 0; i < turn->count && !loop->stop; i++) {
		struct watch *watch = find(loop, turn->ids[i]);
		if (!watch)
			continue; // removed meanwhile
		short revents = turn->fds[i].revents;
		if (!revents && !deadline_passed(watch->deadline))
			continue;
		if (!revents)
			watch->deadline = DEADLINE_NEVER;
		watch->callback(watch->arg, revents);
	}
}

int loop_run(struct loop *loop, struct error *err)
{
	struct turn turn = {0};
	int result = 0;
	pthread_mutex_lock(loop->lock);
	while (!loop->stop && (result = begin_turn(loop, &turn, err)) == 0) {
		pthread_mutex_unlock(loop->lock);
		int n = poll(turn.fds, turn.count + 1, deadline_poll_ms(turn.deadline));
		int why = errno;
		uint64_t counter;
		ssize_t ignored = read(loop->wake, &counter, sizeof(counter));
		(void)ignored;
		pthread_mutex_lock(loop->lock);
		if (n < 0 && why != EINTR) {
			result = error_sys(err, ERR_SYSTEM, why, "poll failed");
			break;
		}
		if (n >= 0)
			dispatch(loop, &turn);
	}
	pthread_mutex_unlock(loop->lock);
	free(turn.fds);
	free(turn.ids);
	return result;
}
