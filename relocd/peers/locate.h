// SPDX-License-Identifier: Apache-2.0
// Where partitions and moves of other hosts are: asked of all hosts, and remembered for a while.
#ifndef RELOCD_LOCATE_H
#define RELOCD_LOCATE_H

#include "relocd/peers/peers.h"

#define LOCATE_KEPT    256
#define LOCATE_KEPT_MS 60000

struct located {
	char host[REGISTRY_NAME_MAX];   // "": nowhere
	struct peer_answer unreachable; // one that could not be asked, host "": all were
};

// Who has the partition: not Departed there, and of several the one of the highest epoch.
// Remembers it.
int locate_partition(struct daemon *d, const struct peer_caller *caller, const char *name,
		     struct located *found, struct error *err);
// Who knows the move, the source before the destination.
int locate_move(struct daemon *d, const struct peer_caller *caller, const char *id,
		struct located *found, struct error *err);

// What is remembered; false: nothing.
bool locate_remembered(const char *name, char host[REGISTRY_NAME_MAX]);
void locate_forget(const char *name);

#endif
