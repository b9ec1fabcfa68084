// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/revive.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"
#include "lib/base/paths.h"
#include "relocd/partitions/lifecycle.h"

#include <fcntl.h>
#include <string.h>

#define FIRST_MS  100
#define MOST_MS   60000
#define LASTED_MS 10000 // one that ran that long has started well

static const char *policy_of(const struct partition *p)
{
	return json_string_value(json_object_get(p->row.definition, "restart")) ?: "no";
}

bool revive_wanted(const struct partition *p)
{
	const struct registry_partition *r = &p->row;
	if (!strcmp(policy_of(p), "always"))
		return r->exit_code >= 0 || r->exit_signal;
	return !strcmp(policy_of(p), "on-failure") && (r->exit_code > 0 || r->exit_signal);
}

// ---- after a while ------------------------------------------------------------------------------

static void revive(struct daemon *d, const char *name)
{
	struct error err;
	if (lifecycle_start_again(d, name, &err) == 0)
		return;
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p && p->reviving && !d->stopping)
		revive_later(p, err.message);
	daemon_unlock(d);
}

static void on_due(void *arg, short revents)
{
	struct partition *p = arg;
	struct error err;
	(void)revents;
	loop_remove(p->daemon->loop, p->revive_watch);
	p->revive_watch = 0;
	if (!partition_may_autostart(p))
		return;
	p->reviving = true;
	if (daemon_thread(p->daemon, revive, p->row.name, &err) == 0)
		return;
	log_error_of(&err, p->row.name);
	revive_later(p, err.message);
}

static int64_t next_delay_ms(struct partition *p)
{
	if (p->began_ns && clock_ms_since(p->began_ns) >= LASTED_MS)
		p->streak = 0;
	p->began_ns = 0;
	unsigned doublings = p->streak++;
	int64_t delay = doublings < 16 ? (int64_t)FIRST_MS << doublings : MOST_MS;
	return delay < MOST_MS ? delay : MOST_MS;
}

void revive_later(struct partition *p, const char *why)
{
	char reason[256];
	int64_t delay_ms = next_delay_ms(p);
	revive_cancel(p);
	snprintf(reason, sizeof(reason), "%.180s%srestarts in %.1f s", why, *why ? "; " : "",
		 (double)delay_ms / 1000);
	p->revive_watch = loop_add(p->daemon->loop, -1, 0, deadline_in_ms(delay_ms), on_due, p);
	if (!p->revive_watch)
		log_error("partition %s: no memory to start it again", p->row.name);
	partition_set(p, STATE_FAILED, reason);
}

void revive_reconsider(struct partition *p)
{
	if (!strcmp(policy_of(p), "no") && revive_cancel(p))
		partition_set(p, STATE_FAILED, "its restart policy was taken away");
}

bool revive_cancel(struct partition *p)
{
	bool waiting = p->revive_watch || p->reviving;
	loop_remove(p->daemon->loop, p->revive_watch);
	p->revive_watch = 0;
	p->reviving = false;
	return waiting;
}

// ---- at relocd's start --------------------------------------------------------------------------

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static char *marker_path(char path[512])
{
	snprintf(path, 512, "%s/autostarted", paths_run());
	return path;
}

// The folder is emptied by a start of the host, and the number changes with it: either is enough.
bool revive_host_was_started(void)
{
	char path[512];
	_cleanup_free_ char *now = fdio_read_file(AT_FDCWD, BOOT_ID_FILE, 128, NULL);
	_cleanup_free_ char *then = fdio_read_file(AT_FDCWD, marker_path(path), 128, NULL);
	return !now || !then || strcmp(now, then) != 0;
}

static void remember_start(void)
{
	char path[512];
	struct error err;
	_cleanup_free_ char *now = fdio_read_file(AT_FDCWD, BOOT_ID_FILE, 128, &err);
	if (!now || fdio_replace_file(marker_path(path), now, strlen(now), 0600, &err) < 0)
		log_error_of(&err, "autostart");
}

static json_int_t priority_of(const struct partition *p)
{
	return json_integer_value(json_object_get(p->row.definition, "priority"));
}

// The one to start next: the greatest priority, then by name. `tried` is set on it.
static bool next_to_start(struct daemon *d, char name[REGISTRY_NAME_MAX])
{
	struct partition *best = NULL;
	for (struct partition *p = d->partitions; p; p = p->next) {
		if (p->autostart_tried || !partition_may_autostart(p) ||
		    !json_is_true(json_object_get(p->row.definition, "autostart")))
			continue;
		if (!best || priority_of(p) > priority_of(best))
			best = p;
	}
	if (!best)
		return false;
	best->autostart_tried = true;
	snprintf(name, REGISTRY_NAME_MAX, "%s", best->row.name);
	return true;
}

static void start_one(struct daemon *d, const char *name)
{
	struct error err;
	log_info("partition %s: autostart", name);
	if (lifecycle_start(d, name, &err) == 0)
		return;
	log_error_of(&err, name);
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p && !p->busy && !d->stopping && partition_may_autostart(p)) {
		if (!strcmp(policy_of(p), "no"))
			partition_set(p, STATE_FAILED, err.message);
		else
			revive_later(p, err.message);
	}
	daemon_unlock(d);
}

static void autostart(struct daemon *d, const char *unused)
{
	char name[REGISTRY_NAME_MAX];
	bool more = true, stopping = false;
	(void)unused;
	while (more && !stopping) {
		daemon_lock(d);
		more = next_to_start(d, name);
		stopping = d->stopping;
		daemon_unlock(d);
		if (more && !stopping)
			start_one(d, name);
	}
	if (!stopping)
		remember_start();
}

void revive_begin(struct daemon *d)
{
	struct error err;
	bool first = revive_host_was_started();
	daemon_lock(d);
	if (first && daemon_thread(d, autostart, "", &err) < 0)
		log_error_of(&err, "autostart");
	for (struct partition *p = d->partitions; p && !first; p = p->next)
		if (p->row.state == STATE_FAILED && !p->revive_watch && revive_wanted(p) &&
		    partition_may_autostart(p))
			revive_later(p, "");
	daemon_unlock(d);
}
