// SPDX-License-Identifier: Apache-2.0
// Which filesystems of a running partition are its own on this host, and which does the other host
// of a move see as well? A lock or the name of a socket on a shared one is still there, at the
// frozen original, while the copy is restored.
#ifndef WPAR_PARTITION_LOCALITY_H
#define WPAR_PARTITION_LOCALITY_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct locality {
	dev_t volatile_fs; // /dev, /run, /tmp, /dev/shm and tmpfs mounts are folders of it
			   // (stage.h)
	dev_t overlay;     // an overlay that is the root, with an upper layer of its own; 0: none
};

// Of the partition whose init (host pid) this is.
int locality_of(pid_t init, struct locality *l, struct error *err);

// Is that filesystem (its superblock's device) seen on this host only?
bool locality_private(const struct locality *l, dev_t filesystem);

#endif
