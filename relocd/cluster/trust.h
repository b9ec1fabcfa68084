// SPDX-License-Identifier: Apache-2.0
// Which hosts belong to the cluster no longer, and the renewal of certificates.
#ifndef RELOCD_TRUST_H
#define RELOCD_TRUST_H

#include "relocd/peers/peers.h"

// ---- revoked keys, with the lock held
// [["host","key"],...]: what other hosts are told with every call. The caller's.
json_t *trust_list(struct daemon *d);
// What a peer has told, if it may be admin here.
void trust_learn(struct daemon *d, const json_t *list, const char *peer);

// ---- without the lock. `caller` NULL: here only, for a host that has asked all. *warnings: error
// objects of hosts that could not be told, the caller's; NULL: none.

// From now on no connection with the host's key, or under its name, is accepted or made; those that
// stand are cut.
int trust_revoke(struct daemon *d, const struct peer_caller *caller, const char *host,
		 const char *reason, json_t **warnings, struct error *err);
// The same, and the host is in no list any more. Refused while it holds partitions (ERR_HOST_HOLDS)
// and when it cannot be asked, unless it is `lost`.
int trust_remove(struct daemon *d, const struct peer_caller *caller, const char *host, bool lost,
		 const char *reason, json_t **warnings, struct error *err);

// ---- renewal, without the lock
// At relocd's start: a renewal that was cut off in its last step is completed. Logs what fails.
void trust_recover(struct daemon *d);
// A new key and certificate for this host.
int trust_renew_self(struct daemon *d, struct error *err);
// Of `host`, or of all hosts (NULL); with `ca` of the CA first. The answer of the API.
json_t *trust_renew(struct daemon *d, const struct peer_caller *caller, const char *host, bool ca,
		    json_t **warnings, struct error *err);
// Signs the request of that host, here on the host with the CA's key: {"cert","ca"}.
json_t *trust_sign(struct daemon *d, const char *csr, const char *host, struct error *err);
// Believes these CAs from now on.
int trust_cas(struct daemon *d, const char *pem, struct error *err);

#endif
