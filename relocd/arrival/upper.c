// SPDX-License-Identifier: Apache-2.0
// What the partition has written above its image arrives in rounds, while nothing has it mounted.
// It is on disk before this host votes: what a program has synced must survive the move.
#include "relocd/arrival/arrival.h"

#include "lib/base/cleanup.h"
#include "lib/base/paths.h"
#include "lib/storage/tool.h"
#include "lib/storage/upper.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SPACE_EVERY (16u << 20) // bytes after which the free space is looked at again

int arrival_open_upper(struct arrival *a, struct error *err)
{
	// One that an earlier stay has left is of no use to anybody.
	if (upper_discard(a->def->name, err) < 0 ||
	    upper_make(a->def->name, a->def->image_digest, err) < 0)
		return -1;
	a->upper = upper_hold(a->def->name, err);
	a->upper_digest = a->upper < 0 ? NULL : digest_begin(err);
	a->unpacker = a->upper_digest ? folder_unpacker_new(a->upper, true, err) : NULL;
	return a->unpacker ? 0 : -1;
}

// ---- on disk ------------------------------------------------------------------------------------

static void *sync_all(void *arg)
{
	struct arrival *a = arg;
	a->sync_errno = syncfs(a->upper) < 0 ? errno : 0;
	atomic_store(&a->synced, true);
	return NULL;
}

static void end_sync(struct arrival *a)
{
	if (a->syncing)
		pthread_join(a->syncer, NULL);
	a->syncing = false;
}

static int begin_sync(struct arrival *a, struct error *err)
{
	end_sync(a);
	atomic_store(&a->synced, false);
	int failed = pthread_create(&a->syncer, NULL, sync_all, a);
	a->syncing = !failed;
	return failed ? error_sys(err, ERR_SYSTEM, failed, "cannot start a thread") : 0;
}

// ---- receiving ----------------------------------------------------------------------------------

static int check_space(struct arrival *a, size_t length, struct error *err)
{
	uint64_t before = a->upper_received / SPACE_EVERY;
	a->upper_received += length;
	if (a->upper_received / SPACE_EVERY == before)
		return 0;
	return tool_check_space(paths_state(), 0, err);
}

int arrival_on_upper(struct arrival *a, struct error *err)
{
	const struct link_message *message = &a->message;
	if (!a->unpacker)
		return error_set(err, ERR_PROTOCOL, "UPPER has no place");
	a->received_bytes += message->length;
	report_progress(&a->report, a->received_bytes, a->received_bytes + a->offer->memory_bytes);
	if (check_space(a, message->length, err) < 0 ||
	    digest_update(a->upper_digest, message->payload, message->length, err) < 0 ||
	    folder_unpacker_feed(a->unpacker, message->payload, message->length, err) < 0)
		return error_wrap(err, "the layer above the image");
	// At the end of a round there is time; the last one then has little left to write.
	if (a->report.phase == PHASE_PRECOPY && folder_unpacker_idle(a->unpacker) &&
	    (!a->syncing || atomic_load(&a->synced)))
		return begin_sync(a, err);
	return 0;
}

static int check_digest(struct arrival *a, const struct link_message *message, struct digest *mine,
			struct error *err)
{
	struct digest_ctx *digest = take_ptr(a->upper_digest);
	if (!digest)
		return error_set(err, ERR_PROTOCOL, "UPPER_END has no place");
	Wpar__ObjectEnd *end = wpar__object_end__unpack(NULL, message->length, message->payload);
	int done = digest_end(digest, mine, err);
	if (done == 0 && (!end || end->sha256.len != sizeof(mine->b) ||
			  memcmp(end->sha256.data, mine->b, sizeof(mine->b)) != 0))
		done = error_set(err, ERR_DIGEST,
				 "the layer above the image did not arrive as it was sent");
	if (end)
		wpar__object_end__free_unpacked(end, NULL);
	return done;
}

int arrival_on_upper_end(struct arrival *a, struct error *err)
{
	struct digest mine;
	if (check_digest(a, &a->message, &mine, err) < 0)
		return -1;
	if (!folder_unpacker_idle(a->unpacker))
		return error_set(err, ERR_PROTOCOL, "the layer above the image ends early");
	folder_unpacker_free(take_ptr(a->unpacker));
	// Its lock goes to the keeper's mount; the descriptor is still needed to sync it.
	if (upper_release(a->upper, err) < 0 || begin_sync(a, err) < 0 ||
	    keeper_mount_root(a->keeper, err) < 0)
		return -1;
	a->upper_mounted = true;
	return manifest_add_object(&a->received, "upper", a->upper_received, &mine, err);
}

int arrival_wait_upper(struct arrival *a, struct error *err)
{
	if (!a->def->image)
		return 0;
	end_sync(a);
	if (a->sync_errno)
		return error_sys(err, ERR_STORAGE, a->sync_errno,
				 "cannot write the partition's files to disk");
	return 0;
}

void arrival_close_upper(struct arrival *a)
{
	end_sync(a);
	folder_unpacker_free(take_ptr(a->unpacker));
	digest_free(take_ptr(a->upper_digest));
	if (a->upper >= 0)
		close(take_fd(&a->upper));
}
