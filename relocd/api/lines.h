// SPDX-License-Identifier: Apache-2.0
// Answers that are streams of JSON lines: events, once or followed.
#ifndef RELOCD_LINES_H
#define RELOCD_LINES_H

#include "lib/base/buf.h"
#include "relocd/api/api.h"

struct lines_source {
	// Appends the next lines to `to`, waiting for them if need be: 1, or 0 at the end, -1 when
	// the stream has to break off. Ends when lines_unwanted().
	int (*next)(void *arg, struct buf *to);
	void (*release)(void *arg);
	void *arg;
};

// Makes the stream the request's answer. `source` is released with it, also on error.
int lines_respond(struct request *q, const struct lines_source *source, struct error *err);

// Appends an object and its newline; ERR_NOMEM.
int lines_append(struct buf *to, const json_t *object, struct error *err);

// With the lock held: waits until something changes or it is time to look again. False when relocd
// stops or the client has gone.
bool lines_wait(struct daemon *d, struct MHD_Connection *connection);

#endif
