// SPDX-License-Identifier: Apache-2.0
// Starting partitions that nobody asks for: by their restart policies after they ended, and those
// with autostart after the host was started.
#ifndef RELOCD_REVIVE_H
#define RELOCD_REVIVE_H

#include "relocd/partitions/partitions.h"

// With the lock held.

// It has ended by itself, as its row says, and its policy wants it to run.
bool revive_wanted(const struct partition *p);
// Starts it again after a while: 100 ms, twice as long each time, at most a minute; from 100 ms
// again when it ran for 10 s. Until then it is Failed; `why` is the beginning of the reason.
void revive_later(struct partition *p, const char *why);
// After a change of its policy: one that waits for a restart does not any more if that is "no".
void revive_reconsider(struct partition *p);
// Nobody starts it again: whether anybody was going to.
bool revive_cancel(struct partition *p);

// Without the lock, at relocd's start when all partitions are known. After a start of the host
// those with autostart are started in the background, by priority; else those that wait for a
// restart go on waiting.
void revive_begin(struct daemon *d);
// The host was started, and nothing by autostart since.
bool revive_host_was_started(void);

#endif
