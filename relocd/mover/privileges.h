// SPDX-License-Identifier: Apache-2.0
// Gives up everything that a mover does not need.
#ifndef WPAR_MOVER_PRIVILEGES_H
#define WPAR_MOVER_PRIVILEGES_H

#include "lib/base/error.h"

// Becomes user relocd-mover (nobody where it does not exist) without groups and capabilities, for
// good: no_new_privs, not dumpable, no core files, and dead with its parent. When not started as
// root it keeps its user and gives up the rest.
int privileges_drop(struct error *err);

#endif
