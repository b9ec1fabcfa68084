// SPDX-License-Identifier: Apache-2.0
// Starting and stopping partitions, and what happens when one ends: relocd's side of the keepers.
#ifndef RELOCD_LIFECYCLE_H
#define RELOCD_LIFECYCLE_H

#include "relocd/partitions/partitions.h"

// Without the lock: these wait for keepers.

// What a definition needs from this host is here: ERR_ROOTFS_MISSING, ERR_BRIDGE_MISSING.
int lifecycle_check_host(const struct partition_def *def, struct error *err);
// Starts it; one that runs already is fine.
int lifecycle_start(struct daemon *d, const char *name, struct error *err);
// The same for its restart policy: only while that wants it (p->reviving).
int lifecycle_start_again(struct daemon *d, const char *name, struct error *err);
// Stop, then start; the same as start for one that does not run.
int lifecycle_restart(struct daemon *d, const char *name, int64_t grace_ms, bool kill,
		      struct error *err);
// SIGTERM, then after grace_ms (< 0: the definition's) SIGKILL; `kill`: at once. Returns when all
// of it is gone. One that does not run is fine.
int lifecycle_stop(struct daemon *d, const char *name, int64_t grace_ms, bool kill,
		   struct error *err);
// For one that does not run: removes control groups that are left; with `kill` also the processes
// that a dead keeper left in them, else these are an error (ERR_CGROUP).
int lifecycle_sweep(const char *name, bool kill, struct error *err);
// At relocd's start, before anything else runs: finds keepers that live on, and notes what ended
// meanwhile. Moves that were under way: moves_resume().
void lifecycle_reconnect(struct daemon *d);
// Watches the keeper of a partition that runs here (it was found, or it has arrived). Takes the
// lock itself.
int lifecycle_attach(struct daemon *d, const char *name, struct error *err);

// With the lock held.

// Whether relocd may start it without being asked: it does not run, and there is no doubt that it
// is this host's to run.
bool partition_may_autostart(const struct partition *p);

// In the background: waits for the end of its keeper (asks for it, unless a departure did), removes
// its control groups. p->clearing until then.
void lifecycle_clear(struct partition *p);
// Deals with an end that came while it was moving (p->exited).
void lifecycle_note_exit(struct partition *p);

#endif
