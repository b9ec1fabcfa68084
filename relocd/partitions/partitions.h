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
	bool filling;     // it arrived lately, and not all of its memory is there yet
	unsigned filled;  // hundredths of it that are
	char lost[256];   // why its keeper had to kill it; "": it did not
	int watch;        // connection to the keeper that delivers events; -1: none
	uint64_t watch_id;

	// revive.h
	int64_t began_ns;      // when it was started last; 0: unknown, or dealt with
	unsigned streak;       // restarts by its policy that did not last
	uint64_t revive_watch; // its policy starts it when this is due; 0: no
	bool reviving;         // a thread is about to, for its policy
	bool autostart_tried;
	bool unconfirmed; // the other hosts have not been asked whose it is (ownership.h)
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
// Puts it where its name belongs, after that has changed.
void partition_sort(struct partition *p);
// Writes the row to the registry, after a change. A failure is logged as well.
int partition_save(struct partition *p, struct error *err);
// Changes state and reason (NULL: none), saves, and wakes who waits.
void partition_set(struct partition *p, enum partition_state state, const char *reason);
// The highest epoch that this host has known of the partition, also of one that it has no more;
// 0: it knows none.
uint64_t partition_known_epoch(struct daemon *d, const char *uuid);
// Removes it from table and registry. p is gone.
int partition_drop(struct partition *p, struct error *err);

// None of the addresses in `definition` belongs to another partition of this host than `name`.
int partition_addresses_free(struct daemon *d, const json_t *definition, const char *name,
			     struct error *err);

// What it is at the next start: its definition with what is pending. The caller's.
json_t *partition_wanted(const struct partition *p);
// Makes that its definition.
void partition_adopt_pending(struct partition *p);
// What a move carries: the definition that it runs by, and beside it what is pending and the
// revision. The caller's.
json_t *partition_travels(const struct partition *p);
// The other end of that: takes the row's definition, pending and revision from it.
void partition_take_definition(struct partition *p, const json_t *travels);

// What GET shows; `whole` with the definition.
json_t *partition_json(const struct partition *p, bool whole);

// Waits until nobody works on p: 0, or -1 with ERR_DEADLINE. p stays valid since only who marks it
// busy may drop it... so find it again by name afterwards.
int partition_wait_idle(struct daemon *d, const char *name, deadline_t deadline, struct error *err);

// Without the lock.

// create.c: `body` is {"definition":{}}, or {"bundle":"/dir"} with keys of a definition beside it;
// and "cap_add", "cap_drop"; `source` is the descriptor that a "bundle" or "image" of "fd:N" means,
// -1: none. *notes: sentences for the caller of the API; the caller's.
int partition_create(struct daemon *d, const json_t *body, int source, char name[REGISTRY_NAME_MAX],
		     json_t **notes, struct error *err);
// What a definition leaves open and this host decides: bridges, storage, the paths of volumes.
// Sentences are added to `notes`.
int partition_complete(const struct config *c, json_t *definition, json_t *notes,
		       struct error *err);
// `force`: one that runs is killed. `volumes`: those that relocd made for it go, too.
int partition_remove(struct daemon *d, const char *name, bool force, bool volumes,
		     struct error *err);
// change.c: a JSON merge patch (RFC 7396) over the definition; with "on_next_start":true in it,
// nothing changes before the next start. {"name":N} alone renames. `if_match`: the ETag that the
// caller has seen, NULL: any. name[] is what it is called afterwards.
int partition_change(struct daemon *d, char name[REGISTRY_NAME_MAX], const json_t *patch,
		     const char *if_match, struct error *err);
// "uuid-revision" in quotes. With the lock held.
#define PARTITION_ETAG_MAX 80
void partition_etag(const struct partition *p, char etag[PARTITION_ETAG_MAX]);

#endif
