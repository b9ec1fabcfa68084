// SPDX-License-Identifier: Apache-2.0
#include "lib/transport/mover.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/paths.h"
#include "lib/base/spawn.h"

static void set_text(json_t *json, const char *key, const char *value)
{
	if (value)
		json_object_set_new(json, key, json_string(value));
}

static json_t *start_message(const struct mover_plan *plan)
{
	json_t *start = json_pack("{s:s, s:i, s:b, s:b}", "op", "start", "v", 2, "accept",
				  (int)plan->accepting, "join", (int)plan->join);
	set_text(start, "peer", plan->peer);
	set_text(start, "fingerprint", plan->fingerprint);
	set_text(start, "ca", plan->identity->ca);
	set_text(start, "chain", plan->identity->chain);
	set_text(start, "key", plan->identity->key);
	return start;
}

static int spawn(struct mover *m, const struct ring_memory *memory, int theirs, int uring, int sock,
		 struct error *err)
{
	const char *argv[] = {paths_program("mover"), NULL};
	const struct spawn_fd fds[] = {{theirs, RING_FD_CHANNEL},
				       {memory->to_mover, RING_FD_TO_MOVER},
				       {memory->from_mover, RING_FD_FROM_MOVER},
				       {uring, RING_FD_URING},
				       {sock, RING_FD_SOCKET}};
	struct spawn what = SPAWN_INIT;
	what.argv = argv;
	what.fds = fds;
	what.fd_count = ARRAY_SIZE(fds);
	what.oom_score = "0";
	return spawn_start(&what, &m->pid, &m->pidfd, err);
}

static int start(const struct mover_plan *plan, struct mover *m, struct ring_memory *memory,
		 struct error *err)
{
	int ends[2];
	if (ring_make(&m->ring, memory, err) < 0 || chan_pair(ends, err) < 0)
		return -1;
	m->channel = ends[0];
	_cleanup_close_ int theirs = ends[1];
	const int files[URING_FILES] = {[URING_SOCKET] = plan->sock, [URING_CHANNEL] = theirs};
	_cleanup_close_ int uring = uring_make(memory->from_mover, RING_ROW, files, err);
	_cleanup_json_ json_t *message = start_message(plan);
	if (uring < 0 || spawn(m, memory, theirs, uring, plan->sock, err) < 0)
		return -1;
	return chan_send(m->channel, message, NULL, 0, err);
}

int mover_start(const struct mover_plan *plan, struct mover *mover, struct error *err)
{
	struct ring_memory memory = {-1, -1};
	*mover = (struct mover){.channel = -1, .pidfd = -1};
	int started = start(plan, mover, &memory, err);
	ring_memory_close(&memory);
	if (started < 0 && mover->pidfd < 0)
		mover_release(mover);
	return started;
}

void mover_release(struct mover *mover)
{
	cleanup_close(&mover->channel);
	cleanup_close(&mover->pidfd);
	ring_unmap(&mover->ring);
	*mover = (struct mover){.channel = -1, .pidfd = -1};
}
