// SPDX-License-Identifier: Apache-2.0
// The source's side of one move: the state that its phases share. The order: wpar-protocol(7).
#ifndef RELOCD_DEPARTURE_DEPARTURE_H
#define RELOCD_DEPARTURE_DEPARTURE_H

#include "lib/base/error.h"
#include "lib/criu/program.h"
#include "lib/criu/rpc.h"
#include "lib/memory/converge.h"
#include "lib/memory/engine.h"
#include "lib/memory/restore.h"
#include "lib/memory/squeeze.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/definition.h"
#include "lib/partition/keeper_client.h"
#include "lib/registry/decision.h"
#include "lib/storage/snapshot.h"
#include "lib/transport/link.h"
#include "relocd/departure/channels.h"
#include "relocd/move/cable.h"
#include "relocd/move/report.h"

#include <stdbool.h>
#include <stdint.h>

#define DEPARTURE_FLUSH_MAX 16

// What of the downtime does not depend on what the partition writes, about. An engine
// without rounds has all memory to copy in it.
struct departure_prediction {
	double fixed_ms;   // processes, descriptors, mounts
	double restore_ms; // memory that is restored before it runs
	double total_ms;   // both, and copying what no round copies
	char text[200];    // as a sentence
};

struct departure {
	// what relocd asked for; the JSON owns the strings
	json_t *start;
	const char *move, *host, *peer, *peer_address;
	uint64_t epoch;
	bool dry_run;
	bool end_exec; // sessions of exec are ended, not a reason to refuse
	const struct memory_engine *engine;
	char engine_why[200]; // why it is not a better one; empty: none is better
	bool on_demand;       // the peer may restore private memory after it runs
	double max_downtime_ms;
	bool strict_downtime;
	enum converge_policy on_diverge;
	enum squeeze_method compress;
	enum restore_wish restore;
	struct squeeze *squeeze; // between the engine and the link
	uint64_t bandwidth;      // bytes a second, while the partition runs; 0: no limit
	struct link_tls tls;
	struct partition_def *def;
	struct report report;

	// the partition
	int keeper;
	struct keeper_status status;
	struct cgroup *cgroup;
	struct criu_program criu;
	uint64_t memory_bytes; // that it is charged for, or that travel, if these are more
	uint64_t travel_bytes; // about: without what the kernel keeps of files

	// the move
	struct link *link;
	unsigned streams;         // wanted; 0: as many as are good
	struct channels channels; // for pages
	int64_t beat_ns;          // when the last PING was sent
	struct decision *decision;
	struct cable cable;
	int backlog; // socket to ask for connections that nobody accepted yet
	struct keeper_externals externals;
	struct keeper_trees trees;
	bool frozen;
	bool lost;                      // it died at the destination, which had promised to go on
	int flush[DEPARTURE_FLUSH_MAX]; // filesystems that other hosts see what was written back to
	size_t flush_count;
	size_t sockets; // names of sockets that are kept for the move
	struct memory_run *memory;
	struct departure_prediction prediction;
	struct memory_round last_round;
	json_t *rounds;       // figures of each
	json_t *final;        // of the part while it is frozen; NULL: there was none
	const char *advice;   // what to try against it
	char limited_by[200]; // what stood in the way of a shorter downtime, as far as rounds tell
	unsigned
		cpu_percent; // that the partition may use of what it used; 100: it is not throttled
	uint64_t cpu_used;   // thousandths of a processor
	int blank;           // what CRIU shall not look at (lib/criu/blank.h)
	int images;          // folder that CRIU dumps into, on a tmpfs of this process alone
	struct criu_rpc *rpc;
	pid_t criu_pid;
	bool asked;  // CRIU was asked to dump
	bool ended;  // and has said that it failed
	bool dumped; // CRIU is held at post-dump
	struct manifest manifest;
	uint64_t sent_bytes, expected_bytes;

	// sink.c
	struct put_by *put_by, *put_by_last; // frames that wait for a slot
	struct put_by *spare;                // the place that the engine has got
	uint64_t put_by_bytes, put_by_max;
	bool in_order;               // what the engine sends has to keep its order
	bool place_in_order;         // and had to when it asked for the place that it has,
	struct link *place_of;       // which is of this connection
	int64_t due_ns, work_due_ns; // pace.c: when the link may carry more; when more may be done
	uint64_t paced_bytes;        // of departure_taken(), so many are in work_due_ns
	int64_t paused_ns;           // spent waiting for that
	int64_t handed_ns, idle_ns;  // when the last frame was; how long none was under way
	int64_t round_ns;            // when the round began,
	uint64_t round_from;         // and what had been taken then
	uint64_t plain_bytes;        // of it taken until we stepped back for other work,
	int64_t plain_ns;            // and in how long

	// its root, where it is made of an image
	char **folders;            // at its top, without other mounts
	int image, upper;          // -1: it is a folder
	uint64_t image_bytes;      // packed
	uint64_t upper_bytes;      // in the layer above, about
	uint64_t file_bytes;       // sent of both
	struct snapshot *snapshot; // what was sent of the layer above
	struct digest_ctx *digest; // of all of it
	uint64_t digested;         // bytes in it
	deadline_t upper_deadline; // of what is sent of it while frozen
	int64_t upper_ns;          // when its last round began
	unsigned upper_again;      // rounds of it between those of memory
	double upper_rate;         // bytes a millisecond, of its first round; 0: too little to tell
	double upper_ms;           // what is left of it will take, about

	// the report
	int64_t began_ns, frozen_ns;
	double downtime_ms;           // 0: never frozen
	double restore_ms, switch_ms; // as the peer measured them; 0: it did not say
};

// validate.c: what can be known before anything is touched; asks the peer for its part. The checks
// go to relocd. Fails with the first failed check.
int departure_validate(struct departure *d, struct error *err);

// What is done in a state (steps.def) is a function that returns the next event: 0 is EVENT_DONE,
// -1 EVENT_FAILED.

// prepare.c: everything that costs time and can fail, before the freeze. The peer does the same.
int departure_prepare(struct departure *d, struct error *err);
void departure_unprepare(struct departure *d);

// sink.c: where the engine's frames go.
struct memory_sink departure_sink(struct departure *d);
// Before the freeze: how many bytes may be put by. While the link is slower than memory they wait
// here and not where the partition's memory is counted.
int departure_sink_bound(struct departure *d, struct error *err);
// Sends what was put by while it is frozen, until the deadline at most: without a slot that is free
// by then something stays.
int departure_sink_flush(struct departure *d, deadline_t deadline, struct error *err);
int departure_sink_drain(struct departure *d, struct error *err); // all of it
void departure_sink_forget(struct departure *d);
// Counts the time since the last frame as idle if that is gone by now.
void departure_sink_idle(struct departure *d);

// pace.c: waits until more may be sent. Nothing is waited for while it is frozen, nor without a
// limit.
int departure_pace(struct departure *d, struct error *err);
// So much was sent.
void departure_paced(struct departure *d, size_t bytes);
// Bytes of memory that the engine has handed over, before they are packed.
uint64_t departure_taken(const struct departure *d);

// measure.c: memory_bytes, travel_bytes, and what is to be said of it
void departure_measure(struct departure *d, json_t *checks);

// predict.c
void departure_predict(struct departure *d, struct departure_prediction *p);

// precopy.c
// PREPARE: the engine; it changes nothing yet.
int departure_open_memory(struct departure *d, struct error *err);
// PRECOPY: the layer above an image, and rounds of memory, with an engine that has them.
// ERR_DIVERGES; ERR_DOWNTIME where what is predicted then is too long and may not be.
int departure_copy(struct departure *d, struct error *err);
// Undoes a throttling; nothing happens without one.
void departure_speed_up(struct departure *d);

// freeze.c
int departure_freeze(struct departure *d, struct error *err);
// Undoes it in the reverse order: thaw, cable, announcement, held frames. Logs what fails and goes
// on.
void departure_thaw(struct departure *d);

// shared.c: files that the other host sees as well.
// PREPARE: finds filesystems that need it and writes back most of what is dirty.
int departure_share(struct departure *d, struct error *err);
void departure_unshare(struct departure *d);
// Frozen: writes back the rest, keeps the names of sockets.
int departure_share_frozen(struct departure *d, struct error *err);
// Dumped: did CRIU find locks that block the other host? Puts the sockets' names aside.
int departure_share_dumped(struct departure *d, struct error *err);
// Aborted: the sockets' names, before the thaw.
void departure_give_back(struct departure *d);
// And again when the peer is done with them: its restore may have taken one meanwhile. A peer that
// could not be told is waited for until it must have given up; the partition runs all the time.
void departure_settle(struct departure *d, bool told);

// image.c: for a root that is made of an image.
// VALIDATE: opens both layers and measures them.
int departure_open_image(struct departure *d, struct error *err);
// PREPARE: sends the image, if the peer wants it.
int departure_send_image(struct departure *d, struct error *err);
void departure_close_image(struct departure *d);

// upper.c: the layer above the image. PRECOPY: in rounds, while the partition runs. ERR_UPPER_BUSY:
// it writes too much.
int departure_copy_upper(struct departure *d, struct error *err);
// Between rounds of memory: much may have been written since the last round of it.
bool departure_upper_is_old(const struct departure *d);
int departure_copy_upper_again(struct departure *d, struct error *err);
// Frozen: what has changed since.
int departure_finish_upper(struct departure *d, struct error *err);

// network.c: ERR_NETWORK_EXTRA when the network namespace holds something that is not of the
// definition.
int departure_check_network(struct departure *d, struct error *err);
// Frozen: again, where somebody inside has the capability to change it.
int departure_check_network_frozen(struct departure *d, struct error *err);

// final.c: the last pages and CRIU's state, ending with the fence.
int departure_final(struct departure *d, struct error *err);
// The rest, and the list of all of it: with that the peer can restore and vote.
int departure_send_list(struct departure *d, struct error *err);
// Makes CRIU roll the dump back; the tree stays frozen by our own freeze. ERR_BROKEN when CRIU has
// died and left processes that can never run again.
int departure_undump(struct departure *d, struct error *err);

// cure.c: what CRIU would have undone, had it not died. ERR_BROKEN.
int departure_cure(struct departure *d, struct error *err);
void departure_kill_criu(struct departure *d); // also when there is none

// decide.c: from the vote to the end.
int departure_await_vote(struct departure *d, struct error *err);
int departure_commit(struct departure *d, struct error *err);
int departure_await_running(struct departure *d, struct error *err);
// After the commit record the truth is on the other side: its decision file says whether it runs.
// EVENT_RUNS, EVENT_LOST, EVENT_NEVER_RAN; -1: nobody says.
int departure_ask(struct departure *d, struct error *err);
// Only now may the original be killed: EVENT_KILLED.
int departure_kill(struct departure *d, struct error *err);
int departure_kill_lost(struct departure *d, struct error *err); // the one there died as well
int departure_release(struct departure *d, struct error *err);

// return.c: after a failure the partition runs on here. -1: it is lost, and *why says so.
int departure_return(struct departure *d, struct error *why);

// fill.c: before VALIDATE, a partition that arrived lately gets all of its memory first.
int departure_wait_filled(struct departure *d, struct error *err);
// Whether that is under way; `text` then says how far.
bool departure_is_filling(const struct keeper_status *status, char text[80]);

// wait.c: waits for one message of the peer, meanwhile holding frames and listening for a cancel.
// `type` is what is expected; REFUSE and ABORT become the peer's error. The caller gives the
// message back.
int departure_wait(struct departure *d, uint16_t type, deadline_t deadline,
		   struct link_message *message, struct error *err);
// After a failure: a link that was closed or stood still may have had a reason, which came before.
// Puts the better error in its place.
void departure_reason(struct departure *d, struct error *err);
// Takes what has come while nothing is due: the peer's reason to refuse, a cancel.
int departure_listen(struct departure *d, struct error *err);

#endif
