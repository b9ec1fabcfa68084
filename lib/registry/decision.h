// SPDX-License-Identifier: Apache-2.0
// Decision files: the durable truth of one side of one move.
//
// Append-only, fixed-size records, each with a checksum that covers its predecessor's, in a file
// that is allocated whole before the freeze so that no disk full can happen at the gate. A record
// is on disk when decision_append() returns. Only the lifecycle owner of that side writes it and
// holds its lock.
#ifndef WPAR_REGISTRY_DECISION_H
#define WPAR_REGISTRY_DECISION_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum decision_side { DECISION_DEPARTURE = 1, DECISION_ARRIVAL = 2 };

enum decision_type {
	DECISION_NONE,     // no record
	DECISION_OPENED,   // the move exists on this side
	DECISION_FINAL,    // departure: the last object is about to be sent; from here an abort is
			   // recorded first
	DECISION_PREPARED, // arrival: restored and held; the vote
	DECISION_COMMIT,   // departure: the partition is the other side's
	DECISION_ABORT,    // departure: the partition stays
	DECISION_RESUMING, // arrival: forward only
	DECISION_RELEASED, // departure: the original is gone
	DECISION_REFUSED,  // arrival: this epoch never ran here
	DECISION_REVOKED,  // departure: committed, but it never ran there: it is here, one epoch on
	DECISION_KEPT,     // heuristic: a person keeps this side's copy, one epoch on
	DECISION_GIVEN_UP, // heuristic: a person gave this side's copy up; it is dead
	DECISION_SETTLED,  // the other side has confirmed the heuristic decision
	DECISION_UNKNOWN,  // the file is damaged: ask the peer, decide nothing; never written
};

#define DECISION_MOVE_MAX 40
#define DECISION_NOTE_MAX 40

struct decision;

// Makes STATE/moves/MOVE.departure or .arrival durably with its OPENED record, and locks it.
// `partition`: its name is noted, cut off, for a relocd that has lost its registry.
struct decision *decision_create(const char *folder, const char *move, enum decision_side side,
				 uint64_t epoch, const char *partition, struct error *err);
// Takes over the file of an owner that is dead: locks it and continues after its last valid record.
// ERR_MOVE_BUSY while the owner lives, ERR_MOVE_UNKNOWN without a file, ERR_STORAGE when it is
// damaged by more than a torn last write.
struct decision *decision_open(const char *folder, const char *move, enum decision_side side,
			       struct error *err);
// Appends and makes durable. ERR_INTERNAL when the order of records would be broken.
int decision_append(struct decision *d, enum decision_type type, struct error *err);
// The same with a new epoch (it only rises) and a few words about why (cut off; NULL: none).
int decision_append_as(struct decision *d, enum decision_type type, uint64_t epoch,
		       const char *note, struct error *err);
// A person's decision about a damaged file, whose owner is dead: a new one takes its place whole,
// OPENED with the move's epoch and `type` with `epoch`; what was there stays as MOVE.SIDE.damaged.
int decision_overrule(const char *folder, const char *move, enum decision_side side,
		      uint64_t opened, const char *partition, enum decision_type type,
		      uint64_t epoch, const char *note, struct error *err);
enum decision_type decision_last(const struct decision *d);
uint64_t decision_epoch(const struct decision *d);
// Closes and unlocks; `remove` deletes the file: only when both sides know the end.
void decision_close(struct decision *d, bool remove);

// What a file says, without lock: the last record, DECISION_NONE when there is no such file, and
// DECISION_UNKNOWN when it is damaged in a way that a torn last write does not explain.
enum decision_type decision_read(const char *folder, const char *move, enum decision_side side,
				 uint64_t *epoch);

struct decision_facts {
	enum decision_type last;
	uint64_t epoch;
	uint64_t time_ns; // of the last record, CLOCK_REALTIME
	char note[DECISION_NOTE_MAX];
	bool owned; // a living process holds the file
	bool kept;  // a person kept this side, and the other has not confirmed yet
};
// decision_read with all that is known.
void decision_look(const char *folder, const char *move, enum decision_side side,
		   struct decision_facts *facts);

// The move whose file of that side was opened last for the partition; its id in `move`. False:
// there is none. *newest: the highest epoch in any file of the partition.
bool decision_find(const char *folder, enum decision_side side, const char *partition,
		   char move[DECISION_MOVE_MAX], uint64_t *newest);

// Removes files of moves that ended before `before_ns` (CLOCK_REALTIME): their last record is an
// end that needs nobody's confirmation any more, nobody holds them, and `open` does not object.
// Returns how many.
unsigned decision_prune(const char *folder, uint64_t before_ns,
			bool (*open)(const char *move, void *arg), void *arg);

const char *decision_name(enum decision_type type);    // "prepared"
enum decision_type decision_of_name(const char *name); // DECISION_UNKNOWN when not one

#endif
