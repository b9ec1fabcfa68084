// SPDX-License-Identifier: Apache-2.0
#include "lib/net/hold.h"

#include "lib/base/cleanup.h"
#include "lib/net/held.h"
#include "lib/net/netlink.h"
#include "lib/net/port_inject.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

struct hold {
	char ifname[IFNAMSIZ];
	unsigned ifindex;
	int tap;
	struct netlink *nl;
	struct mac mac;
	struct address *addresses; // with the link-local one at the end
	size_t address_count;
	struct frame_filter filter;
	struct held own, peer;
	bool holding;
	size_t injected, failed;
};

void hold_name(const char *partition, unsigned index, char ifname[IFNAMSIZ])
{
	netlink_ifname("wh", partition, index, ifname);
}

// ---- the device --------------------------------------------------------------------------------

// Which frames the kernel queues at all: a list of destinations. Up to 8 are compared exactly
// (FLT_EXACT_COUNT); what does not fit is let in and sorted out by frame_wanted.
#define DESTINATIONS_MAX 8

union destinations {
	struct tun_filter filter; // .flags, .count, then the MACs
	uint8_t room[sizeof(struct tun_filter) + DESTINATIONS_MAX * sizeof(struct mac)];
};

static void add_destination(union destinations *list, const struct mac *mac)
{
	memcpy(list->filter.addr[list->filter.count++], mac, sizeof(*mac));
}

static void list_destinations(const struct hold *hold, union destinations *list)
{
	static const struct mac everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	struct mac group;
	memset(list, 0, sizeof(*list));
	add_destination(list, &hold->mac);
	if (!hold->holding)
		return;
	add_destination(list, &everybody);
	for (size_t i = 0; i < hold->address_count; i++) {
		if (hold->addresses[i].family != AF_INET6)
			continue;
		if (list->filter.count == DESTINATIONS_MAX) {
			list->filter.flags |= TUN_FLT_ALLMULTI;
			return;
		}
		frame_solicited_mac(&hold->addresses[i], &group);
		add_destination(list, &group);
	}
}

static int filter_destinations(struct hold *hold, struct error *err)
{
	union destinations list;
	list_destinations(hold, &list);
	if (ioctl(hold->tap, TUNSETTXFILTER, &list) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot set the filter of %s",
				 hold->ifname);
	return 0;
}

static int make_device(struct hold *hold, struct error *err)
{
	struct ifreq request = {.ifr_flags =
					(short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};
	hold->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (hold->tap < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot open /dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", hold->ifname);
	if (ioctl(hold->tap, TUNSETIFF, &request) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot make hold port %s", hold->ifname);
	// Frames may come uncut and without checksums: the header says so, and the injection
	// passes it on.
	if (ioctl(hold->tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) <
	    0)
		return error_sys(err, ERR_NETWORK, errno, "cannot set the offloads of %s",
				 hold->ifname);
	return filter_destinations(hold, err);
}

// The MTU first: a bridge lowers its own to that of its smallest port.
static int plug_device(struct hold *hold, const struct link_facts *bridge, struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	struct link_facts facts;
	struct mac mac;
	int found = netlink_link(hold->nl, hold->ifname, &facts, err);
	if (found <= 0)
		return found < 0 ? -1
				 : error_set(err, ERR_NETWORK, "hold port %s is gone again",
					     hold->ifname);
	hold->ifindex = facts.ifindex;
	netlink_port_mac(hold->ifname, &mac);
	struct ifinfomsg link = {.ifi_index = (int)facts.ifindex};
	batch_add(&batch, RTM_SETLINK, 0, &link, sizeof(link));
	batch_put_u32(&batch, IFLA_MTU, bridge->mtu);
	batch_put_u32(&batch, IFLA_TXQLEN, HOLD_FRAMES_MAX);
	batch_put(&batch, IFLA_ADDRESS, mac.bytes, sizeof(mac.bytes));
	batch_add_no_ipv6_address(&batch, facts.ifindex);
	batch_add_enslave(&batch, facts.ifindex, bridge->ifindex);
	batch_add_up(&batch, facts.ifindex);
	return netlink_run(hold->nl, &batch, err, "cannot make hold port %s a port of the bridge",
			   hold->ifname);
}

static int copy_addresses(struct hold *hold, const struct address *addresses, size_t count,
			  struct error *err)
{
	hold->addresses = calloc(count + 1, sizeof(*addresses));
	if (!hold->addresses)
		return error_set(err, ERR_NOMEM, "no memory for a hold");
	for (size_t i = 0; i < count; i++)
		hold->addresses[i] = addresses[i];
	frame_link_local(&hold->mac, &hold->addresses[count]);
	hold->address_count = count + 1;
	hold->filter = (struct frame_filter){hold->mac, hold->addresses, hold->address_count};
	return 0;
}

struct hold *hold_open(const char *ifname, const char *bridge, const struct mac *mac,
		       const struct address *addresses, size_t address_count, struct error *err)
{
	struct link_facts facts;
	_cleanup_hold_ struct hold *hold = calloc(1, sizeof(*hold));
	if (!hold) {
		error_set(err, ERR_NOMEM, "no memory for a hold");
		return NULL;
	}
	hold->tap = -1;
	hold->mac = *mac;
	snprintf(hold->ifname, sizeof(hold->ifname), "%s", ifname);
	if (copy_addresses(hold, addresses, address_count, err) < 0 ||
	    held_init(&hold->own, HOLD_BYTES_MAX, HOLD_FRAMES_MAX, err) < 0 ||
	    held_init(&hold->peer, HOLD_BYTES_MAX, HOLD_FRAMES_MAX, err) < 0 ||
	    !(hold->nl = netlink_open(NETNS_CURRENT, err)) ||
	    netlink_bridge(hold->nl, bridge, &facts, err) < 0 || make_device(hold, err) < 0 ||
	    plug_device(hold, &facts, err) < 0)
		return NULL;
	return take_ptr(hold);
}

void hold_close(struct hold *hold)
{
	if (!hold)
		return;
	if (hold->tap >= 0)
		close(hold->tap);
	netlink_close(hold->nl);
	held_free(&hold->own);
	held_free(&hold->peer);
	free(hold->addresses);
	free(hold);
}

// ---- holding -----------------------------------------------------------------------------------

int hold_fd(const struct hold *hold)
{
	return hold->tap;
}

int hold_collect(struct hold *hold, struct error *err)
{
	for (;;) {
		uint8_t *room = held_room(&hold->own);
		ssize_t got = read(hold->tap, room, HELD_FRAME);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0)
			return error_sys(err, ERR_NETWORK, errno, "cannot read from hold port %s",
					 hold->ifname);
		if ((size_t)got > FRAME_VNET && hold->holding &&
		    frame_wanted(&hold->filter, room + FRAME_VNET, (size_t)got - FRAME_VNET))
			held_keep(&hold->own, (size_t)got);
	}
}

// The sticky entry comes first: what the partition's kernel still sends until its port is disabled
// would otherwise point the table back to it.
int hold_begin(struct hold *hold, struct port *port, struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	if (hold_collect(hold, err) < 0) // stray ones from before: not kept
		return -1;
	hold->holding = true;
	if (port) {
		batch_add_fdb(&batch, hold->ifindex, &hold->mac, FDB_STICKY);
		batch_add_port_state(&batch, port_ifindex(port), BR_STATE_DISABLED);
	}
	batch_add_fdb(&batch, hold->ifindex, &hold->mac, FDB_DYNAMIC);
	if (filter_destinations(hold, err) == 0 &&
	    netlink_run(hold->nl, &batch, err, "cannot divert frames from %s to %s",
			port ? port_ifname(port) : "the partition", hold->ifname) == 0)
		return 0;
	hold->holding = false;
	return -1;
}

int hold_announce(struct hold *hold, struct error *err)
{
	struct virtio_net_hdr vnet = {0};
	uint8_t frame[FRAME_TALK_MAX];
	for (size_t i = 0; i < hold->address_count; i++) {
		size_t length = frame_announcement(frame, &hold->mac, &hold->addresses[i]);
		struct iovec parts[] = {{&vnet, sizeof(vnet)}, {frame, length}};
		if (writev(hold->tap, parts, 2) < 0)
			return error_sys(err, ERR_NETWORK, errno, "cannot announce through %s",
					 hold->ifname);
	}
	return 0;
}

size_t hold_serialise(const struct hold *hold, size_t *cursor, void *bytes, size_t room)
{
	return held_piece(&hold->own, cursor, bytes, room);
}

int hold_add_frames(struct hold *hold, const void *bytes, size_t length, struct error *err)
{
	return held_add(&hold->peer, &hold->filter, bytes, length, err);
}

// ---- giving back -------------------------------------------------------------------------------

static void inject(struct hold *hold, struct held *held, struct port *port)
{
	size_t cursor = 0, length;
	const uint8_t *frame;
	while ((frame = held_next(held, &cursor, &length))) {
		if (port_inject(port, frame, length) == 0)
			hold->injected++;
		else
			hold->failed++;
	}
	held_clear(held);
}

// The port is enabled first: what the partition's kernel answers to the held frames must get out,
// its ARP requests above all (it knows nobody on a new host, and asks again only after a second).
// Until all are in, a sticky entry keeps newer frames from overtaking them; only then the bridge's
// table points to the port, and the hold gives what came in between.
int hold_release(struct hold *hold, struct port *port, struct error *err)
{
	_cleanup_batch_ struct batch open = {0}, turn = {0};
	batch_add_fdb(&open, hold->ifindex, &hold->mac, FDB_STICKY);
	batch_add_port_state(&open, port_ifindex(port), BR_STATE_FORWARDING);
	batch_add_fdb(&turn, port_ifindex(port), &hold->mac, FDB_DYNAMIC);
	if (netlink_run(hold->nl, &open, err, "cannot enable port %s", port_ifname(port)) < 0 ||
	    hold_collect(hold, err) < 0)
		return -1;
	inject(hold, &hold->peer, port);
	inject(hold, &hold->own, port);
	if (netlink_run(hold->nl, &turn, err, "cannot give %s back its frames", port_ifname(port)) <
		    0 ||
	    hold_collect(hold, err) < 0)
		return -1;
	inject(hold, &hold->own, port);
	hold->holding = false;
	return filter_destinations(hold, err);
}

void hold_stats(const struct hold *hold, struct hold_stats *stats)
{
	*stats = (struct hold_stats){
		.own = hold->own.frames,
		.peer = hold->peer.frames,
		.dropped = hold->own.dropped,
		.injected = hold->injected,
		.failed = hold->failed,
	};
}
