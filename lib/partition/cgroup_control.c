// SPDX-License-Identifier: Apache-2.0
// Limits, freezing and killing.
#include "lib/partition/cgroup.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/partition/cgroup_group.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CPU_PERIOD_US 100000

// ---- limits ------------------------------------------------------------------------------------

// The folder whose group has this control file, or -1.
static int folder_with(struct cgroup *cg, const char *file)
{
	for (size_t i = 0; i < cg->count; i++)
		if (faccessat(cg->groups[i].outer, file, F_OK, 0) == 0)
			return cg->groups[i].outer;
	return -1;
}

// Writes text into the first of the two files that some hierarchy has: v2's name, v1's name.
static int set_limit(struct cgroup *cg, const char *what, const char *v2_file, const char *v2_text,
		     const char *v1_file, const char *v1_text, bool limited, struct error *err)
{
	int folder = folder_with(cg, v2_file);
	const char *file = v2_file, *text = v2_text;
	if (folder < 0) {
		folder = folder_with(cg, v1_file);
		file = v1_file;
		text = v1_text;
	}
	if (folder < 0 && !limited)
		return 0;
	if (folder < 0)
		return error_set(err, ERR_CGROUP,
				 "this host has no %s controller, so there can be no %s limit",
				 what, what);
	if (fdio_write_control(folder, file, text, err) < 0) {
		if (err)
			err->id = ERR_CGROUP;
		return error_wrap(err, "cannot limit %s", what);
	}
	return 0;
}

static int limit_memory(struct cgroup *cg, uint64_t bytes, struct error *err)
{
	char text[32];
	snprintf(text, sizeof(text), "%" PRIu64, bytes);
	return set_limit(cg, "memory", "memory.max", bytes ? text : "max", "memory.limit_in_bytes",
			 bytes ? text : "-1", bytes > 0, err);
}

int cgroup_limit_cpu(struct cgroup *cg, uint64_t millis, struct error *err)
{
	char v2[48], v1[32];
	uint64_t quota = millis * (CPU_PERIOD_US / 1000);
	snprintf(v2, sizeof(v2), "%" PRIu64 " %d", quota, CPU_PERIOD_US);
	snprintf(v1, sizeof(v1), "%" PRIu64, quota);
	int folder = folder_with(cg, "cpu.cfs_period_us");
	char period[16];
	snprintf(period, sizeof(period), "%d", CPU_PERIOD_US);
	if (folder >= 0 && millis &&
	    fdio_write_control(folder, "cpu.cfs_period_us", period, err) < 0)
		return -1;
	return set_limit(cg, "cpu", "cpu.max", millis ? v2 : "max", "cpu.cfs_quota_us",
			 millis ? v1 : "-1", millis > 0, err);
}

static int limit_pids(struct cgroup *cg, uint64_t pids, struct error *err)
{
	char text[32] = "max";
	if (pids)
		snprintf(text, sizeof(text), "%" PRIu64, pids);
	return set_limit(cg, "pids", "pids.max", text, "pids.max", text, pids > 0, err);
}

// Of v2, with or without its processor controller, else of v1's accounting.
int64_t cgroup_cpu_used_us(struct cgroup *cg, struct error *err)
{
	char text[1024];
	for (size_t i = 0; i < cg->count; i++) {
		int folder = cg->groups[i].outer;
		unsigned long long value;
		if (faccessat(folder, "cpu.stat", F_OK, 0) == 0 &&
		    group_read(folder, "cpu.stat", text, sizeof(text), err) == 0 &&
		    sscanf(text, "usage_usec %llu", &value) == 1)
			return (int64_t)value;
		if (faccessat(folder, "cpuacct.usage", F_OK, 0) == 0 &&
		    group_read(folder, "cpuacct.usage", text, sizeof(text), err) == 0 &&
		    sscanf(text, "%llu", &value) == 1)
			return (int64_t)(value / 1000);
	}
	return error_set(err, ERR_CGROUP, "this host does not count processor time of groups");
}

int64_t cgroup_cpu_waited_us(struct cgroup *cg)
{
	char text[512];
	unsigned long long us;
	int folder = folder_with(cg, "cpu.pressure");
	if (folder < 0 || group_read(folder, "cpu.pressure", text, sizeof(text), NULL) < 0)
		return -1;
	const char *total = strstr(text, "total="); // of the line "some", the first
	return total && sscanf(total, "total=%llu", &us) == 1 ? (int64_t)us : -1;
}

int cgroup_set_limits(struct cgroup *cg, const struct cgroup_limits *limits, struct error *err)
{
	if (limit_memory(cg, limits->memory_bytes, err) < 0 ||
	    cgroup_limit_cpu(cg, limits->cpu_millis, err) < 0 ||
	    limit_pids(cg, limits->pids, err) < 0)
		return -1;
	return 0;
}

int64_t cgroup_memory_now(struct cgroup *cg, struct error *err)
{
	static const char *const files[] = {"memory.current", "memory.usage_in_bytes"};
	char text[64];
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		int folder = folder_with(cg, files[i]);
		if (folder >= 0 && group_read(folder, files[i], text, sizeof(text), err) == 0)
			return strtoll(text, NULL, 10);
	}
	return error_set(err, ERR_CGROUP, "this host has no memory controller");
}

// The first of the names that memory.stat has; -1: none. v1 has the sums over all groups below with
// a name of their own, see cgroup-v1/memory.rst.
static int64_t memory_stat(struct cgroup *cg, const char *v1, const char *v2)
{
	const char *const names[] = {v1, v2};
	char text[8192] = "\n", name[64]; // each name stands at the beginning of a line
	int folder = folder_with(cg, "memory.stat");
	if (folder < 0 || group_read(folder, "memory.stat", text + 1, sizeof(text) - 1, NULL) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "\n%s ", names[i]);
		const char *at = strstr(text, name);
		if (at)
			return strtoll(at + strlen(name), NULL, 10);
	}
	return -1;
}

int64_t cgroup_memory_used(struct cgroup *cg, struct error *err)
{
	int64_t now = cgroup_memory_now(cg, err);
	int64_t idle = now < 0 ? -1 : memory_stat(cg, "total_inactive_file", "inactive_file");
	if (idle < 0)
		return now;
	return idle < now ? now - idle : 0;
}

// The statistics of a group may be seconds old: the kernel leaves them as they are while it brings
// another group's up to date. Its count is exact, and what comes and goes quickly is private
// memory.
int cgroup_memory_parts(struct cgroup *cg, uint64_t *private_bytes, uint64_t *shared_bytes,
			struct error *err)
{
	int64_t now = cgroup_memory_now(cg, err);
	int64_t anonymous = memory_stat(cg, "total_rss", "anon");
	int64_t shared = memory_stat(cg, "total_shmem", "shmem");
	int64_t files = memory_stat(cg, "total_cache", "file"); // shared memory is in it
	if (now < 0 || anonymous < 0 || shared < 0 || files < 0)
		return error_set(err, ERR_CGROUP, "this host does not count the memory of groups");
	*private_bytes = (uint64_t)(anonymous > now - files ? anonymous : now - files);
	*shared_bytes = (uint64_t)shared;
	return 0;
}

// ---- freezing ----------------------------------------------------------------------------------

const char *cgroup_freezer_path(const struct cgroup *cg)
{
	return cg->freezer_path;
}

int cgroup_is_frozen(struct cgroup *cg, struct error *err)
{
	char text[256];
	if (!cg->freezer->hierarchy.v2) {
		if (group_read(cg->freezer->outer, "freezer.state", text, sizeof(text), err) < 0)
			return -1;
		return !strcmp(text, "FROZEN\n");
	}
	if (group_read(cg->freezer->outer, "cgroup.events", text, sizeof(text), err) < 0)
		return -1;
	return strstr(text, "frozen 1") != NULL;
}

static int request(struct cgroup *cg, bool freeze, struct error *err)
{
	bool v2 = cg->freezer->hierarchy.v2;
	const char *file = v2 ? "cgroup.freeze" : "freezer.state";
	const char *text = v2 ? (freeze ? "1" : "0") : (freeze ? "FROZEN" : "THAWED");
	if (fdio_write_control(cg->freezer->outer, file, text, err) == 0)
		return 0;
	if (err)
		err->id = ERR_CGROUP;
	return error_wrap(err, "cannot %s %s", freeze ? "freeze" : "thaw", cg->name);
}

// Freezing takes some tenths of a millisecond and stands in the blackout, while the kernel delays
// notifications of cgroup.events by up to 10 ms (CGROUP_FILE_NOTIFY_MIN_INTV): so look often at
// first, then seldom.
static void pause_between_looks(int64_t since)
{
	struct timespec pause = {.tv_nsec = clock_ms_since(since) < 5 ? 50000 : 2000000};
	nanosleep(&pause, NULL);
}

int cgroup_freeze(struct cgroup *cg, deadline_t deadline, struct error *err)
{
	int64_t since = clock_now_ns();
	for (bool first = true;; first = false) {
		// The v1 freezer has to be asked again while it says FREEZING.
		if ((first || !cg->freezer->hierarchy.v2) && request(cg, true, err) < 0)
			return -1;
		int frozen = cgroup_is_frozen(cg, err);
		if (frozen)
			return frozen < 0 ? -1 : 0;
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE,
					 "the processes of %s did not freeze in %.0f ms", cg->name,
					 clock_ms_since(since));
		pause_between_looks(since);
	}
}

int cgroup_thaw(struct cgroup *cg, struct error *err)
{
	return request(cg, false, err);
}

// ---- killing -----------------------------------------------------------------------------------

// For the dead. Whoever clears up after them may have removed the group already.
static int thaw_remains(struct cgroup *cg, struct error *err)
{
	struct error why = {0};
	if (cgroup_thaw(cg, &why) == 0 || why.sys == ENOENT || why.sys == ENODEV)
		return 0;
	if (err)
		*err = why;
	return -1;
}

static int kill_all(struct cgroup *cg, size_t *left, struct error *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	bool v2 = cg->freezer->hierarchy.v2;
	if (cgroup_pids(cg, &pids, left, err) < 0)
		return -1;
	// cgroup.kill (5.14) catches forks as well, and frozen tasks.
	if (*left && (!v2 || fdio_write_control(cg->freezer->outer, "cgroup.kill", "1", NULL) < 0))
		for (size_t i = 0; i < *left; i++)
			kill(pids[i], SIGKILL);
	// A task that the v1 freezer holds takes its signal only when it is let go.
	return *left && !v2 ? thaw_remains(cg, err) : 0;
}

int cgroup_kill(struct cgroup *cg, deadline_t deadline, struct error *err)
{
	size_t left;
	for (;;) {
		if (kill_all(cg, &left, err) < 0)
			return -1;
		if (!left)
			return thaw_remains(cg, err);
		if (deadline_passed(deadline))
			return error_set(err, ERR_DEADLINE, "%zu processes of %s do not die", left,
					 cg->name);
		clock_sleep_ms(2);
	}
}
