// SPDX-License-Identifier: Apache-2.0
// Idempotency-Key: a POST that carries one is done at most once for its caller within a day. Asked
// again with the same content it gets the first answer; while the first is still being done, it
// waits. An answer that is an error is not kept: nothing was done, and asking again tries again.
#ifndef RELOCD_ONCE_H
#define RELOCD_ONCE_H

#include "relocd/api/api.h"

struct once; // a request with a key that is being done

// Before the handler: 1: done before, the answer is in the request; 0: to be done, *once (NULL: has
// no key) is to be ended by once_end; -1: ERR_KEY_REUSED (other content), ERR_KEY_UNKNOWN (begun
// before relocd ended), ERR_USAGE. `body` as it came.
int once_begin(struct request *q, const char *method, const char *path, const void *body,
	       size_t length, struct once **once, struct error *err);
// After it: keeps the answer unless it failed, or is none that can be kept (a stream).
void once_end(struct request *q, struct once *once, bool failed);

#endif
