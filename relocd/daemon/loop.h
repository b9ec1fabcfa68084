// SPDX-License-Identifier: Apache-2.0
// relocd's event loop: one thread polls descriptors and calls back while it holds relocd's lock.
// Whoever holds that lock may add and remove watches, from any thread. Callbacks must not wait.
#ifndef RELOCD_LOOP_H
#define RELOCD_LOOP_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <pthread.h>
#include <stdint.h>

struct loop;

// `revents` as poll(2) gives them; 0: the deadline has passed (reported once).
typedef void (*loop_callback)(void *arg, short revents);

// `lock` must outlive the loop.
struct loop *loop_new(pthread_mutex_t *lock, struct error *err);
void loop_free(struct loop *loop); // closes no watched descriptor

// All with the lock held. The descriptor stays the caller's: remove the watch, then close it.
// Returns the watch's id, never 0; 0 when there is no memory.
uint64_t loop_add(struct loop *loop, int fd, short events, deadline_t deadline,
		  loop_callback callback, void *arg);
void loop_remove(struct loop *loop, uint64_t id); // an unknown id or 0 is fine
void loop_stop(struct loop *loop);

// Without the lock, in the thread that serves: returns after loop_stop().
int loop_run(struct loop *loop, struct error *err);

#endif
