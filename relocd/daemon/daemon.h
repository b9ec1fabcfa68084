// SPDX-License-Identifier: Apache-2.0
// relocd as one object: configuration, registry, and the tables of partitions, moves and workers,
// all under one lock. API threads and loop callbacks hold the lock while they look at or change
// anything; nobody holds it while waiting for another process.
#ifndef RELOCD_DAEMON_H
#define RELOCD_DAEMON_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/config/config.h"
#include "lib/registry/registry.h"
#include "relocd/daemon/loop.h"

#include <pthread.h>
#include <stdbool.h>

struct partition;
struct move;
struct listener;
struct api;
struct events;
struct metrics;

struct old_config {
	struct old_config *next;
	struct config config;
};

struct daemon {
	pthread_mutex_t lock;
	pthread_cond_t changed; // any state has changed: look again

	struct config config;
	struct old_config *old_configs; // of reloads: somebody may still look at them
	struct registry *registry;
	struct loop *loop;
	struct listener *listener; // NULL: not a member of a cluster, so no peer may connect
	struct api *api;
	struct events *events;   // the journal
	struct metrics *metrics; // NULL: nothing is counted

	struct partition *partitions;
	struct move *moves;            // of this life: running ones, and those that ended lately
	uint64_t prune_watch;          // of decision files
	uint64_t queue_watch;          // of moves whose destination was full (queue.h)
	unsigned departures, arrivals; // processes that run
	unsigned calls;                // to other hosts
	unsigned threads;              // background threads that run
	bool resumed;                  // what an earlier relocd was doing has been taken up
	char quarantine[160];          // why nothing is started or received (ownership.h); "": no
	bool telling;                  // other hosts are told of heuristic decisions (recover.h)
	bool joining;                  // a cluster init or join is under way
	bool stopping;
};

// Reads nothing but memory; the registry is opened by daemon_open.
int daemon_open(struct daemon *d, struct error *err);
void daemon_close(struct daemon *d);

void daemon_lock(struct daemon *d);
void daemon_unlock(struct daemon *d);
// Tells everybody who waits in daemon_wait. With the lock held.
void daemon_changed(struct daemon *d);
// Lets go of the lock until something changes: true, or false when the deadline has passed or
// relocd stops.
bool daemon_wait(struct daemon *d, deadline_t deadline);
// The same, but goes on while relocd stops: for its own end.
void daemon_pause(struct daemon *d, deadline_t deadline);

// Runs work(d, name) in a thread of its own, without the lock. `name` is copied.
int daemon_thread(struct daemon *d, void (*work)(struct daemon *d, const char *name),
		  const char *name, struct error *err);

// Waits a little for the background threads to end: whether all did. relocd is stopping.
bool daemon_idle(struct daemon *d);

// Our address as other hosts know it, "" when not known yet. With the lock held.
void daemon_address(struct daemon *d, char address[REGISTRY_ADDRESS_MAX]);

// The folders that all hosts share, as a list of texts.
json_t *daemon_shared(const struct daemon *d);
// {"ca","cert","key"}: what departure and arrival are told.
json_t *daemon_tls(const struct daemon *d);

#endif
