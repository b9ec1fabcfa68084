// SPDX-License-Identifier: Apache-2.0
// A frozen partition whose departure is dead: how it runs again, or ends.
#ifndef RELOCD_THAW_H
#define RELOCD_THAW_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stdbool.h>

// All of these wait for processes: without the lock.

// Processes of the partition exist, frozen or not.
bool thaw_alive(const char *name);
bool thaw_is_frozen(const char *name);

// After CRIU has let go of it: takes sockets out of repair mode, plugs the cable in, announces the
// addresses, lets it run. `definition` (may be NULL: the cable is plugged in without announcement).
// What is not frozen, or not there, is fine. Waits for CRIU at most 30 s (ERR_DEADLINE: it stays
// frozen).
int thaw_partition(const char *name, const json_t *definition, struct error *err);

// Kills what is left of it, and its keeper if that was told of the departure.
int thaw_kill(const char *name, struct error *err);

// A restored partition that runs, and whose arrival died before it told the keeper: 0 when it is
// the keeper's now (or was before).
int thaw_adopt(const char *name, struct error *err);

#endif
