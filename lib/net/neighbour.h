// SPDX-License-Identifier: Apache-2.0
// How fast the kernel looks for the neighbours of an interface in the calling process' network
// namespace (arp(7), and /proc/sys/net/ipv6/neigh).
//
// A restored socket that has something to send asks for its neighbour at once, and nobody hears it:
// the port is closed until the partition runs. The kernel would ask again a second later only, and
// everything that the partition sends to that neighbour would wait for it.
#ifndef WPAR_NET_NEIGHBOUR_H
#define WPAR_NET_NEIGHBOUR_H

#include "lib/base/error.h"

#include <stdbool.h>

// With `hurry` it asks every 10 ms (the least that the kernel does) and goes on asking; without, as
// it does by itself. A family that the kernel lacks is passed over.
int neighbour_hurry(const char *ifname, bool hurry, struct error *err);
// Whether that changes the setting at this path ("net/ipv4/neigh/eth0/mcast_solicit").
bool neighbour_hurries(const char *path);

#endif
