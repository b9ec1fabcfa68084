// SPDX-License-Identifier: Apache-2.0
// PREPARE: whatever takes time or can fail is done here, so that the frozen part is short and sure.
#include "relocd/departure/departure.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/spawn.h"
#include "lib/criu/blank.h"
#include "lib/net/backlog.h"
#include "lib/storage/image.h"
#include "relocd/move/scratch.h"
#include "relocd/move/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define ARRANGE_MS 60000
#define CRIU_MS    1000

// CRIU is started now and waits for its request: loading it takes longer than a freeze should.
static int start_criu(struct departure *d, struct error *err)
{
	int ours, theirs, pages;
	struct criu_argv argv;
	if (criu_rpc_socketpair(&ours, &theirs, err) < 0)
		return -1;
	_cleanup_close_ int rpc_end = theirs;
	d->rpc = criu_rpc_new(ours, err);
	if (!d->rpc || d->engine->final_open(d->memory, &pages, err) < 0)
		return -1;
	_cleanup_close_ int pages_end = pages;
	_cleanup_close_ int netns = keeper_netns(d->keeper, err);
	if (netns < 0 || (d->backlog = backlog_open(netns, err)) < 0)
		return -1;
	criu_program_argv(&d->criu, CRIU_FD_RPC, &argv);
	if ((d->blank = criu_blank_open(err)) < 0)
		return -1;
	_cleanup_free_ char **environment = criu_blank_environment(CRIU_FD_BLANK, err);
	if (!environment)
		return -1;
	struct spawn_fd fds[] = {
		{rpc_end, CRIU_FD_RPC}, {pages_end, CRIU_FD_PAGES}, {d->blank, CRIU_FD_BLANK}};
	struct spawn spawn = SPAWN_INIT;
	spawn.argv = argv.argv;
	spawn.envp = (const char *const *)environment;
	spawn.fds = fds;
	spawn.fd_count = ARRAY_SIZE(fds);
	spawn.netns = netns;
	spawn.new_session = true;
	return spawn_start(&spawn, &d->criu_pid, NULL, err);
}

// What would otherwise be asked, loaded and computed for the first time while the partition is
// frozen.
static int warm_up(struct departure *d, struct error *err)
{
	struct digest unused;
	if (digest_of("", 0, &unused, err) < 0 ||
	    keeper_externals(d->keeper, &d->externals, err) < 0)
		return -1;
	return keeper_trees(d->keeper, &d->trees, err);
}

static void connect_further(struct departure *d, const uint8_t *token)
{
	const struct channels_peer peer = {
		.address = d->peer_address, .name = d->peer, .tls = &d->tls, .token = token};
	channels_open(&d->channels, d->link, d->move, d->epoch, share_streams(d->streams), &peer);
	d->streams = (unsigned)d->channels.count;
}

static int wait_for_peer(struct departure *d, struct error *err)
{
	struct link_message message;
	// Unpacking an image takes as long as it takes; a dead peer is noticed all the same.
	int64_t ms = d->def->image ? IMAGE_IMPORT_MS : ARRANGE_MS;
	if (departure_wait(d, WIRE_ARRANGED, deadline_in_ms(ms), &message, err) < 0)
		return -1;
	uint8_t token[WIRE_TOKEN];
	bool further = false;
	Wpar__Decision *arranged = talk_read_decision(&message, d->move, d->epoch, err);
	link_done(d->link, &message);
	if (!arranged)
		return -1;
	if (arranged->has_token && arranged->token.len == sizeof(token)) {
		memcpy(token, arranged->token.data, sizeof(token));
		further = true;
	}
	wpar__decision__free_unpacked(arranged, NULL);
	connect_further(d, further ? token : NULL);
	return 0;
}

int departure_prepare(struct departure *d, struct error *err)
{
	d->images = scratch_open(err);
	if (d->images < 0 || cable_open(&d->cable, d->def, &d->status, err) < 0 ||
	    departure_open_memory(d, err) < 0 || start_criu(d, err) < 0 || warm_up(d, err) < 0)
		return -1;
	if (departure_share(d, err) < 0 || (d->def->image && departure_send_image(d, err) < 0))
		return -1;
	return wait_for_peer(d, err);
}

static void stop_criu(struct departure *d)
{
	criu_rpc_free(d->rpc);
	d->rpc = NULL;
	if (d->criu_pid <= 0)
		return;
	// Without a request it ends with its socket; one that does not is beyond asking.
	if (!spawn_wait_until(d->criu_pid, deadline_in_ms(CRIU_MS)))
		departure_kill_criu(d);
	d->criu_pid = 0;
}

void departure_unprepare(struct departure *d)
{
	stop_criu(d);
	departure_unshare(d);
	cable_close(&d->cable);
	departure_speed_up(d);
	departure_sink_forget(d);
	channels_close(&d->channels);
	if (d->memory)
		d->engine->end(d->memory);
	d->memory = NULL;
	squeeze_free(d->squeeze);
	d->squeeze = NULL;
	if (d->blank >= 0)
		close(take_fd(&d->blank));
	keeper_externals_free(&d->externals);
	keeper_trees_close(&d->trees);
	if (d->backlog >= 0)
		close(take_fd(&d->backlog));
	if (d->images >= 0)
		close(take_fd(&d->images));
	// A move that ended before its last object needs no record. RELEASED stays until relocd has
	// noted the end, which it may have missed: it deletes the file then.
	if (d->decision) {
		enum decision_type last = decision_last(d->decision);
		decision_close(d->decision, last == DECISION_OPENED);
	}
	d->decision = NULL;
}
