// SPDX-License-Identifier: Apache-2.0
// FINAL: CRIU dumps the frozen tree; pages stream while it does, the rest follows. CRIU is then
// held at post-dump, the one place where the source can still be taken back.
#include "relocd/departure/departure.h"

#include "images/folder.h"
#include "lib/base/buf.h"
#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/criu/failure.h"
#include "lib/partition/strv.h"
#include "lib/partition/undumpable.h"
#include "relocd/move/scratch.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define DUMP_MS      120000
#define PAGE_BUDGET  (4u << 20)
#define TREE_MAX     (1u << 30)
#define MANIFEST_MAX (16u << 20)
#define ROLLBACK_MS  30000
#define GHOST_MAX    (64u << 20) // of a file that is open and has no name; it goes with the images
#define LOG_NAME     "dump.log"

static int dump_failed(struct departure *d, const char *message, struct error *err)
{
	char path[512];
	scratch_keep_log(d->images, LOG_NAME, d->move, path);
	// We can name the process, if it is for one of the known reasons. That we could not look is
	// not why CRIU failed.
	if (undumpable_check(d->cgroup, d->status.pid, d->end_exec, err) == 0 ||
	    err->id == ERR_SYSTEM || err->id == ERR_CGROUP)
		criu_failure_error(err, ERR_CRIU_DUMP, "CRIU could not dump the partition",
				   d->images, LOG_NAME, message);
	if (path[0])
		error_hint(err, "the partition runs on; CRIU's log is %s", path);
	return -1;
}

static int ask_dump(struct departure *d, struct error *err)
{
	size_t count = 0;
	while (d->externals.dump[count])
		count++;
	// The console's pipes lead out of the tree: the other end is the keeper's.
	char pipes[2][48];
	_cleanup_free_ const char **external = calloc(count + 2, sizeof(*external));
	if (!external)
		return error_set(err, ERR_NOMEM, "no memory for a dump");
	memcpy(external, d->externals.dump, count * sizeof(*external));
	for (int i = 0; i < 2; i++) {
		snprintf(pipes[i], sizeof(pipes[i]), "pipe:[%llu]",
			 (unsigned long long)d->status.stdio[i]);
		external[count++] = pipes[i];
	}
	struct criu_options o = CRIU_OPTIONS_INIT;
	o.images_fd = d->images;
	o.pid = d->status.pid;
	o.page_server_fd = CRIU_FD_PAGES;
	o.tcp_established = o.skip_network_lock = o.ignore_cgroups = o.link_remap =
		o.notify_scripts = o.file_locks = true;
	o.freeze_cgroup = cgroup_freezer_path(d->cgroup);
	o.log_file = LOG_NAME;
	o.ghost_limit = GHOST_MAX;
	o.irmap = (const char *const *)d->folders;
	o.nr_irmap = d->folders ? strv_length(d->folders) : 0;
	o.external = external;
	o.nr_external = count;
	struct error gone;
	d->asked = true;
	return criu_rpc_dump(d->rpc, &o, &gone) < 0 ? dump_failed(d, gone.message, err) : 0;
}

// Against what the rounds have predicted: what was left indeed, and when it was done.
static int copy_frozen(struct departure *d, struct error *err)
{
	struct memory_round m = {0};
	if (d->engine->frozen(d->memory, d->blank, &m, err) < 0)
		return -1;
	double after_ms = clock_ms_since(d->frozen_ns);
	log_info("frozen: %llu KiB in %.1f ms (%.1f listing and comparing), %.1f ms after the "
		 "freeze, %llu KiB wait for the link",
		 (unsigned long long)(m.bytes >> 10), m.ms, m.scan_ms, after_ms,
		 (unsigned long long)(d->put_by_bytes >> 10));
	d->final = json_pack("{s:I, s:f, s:f, s:f}", "bytes", (json_int_t)m.bytes, "ms", m.ms,
			     "scan_ms", m.scan_ms, "copied_ms", after_ms);
	return 0;
}

static int take_event(struct departure *d, struct error *err)
{
	struct criu_event event;
	struct error gone;
	if (criu_rpc_next(d->rpc, deadline_in_ms(0), &event, &gone) < 0)
		return dump_failed(d, gone.message, err);
	if (event.type == CRIU_EVENT_NONE)
		return 0;
	if (event.type == CRIU_EVENT_DONE) {
		d->ended = true; // it has undone what it did
		return dump_failed(d, event.message, err);
	}
	if (!strcmp(event.script, "post-dump")) {
		d->dumped = true;
		return 0;
	}
	// Frozen, and nothing is CRIU's yet: it waits until the last pages are read.
	if (!strcmp(event.script, "query-ext-files") && d->engine->frozen &&
	    copy_frozen(d, err) < 0)
		return -1;
	return criu_rpc_answer(d->rpc, true, err);
}

// Serves CRIU until it is held at post-dump and has closed its page stream.
static int dump(struct departure *d, struct error *err)
{
	deadline_t deadline = deadline_in_ms(DUMP_MS);
	bool all_pages = false;
	while (!d->dumped || !all_pages) {
		struct pollfd fds[2 + CHANNELS_MAX + DEFINITION_NETWORKS_MAX] = {
			{.fd = d->dumped ? -1 : criu_rpc_fd(d->rpc), .events = POLLIN},
			{.fd = all_pages ? -1 : d->engine->final_fd(d->memory), .events = POLLIN}};
		size_t count = 2 + (d->put_by ? channels_poll(&d->channels, fds + 2) : 0);
		count += cable_poll(&d->cable, fds + count);
		if (poll(fds, count, deadline_poll_ms(report_deadline(&d->report, deadline))) < 0 &&
		    errno != EINTR)
			return error_sys(err, ERR_SYSTEM, errno, "poll failed");
		if (fds[0].revents && take_event(d, err) < 0)
			return -1;
		if (fds[1].revents &&
		    d->engine->final_step(d->memory, PAGE_BUDGET, &all_pages, err) < 0)
			return -1;
		report_listen(&d->report);
		if (cable_collect(&d->cable, err) < 0 ||
		    departure_sink_flush(d, deadline_in_ms(0), err) < 0)
			return -1;
		if (report_may_go_on(&d->report, err) < 0)
			return -1;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "CRIU did not end its dump in time");
	}
	double after_ms = clock_ms_since(d->frozen_ns);
	log_info("dumped %.1f ms after the freeze, %llu KiB wait for the link", after_ms,
		 (unsigned long long)(d->put_by_bytes >> 10));
	json_object_set_new(d->final, "dumped_ms", json_real(after_ms));
	return departure_sink_drain(d, err) < 0 ? -1 : channels_mark(&d->channels, err);
}

static int send_object(struct departure *d, const char *name, const void *bytes, uint64_t length,
		       struct error *err)
{
	struct digest digest;
	if (talk_send_object(d->link, name, bytes, length, &digest, err) < 0)
		return -1;
	d->sent_bytes += length;
	return manifest_add_object(&d->manifest, name, length, &digest, err);
}

static int send_trees(struct departure *d, struct error *err)
{
	for (size_t i = 0; i < d->trees.count; i++) {
		_cleanup_buf_ struct buf packed = BUF_INIT(TREE_MAX);
		char name[64];
		snprintf(name, sizeof(name), "tree:%s", d->trees.names[i]);
		if (folder_pack(d->trees.fds[i], &packed, err) < 0 ||
		    send_object(d, name, packed.data, packed.length, err) < 0)
			return -1;
	}
	return 0;
}

static int send_file(struct departure *d, const char *name, struct error *err)
{
	_cleanup_close_ int fd = openat(d->images, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot open image %s", name);
	if (st.st_size == 0)
		return send_object(d, name, "", 0, err);
	void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return error_sys(err, ERR_SYSTEM, errno, "cannot map image %s", name);
	int done = send_object(d, name, bytes, (uint64_t)st.st_size, err);
	munmap(bytes, (size_t)st.st_size);
	return done;
}

static bool is_image(const char *name)
{
	size_t length = strlen(name);
	return length > 4 && !strcmp(name + length - 4, ".img");
}

static int send_images(struct departure *d, struct error *err)
{
	_cleanup_closedir_ DIR *dir = fdio_opendir(d->images, err);
	struct dirent *entry;
	while (dir && (entry = fdio_readdir(dir)))
		if (is_image(entry->d_name) && send_file(d, entry->d_name, err) < 0)
			return -1;
	return dir ? 0 : -1;
}

// Written back and read: nothing may count the peer's vote before this has held.
static int fence(struct departure *d, struct error *err)
{
	if (cgroup_freeze(d->cgroup, deadline_in_ms(1000), err) < 0)
		return error_wrap(err, "the fence around the original does not hold");
	return 0;
}

static int send_manifest(struct departure *d, struct error *err)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT(MANIFEST_MAX);
	struct digest digest;
	snprintf(d->manifest.move, sizeof(d->manifest.move), "%s", d->move);
	d->manifest.epoch = d->epoch;
	if (d->engine->manifest(d->memory, &d->manifest, err) < 0 ||
	    manifest_write(&d->manifest, &bytes, err) < 0 ||
	    talk_send_object(d->link, "manifest", bytes.data, bytes.length, &digest, err) < 0)
		return -1;
	return talk_decision(d->link, WIRE_MANIFEST,
			     &(struct talk_decision){.move = d->move, .epoch = d->epoch}, err);
}

// What came to this host for the partition goes along, to be injected there first.
static int send_held(struct departure *d, struct error *err)
{
	if (cable_collect(&d->cable, err) < 0)
		return -1;
	for (size_t i = 0; i < d->cable.count; i++) {
		for (size_t cursor = 0;;) {
			uint8_t *slot = talk_slot(d->link, deadline_in_ms(TALK_SLOT_MS), err);
			if (!slot)
				return -1;
			slot[0] = (uint8_t)i; // of which network
			size_t length = hold_serialise(d->cable.holds[i], &cursor, slot + 1,
						       LINK_DATA_MAX - 1);
			if (!length)
				break; // an unsent slot is handed out again
			if (link_send_slot(d->link, WIRE_HELD, slot, length + 1, err) < 0)
				return -1;
		}
	}
	return 0;
}

int departure_final(struct departure *d, struct error *err)
{
	// The console is drained while CRIU starts: it waits for our answer before it looks at
	// pipes.
	if (ask_dump(d, err) < 0 || keeper_drain(d->keeper, err) < 0 || dump(d, err) < 0 ||
	    departure_share_dumped(d, err) < 0 || send_trees(d, err) < 0 ||
	    (d->def->image && departure_finish_upper(d, err) < 0) || send_images(d, err) < 0)
		return -1;
	return fence(d, err);
}

int departure_send_list(struct departure *d, struct error *err)
{
	return send_held(d, err) < 0 ? -1 : send_manifest(d, err);
}

// Closes the page stream first: a CRIU that still writes pages would wait for a reader and not hear
// us. It then cures the tasks by itself; it must not be killed before, or their TCP sockets stay in
// repair mode.
static bool roll_back(struct departure *d, struct error *err)
{
	struct criu_event event = {0};
	if (criu_rpc_waits(d->rpc) && criu_rpc_answer(d->rpc, false, err) < 0)
		return false;
	deadline_t deadline = deadline_in_ms(ROLLBACK_MS);
	while (criu_rpc_next(d->rpc, deadline, &event, err) == 0) {
		if (event.type == CRIU_EVENT_DONE)
			return true;
		if (event.type != CRIU_EVENT_NOTIFY)
			error_set(err, ERR_DEADLINE, "CRIU did not roll its dump back in time");
		if (event.type != CRIU_EVENT_NOTIFY ||
		    criu_rpc_answer(d->rpc, !strcmp(event.script, "network-unlock"), err) < 0)
			break;
	}
	return false;
}

int departure_undump(struct departure *d, struct error *err)
{
	struct error gone;
	if (!d->rpc)
		return 0;
	if (d->memory)
		d->engine->final_close(d->memory);
	bool clean = !d->asked || d->ended || roll_back(d, &gone);
	d->dumped = d->asked = false;
	if (clean)
		return 0;
	log_error_of(&gone, "rollback of the dump");
	return departure_cure(d, err);
}
