// SPDX-License-Identifier: Apache-2.0
// One call between hosts: the bytes of a local socket (HTTP/1.1 of the control API) as STREAM
// frames over a link, both ways, until END (wpar-protocol(7)).
//
// Each side may have TUNNEL_WINDOW bytes under way that the other has not TAKEN: a reader that
// stands still (a terminal that is stopped) stops the writer, never the link.
#ifndef RELOCD_MOVE_TUNNEL_H
#define RELOCD_MOVE_TUNNEL_H

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/transport/link.h"

#define TUNNEL_WINDOW    (256 * 1024)
#define TUNNEL_FRAME_MIN 1024    // what a shorter frame counts, so that their number is bounded too
#define TUNNEL_STALL_MS  3600000 // how long the local side may leave bytes lying

// Runs until either side has ended the call and what it sent before is delivered, and says END.
// `sock` stays the caller's. origin: this is the host that calls; when its socket is closed nobody
// wants an answer any more. first: by when the local side must have said something, else it is
// given up. ERR_PROTOCOL for a peer that sends what is not legal here or more than its window;
// ERR_DEADLINE; whatever the link says.
int tunnel_run(struct link *link, int sock, bool origin, deadline_t first, struct error *err);

#endif
