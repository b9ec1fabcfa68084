// SPDX-License-Identifier: Apache-2.0
// A partition that writes faster than it can be copied is slowed down by the processor limit of its
// control group. The limit that it had is on record before the first step (RUN/moves/ID.throttle;
// a reboot ends the group as well), so that whoever finds the move dead can give it back.
#ifndef RELOCD_MOVE_THROTTLE_H
#define RELOCD_MOVE_THROTTLE_H

#include "lib/base/error.h"
#include "lib/partition/cgroup.h"

#include <stdbool.h>
#include <stdint.h>

// Limits the group to so many thousandths of a processor. `before` (0: none) is what it gets back.
int throttle_set(struct cgroup *cg, const char *move, uint64_t before, uint64_t cpu_millis,
		 struct error *err);
// Gives it back, if there is a record. 1: there was one; 0; -1: it could not be given back.
int throttle_end(struct cgroup *cg, const char *move, struct error *err);
// The same for whoever has not got the group open; a group that is gone needs nothing.
int throttle_end_of(const char *partition, const char *move, struct error *err);

#endif
