// SPDX-License-Identifier: Apache-2.0
#include "lib/net/port.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/net/frame.h"
#include "lib/net/netlink.h"
#include "lib/net/port_inject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define CARRIER_MS 3000 // the kernel's link watch may take a second when many links change

struct port {
	char ifname[IFNAMSIZ];
	unsigned ifindex;
	struct netlink *nl;
	int packets; // AF_PACKET on the host end: what is sent here arrives in the partition
};

void port_name(const char *partition, unsigned index, char ifname[IFNAMSIZ])
{
	netlink_ifname("wp", partition, index, ifname);
}

int port_check_bridge(const char *bridge, int host_netns, struct error *err)
{
	struct link_facts facts;
	_cleanup_netlink_ struct netlink *nl = netlink_open(host_netns, err);
	return nl ? netlink_bridge(nl, bridge, &facts, err) : -1;
}

#define ADDRESS_SET "3" // NET_ADDR_SET of linux/netdevice.h

bool port_bridge_steady(const char *bridge)
{
	char path[96];
	snprintf(path, sizeof(path), "/sys/class/net/%s/addr_assign_type", bridge);
	_cleanup_free_ char *how = fdio_read_file(AT_FDCWD, path, 16, NULL);
	if (!how || !strncmp(how, ADDRESS_SET, 1))
		return true;
	snprintf(path, sizeof(path), "/sys/class/net/%s/brif", bridge);
	_cleanup_closedir_ DIR *ports = opendir(path);
	struct dirent *port;
	while (ports && (port = fdio_readdir(ports)))
		if (strncmp(port->d_name, "wp", 2) != 0 && strncmp(port->d_name, "wh", 2) != 0)
			return true;
	return !ports;
}

// ---- making ------------------------------------------------------------------------------------

// What a creation works with.
struct making {
	const struct port_spec *spec;
	struct netlink *host, *inside;
	struct link_facts bridge, outer, inner;
};

static int make_pair(struct making *m, int netns, struct error *err)
{
	const struct port_spec *spec = m->spec;
	_cleanup_batch_ struct batch batch = {0};
	struct ifinfomsg link = {0};
	struct mac mac;
	netlink_port_mac(spec->ifname, &mac);
	struct nl_msg *message =
		batch_add(&batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof(link));
	batch_put_text(&batch, IFLA_IFNAME, spec->ifname);
	batch_put(&batch, IFLA_ADDRESS, mac.bytes, sizeof(mac.bytes));
	batch_put_u32(&batch, IFLA_MTU, m->bridge.mtu);
	struct nlattr *info = batch_nest(&batch, IFLA_LINKINFO);
	batch_put_text(&batch, IFLA_INFO_KIND, "veth");
	struct nlattr *data = batch_nest(&batch, IFLA_INFO_DATA);
	struct nlattr *peer = batch_nest(&batch, VETH_INFO_PEER);
	if (batch.failed || nlmsg_append(message, &link, sizeof(link), NLMSG_ALIGNTO) < 0)
		batch.failed = true;
	batch_put_text(&batch, IFLA_IFNAME, spec->inner);
	batch_put(&batch, IFLA_ADDRESS, spec->mac.bytes, sizeof(spec->mac.bytes));
	batch_put_u32(&batch, IFLA_MTU, m->bridge.mtu);
	batch_put_u32(&batch, IFLA_NET_NS_FD, (uint32_t)netns);
	batch_nest_end(&batch, peer);
	batch_nest_end(&batch, data);
	batch_nest_end(&batch, info);
	return netlink_run(m->host, &batch, err, "cannot make interface %s with its peer %s",
			   spec->ifname, spec->inner);
}

// One of /proc/sys/net/FAMILY/KIND/IFNAME. They belong to the namespace that the thread is in. A
// kernel without IPv6 has none of that family; its addresses then fail with a sentence of their
// own.
static int set_key(const char *kind, const char *ifname, const char *key, const char *value,
		   struct error *err)
{
	char path[128];
	snprintf(path, sizeof(path), "/proc/sys/net/%s/%s/%s", kind, ifname, key);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (fdio_write_control(AT_FDCWD, path, value, err) < 0)
		return error_wrap(err, "cannot configure interface %s", ifname);
	return 0;
}

// No duplicate address detection, no autoconfiguration: only what the definition says, at once.
// IPv6 stays off until the port is where it should be, so that nothing is sent before. The queues
// for neighbours not yet known are long: a partition that has moved answers everybody at once while
// it knows nobody.
static int set_keys(const char *ifname, struct error *err)
{
	static const char *const keys[][3] = {
		{"ipv6/conf", "disable_ipv6", "1"},
		{"ipv6/conf", "accept_dad", "0"},
		{"ipv6/conf", "accept_ra", "0"},
		{"ipv6/conf", "autoconf", "0"},
		{"ipv6/conf", "use_tempaddr", "0"},
		{"ipv6/conf", "addr_gen_mode", "0"},
		{"ipv4/neigh", "unres_qlen_bytes", "4194304"},
		{"ipv6/neigh", "unres_qlen_bytes", "4194304"},
	};
	// The kernel takes the greater of these two.
	if (set_key("ipv6/conf", "all", "accept_dad", "0", err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (set_key(keys[i][0], ifname, keys[i][1], keys[i][2], err) < 0)
			return -1;
	return 0;
}

static int find_both_ends(struct making *m, struct error *err)
{
	int outer = netlink_link(m->host, m->spec->ifname, &m->outer, err);
	int inner = outer > 0 ? netlink_link(m->inside, m->spec->inner, &m->inner, err) : 0;
	if (outer < 0 || inner < 0)
		return -1;
	if (!outer || !inner)
		return error_set(err, ERR_NETWORK, "interface %s is gone again",
				 outer ? m->spec->inner : m->spec->ifname);
	return 0;
}

// Before a port is enslaved its carrier must be up, and the kernel's link watch must have told so:
// the event enables a bridge port by itself, also one that we have disabled.
static int bring_up(struct making *m, struct error *err)
{
	deadline_t deadline = deadline_in_ms(CARRIER_MS);
	_cleanup_batch_ struct batch inside = {0}, host = {0};
	batch_add_up(&inside, m->inner.ifindex);
	batch_add_no_ipv6_address(&host, m->outer.ifindex);
	batch_add_up(&host, m->outer.ifindex);
	if (netlink_run(m->inside, &inside, err, "cannot bring %s up", m->spec->inner) < 0 ||
	    netlink_run(m->host, &host, err, "cannot bring %s up", m->spec->ifname) < 0)
		return -1;
	for (;;) {
		if (find_both_ends(m, err) < 0)
			return -1;
		if (m->outer.oper_up && m->inner.oper_up)
			return 0;
		if (deadline_passed(deadline))
			return error_set(err, ERR_NETWORK,
					 "interface %s got no carrier within %d ms",
					 m->spec->ifname, CARRIER_MS);
		clock_sleep_ms(1);
	}
}

static int plug(struct making *m, struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	batch_add_enslave(&batch, m->outer.ifindex, m->bridge.ifindex);
	if (m->spec->disabled)
		batch_add_port_state(&batch, m->outer.ifindex, BR_STATE_DISABLED);
	return netlink_run(m->host, &batch, err, "cannot make %s a port of bridge %s",
			   m->spec->ifname, m->spec->bridge);
}

static int add_address(struct making *m, const struct address *address, struct error *err)
{
	char text[ADDRESS_TEXT_MAX];
	_cleanup_batch_ struct batch batch = {0};
	struct ifaddrmsg header = {
		.ifa_family = (uint8_t)address->family,
		.ifa_prefixlen = address->prefix,
		.ifa_flags = IFA_F_NODAD,
		.ifa_index = m->inner.ifindex,
	};
	batch_add(&batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	batch_put(&batch, IFA_LOCAL, address->bytes, address_length(address));
	batch_put(&batch, IFA_ADDRESS, address->bytes, address_length(address));
	if (address->family == AF_INET && address->prefix < 31) {
		uint32_t broadcast = address->v4.s_addr | htonl(UINT32_MAX >> address->prefix);
		batch_put_u32(&batch, IFA_BROADCAST, broadcast);
	}
	return netlink_run(m->inside, &batch, err, "cannot give address %s to %s",
			   address_format_cidr(address, text), m->spec->inner);
}

static int add_default_route(struct making *m, const struct address *gateway, struct error *err)
{
	char text[ADDRESS_TEXT_MAX];
	_cleanup_batch_ struct batch batch = {0};
	struct rtmsg header = {
		.rtm_family = (uint8_t)gateway->family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	batch_add(&batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	batch_put(&batch, RTA_GATEWAY, gateway->bytes, address_length(gateway));
	batch_put_u32(&batch, RTA_OIF, m->inner.ifindex);
	return netlink_run(m->inside, &batch, err, "cannot make %s the default gateway of %s",
			   address_format_host(gateway, text), m->spec->inner);
}

static int configure(struct making *m, struct error *err)
{
	const struct port_spec *spec = m->spec;
	for (size_t i = 0; i < spec->address_count; i++)
		if (add_address(m, &spec->addresses[i], err) < 0)
			return -1;
	for (size_t i = 0; i < spec->gateway_count; i++)
		if (add_default_route(m, &spec->gateways[i], err) < 0)
			return -1;
	return 0;
}

// Runs in the partition's namespace, because of the settings in /proc/sys.
static int set_up(struct making *m, struct error *err)
{
	_cleanup_netns_ int saved = -1;
	if (netns_enter(m->spec->netns, &saved, err) < 0 || set_keys(m->spec->inner, err) < 0 ||
	    find_both_ends(m, err) < 0 || bring_up(m, err) < 0 || plug(m, err) < 0 ||
	    set_key("ipv6/conf", m->spec->inner, "disable_ipv6", "0", err) < 0)
		return -1;
	return configure(m, err);
}

static int remove_link(struct netlink *nl, const char *ifname, struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	struct error why;
	struct ifinfomsg link = {0};
	batch_add(&batch, RTM_DELLINK, 0, &link, sizeof(link));
	batch_put_text(&batch, IFLA_IFNAME, ifname);
	if (netlink_run(nl, &batch, &why, "cannot remove interface %s", ifname) == 0 ||
	    why.sys == ENODEV)
		return 0;
	if (err)
		*err = why;
	return -1;
}

// A new partition with an address that another one had before: neighbours remember the other's MAC
// for minutes unless they are told.
static int announce(const struct port_spec *spec, struct error *err)
{
	_cleanup_netns_ int saved = -1;
	if (netns_enter(spec->netns, &saved, err) < 0)
		return -1;
	struct sockaddr_ll where = {.sll_family = AF_PACKET,
				    .sll_ifindex = (int)if_nametoindex(spec->inner)};
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot open a packet socket");
	for (size_t i = 0; i < spec->address_count; i++) {
		uint8_t frame[FRAME_TALK_MAX];
		size_t length = frame_announcement(frame, &spec->mac, &spec->addresses[i]);
		if (sendto(fd, frame, length, 0, (struct sockaddr *)&where, sizeof(where)) < 0)
			return error_sys(err, ERR_NETWORK, errno,
					 "cannot announce the addresses of %s", spec->ifname);
	}
	return 0;
}

int port_create(const struct port_spec *spec, struct error *err)
{
	_cleanup_netlink_ struct netlink *host = netlink_open(spec->host_netns, err);
	_cleanup_netlink_ struct netlink *inside = host ? netlink_open(spec->netns, err) : NULL;
	_cleanup_close_ int own = -1;
	struct making m = {.spec = spec, .host = host, .inside = inside};
	int netns = spec->netns;
	if (!inside || netlink_bridge(host, spec->bridge, &m.bridge, err) < 0)
		return -1;
	if (netns < 0)
		netns = own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot open our network namespace");
	if (make_pair(&m, netns, err) < 0)
		return -1;
	if (set_up(&m, err) == 0 && (spec->disabled || announce(spec, err) == 0))
		return 0;
	remove_link(host, spec->ifname, NULL);
	return -1;
}

int port_loopback_up(int netns, struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	_cleanup_netlink_ struct netlink *nl = netlink_open(netns, err);
	if (!nl)
		return -1;
	batch_add_up(&batch, 1); // lo is the first of each namespace
	return netlink_run(nl, &batch, err, "cannot bring lo up");
}

int port_remove(const char *ifname, int host_netns, struct error *err)
{
	_cleanup_netlink_ struct netlink *nl = netlink_open(host_netns, err);
	return nl ? remove_link(nl, ifname, err) : -1;
}

// ---- the handle --------------------------------------------------------------------------------

static int open_packets(unsigned ifindex, struct error *err)
{
	int on = 1, room = 8 << 20;
	struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex};
	// Protocol 0: for sending only, nothing is received.
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&where, sizeof(where)) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot open a packet socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	return take_fd(&fd);
}

struct port *port_open(const char *ifname, struct error *err)
{
	struct link_facts facts;
	_cleanup_port_ struct port *port = calloc(1, sizeof(*port));
	if (!port) {
		error_set(err, ERR_NOMEM, "no memory for a port");
		return NULL;
	}
	port->packets = -1;
	snprintf(port->ifname, sizeof(port->ifname), "%s", ifname);
	port->nl = netlink_open(NETNS_CURRENT, err);
	int found = port->nl ? netlink_link(port->nl, ifname, &facts, err) : -1;
	if (found < 0)
		return NULL;
	if (!found || !facts.master || facts.state < 0) {
		error_set(err, ERR_NETWORK,
			  found ? "interface %s is not a port of any bridge"
				: "there is no interface %s",
			  ifname);
		return NULL;
	}
	port->ifindex = facts.ifindex;
	port->packets = open_packets(facts.ifindex, err);
	if (port->packets < 0) {
		error_wrap(err, "interface %s", ifname);
		return NULL;
	}
	return take_ptr(port);
}

void port_close(struct port *port)
{
	if (!port)
		return;
	netlink_close(port->nl);
	if (port->packets >= 0)
		close(port->packets);
	free(port);
}

const char *port_ifname(const struct port *port)
{
	return port->ifname;
}

unsigned port_ifindex(const struct port *port)
{
	return port->ifindex;
}

static int set_state(struct port *port, uint8_t state, const char *verb, struct error *err)
{
	_cleanup_batch_ struct batch batch = {0};
	batch_add_port_state(&batch, port->ifindex, state);
	return netlink_run(port->nl, &batch, err, "cannot %s bridge port %s", verb, port->ifname);
}

int port_disable(struct port *port, struct error *err)
{
	return set_state(port, BR_STATE_DISABLED, "disable", err);
}

int port_enable(struct port *port, struct error *err)
{
	return set_state(port, BR_STATE_FORWARDING, "enable", err);
}

int port_inject(struct port *port, const void *bytes, size_t length)
{
	return send(port->packets, bytes, length, MSG_DONTWAIT) == (ssize_t)length ? 0 : -1;
}
