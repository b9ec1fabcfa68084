// SPDX-License-Identifier: Apache-2.0
// The partition's virtual cable: a veth pair whose host end is a port of the host's bridge and
// whose other end is an interface in the partition's network namespace, with its addresses and
// default routes. Pulling the cable is the bridge port's state "disabled": the carrier stays up, so
// that the partition notices nothing and no duplicate address detection runs again.
#ifndef WPAR_NET_PORT_H
#define WPAR_NET_PORT_H

#include "lib/net/address.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

// A network namespace given by descriptor; this value is the caller's own.
#define NETNS_CURRENT (-1)

// The host end's name of the index-th network of a partition: the same on every host and every
// time ("wp" and a hash of name and index).
void port_name(const char *partition, unsigned index, char ifname[IFNAMSIZ]);

// 0 if that bridge exists, is a bridge, is up and lets us set port states; ERR_BRIDGE_MISSING or
// ERR_BRIDGE_UNFIT (down, or it runs the kernel's spanning tree) naming it.
int port_check_bridge(const char *bridge, int host_netns, struct error *err);

struct port_spec {
	const char *ifname; // host end, see port_name()
	const char *inner;  // name in the partition: "eth0", ...
	const char *bridge;
	struct mac mac;
	const struct address *addresses; // all with IFA_F_NODAD
	size_t address_count;
	const struct address *gateways; // default routes, at most one of a family
	size_t gateway_count;
	int host_netns; // where the bridge is
	int netns;      // the partition's
	bool disabled;  // the port starts disabled (a partition that arrives); no frame passes
			// before
};

// Whether a bridge keeps its hardware address when partitions come and go: it was given one, or has
// a port that is none of ours. Also true when the host does not tell.
bool port_bridge_steady(const char *bridge);

// Makes the pair, enslaves the host end, configures the partition's end (MTU of the bridge, MAC,
// link-local address from the MAC, no router advertisements, no duplicate address detection) and
// brings both up; unless it starts disabled, its addresses are announced (ARP, NA). Works from the
// partition's namespace as well as from the host's; needs CAP_NET_ADMIN and CAP_SYS_ADMIN over
// both. On failure nothing is left. ERR_NETWORK, ERR_BRIDGE_MISSING, ERR_BRIDGE_UNFIT.
int port_create(const struct port_spec *spec, struct error *err);

// Brings "lo" up in a network namespace.
int port_loopback_up(int netns, struct error *err);

// Removes the pair. None of that name: 0.
int port_remove(const char *ifname, int host_netns, struct error *err);

// A port held ready for the moments when time counts: indexes resolved, sockets open, messages
// built. Opened in PREPARE, in the host's namespace; the two calls below are then one sendmsg each.
struct port;
struct port *port_open(const char *ifname, struct error *err);
void port_close(struct port *port);
const char *port_ifname(const struct port *port);
int port_disable(struct port *port, struct error *err);
int port_enable(struct port *port, struct error *err);

#define _cleanup_port_ __attribute__((cleanup(port_cleanup)))
static inline void port_cleanup(struct port **port)
{
	port_close(*port);
}

#endif
