// SPDX-License-Identifier: Apache-2.0
// Route netlink as this folder needs it: sockets in a given network namespace, several requests in
// one sendmsg, errors with the kernel's own sentence, facts about a link. Private to lib/net.
#ifndef WPAR_NET_NETLINK_H
#define WPAR_NET_NETLINK_H

#include "lib/base/error.h"
#include "lib/net/address.h"

#include <linux/if_bridge.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stddef.h>

// Runs the rest of the block in network namespace `netns` (a descriptor; -1: stays): enters, and
// *saved is what netns_leave needs (-1: nothing to do).
int netns_enter(int netns, int *saved, struct error *err);
void netns_leave(int *saved);
#define _cleanup_netns_ __attribute__((cleanup(netns_leave)))

struct netlink;
struct netlink *netlink_open(int netns, struct error *err);
void netlink_close(struct netlink *nl);

#define _cleanup_netlink_ __attribute__((cleanup(netlink_cleanup)))
static inline void netlink_cleanup(struct netlink **nl)
{
	netlink_close(*nl);
}

// Some requests that go out together, in order. Messages belong to the batch once added. Running
// out of memory anywhere is remembered and reported by netlink_run.
struct batch {
	struct nl_msg *messages[8];
	size_t count;
	bool failed;
};
void batch_free(struct batch *batch);
#define _cleanup_batch_ __attribute__((cleanup(batch_free)))

// Adds a request and returns it for attributes (NULL when out of memory: the puts below take that).
struct nl_msg *batch_add(struct batch *batch, int type, int flags, const void *header,
			 size_t length);
void batch_put(struct batch *batch, int attribute, const void *bytes, size_t length);
void batch_put_u8(struct batch *batch, int attribute, uint8_t value);
void batch_put_u32(struct batch *batch, int attribute, uint32_t value);
void batch_put_text(struct batch *batch, int attribute, const char *text);
struct nlattr *batch_nest(struct batch *batch, int attribute);
void batch_nest_end(struct batch *batch, struct nlattr *nest);

// Sends all requests in one sendmsg and reads one answer for each. The kernel handles all of them
// even if one fails; the first error is reported: ERR_NETWORK, "what: kernel's sentence: errno".
int netlink_run(struct netlink *nl, struct batch *batch, struct error *err, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

// Requests used in more than one place. An entry of a bridge's forwarding table:
enum fdb_kind {
	FDB_DYNAMIC, // as if learned now: moves when the MAC is seen elsewhere, ages
	FDB_STICKY,  // stays whatever is seen
};
void batch_add_fdb(struct batch *batch, unsigned ifindex, const struct mac *mac,
		   enum fdb_kind kind);
// A bridge port's state: BR_STATE_DISABLED or BR_STATE_FORWARDING.
void batch_add_port_state(struct batch *batch, unsigned ifindex, uint8_t state);
// Joins a bridge. Multicast goes there without membership reports: the partition's earlier ones
// were heard by another bridge.
void batch_add_enslave(struct batch *batch, unsigned ifindex, unsigned bridge);
// No IPv6 addresses of its own: the link only carries frames.
void batch_add_no_ipv6_address(struct batch *batch, unsigned ifindex);
void batch_add_up(struct batch *batch, unsigned ifindex);

struct link_facts {
	unsigned ifindex;
	unsigned mtu;
	unsigned master; // 0: none
	bool up;         // administratively
	bool oper_up;    // carrier seen by the kernel's link watch
	struct mac mac;
	char kind[16]; // "bridge", "veth", "tun" ...
	bool stp;      // a bridge: any spanning tree runs
	int state;     // a bridge port: BR_STATE_...; else -1
};
// 1 found, 0 there is none of that name, -1 error.
int netlink_link(struct netlink *nl, const char *ifname, struct link_facts *facts,
		 struct error *err);
// Facts of a bridge that is fit for us: ERR_BRIDGE_MISSING, ERR_BRIDGE_UNFIT.
int netlink_bridge(struct netlink *nl, const char *bridge, struct link_facts *facts,
		   struct error *err);

// "wp" or the like and 12 digits made from a partition's name and a number.
void netlink_ifname(const char *prefix, const char *partition, unsigned index, char name[IFNAMSIZ]);
// A MAC for our own end of things, higher than any real one: a bridge takes the lowest MAC of its
// ports as its own, and that must not change because of us.
void netlink_port_mac(const char *ifname, struct mac *mac);

#endif
