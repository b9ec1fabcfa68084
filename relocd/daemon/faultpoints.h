// SPDX-License-Identifier: Apache-2.0
// The points of a move at which a fault can be ordered (lib/base/fault.h), for `relocd
// --fault-points`.
#ifndef RELOCD_DAEMON_FAULTPOINTS_H
#define RELOCD_DAEMON_FAULTPOINTS_H

// Prints one to a line, in the order of a move; 0, or -1 when that could not be written.
int faultpoints_print(void);

#endif
