// SPDX-License-Identifier: Apache-2.0
// What a hold needs of a port beyond port.h. Private to lib/net.
#ifndef WPAR_NET_PORT_INJECT_H
#define WPAR_NET_PORT_INJECT_H

#include "lib/net/port.h"

unsigned port_ifindex(const struct port *port);

// Puts one frame, behind its struct virtio_net_hdr, into the partition, past the bridge and the
// port's state. 0, or -1 with errno.
int port_inject(struct port *port, const void *bytes, size_t length);

#endif
