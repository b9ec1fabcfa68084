// SPDX-License-Identifier: Apache-2.0
// Passes a request on over a call to another host, and its answer back to the client as it comes:
// an object, a stream, or an upgraded connection.
#ifndef RELOCD_RELAY_H
#define RELOCD_RELAY_H

#include "relocd/peers/peers.h"

struct relay;

// Sends the request to `host` and waits until its answer begins, for as long as that takes: until
// the client or the connection to that host is gone. *status: HTTP's.
struct relay *relay_open(struct request *q, const struct route *route, const char *host,
			 unsigned *status, struct error *err);
// The answer is not wanted.
void relay_drop(struct relay *r);
// Makes it the request's response. Takes r over.
int relay_answer(struct request *q, struct relay *r, struct error *err);

// Adds the request's arguments to a path, but the host that it was for.
void relay_arguments(struct request *q, struct buf *path);

#endif
