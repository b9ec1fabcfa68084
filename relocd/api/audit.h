// SPDX-License-Identifier: Apache-2.0
// Who asked for what: a line in the log and an event of kind "audit" for every request, also for
// those that were refused.
#ifndef RELOCD_AUDIT_H
#define RELOCD_AUDIT_H

#include "relocd/api/api.h"

// After the request has been answered. `method` and `path` as they came; `why` NULL: it was done.
void audit_note(struct request *q, const char *method, const char *path, const struct error *why);

// With the lock held: something that a peer asked for outside of the API ("call", "reserve") was
// refused. `user` there, of this move: NULL where unknown.
void audit_peer_refused(struct daemon *d, const char *what, const char *peer, const char *user,
			const char *move, const struct error *why);

// Text from outside with everything but plain printable characters written as \xNN, cut off to
// size. Returns `to`.
char *audit_text(char *to, size_t size, const char *text);

#endif
