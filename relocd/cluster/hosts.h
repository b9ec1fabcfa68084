// SPDX-License-Identifier: Apache-2.0
// The hosts of the cluster: what each says of itself, and whether it takes partitions in.
#ifndef RELOCD_HOSTS_H
#define RELOCD_HOSTS_H

#include "relocd/peers/peers.h"

// This host, as GET /v1/hosts shows it. The caller's. Without the lock.
json_t *hosts_self(struct daemon *d, struct error *err);
// All of them: each is asked. Without the lock.
json_t *hosts_all(struct daemon *d, const struct peer_caller *caller, struct error *err);
// GET /v1/cluster: this host alone (caller NULL), or all of them with the difference of their
// clocks to ours.
json_t *hosts_cluster(struct daemon *d, const struct peer_caller *caller, struct error *err);

// Cordons this host, or no longer (reason NULL): kept in the registry. Without the lock.
int hosts_cordon(struct daemon *d, const char *reason, struct error *err);
// ERR_HOST_CORDONED if it is. With the lock held.
int hosts_accept(struct daemon *d, struct error *err);

// The checks of this host: [{"check","outcome","host","message","hint"}]. Takes a second or two.
// Without the lock.
json_t *hosts_check(struct daemon *d);

#endif
