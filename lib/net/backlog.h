// SPDX-License-Identifier: Apache-2.0
// How many TCP connections wait to be accepted in a network namespace. CRIU cannot dump them, and
// the question is asked while the partition is frozen: by sock_diag(7) it takes microseconds, while
// reading /proc/net/tcp walks the whole table of established connections, milliseconds on any host.
#ifndef WPAR_NET_BACKLOG_H
#define WPAR_NET_BACKLOG_H

#include "lib/base/error.h"

// A socket for the questions in the network namespace `netns` (a descriptor, or NETNS_CURRENT of
// lib/net/port.h). Returns it, the caller's to close, or -1 with ERR_NETWORK.
int backlog_open(int netns, struct error *err);

// The lengths of all accept queues together, IPv4 and IPv6, into *waiting.
int backlog_waiting(int sock, unsigned *waiting, struct error *err);

#endif
