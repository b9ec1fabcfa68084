// SPDX-License-Identifier: Apache-2.0
// The destination's side of one connection of a peer: a move, a dry run, a question, or a join.
#ifndef RELOCD_ARRIVAL_ARRIVAL_H
#define RELOCD_ARRIVAL_ARRIVAL_H

#include "images/folder.h"
#include "images/manifest.h"
#include "images/pageintake.h"
#include "images/pagestore.h"
#include "images/peer.pb-c.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/criu/program.h"
#include "lib/criu/rpc.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/definition.h"
#include "lib/partition/keeper_client.h"
#include "lib/registry/decision.h"
#include "lib/transport/link.h"
#include "relocd/move/cable.h"
#include "relocd/move/report.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define ARRIVAL_TREES_MAX   KEEPER_TREES_MAX
#define ARRIVAL_STREAMS_MAX 7 // beside the control link

// The object that is arriving: into a file of the image folder, or into memory.
struct arriving_object {
	char name[MANIFEST_NAME_MAX];
	uint64_t length, received;
	int fd; // -1: into memory
	struct buf *memory;
	struct digest_ctx *digest;
};

// A further connection of the move.
struct arrival_stream {
	struct link *link;
	bool bound; // it has said that it is of this move
	uint32_t marks;
};

struct arrived_tree {
	char name[MANIFEST_NAME_MAX];
	struct buf bytes;
};

struct arrival {
	// what relocd said
	json_t *start;
	const char *host;
	struct link_tls tls;
	struct report report;

	// what the peer said
	struct link *link;
	struct link_message message; // that is being handled
	unsigned heard;              // what came while something else was under way, and ends that
	struct arrival_stream streams[ARRIVAL_STREAMS_MAX];
	size_t stream_count;
	uint32_t marks;    // that have come on all of them
	bool streams_done; // nothing more is to come on them
	uint8_t token[WIRE_TOKEN];
	bool has_token;
	char *peer_address; // where it listens; NULL if it did not say
	bool unwanted;      // relocd refuses it
	Wpar__Offer *offer;
	struct partition_def *def;

	// what was made for it, in this order
	bool reserved;
	struct decision *decision;
	struct criu_program criu;
	int keeper;
	struct cgroup *cgroup;
	struct cgroup_place *place; // where this process is
	pthread_t warmer;
	bool warming;
	atomic_bool cooling;
	struct cable cable;
	struct keeper_externals externals;
	struct keeper_trees folders;
	int images;
	struct pagestore *store;
	struct pageintake *intake;
	struct criu_rpc *rpc;
	int criu_pidfd; // the keeper is its parent and reaps it

	struct {
		int channel, pidfd; // -1: none
		pid_t pid;
		json_int_t images; // given to it
	} auditor;

	// what has arrived
	struct arriving_object object;
	struct arrived_tree trees[ARRIVAL_TREES_MAX];
	size_t tree_count;
	struct buf manifest_bytes;
	struct manifest received;
	uint64_t received_bytes;
	uint32_t rounds; // of memory, complete

	// its root, where it is made of an image
	int image, upper;       // -1: it is a folder, or not yet there
	char staging[PATH_MAX]; // where an image is received; "": none is
	struct folder_unpacker *unpacker;
	struct digest_ctx *upper_digest;
	uint64_t upper_received;
	bool upper_mounted;
	pthread_t syncer;
	bool syncing;
	atomic_bool synced; // the thread has done its work
	int sync_errno;

	// the restore
	pid_t root;
	bool on_demand;                // what memory it needs comes when it is touched
	bool held;                     // CRIU waits at post-restore
	bool resumed;                  // the tasks run
	int64_t restore_ns, commit_ns; // when they began
	double frozen_ms;              // until COMMIT, as the source says; 0: not known
	double downtime_ms;            // until it ran here; 0: not known
	bool in_doubt;
	bool kept;   // what relocd knows of the partition stays, for all that it is dead
	bool untold; // it runs, and relocd does not know yet
	bool failed; // it does not run here, and the last event has been sent
};

// What is done in a state (steps.def) is a function that returns the next event: 0 is EVENT_DONE,
// -1 EVENT_FAILED. Where the event is a message, it is a->message.

// hear.c: waits for the next message, which is the event.
int arrival_hear(struct arrival *a, struct error *err);
// While something else is under way: takes one message, or all that have come, without waiting. -1:
// an abort, a cancel, or the link is gone.
int arrival_take_aside(struct arrival *a, const struct link_message *message, struct error *err);
int arrival_listen(struct arrival *a, struct error *err);
// A cancel that came before the vote.
// Whether what CRIU holds has died; *err says so.
bool arrival_copy_died(struct arrival *a, struct error *err);
int arrival_check_cancel(struct arrival *a, struct error *err);

// arrival.c: OFFER: the checks of this side.
int arrival_check(struct arrival *a, struct error *err);

// end.c: how it ends, and what relocd and the peer are told.
int arrival_answered(struct arrival *a, struct error *err); // nothing but checks was wanted
int arrival_give_up(struct arrival *a, struct error *why);  // before the vote
int arrival_end(struct arrival *a, struct error *why);      // the peer keeps it
int arrival_return(struct arrival *a, struct error *why);
int arrival_never_ran(struct arrival *a, struct error *why);   // it died before it could
int arrival_lost(struct arrival *a, struct error *why);        // it was ours, and does not run
int arrival_confirmed(struct arrival *a, struct error *err);   // it runs, the original is gone
int arrival_unconfirmed(struct arrival *a, struct error *err); // it runs
void arrival_refuse(struct arrival *a, const struct error *why);
void arrival_tell_arrived(struct arrival *a);
// checks.c: VALIDATE on this side; reserves name and addresses unless it is a dry run. The answer
// is the list.
json_t *arrival_checks(struct arrival *a);
// Whether its memory has room here, now; ERR_MEMORY. *pages: bytes that its pages may become at
// most while they are on the way, if it grows.
int arrival_check_memory(struct arrival *a, uint64_t *pages, struct error *err);

// prepare.c
int arrival_prepare(struct arrival *a, struct error *err);
// After an abort: nothing of it is left on this host. Logs what fails and goes on.
void arrival_clear(struct arrival *a);
// After a success: what only the move needed. Both leave the decision file.
void arrival_finish(struct arrival *a);
void arrival_forget(struct arrival *a, bool remove);

// receive.c: handlers of the messages that bring the images.
int arrival_on_frozen(struct arrival *a, struct error *err);
int arrival_on_object(struct arrival *a, struct error *err);
int arrival_on_chunk(struct arrival *a, struct error *err);
int arrival_on_object_end(struct arrival *a, struct error *err);
int arrival_on_pages(struct arrival *a, struct error *err);
int arrival_on_round(struct arrival *a, struct error *err);
int arrival_on_held(struct arrival *a, struct error *err);

// PAGES, of any connection; `rounds_only`: nothing that is final.
int arrival_take_pages(struct arrival *a, bool rounds_only, const struct link_message *message,
		       struct error *err);

// streams.c: takes the connection that relocd has passed on, if there is one.
void arrival_streams_accept(struct arrival *a);
// A message of each that may be read, without waiting: 1, 0 there was none.
int arrival_streams_step(struct arrival *a, struct error *err);
size_t arrival_streams_poll(const struct arrival *a, struct pollfd fds[ARRIVAL_STREAMS_MAX]);
int arrival_on_mark(struct arrival *a, struct error *err);
void arrival_streams_close(struct arrival *a);

// image.c: for a root that is made of an image.
// VALIDATE: there is room for it, and what unpacks it.
int arrival_check_image(struct arrival *a, struct error *err);
// PREPARE: has the image, from the peer if need be.
int arrival_fetch_image(struct arrival *a, struct error *err);
void arrival_drop_image(struct arrival *a);

// upper.c: the layer above it. PREPARE: an empty one.
int arrival_open_upper(struct arrival *a, struct error *err);
int arrival_on_upper(struct arrival *a, struct error *err);
// All of it is here: mounts the root.
int arrival_on_upper_end(struct arrival *a, struct error *err);
// Before the vote: all of it is on disk.
int arrival_wait_upper(struct arrival *a, struct error *err);
void arrival_close_upper(struct arrival *a);

// audit.c: whether the images ask for more than the definition grants: ERR_IMAGES.
int arrival_audit_begin(struct arrival *a, struct error *err);
int arrival_audit_image(struct arrival *a, const char *name, struct error *err);
int arrival_audit_verdict(struct arrival *a, struct error *err);
void arrival_audit_end(struct arrival *a); // also when it was not begun

// warm.c: from FROZEN until the restored root is in its control groups.
int arrival_warm_begin(struct arrival *a, struct error *err);
void arrival_warm_end(struct arrival *a); // also when it was not begun

// restore.c: verify, unpack, restore up to the gate; vote; let it run: EVENT_RUNS.
int arrival_restore(struct arrival *a, struct error *err);
int arrival_vote(struct arrival *a, struct error *err);
int arrival_resume(struct arrival *a, struct error *err);
int arrival_tell_running(struct arrival *a, struct error *err);

// demand.c: VALIDATE: may memory come on demand, as far as can be told before it is here?
bool arrival_demand_possible(const struct arrival *a);
// Writes the images of memory, for a restore on demand where that is possible (on_demand). All
// others are there.
int arrival_demand_begin(struct arrival *a, struct error *err);
// The source is released: the rest of the memory is filled.
void arrival_demand_fill(struct arrival *a);
// The images go, but for what the page server has open: it would keep the folder's memory.
void arrival_demand_drop(struct arrival *a);

// call.c: a request to this host's control API; the exit status.
int arrival_call(struct arrival *a, const struct link_message *message);
void arrival_refuse_call(struct arrival *a, const struct error *why);

// join.c: a join link; 0 or -1.
int arrival_join(struct arrival *a, struct error *err);

// doubt.c: the vote is cast and the peer is gone. Asks it until it answers, or a person decides for
// it: EVENT_COMMITTED, EVENT_ENDED, EVENT_KEEP.
int arrival_ask(struct arrival *a, struct error *why);
// A person decided for this copy.
int arrival_record_keep(struct arrival *a, struct error *err);

#endif
