// SPDX-License-Identifier: Apache-2.0
// PREPARE on the destination: decision file, keeper (network, mounts, groups), holds, page store,
// CRIU. And how all of it goes away again.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/storage/upper.h"
#include "relocd/move/priority.h"
#include "relocd/move/scratch.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_MS 20000
#define CRIU_MS 2000

static int start_keeper(struct arrival *a, struct error *err)
{
	struct keeper_status status;
	if (keeper_start(a->def, true, NULL, err) < 0)
		return -1;
	a->keeper = keeper_connect(a->def->name, err);
	if (a->keeper < 0 || keeper_status(a->keeper, &status, err) < 0 ||
	    cable_open(&a->cable, a->def, &status, err) < 0)
		return -1;
	a->cgroup = cgroup_open(a->def->name, err);
	a->place = a->cgroup ? cgroup_place_self(err) : NULL;
	return a->place ? 0 : -1;
}

// Fresh memory is the slowest part of receiving, so it is touched now.
static int touch_store(struct arrival *a, struct error *err)
{
	uint64_t left = a->offer->memory_bytes;
	for (size_t i = 0; i < a->offer->n_expect; i++) {
		uint64_t bytes = a->offer->expect[i]->bytes;
		if (bytes > left)
			bytes = left;
		left -= bytes;
		if (bytes &&
		    pagestore_expect(a->store, a->offer->expect[i]->destination, bytes, err) < 0)
			return -1;
	}
	return 0;
}

static int open_store(struct arrival *a, struct error *err)
{
	uint64_t most = a->offer->memory_bytes * 2 + (1u << 30), room;
	// Once more: others may have come since, and it may grow while it is copied. Then the move
	// ends, not whoever this host's kernel would choose when it has no memory left.
	if (arrival_check_memory(a, &room, err) < 0)
		return -1;
	struct pagestore_limits limits = {.bytes = most < room ? most : room,
					  .entries = 1u << 24,
					  .destinations = MANIFEST_PAGES_MAX};
	a->images = scratch_open(err);
	a->store = a->images < 0 ? NULL : pagestore_open(a->images, &limits, err);
	a->intake = a->store ? pageintake_new(LINK_DATA_MAX, err) : NULL;
	if (!a->intake)
		return -1;
	// The partition still runs, and this is long.
	priority_lower();
	int touched = touch_store(a, err);
	priority_resume();
	return touched;
}

static int start_criu(struct arrival *a, struct error *err)
{
	int ours, theirs;
	struct criu_argv argv;
	if (criu_rpc_socketpair(&ours, &theirs, err) < 0)
		return -1;
	_cleanup_close_ int end = theirs;
	a->rpc = criu_rpc_new(ours, err);
	if (!a->rpc)
		return -1;
	criu_program_argv(&a->criu, CRIU_FD_RPC, &argv);
	int number = CRIU_FD_RPC;
	pid_t pid;
	if (keeper_spawn_criu(a->keeper, argv.argv, NULL, &end, &number, 1, &pid, err) < 0)
		return -1;
	a->criu_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return a->criu_pidfd < 0 ? error_sys(err, ERR_CRIU, errno, "criu has ended at once") : 0;
}

// What would otherwise be asked, loaded and computed for the first time while the partition is
// frozen.
static int warm_up(struct arrival *a, struct error *err)
{
	struct digest unused;
	if (digest_of("", 0, &unused, err) < 0 ||
	    keeper_externals(a->keeper, &a->externals, err) < 0)
		return -1;
	return keeper_trees(a->keeper, &a->folders, err);
}

int arrival_prepare(struct arrival *a, struct error *err)
{
	struct talk_decision arranged = {.move = a->offer->move,
					 .epoch = a->offer->epoch,
					 .token = a->has_token ? a->token : NULL};
	a->manifest_bytes = BUF_INIT(16u << 20);
	if (a->def->image && (arrival_fetch_image(a, err) < 0 || arrival_open_upper(a, err) < 0))
		return -1;
	if (start_keeper(a, err) < 0 || open_store(a, err) < 0)
		return -1;
	if (start_criu(a, err) < 0 || warm_up(a, err) < 0)
		return -1;
	if (arrival_audit_begin(a, err) < 0)
		return -1;
	return talk_decision(a->link, WIRE_ARRANGED, &arranged, err);
}

static void drop_images(struct arrival *a)
{
	arrival_warm_end(a);
	arrival_audit_end(a);
	cgroup_place_free(a->place);
	a->place = NULL;
	arrival_demand_drop(a);
	pagestore_free(a->store);
	a->store = NULL;
	pageintake_free(a->intake);
	a->intake = NULL;
	for (size_t i = 0; i < a->tree_count; i++)
		buf_free(&a->trees[i].bytes);
	a->tree_count = 0;
	buf_free(&a->manifest_bytes);
	manifest_free(&a->received);
	digest_free(a->object.digest);
	a->object.digest = NULL;
	if (a->object.fd >= 0)
		close(take_fd(&a->object.fd));
	keeper_externals_free(&a->externals);
	keeper_trees_close(&a->folders);
	if (a->images >= 0)
		close(take_fd(&a->images));
}

// One that hangs, asleep in a lock or in the kernel, takes nothing but SIGKILL.
static void end_criu(struct arrival *a)
{
	if (a->criu_pidfd < 0)
		return;
	if (fdio_wait(a->criu_pidfd, POLLIN, deadline_in_ms(CRIU_MS), NULL) == 0) {
		log_warn("CRIU does not end by itself, killed");
		syscall(SYS_pidfd_send_signal, a->criu_pidfd, SIGKILL, NULL, 0);
	}
	close(take_fd(&a->criu_pidfd));
}

// Its client's end makes CRIU kill what it restored; the cgroup makes sure.
static void kill_restored(struct arrival *a)
{
	struct error err;
	if (a->held && criu_rpc_answer(a->rpc, false, &err) < 0)
		log_error_of(&err, "refusing the restore");
	a->held = false;
	criu_rpc_free(a->rpc);
	a->rpc = NULL;
	if (a->cgroup && cgroup_kill(a->cgroup, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "killing what was restored");
	end_criu(a);
}

static void stop_keeper(struct arrival *a)
{
	struct error err;
	if (a->keeper < 0)
		return;
	if (keeper_quit(a->keeper, &err) < 0 ||
	    keeper_wait_gone(a->keeper, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "end of the keeper");
	close(take_fd(&a->keeper));
	cgroup_close(a->cgroup);
	a->cgroup = NULL;
	if (cgroup_remove(a->def->name, deadline_in_ms(KILL_MS), &err) < 0)
		log_error_of(&err, "removing the control groups");
}

void arrival_forget(struct arrival *a, bool remove)
{
	decision_close(a->decision, remove);
	a->decision = NULL;
}

// The image goes with the reservation: relocd collects what no partition names.
static void drop_root(struct arrival *a)
{
	struct error err;
	bool opened = a->upper >= 0;
	arrival_close_upper(a);
	if (opened && upper_discard(a->def->name, &err) < 0)
		log_error_of(&err, "upper layer");
	arrival_drop_image(a);
}

void arrival_clear(struct arrival *a)
{
	struct error err;
	kill_restored(a);
	cable_close(&a->cable);
	stop_keeper(a);
	drop_images(a);
	drop_root(a);
	if (a->reserved && !a->kept &&
	    report_call(&a->report,
			json_pack("{s:s, s:s}", "op", "unreserve", "move", a->offer->move), NULL,
			&err) < 0)
		log_error_of(&err, "reservation");
	a->reserved = false;
}

void arrival_finish(struct arrival *a)
{
	criu_rpc_free(a->rpc);
	a->rpc = NULL;
	end_criu(a);
	cable_close(&a->cable);
	drop_images(a);
	arrival_close_upper(a);
	arrival_drop_image(a);
	if (a->keeper >= 0)
		close(take_fd(&a->keeper));
	cgroup_close(a->cgroup);
	a->cgroup = NULL;
}
