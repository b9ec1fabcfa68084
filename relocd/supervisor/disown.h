// SPDX-License-Identifier: Apache-2.0
// The other end of adopt.h: this host was taken for dead, and another one runs what it had.
#ifndef RELOCD_DISOWN_H
#define RELOCD_DISOWN_H

#include "relocd/partitions/partitions.h"

// Kills the copy of this host, whatever it does, and marks it Departed to `host`; returns when it
// is dead, also when there was none. `epoch`: of the adoption. A copy that came back here since is
// left alone. *own: the epoch of the copy that was here, 0: none. Without the lock.
int disown(struct daemon *d, const char *uuid, uint64_t epoch, const char *host, const char *reason,
	   uint64_t *own, struct error *err);

#endif
