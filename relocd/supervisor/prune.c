// SPDX-License-Identifier: Apache-2.0
// What was written of moves that nobody will ask for any more: decision files, and their rows.
#include "relocd/supervisor/moves.h"

#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "lib/registry/decision.h"
#include "lib/registry/history.h"

#include <string.h>
#include <time.h>

#define PRUNE_MS   3600000
#define KEEP_MIN_S (30 * 24 * 3600) // a host that was away so long may still ask

// One that cannot be looked up stays.
static bool is_open(const char *id, void *arg)
{
	struct daemon *d = arg;
	struct registry_move row;
	if (move_find(d, id))
		return true; // its events can still be followed
	int found = registry_move_get(d->registry, id, &row, NULL);
	if (found <= 0)
		return found < 0;
	bool open = !strcmp(row.state, "running") || !strcmp(row.state, "in-doubt");
	registry_move_clear(&row);
	return open;
}

static void on_prune(void *arg, short revents)
{
	struct daemon *d = arg;
	(void)revents;
	loop_remove(d->loop, d->prune_watch);
	moves_prune(d);
}

static void prune_files(struct daemon *d, int64_t before)
{
	unsigned removed =
		decision_prune(paths_moves(), (uint64_t)before * 1000000000u, is_open, d);
	if (removed)
		log_info("%u decision files of moves long past are removed", removed);
}

static void prune_rows(struct daemon *d, time_t before)
{
	struct error err;
	struct tm parts;
	char oldest[CLOCK_TEXT_MAX];
	strftime(oldest, sizeof(oldest), "%FT%T.000Z", gmtime_r(&before, &parts));
	int removed = registry_history_prune(d->registry, oldest, &err);
	if (removed < 0)
		log_error_of(&err, "history");
	else if (removed)
		log_info("%d moves long past are removed from the history", removed);
}

void moves_prune(struct daemon *d)
{
	int64_t keep_s = d->config.events_keep_ms / 1000, now = (int64_t)time(NULL);
	keep_s = keep_s > KEEP_MIN_S ? keep_s : KEEP_MIN_S;
	if (now > keep_s) {
		prune_files(d, now - keep_s);
		prune_rows(d, (time_t)(now - keep_s));
	}
	d->prune_watch = loop_add(d->loop, -1, 0, deadline_in_ms(PRUNE_MS), on_prune, d);
}
