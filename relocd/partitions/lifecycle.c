// SPDX-License-Identifier: Apache-2.0
#include "relocd/partitions/lifecycle.h"

#include "lib/base/chan.h"
#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/net/port.h"
#include "lib/partition/cgroup.h"
#include "lib/partition/keeper_client.h"
#include "lib/partition/signame.h"
#include "lib/storage/store.h"
#include "lib/storage/upper.h"
#include "relocd/daemon/reaper.h"
#include "relocd/move/facts.h"
#include "relocd/partitions/revive.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define KILL_MS      10000 // from SIGKILL to the last process gone
#define CLEAR_MS     20000
#define REAP_LOOK_MS 5

// ---- the end of a partition ---------------------------------------------------------------------

static void forget_watch(struct partition *p)
{
	loop_remove(p->daemon->loop, p->watch_id);
	if (p->watch >= 0)
		close(p->watch);
	p->watch = -1;
	p->watch_id = 0;
}

// Asks the keeper to end. One that has not reaped its init yet says that it runs: a group is empty,
// and a killer of it content, a moment before.
static void quit(int conn, const char *name, deadline_t deadline)
{
	struct error refused;
	while (keeper_quit(conn, &refused) < 0 && refused.id == ERR_WRONG_STATE) {
		if (deadline_passed(deadline)) {
			log_error_of(&refused, name);
			return;
		}
		clock_sleep_ms(REAP_LOOK_MS);
	}
}

// Ends the keeper of `name`, in whatever state, and removes the groups.
static int clear(const char *name, struct error *err)
{
	deadline_t deadline = deadline_in_ms(CLEAR_MS);
	_cleanup_close_ int conn = keeper_connect(name, NULL);
	if (conn >= 0) {
		// A keeper that was told to release ends by itself: it may be gone before this.
		quit(conn, name, deadline);
		if (keeper_wait_gone(conn, deadline, err) < 0)
			return -1;
	}
	return cgroup_remove(name, deadline, err);
}

// What it wrote above its image has gone along with it, or has not come to be used: it would be of
// no use to a later stay.
static void drop_upper(struct daemon *d, const char *name)
{
	struct error err;
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	bool elsewhere = p && (p->row.state == STATE_DEPARTED || p->row.state == STATE_ARRIVING);
	daemon_unlock(d);
	if (elsewhere && upper_discard(name, &err) < 0)
		log_error_of(&err, name);
}

static void clear_thread(struct daemon *d, const char *name)
{
	struct error err = {0};
	int failed = clear(name, &err);
	if (failed)
		log_error_of(&err, name);
	else
		drop_upper(d, name);
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p)
		p->clearing = false;
	daemon_changed(d);
	daemon_unlock(d);
}

void lifecycle_clear(struct partition *p)
{
	struct error err;
	if (p->clearing)
		return;
	forget_watch(p);
	p->pid = 0;
	p->clearing = true;
	if (daemon_thread(p->daemon, clear_thread, p->row.name, &err) == 0)
		return;
	log_error_of(&err, p->row.name);
	p->clearing = false;
}

void lifecycle_note_exit(struct partition *p)
{
	const struct registry_partition *r = &p->row;
	bool asked = p->stopping;
	char reason[64] = "";
	if (r->exit_signal)
		snprintf(reason, sizeof(reason), "ended by signal %d", r->exit_signal);
	else if (r->exit_code > 0)
		snprintf(reason, sizeof(reason), "ended with status %d", r->exit_code);
	p->exited = p->filling = false;
	p->stopping = false;
	p->row.started[0] = 0;
	lifecycle_clear(p);
	if (p->lost[0]) {
		partition_set(p, STATE_BROKEN, p->lost);
		p->lost[0] = 0;
	} else if (!asked && revive_wanted(p))
		revive_later(p, reason[0] ? reason : "ended with status 0");
	else
		partition_set(p, reason[0] && !asked ? STATE_FAILED : STATE_DEFINED,
			      asked ? NULL : reason);
}

static void note_fill(struct partition *p, uint64_t total, uint64_t left)
{
	p->filling = total > 0;
	p->filled = total > left ? (unsigned)((total - left) * 100 / total) : 0;
}

static void on_fill_event(struct partition *p, const json_t *event)
{
	const json_t *fill = json_object_get(event, "fill");
	note_fill(p, (uint64_t)json_integer_value(json_object_get(fill, "total")),
		  (uint64_t)json_integer_value(json_object_get(fill, "left")));
}

static int code_of(const json_t *event, const char *key, int none)
{
	const json_t *value = json_object_get(event, key);
	return json_is_integer(value) ? (int)json_integer_value(value) : none;
}

static void on_exit_event(struct partition *p, const json_t *event)
{
	const char *lost = json_string_value(json_object_get(event, "lost"));
	snprintf(p->lost, sizeof(p->lost), "%s", lost ? lost : "");
	p->row.exit_code = code_of(event, "code", -1);
	p->row.exit_signal = code_of(event, "signal", 0);
	if (p->row.state != STATE_ACTIVE) {
		p->exited = true; // a move decides what it means
		return;
	}
	lifecycle_note_exit(p);
}

// The connection to the keeper has ended without an exit event.
static void on_keeper_gone(struct partition *p)
{
	forget_watch(p);
	if (p->row.state != STATE_ACTIVE)
		return;
	log_error("partition %s: its keeper has died", p->row.name);
	p->row.exit_code = -1;
	p->row.exit_signal = 0;
	p->row.started[0] = 0;
	p->pid = 0;
	// Its processes may run on, without console and reaper: stop ends them, nothing else does.
	partition_set(p, STATE_FAILED, "its keeper has died");
}

static void on_watch(void *arg, short revents)
{
	struct partition *p = arg;
	struct error err = {0};
	_cleanup_json_ json_t *event = NULL;
	(void)revents;
	if (chan_recv(p->watch, deadline_in_ms(0), &event, NULL, NULL, &err) < 0) {
		if (err.id == ERR_DEADLINE)
			return;
		log_error_of(&err, p->row.name);
	}
	const char *what = json_string_value(json_object_get(event, "event"));
	if (!event)
		on_keeper_gone(p);
	else if (what && !strcmp(what, "exit"))
		on_exit_event(p, event);
	else if (what && !strcmp(what, "fill"))
		on_fill_event(p, event);
}

// ---- start --------------------------------------------------------------------------------------

int lifecycle_check_host(const struct partition_def *def, struct error *err)
{
	struct facts_folder folder;
	_cleanup_close_ int image = def->image ? store_open(def->image_digest, err) : -1;
	if (def->image ? image < 0 : facts_folder(def->rootfs, &folder, err) < 0)
		return -1;
	for (size_t i = 0; i < def->network_count; i++)
		if (port_check_bridge(def->networks[i].bridge, NETNS_CURRENT, err) < 0)
			return -1;
	return 0;
}

// Puts the watch in the loop and the pid in the table.
static int attach(struct daemon *d, const char *name, const struct keeper_status *status, int watch,
		  struct error *err)
{
	struct partition *p = partition_find(d, name);
	if (!p)
		return error_set(err, ERR_NAME_UNKNOWN, "no partition %s", name);
	forget_watch(p);
	p->watch_id = loop_add(d->loop, watch, POLLIN, DEADLINE_NEVER, on_watch, p);
	if (!p->watch_id)
		return error_set(err, ERR_NOMEM, "no memory for a watch");
	p->watch = watch;
	p->pid = status->pid;
	note_fill(p, status->fill_total, status->fill_left);
	return 0;
}

int lifecycle_attach(struct daemon *d, const char *name, struct error *err)
{
	struct keeper_status status;
	_cleanup_close_ int conn = keeper_connect(name, err);
	if (conn < 0 || keeper_status(conn, &status, err) < 0)
		return -1;
	_cleanup_close_ int pidfd = status.pidfd;
	(void)pidfd;
	if (keeper_watch(conn, err) < 0)
		return -1;
	daemon_lock(d);
	int failed = attach(d, name, &status, conn, err);
	daemon_unlock(d);
	if (!failed)
		take_fd(&conn);
	return failed;
}

static int run(const char *name, struct error *err)
{
	_cleanup_close_ int conn = keeper_connect(name, err);
	return conn < 0 ? -1 : keeper_run(conn, err);
}

static int kill_all(const char *name, struct error *err)
{
	_cleanup_cgroup_ struct cgroup *cg = cgroup_open(name, err);
	if (!cg) // it may have ended just now
		return cgroup_exists(name) ? -1 : 0;
	return cgroup_kill(cg, deadline_in_ms(KILL_MS), err);
}

int lifecycle_sweep(const char *name, bool kill, struct error *err)
{
	if (!cgroup_exists(name))
		return 0;
	if (kill && kill_all(name, err) < 0)
		return -1;
	if (cgroup_remove(name, deadline_in_ms(kill ? KILL_MS : 0), err) == 0)
		return 0;
	return error_hint(err, "processes are left of its last run: `wparctl stop %s` ends them",
			  name);
}

// Everything up to the running init. What a failure leaves is removed.
static int launch(struct daemon *d, const struct partition_def *def, struct error *err)
{
	pid_t keeper;
	if (lifecycle_check_host(def, err) < 0 || lifecycle_sweep(def->name, false, err) < 0)
		return -1;
	if (keeper_start(def, false, &keeper, err) < 0)
		return -1;
	daemon_lock(d);
	reaper_adopt(d, keeper);
	daemon_unlock(d);
	if (run(def->name, err) == 0)
		return 0;
	struct error second;
	if (clear(def->name, &second) < 0)
		log_error_of(&second, def->name);
	return -1;
}

// The definition with the features that the processor has now: they go with it from here on.
static struct partition_def *definition_for_start(struct partition *p, struct error *err)
{
	json_t *features = facts_cpu_features(err);
	if (!features)
		return NULL;
	partition_adopt_pending(p);
	json_object_set_new(p->row.definition, "cpu_features", features);
	return definition_from_json(p->row.definition, err);
}

static void mark_started(struct partition *p)
{
	revive_cancel(p);
	p->began_ns = clock_now_ns();
	clock_rfc3339(p->row.started);
	p->row.exit_code = -1;
	p->row.exit_signal = 0;
	p->stopping = p->exited = false;
	p->busy = NULL;
	partition_set(p, STATE_ACTIVE, NULL);
}

// 1: is to be started, and marked busy; 0: runs already, or (`again`) nobody wants it any more.
static int begin_start(struct daemon *d, const char *name, bool again, struct partition_def **def,
		       struct error *err)
{
	if (partition_wait_idle(d, name, deadline_in_ms(CLEAR_MS), err) < 0)
		return -1;
	struct partition *p = partition_get_for(d, name, ACT_START, err);
	if (!p)
		return -1;
	if (p->row.state == STATE_ACTIVE || (again && !p->reviving))
		return 0;
	*def = definition_for_start(p, err);
	if (!*def)
		return -1;
	if (!again) {
		revive_cancel(p);
		p->streak = p->row.restarts = 0;
	}
	p->busy = "started";
	return 1;
}

static int watch_started(struct daemon *d, const char *name, struct error *err)
{
	if (lifecycle_attach(d, name, err) == 0)
		return 0;
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (p && p->watch < 0)
		on_keeper_gone(p);
	daemon_unlock(d);
	return -1;
}

static int start(struct daemon *d, const char *name, bool again, struct error *err)
{
	_cleanup_definition_ struct partition_def *def = NULL;
	daemon_lock(d);
	int needed = begin_start(d, name, again, &def, err);
	daemon_unlock(d);
	if (needed <= 0)
		return needed;
	int failed = launch(d, def, err);
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	p->row.restarts += again && !failed;
	if (failed)
		p->busy = NULL;
	else
		mark_started(p); // before the watch, which may tell of its end at once
	daemon_changed(d);
	daemon_unlock(d);
	if (!failed)
		failed = watch_started(d, name, err);
	if (failed)
		error_at(err, d->config.host, name, NULL);
	return failed;
}

int lifecycle_start(struct daemon *d, const char *name, struct error *err)
{
	return start(d, name, false, err);
}

int lifecycle_start_again(struct daemon *d, const char *name, struct error *err)
{
	return start(d, name, true, err);
}

bool partition_may_autostart(const struct partition *p)
{
	return (p->row.state == STATE_DEFINED || p->row.state == STATE_FAILED) && !p->row.move[0] &&
	       !p->unconfirmed && !p->daemon->quarantine[0];
}

// ---- stop ---------------------------------------------------------------------------------------

static void send_signal(const char *name, int signal)
{
	struct error err;
	_cleanup_close_ int conn = keeper_connect(name, &err);
	if (conn < 0 || keeper_signal(conn, signal, &err) < 0)
		log_error_of(&err, name);
}

static int stop_signal(const struct partition *p)
{
	const char *name = json_string_value(json_object_get(p->row.definition, "stop_signal"));
	int number = name ? signame_number(name) : -1;
	return number > 0 ? number : SIGTERM;
}

// Waits until the partition has ended, with the lock held.
static bool ended_by(struct daemon *d, struct partition *p, deadline_t deadline)
{
	while (p->row.state == STATE_ACTIVE)
		if (!daemon_wait(d, deadline))
			return p->row.state != STATE_ACTIVE;
	return true;
}

static int end_it(struct daemon *d, struct partition *p, int64_t grace_ms, bool kill,
		  struct error *err)
{
	const char *name = p->row.name; // stays, since p is busy
	if (!kill) {
		send_signal(name, stop_signal(p));
		daemon_lock(d);
		bool ended = ended_by(d, p, deadline_in_ms(grace_ms));
		bool leaving = d->stopping;
		daemon_unlock(d);
		if (ended)
			return 0;
		if (leaving)
			return error_set(err, ERR_UNREACHABLE, "relocd is stopping");
		log_info("partition %s: still runs after %lld ms: killed", name,
			 (long long)grace_ms);
	}
	if (kill_all(name, err) < 0)
		return -1;
	daemon_lock(d);
	bool ended = ended_by(d, p, deadline_in_ms(KILL_MS));
	daemon_unlock(d);
	return ended ? 0 : error_set(err, ERR_DEADLINE, "%s does not end after SIGKILL", name);
}

static struct partition *begin_stop(struct daemon *d, const char *name, int64_t *grace_ms,
				    bool *runs, struct error *err)
{
	struct partition *found = partition_find(d, name);
	bool waited = found && revive_cancel(found);
	if (partition_wait_idle(d, name, deadline_in_ms(CLEAR_MS), err) < 0)
		return NULL;
	struct partition *p = partition_get_for(d, name, ACT_STOP, err);
	if (!p)
		return NULL;
	if (*grace_ms < 0)
		*grace_ms = json_integer_value(json_object_get(p->row.definition, "grace_ms"));
	*runs = p->row.state == STATE_ACTIVE;
	if (waited && !*runs)
		partition_set(p, STATE_DEFINED, NULL);
	p->busy = "stopped";
	p->stopping = *runs;
	return p;
}

int lifecycle_stop(struct daemon *d, const char *name, int64_t grace_ms, bool kill,
		   struct error *err)
{
	bool runs;
	daemon_lock(d);
	struct partition *p = begin_stop(d, name, &grace_ms, &runs, err);
	daemon_unlock(d);
	if (!p)
		return -1;
	int failed = runs ? end_it(d, p, grace_ms, kill, err) : lifecycle_sweep(name, true, err);
	daemon_lock(d);
	p->busy = NULL;
	p->stopping = false;
	daemon_changed(d);
	if (!failed)
		failed = partition_wait_idle(d, name, deadline_in_ms(CLEAR_MS), err);
	daemon_unlock(d);
	if (failed)
		error_at(err, d->config.host, name, NULL);
	return failed;
}

int lifecycle_restart(struct daemon *d, const char *name, int64_t grace_ms, bool kill,
		      struct error *err)
{
	daemon_lock(d);
	int failed = partition_wait_idle(d, name, deadline_in_ms(CLEAR_MS), err) < 0 ||
		     !partition_get_for(d, name, ACT_RESTART, err);
	daemon_unlock(d);
	if (failed || lifecycle_stop(d, name, grace_ms, kill, err) < 0)
		return -1;
	return lifecycle_start(d, name, err);
}

// ---- at relocd's start --------------------------------------------------------------------------

// No keeper: it ended while relocd was not there, or the host was restarted.
static void note_absent(struct partition *p)
{
	_cleanup_json_ json_t *last = keeper_last_exit(p->row.name);
	const char *time = json_string_value(json_object_get(last, "time"));
	p->pid = 0;
	if (time && strcmp(time, p->row.started) >= 0) {
		on_exit_event(p, last);
		return;
	}
	p->row.started[0] = 0;
	lifecycle_clear(p);
	partition_set(p, STATE_DEFINED, "was not running when relocd started");
}

static void reconnect(struct daemon *d, const char *name)
{
	struct error err;
	int attached = lifecycle_attach(d, name, &err);
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (attached == 0)
		log_info("partition %s: its keeper lives (pid %d)", name, (int)p->pid);
	else if (err.id != ERR_UNREACHABLE)
		log_error_of(&err, name);
	if (attached < 0 && p->row.state == STATE_ACTIVE)
		note_absent(p);
	daemon_unlock(d);
}

// relocd ended between the start of a keeper and its record: what runs is taken on.
static void look_for_stray(struct daemon *d, const char *name)
{
	struct keeper_status status;
	_cleanup_close_ int conn = keeper_connect(name, NULL);
	if (conn < 0 || keeper_status(conn, &status, NULL) < 0)
		return;
	_cleanup_close_ int pidfd = status.pidfd;
	(void)pidfd;
	daemon_lock(d);
	struct partition *p = partition_find(d, name);
	if (status.state == KEEPER_RUNNING) {
		log_warn("partition %s: found running", name);
		mark_started(p);
	} else {
		lifecycle_clear(p);
	}
	daemon_unlock(d);
	if (status.state == KEEPER_RUNNING)
		reconnect(d, name);
}

void lifecycle_reconnect(struct daemon *d)
{
	for (struct partition *p = d->partitions; p; p = p->next) {
		enum partition_state state = p->row.state;
		if (state == STATE_ACTIVE || state == STATE_MOVING || state == STATE_IN_DOUBT)
			reconnect(d, p->row.name);
		else if (state == STATE_DEFINED || state == STATE_FAILED)
			look_for_stray(d, p->row.name);
	}
}
