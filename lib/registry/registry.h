// SPDX-License-Identifier: Apache-2.0
// What this host knows and must not forget: hosts, partitions, moves, join tokens, events. SQLite
// in WAL mode with synchronous FULL: a change is on disk when its function returns. The decision
// of a move is never here but in its decision file (decision.h).
//
// A handle serves one thread at a time (relocd's lock). Every failure is ERR_REGISTRY.
#ifndef WPAR_REGISTRY_REGISTRY_H
#define WPAR_REGISTRY_REGISTRY_H

#include "lib/base/clock.h"
#include "lib/base/error.h"
#include "lib/registry/state.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct registry;

// Opens or makes the file (0600), checks it, and migrates it.
struct registry *registry_open(const char *path, struct error *err);
void registry_close(struct registry *r); // NULL is fine
// Its log was damaged when it was opened: what was written last is missing, without a trace.
bool registry_lost_log(const struct registry *r);

// ---- hosts --------------------------------------------------------------------------------------
#define REGISTRY_NAME_MAX    64
#define REGISTRY_ADDRESS_MAX 256
#define REGISTRY_KEY_MAX     65

struct registry_host {
	char name[REGISTRY_NAME_MAX];
	char address[REGISTRY_ADDRESS_MAX]; // "10.77.0.1:7470"; "": not known (ourselves)
	bool revoked;
	bool cordoned;
	char cordon_reason[256];
};

// Adds it, or changes its address; `revoked` is left as it is.
int registry_host_put(struct registry *r, const char *name, const char *address, struct error *err);
// 1 found, 0 not, -1 error.
int registry_host_get(struct registry *r, const char *name, struct registry_host *host,
		      struct error *err);
// By name; the array is the caller's to free.
int registry_hosts(struct registry *r, struct registry_host **hosts, size_t *count,
		   struct error *err);

// `reason` NULL: no longer cordoned.
int registry_host_cordon(struct registry *r, const char *name, const char *reason,
			 struct error *err);

// Changes `revoked`.
int registry_host_revoke(struct registry *r, const char *name, bool revoked, struct error *err);
int registry_host_delete(struct registry *r, const char *name, struct error *err);
// SHA-256 of the public key that a host was last seen with, hex; "": not known. 1, 0: no such host.
int registry_host_key(struct registry *r, const char *name, char key[REGISTRY_KEY_MAX],
		      struct error *err);
int registry_host_set_key(struct registry *r, const char *name, const char *key, struct error *err);

// Keys that are not accepted any more, whoever comes with them. 1: added, 0: it was there.
int registry_revoked_add(struct registry *r, const char *key, const char *host, const char *reason,
			 struct error *err);
// 1 revoked, 0 not, -1 error.
int registry_revoked(struct registry *r, const char *key, struct error *err);
// [["host","key"],...], the newest first, at most `limit`.
json_t *registry_revoked_list(struct registry *r, unsigned limit, struct error *err);

// ---- what other hosts have ----------------------------------------------------------------------

// In the place of all that was known of `host`: [{"name","uuid","epoch","runs","definition"}, ...].
int registry_known_replace(struct registry *r, const char *host, const json_t *list,
			   struct error *err);
// The same with "host" and "seen" (when the host said so), that of the highest epoch first. `host`
// and `name` choose, NULL: any. The caller's.
json_t *registry_known(struct registry *r, const char *host, const char *name, struct error *err);

// ---- partitions ---------------------------------------------------------------------------------
struct registry_partition {
	char name[REGISTRY_NAME_MAX];
	char uuid[40];
	json_t *definition;
	enum partition_state state;
	char reason[256]; // of the state, for people; "": none
	uint64_t epoch;
	char departed_to[REGISTRY_NAME_MAX];
	char move[40];                // that runs, or ""
	char started[CLOCK_TEXT_MAX]; // RFC 3339; "": does not run
	int exit_code;                // -1: none
	int exit_signal;              // 0: none
	uint64_t revision;            // rises with each change of the definition
	json_t *pending;              // {key: value}, takes effect at the next start; NULL: nothing
	char came_from[REGISTRY_NAME_MAX]; // the host it moved here from; "": none
	unsigned restarts; // by its restart policy, since it was last asked to start
	uint64_t arrived;  // the epoch that it came here with last; 0: never
};

// Writes the whole row. Takes nothing over.
int registry_partition_put(struct registry *r, const struct registry_partition *p,
			   struct error *err);
// Writes the row in the place of that of `from`.
int registry_partition_rename(struct registry *r, const char *from,
			      const struct registry_partition *p, struct error *err);
int registry_partition_delete(struct registry *r, const char *name, struct error *err);
// Frees what is inside.
void registry_partition_clear(struct registry_partition *p);
// Calls `each` for every row; the row is cleared afterwards, but for what `each` takes (sets to
// NULL).
int registry_partitions(struct registry *r, int (*each)(struct registry_partition *p, void *arg),
			void *arg, struct error *err);

// ---- moves --------------------------------------------------------------------------------------
struct registry_move {
	char id[40];
	char partition[REGISTRY_NAME_MAX];
	char source[REGISTRY_NAME_MAX], target[REGISTRY_NAME_MAX];
	uint64_t epoch;
	char state[16]; // queued, running, done, aborted, refused, broken, in-doubt
	pid_t pid;      // of departure or arrival
	uint64_t pid_start;
	char started[CLOCK_TEXT_MAX], ended[CLOCK_TEXT_MAX];
	// NULL: none; in add and end the caller's, in get for the caller. `asked`: {"user","role",
	// "host","time"}; `options`: of a departure, as they were asked for.
	json_t *result, *error, *asked, *options;
};

// ERR_REGISTRY also when a move of that id exists.
int registry_move_add(struct registry *r, const struct registry_move *m, struct error *err);
// One that was queued: writes state, epoch, pid, pid_start and started.
int registry_move_begin(struct registry *r, const struct registry_move *m, struct error *err);
// Writes state, ended, result and error; and the events (a JSON array) with it, in one transaction,
// in the place of those that it may have had.
int registry_move_end(struct registry *r, const struct registry_move *m, const json_t *events,
		      struct error *err);
// 1 found, 0 not, -1 error. registry_move_clear frees what is inside.
int registry_move_get(struct registry *r, const char *id, struct registry_move *m,
		      struct error *err);
void registry_move_clear(struct registry_move *m);
// The newest first, at most `limit`; if `open`, only those that wait, run or are in doubt.
int registry_moves(struct registry *r, bool open, unsigned limit, struct registry_move **moves,
		   size_t *count, struct error *err);
void registry_moves_free(struct registry_move *moves, size_t count);
// JSON array of the events of a move that has ended; NULL: error.
json_t *registry_move_events(struct registry *r, const char *id, struct error *err);

// What a decision file said, for people.
int registry_record_add(struct registry *r, const char *move, const char *side, const char *type,
			uint64_t epoch, struct error *err);

// ---- join tokens --------------------------------------------------------------------------------
// `digest`: token_digest(). A new one for the same host replaces the old one.
int registry_token_add(struct registry *r, const char *digest, const char *name,
		       const char *address, int64_t expires, struct error *err);
// Uses it up: 1 and the address it was made for, 0 when there is none of that digest and name that
// is valid at `now` (seconds since 1970), -1 error.
int registry_token_take(struct registry *r, const char *digest, const char *name, int64_t now,
			char address[REGISTRY_ADDRESS_MAX], struct error *err);

// ---- meta: values of the registry itself --------------------------------------------------------
// 1 found, 0 not, -1 error.
int registry_meta_get(struct registry *r, const char *key, char *value, size_t size,
		      struct error *err);
int registry_meta_put(struct registry *r, const char *key, const char *value, struct error *err);

#endif
