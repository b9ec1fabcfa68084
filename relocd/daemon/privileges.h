// SPDX-License-Identifier: Apache-2.0
// What relocd and all that it starts can have at most. Partitions, movers and auditors get less.
#ifndef RELOCD_PRIVILEGES_H
#define RELOCD_PRIVILEGES_H

#include "lib/base/error.h"

#include <stdint.h>

// The capabilities that are kept, bit n = capability n; relocd.service names the same.
uint64_t privileges_kept(void);

// Gives up all others for good, also for everything that is started; no core files of relocd.
// Says so loudly where confined processes have no user of their own.
int privileges_bound(struct error *err);

#endif
