// SPDX-License-Identifier: Apache-2.0
// What a network namespace holds, as text: interfaces, addresses, routes, rules, tables of the
// packet filter, settings. Only what its definition made of it is made again on another host;
// whoever has CAP_NET_ADMIN inside may have added to that.
#ifndef WPAR_NET_CONTENTS_H
#define WPAR_NET_CONTENTS_H

#include "lib/base/error.h"

#include <jansson.h>

// Sorted sentences such as "interface eth0 (veth, 02:77:00:00:00:01, mtu 1500, up)", "route default
// via 10.0.0.1 on eth0" and "setting net/ipv4/ip_forward = 0", as a JSON array. What the kernel
// adds by itself is left out. `netns`: a descriptor, or NETNS_CURRENT of lib/net/port.h. NULL with
// ERR_NETWORK.
json_t *contents_read(int netns, struct error *err);

// ERR_NETWORK_EXTRA names the first thing that was added, taken away or changed since `before`.
int contents_compare(const json_t *before, const json_t *now, struct error *err);

#endif
