// SPDX-License-Identifier: Apache-2.0
// The link is shared by the moves that leave this host at the same time. Connections share a link
// evenly by themselves, so each move uses as many of its own as the one with the fewest; of
// limits.bandwidth each has the same part.
#ifndef RELOCD_SUPERVISOR_SHARE_H
#define RELOCD_SUPERVISOR_SHARE_H

#include "relocd/daemon/daemon.h"

// With the lock held, whenever a move has begun or ended, or the limit has changed: tells each what
// it may use from now on.
void share_out(struct daemon *d);

#endif
