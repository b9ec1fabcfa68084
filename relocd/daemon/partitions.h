// SPDX-License-Identifier: Apache-2.0
// The partitions of this host: the table in memory, each row of it also in the registry, and what
// is done with a partition that does not run: create, remove, show. Running them: lifecycle.h.
#ifndef RELOCD_PARTITIONS_H
#define RELOCD_PARTITIONS_H

#include "lib/partition/definition.h"
#include "relocd/daemon/daemon.h"

struct partition {
	struct partition *next;
	struct daemon *daemon;
	struct registry_partition row;
	const char *busy; // "started", ...: a thread works on it and must not be disturbed
	bool clearing;    // what is left of its last run is being removed
	bool stopping;    // if it ends now, that is what was asked for
	bool exited;      // ended while it was moving: dealt with when the move has ended
	pid_t pid;        // of its init; 0: does not run
	int watch;        // connection to the keeper that delivers events; -1: none
	uint64_t watch_id;
};

// With the lock held, all of them.

int partitions_load(struct daemon *d, struct error *err);
void partitions_free(struct daemon *d);

struct partition *partition_find(struct daemon *d, const char *name);
// As partition_find; ERR_NAME_UNKNOWN (ERR_NAME_INVALID for what cannot be a name).
struct partition *partition_get(struct daemon *d, const char *name, struct error *err);
// As partition_get, and `act` is allowed in its state and nothing else is being done with it.
struct partition *partition_get_for(struct daemon *d, const char *name, enum partition_act act,
				    struct error *err);

// Adds a row; the caller has checked that the name is free. NULL: nothing was added.
struct partition *partition_add(struct daemon *d, const struct registry_partition *row,
				struct error *err);
// Writes the row to the registry, after a change. A failure is logged as well.
int partition_save(struct partition *p, struct error *err);
// Changes state and reason (NULL: none), saves, and wakes who waits.
void partition_set(struct partition *p, enum partition_state state, const char *reason);
// Removes it from table and registry. p is gone.
int partition_drop(struct partition *p, struct error *err);

// None of the addresses in `definition` belongs to another partition of this host than `name`.
int partition_addresses_free(struct daemon *d, const json_t *definition, const char *name,
			     struct error *err);

// What GET shows; `whole` with the definition.
json_t *partition_json(const struct partition *p, bool whole);

// Waits until nobody works on p: 0, or -1 with ERR_DEADLINE. p stays valid since only who marks it
// busy may drop it... so find it again by name afterwards.
int partition_wait_idle(struct daemon *d, const char *name, deadline_t deadline, struct error *err);

// Without the lock.

// create.c: `body` is {"definition":{}}, or {"bundle":"/dir"} with keys of a definition beside it;
// and "cap_add", "cap_drop". *notes: sentences for the caller of the API; the caller's.
int partition_create(struct daemon *d, const json_t *body, char name[REGISTRY_NAME_MAX],
		     json_t **notes, struct error *err);
// `force`: one that runs is killed.
int partition_remove(struct daemon *d, const char *name, bool force, struct error *err);

#endif
