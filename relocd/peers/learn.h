// SPDX-License-Identifier: Apache-2.0
// What the other hosts have: each host keeps in its registry the definitions and epochs of its
// peers' partitions as last seen, for `wparctl adopt`. A host that has changed something tells the
// others, which ask it then; and all are asked from time to time. What is kept is older than that
// only for a host that could not be reached.
#ifndef RELOCD_LEARN_H
#define RELOCD_LEARN_H

#include "relocd/daemon/daemon.h"

#define LEARN_TELL_MS     300    // from a change here to the others being told
#define LEARN_POSTPONE_MS 60000  // longer, while a move is under way here: it has the processors
#define LEARN_ALL_MS      120000 // between two questions to all

// At relocd's start: in the background, as long as it runs.
void learn_begin(struct daemon *d);

// Without the lock: asks `host` for what it has.
int learn_from(struct daemon *d, const char *host, struct error *err);

#endif
