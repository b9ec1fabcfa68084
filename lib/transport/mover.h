// SPDX-License-Identifier: Apache-2.0
// Starts a mover: everything that takes privileges is done here, in its parent, so that the mover
// itself needs none: the connection, the rings, the restricted io_uring, and what it shows the
// peer.
#ifndef WPAR_TRANSPORT_MOVER_H
#define WPAR_TRANSPORT_MOVER_H

#include "lib/transport/identity.h"
#include "lib/transport/ring.h"

#include <sys/types.h>

struct mover {
	int channel;
	pid_t pid;
	int pidfd;
	struct ring ring;
};

struct mover_plan {
	int sock; // connected, blocking; stays the caller's
	bool accepting, join;
	const char *peer;        // name that the peer must carry; NULL: any
	const char *fingerprint; // of the CA, in a join
	const struct identity *identity;
};

// After a failure too, a process that was started (pidfd >= 0) is the caller's to end.
int mover_start(const struct mover_plan *plan, struct mover *mover, struct error *err);
// Closes and unmaps; the process is the caller's to wait for.
void mover_release(struct mover *mover);

#endif
