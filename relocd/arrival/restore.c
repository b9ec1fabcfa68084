// SPDX-License-Identifier: Apache-2.0
// The image set is complete: verify it, restore up to the gate, vote; after COMMIT let it run.
#include "relocd/arrival/arrival.h"

#include "images/folder.h"
#include "lib/base/cleanup.h"
#include "lib/base/log.h"
#include "lib/criu/failure.h"
#include "relocd/move/scratch.h"
#include "relocd/move/steps.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define RESTORE_MS 20000 // and more for much memory
#define RESUME_MS  20000
#define LOG_NAME   "restore.log"

static int verify(struct arrival *a, struct error *err)
{
	__attribute__((cleanup(manifest_free))) struct manifest announced = {0};
	if (a->object.digest)
		return error_set(err, ERR_PROTOCOL, "MANIFEST comes inside an object");
	a->streams_done = true; // all that counts is behind a mark
	if (manifest_read(&announced, a->manifest_bytes.data, a->manifest_bytes.length, err) < 0 ||
	    pagestore_seal(a->store, err) < 0)
		return -1;
	snprintf(a->received.move, sizeof(a->received.move), "%s", a->offer->move);
	a->received.epoch = a->offer->epoch;
	for (size_t i = 0; i < pagestore_count(a->store); i++)
		if (manifest_add_pages(&a->received, pagestore_destination(a->store, i),
				       pagestore_came(a->store, i), err) < 0)
			return -1;
	return manifest_compare(&announced, &a->received, err);
}

static int unpack_tree(struct arrival *a, const char *name, int dirfd, struct error *err)
{
	for (size_t i = 0; i < a->tree_count; i++)
		if (!strcmp(a->trees[i].name, name))
			return folder_unpack(dirfd, a->trees[i].bytes.data,
					     a->trees[i].bytes.length, err);
	return error_set(err, ERR_PROTOCOL, "the contents of folder %s did not come", name);
}

static int unpack_trees(struct arrival *a, struct error *err)
{
	if (a->folders.count != a->tree_count)
		return error_set(err, ERR_PROTOCOL, "%zu packed folders came for %zu",
				 a->tree_count, a->folders.count);
	for (size_t i = 0; i < a->folders.count; i++)
		if (unpack_tree(a, a->folders.names[i], a->folders.fds[i], err) < 0)
			return error_wrap(err, "folder %s", a->folders.names[i]);
	return 0;
}

static int ask_restore(struct arrival *a, struct error *err)
{
	size_t count = 0;
	while (a->externals.restore[count])
		count++;
	char keys[2][48];
	struct criu_inherit_fd inherit[] = {{keys[0], KEEPER_CRIU_STDOUT},
					    {keys[1], KEEPER_CRIU_STDERR}};
	for (int i = 0; i < 2; i++)
		snprintf(keys[i], sizeof(keys[i]), "pipe:[%llu]",
			 (unsigned long long)a->offer->stdio[i]);
	struct criu_options o = CRIU_OPTIONS_INIT;
	o.images_fd = a->images;
	o.root = a->externals.root;
	o.tcp_established = o.skip_network_lock = o.ignore_cgroups = o.link_remap = true;
	o.file_locks = true; // departure refuses those that others could hold
	o.rst_sibling = o.notify_scripts = true;
	o.lazy_pages = a->on_demand;
	o.log_file = LOG_NAME;
	o.external = a->externals.restore;
	o.nr_external = count;
	o.inherit = inherit;
	o.nr_inherit = ARRAY_SIZE(inherit);
	return criu_rpc_restore(a->rpc, &o, err);
}

static int restore_failed(struct arrival *a, const char *message, struct error *err)
{
	char path[512];
	scratch_keep_log(a->images, LOG_NAME, a->offer->move, path);
	criu_failure_error(err, ERR_CRIU_RESTORE, "CRIU could not restore the partition", a->images,
			   LOG_NAME, message);
	if (path[0])
		error_hint(err, "the partition runs on at its source; CRIU's log is %s:%s", a->host,
			   path);
	return -1;
}

// Its root exists and nothing is forked or filled yet: what it will fork and touch belongs to the
// payload.
static int on_root(struct arrival *a, pid_t root, struct error *err)
{
	int done = root > 0 ? cgroup_move_pid(a->cgroup, root, err) : 0;
	a->root = root;
	arrival_warm_end(a);
	return done;
}

static int take_event(struct arrival *a, struct error *err)
{
	struct criu_event event;
	struct error gone;
	if (criu_rpc_next(a->rpc, deadline_in_ms(0), &event, &gone) < 0)
		return restore_failed(a, gone.message, err);
	if (event.type == CRIU_EVENT_NONE)
		return 0;
	if (event.type == CRIU_EVENT_DONE)
		return restore_failed(a, event.message, err);
	if (!strcmp(event.script, "setup-namespaces") && on_root(a, event.pid, err) < 0)
		return -1;
	if (!strcmp(event.script, "post-restore")) {
		if (event.pid > 0)
			a->root = event.pid;
		a->held = true;
		return 0;
	}
	return criu_rpc_answer(a->rpc, true, err);
}

static int restore(struct arrival *a, struct error *err)
{
	deadline_t deadline = deadline_in_ms(RESTORE_MS + talk_restore_ms(a->received_bytes));
	struct error gone;
	if (ask_restore(a, &gone) < 0)
		return restore_failed(a, gone.message, err);
	while (!a->held) {
		struct pollfd fds[3 + DEFINITION_NETWORKS_MAX] = {
			{.fd = criu_rpc_fd(a->rpc), .events = POLLIN},
			{.fd = link_fd(a->link), .events = POLLIN},
			{.fd = a->report.fd, .events = POLLIN}};
		size_t count = 3 + cable_poll(&a->cable, fds + 3);
		if (poll(fds, count, deadline_poll_ms(deadline)) < 0 && errno != EINTR)
			return error_sys(err, ERR_SYSTEM, errno, "poll failed");
		if (cable_collect(&a->cable, err) < 0 ||
		    (fds[0].revents && take_event(a, err) < 0) ||
		    ((fds[1].revents || fds[2].revents) && arrival_listen(a, err) < 0))
			return -1;
		// arrival_clear kills it, and what it has forked.
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "CRIU did not end its restore in time");
	}
	return 0;
}

// Limits hold only if every restored task is where they are.
static int check_placement(struct arrival *a, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count;
	if (cgroup_pids(a->cgroup, &pids, &count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (pids[i] == a->root)
			return 0;
	return error_set(err, ERR_CGROUP, "restored task %d is not in its control group",
			 (int)a->root);
}

int arrival_restore(struct arrival *a, struct error *err)
{
	a->restore_ns = clock_now_ns();
	if (a->def->image && !a->upper_mounted)
		return error_set(err, ERR_PROTOCOL, "the layer above the image did not come");
	if (verify(a, err) < 0 || arrival_audit_verdict(a, err) < 0 || unpack_trees(a, err) < 0 ||
	    arrival_demand_begin(a, err) < 0 || restore(a, err) < 0 || check_placement(a, err) < 0)
		return -1;
	return arrival_wait_upper(a, err);
}

int arrival_vote(struct arrival *a, struct error *err)
{
	struct talk_decision ready = {.move = a->offer->move,
				      .epoch = a->offer->epoch,
				      .restore_ms = clock_ms_since(a->restore_ns)};
	return talk_decision(a->link, WIRE_READY, &ready, err);
}

// Answers CRIU until the tasks run. "pre-resume" cannot stop it any more.
static int let_run(struct arrival *a, struct error *err)
{
	deadline_t deadline = deadline_in_ms(RESUME_MS);
	struct criu_event event;
	a->held = false;
	if (criu_rpc_answer(a->rpc, true, err) < 0)
		return -1;
	while (!a->resumed) {
		if (criu_rpc_next(a->rpc, deadline, &event, err) < 0)
			return -1;
		if (event.type == CRIU_EVENT_NONE)
			return error_set(err, ERR_DEADLINE,
					 "CRIU did not resume the tasks in time");
		if (event.type == CRIU_EVENT_DONE && !event.success)
			return restore_failed(a, event.message, err);
		a->resumed = event.type == CRIU_EVENT_DONE || !strcmp(event.script, "post-resume");
		if (event.type != CRIU_EVENT_NOTIFY || criu_rpc_answer(a->rpc, true, err) == 0)
			continue;
		if (!a->resumed)
			return -1;
		log_error_of(err, "criu"); // it runs, whatever becomes of CRIU
	}
	return 0;
}

int arrival_resume(struct arrival *a, struct error *err)
{
	cable_plug_in(&a->cable); // forward only: it runs, and says what is wrong with it
	if (let_run(a, err) < 0) {
		error_wrap(err, "the partition was given up by its source and did not run here");
		err->id = ERR_BROKEN;
		return -1;
	}
	if (a->frozen_ms > 0)
		a->downtime_ms = a->frozen_ms + clock_ms_since(a->commit_ns);
	if (keeper_adopt(a->keeper, a->root, err) < 0)
		log_error_of(err, "keeper");
	return EVENT_RUNS;
}

// All that the move needed here is given back before relocd may begin another one.
int arrival_tell_running(struct arrival *a, struct error *err)
{
	struct talk_decision running = {.move = a->offer->move,
					.epoch = a->offer->epoch,
					.switch_ms = clock_ms_since(a->commit_ns)};
	int told = talk_decision(a->link, WIRE_RUNNING, &running, err);
	arrival_finish(a);
	arrival_tell_arrived(a);
	return told;
}
