// SPDX-License-Identifier: Apache-2.0
// How many TCP and UNIX connections wait to be accepted in a network namespace. CRIU cannot dump
// them, and the question is asked while the partition is frozen: by sock_diag(7) it takes
// microseconds, while reading /proc/net/tcp walks the whole table of established connections,
// milliseconds on any host.
#ifndef WPAR_NET_BACKLOG_H
#define WPAR_NET_BACKLOG_H

#include "lib/base/error.h"

#define BACKLOG_TEXT_MAX 160

// A socket for the questions in the network namespace `netns` (a descriptor, or NETNS_CURRENT of
// lib/net/port.h). Returns it, the caller's to close, or -1 with ERR_NETWORK.
int backlog_open(int netns, struct error *err);

struct backlog {
	unsigned waiting;             // the lengths of all accept queues together
	char where[BACKLOG_TEXT_MAX]; // one of them: "TCP port 80", "UNIX socket /run/x"
};
int backlog_waiting(int sock, struct backlog *backlog, struct error *err);

#endif
