// SPDX-License-Identifier: Apache-2.0
// The cluster: who belongs to it, how a host is invited, admitted and joins.
#ifndef RELOCD_CLUSTER_H
#define RELOCD_CLUSTER_H

#include "relocd/daemon/daemon.h"

// In the registry's meta: the host that has the key of the CA, when it is not this one.
#define CLUSTER_CA_HOST "ca_host"

// This host has a certificate.
bool cluster_member(const struct daemon *d);

// Without the lock; they wait.

// Makes the CA and this host's certificate, and starts to listen.
int cluster_init(struct daemon *d, struct error *err);
// With a token: asks the host that gave it, installs what it answers, greets all hosts. *notes:
// sentences about hosts that could not be greeted; the caller's.
int cluster_join(struct daemon *d, const char *token, json_t **notes, struct error *err);
// A one-time token for `name`, which listens at `address` (a port is added if it has none).
int cluster_invite(struct daemon *d, const char *name, const char *address, char **token,
		   struct error *err);

// Where the certificates are; ERR_CERTIFICATE when relocd.yaml names somebody else's.
int cluster_folder(const struct config *c, char folder[512], struct error *err);

// With the lock held.

// The row of another host that can be talked to: ERR_HOST_UNKNOWN, ERR_PEER_UNTRUSTED (revoked),
// ERR_PEER_UNREACHABLE (it has not said where it listens).
int cluster_peer(struct daemon *d, const char *host, struct registry_host *peer, struct error *err);

// A JOIN request {"token","csr","name","address"}: fills `answer` with cert, ca and hosts.
int cluster_admit(struct daemon *d, const json_t *request, const char *from, json_t *answer,
		  struct error *err);
// An authenticated host said HELLO: learns or updates it. `key`: of its certificate. `address` may
// be NULL, `from` is its IP. ERR_PEER_UNTRUSTED for a revoked one.
int cluster_note_peer(struct daemon *d, const char *name, const char *key, const char *address,
		      const char *from, struct error *err);

#endif
