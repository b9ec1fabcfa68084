// SPDX-License-Identifier: Apache-2.0
// The control groups of a partition: wpar/NAME (ours: limits, freeze, kill) and below it payload
// (its processes and the root of its cgroup namespace) in every mounted hierarchy.
//
// cgroup v2, v1 and the hybrid of both are served by looking at what is mounted: freeze and kill go
// through a v2 mount where there is one (with or without controllers), else through the v1 freezer;
// each limit goes to whichever hierarchy has its controller. See cgroups(7), and
// Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst of the kernel.
#ifndef WPAR_PARTITION_CGROUP_H
#define WPAR_PARTITION_CGROUP_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;

struct cgroup_limits { // 0: no limit
	uint64_t memory_bytes;
	uint64_t cpu_millis; // thousandths of a processor
	uint64_t pids;
};

// Makes the groups (existing ones are taken over when they hold no process, else ERR_CGROUP), with
// a policy that keeps them from the devices of the host (devices.h).
struct cgroup *cgroup_create(const char *name, struct error *err);
// Whether that policy holds, of one that cgroup_create made. It cannot be had on a host without the
// v1 devices controller that does not let us load BPF programs either.
bool cgroup_confines_devices(const struct cgroup *cg);
// Those that exist; ERR_CGROUP when there are none.
struct cgroup *cgroup_open(const char *name, struct error *err);
void cgroup_close(struct cgroup *cg); // forgets, removes nothing; NULL is fine
bool cgroup_exists(const char *name);

int cgroup_set_limits(struct cgroup *cg, const struct cgroup_limits *limits, struct error *err);
// Of these the one for processors alone.
int cgroup_limit_cpu(struct cgroup *cg, uint64_t cpu_millis, struct error *err);
// Processor time that the partition has used since it exists, in microseconds; -1: not known here.
int64_t cgroup_cpu_used_us(struct cgroup *cg, struct error *err);
// How long some of its tasks have waited for a processor since it exists, in microseconds (pressure
// stall information, of cgroup v2 also beside v1; Documentation/accounting/psi.rst); -1: not known.
int64_t cgroup_cpu_waited_us(struct cgroup *cg);
// Bytes charged to the partition now; -1 with err when there is no memory controller.
int64_t cgroup_memory_now(struct cgroup *cg, struct error *err);
// What of these the kernel cannot simply drop: all but pages of files that nobody used lately.
int64_t cgroup_memory_used(struct cgroup *cg, struct error *err);
// Of that, what its processes have each for themselves (anonymous), and what is shared memory or in
// folders in memory. ERR_CGROUP.
int cgroup_memory_parts(struct cgroup *cg, uint64_t *private_bytes, uint64_t *shared_bytes,
			struct error *err);

// Freezes the whole partition and waits until the kernel confirms it. On ERR_DEADLINE the request
// stays written: thaw it. Freezing a frozen group is fine.
int cgroup_freeze(struct cgroup *cg, deadline_t deadline, struct error *err);
int cgroup_thaw(struct cgroup *cg, struct error *err);
// Reads back what the kernel says: 1 frozen, 0 not (yet), -1 error. An empty group that was told to
// freeze counts as frozen.
int cgroup_is_frozen(struct cgroup *cg, struct error *err);

// The folder whose freezer holds the partition: CRIU's freeze_cgroup option. Without that, CRIU
// would wait forever for tasks that we have frozen. The string belongs to cg.
const char *cgroup_freezer_path(const struct cgroup *cg);

// Host pids of all processes of the payload (and of groups below it). The array is the caller's to
// free.
int cgroup_pids(struct cgroup *cg, pid_t **pids, size_t *count, struct error *err);

// Opened cgroup.procs of the payload in every hierarchy, for struct spawn; they belong to cg.
const int *cgroup_enter_fds(struct cgroup *cg, size_t *count);
// Moves a whole process to the payload in every hierarchy where it is not there already.
int cgroup_move_pid(struct cgroup *cg, pid_t pid, struct error *err);

// SIGKILL to everything in the partition and waits until it is empty (zombies may still wait for
// their reaper). Thaws where the kernel needs that (v1).
int cgroup_kill(struct cgroup *cg, deadline_t deadline, struct error *err);
// Removes the groups of that name; none: 0. ERR_CGROUP when processes keep them busy until the
// deadline.
int cgroup_remove(const char *name, deadline_t deadline, struct error *err);

// Where a process lives now in every hierarchy, to send others there: the way out of a payload.
struct cgroup_place;
struct cgroup_place *cgroup_place_self(struct error *err);
int cgroup_place_put(struct cgroup_place *place, pid_t pid, struct error *err);
// Moving a process first waits for an RCU grace period (about 10 ms), but not within some
// milliseconds after another move anywhere on the host. This does such a wait while nobody is held
// up: before a blackout, or in a thread beside CRIU. It changes nothing.
void cgroup_place_warm(struct cgroup_place *place);
void cgroup_place_free(struct cgroup_place *place);

static inline void cgroup_cleanup(struct cgroup **cg)
{
	cgroup_close(*cg);
}
#define _cleanup_cgroup_ __attribute__((cleanup(cgroup_cleanup)))

#endif
