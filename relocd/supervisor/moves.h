// SPDX-License-Identifier: Apache-2.0
// Moves as relocd sees them, out and in: their events, their end, and what it means for the
// partition. The move itself is done by departure and arrival.
#ifndef RELOCD_MOVES_H
#define RELOCD_MOVES_H

#include "relocd/daemon/worker.h"
#include "relocd/partitions/partitions.h"

struct move_event {
	uint64_t seq; // rises; a progress event replaces the one before it
	json_t *json;
};

struct move {
	struct move *next;
	struct daemon *daemon;
	struct registry_move row; // with its JSON
	bool incoming;
	bool dry_run;          // validation only: not recorded
	bool queued;           // waits (queue.h): no process
	bool recorded;         // the registry has it
	bool hooking;          // it is queued, and hooks of pre-move run
	bool hooked;           // they have been asked, or there were none: they learn its end
	unsigned tries;        // its destination was full so often
	deadline_t not_before; // then it waits until that; 0: not for that
	bool end_exec;         // it ends sessions of exec
	bool finished;         // the last event is there
	bool resolving;        // its process is dead: resolve.h finds out what became of it
	bool deciding;         // a person decides what its end means (recover.h)
	struct error why;      // of that
	char phase[16];
	struct move_event *events;
	size_t event_count;
	uint64_t last_seq;
	struct worker *worker; // NULL: it has ended
};

// With the lock held, all of them.

// "m-1f3a09": unique on this host.
int move_new_id(struct daemon *d, char id[40], struct error *err);
// Adds an empty move to the table; those that ended long ago are dropped. NULL: no memory.
struct move *move_add(struct daemon *d, const struct registry_move *row);
struct move *move_find(struct daemon *d, const char *id);
// `param` is a move's id, or a partition's name: that stands for its open or else its last move.
// ERR_MOVE_UNKNOWN.
int move_id_of(struct daemon *d, const char *param, char id[40], struct error *err);
void move_drop(struct move *m);
void moves_free(struct daemon *d);

// Keeps an event (a copy) and wakes who follows.
void move_event(struct move *m, const json_t *event);
// The first event after `seq`: 1 and *event (borrowed), 0: none (yet), -1: none will come.
int move_next_event(struct move *m, uint64_t *seq, json_t **event);

// Puts its begin into the journal.
void move_note_begin(const struct move *m);
// Ends it: state "done", "aborted" ..., recorded with its events. `result` and `error` are taken
// over, may be NULL. Adds the last event if the process did not send one. -1: it could not be
// recorded (logged).
int move_finish(struct move *m, const char *state, json_t *result, json_t *error);
// The end of a move that was finished in doubt: replaces that end. `error` is taken over.
int move_amend(struct move *m, const char *state, json_t *error);

// What GET shows, of a row in memory or in the registry.
json_t *move_json(const struct registry_move *row, const char *phase, bool incoming);
json_t *moves_json(struct daemon *d, struct error *err);
json_t *move_get_json(struct daemon *d, const char *id, struct error *err);

// HELLO of a process that an earlier relocd started: one that speaks no version that we speak is
// only watched from now on.
void move_hello(struct worker *w, const json_t *hello);

// cancel.c: asks its process to give the move up; fine when it has been cancelled before.
// ERR_WRONG_STATE when it has ended or is committed, ERR_IN_DOUBT when the other host has to say.
int move_cancel(struct daemon *d, const char *id, struct error *err);

// Removes decision files of moves that ended longer ago than retention.events says, and thirty days
// at least; now and every hour. At relocd's start.
void moves_prune(struct daemon *d);

// Without the lock, at relocd's start and after lifecycle_reconnect: moves that an earlier relocd
// began go on being watched, or are resolved by their decision files.
void moves_resume(struct daemon *d);
// The process of that move has ended, and was perhaps killed: what it listened on goes.
void move_drop_socket(const char *id, bool incoming);

#endif
