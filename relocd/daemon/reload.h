// SPDX-License-Identifier: Apache-2.0
// A changed relocd.yaml, read again while relocd runs (SIGHUP).
#ifndef RELOCD_RELOAD_H
#define RELOCD_RELOAD_H

#include "relocd/daemon/daemon.h"

// With the lock held. What can change while relocd runs is taken from `fresh`, at once; the keys
// that take effect at the next start are named in `later` ("listen, tls: cert"; "": none). Takes
// `fresh` over: what others may still look at is kept until the end.
void reload_apply(struct daemon *d, struct config *fresh, char *later, size_t size);

#endif
