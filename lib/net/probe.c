// SPDX-License-Identifier: Apache-2.0
#include "lib/net/probe.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"
#include "lib/net/frame.h"
#include "lib/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define QUESTIONS 3 // RFC 5227 section 2.1.1: PROBE_NUM

struct probe {
	const char *bridge;
	const struct address *addresses;
	size_t count;
	const struct mac *own;
	struct mac sender;
	int fd;
};

static bool interface_has(const struct ifaddrs *one, const struct address *address)
{
	if (!one->ifa_addr || one->ifa_addr->sa_family != address->family)
		return false;
	if (address->family == AF_INET)
		return !memcmp(&((struct sockaddr_in *)one->ifa_addr)->sin_addr, address->bytes, 4);
	return !memcmp(&((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr, address->bytes, 16);
}

// This host does not answer its own questions.
static int check_host(const struct probe *probe, struct error *err)
{
	char text[ADDRESS_TEXT_MAX];
	struct ifaddrs *all;
	int result = 0;
	if (getifaddrs(&all) < 0)
		return error_sys(err, ERR_NETWORK, errno, "cannot list this host's addresses");
	for (struct ifaddrs *one = all; one && !result; one = one->ifa_next)
		for (size_t i = 0; i < probe->count && !result; i++)
			if (interface_has(one, &probe->addresses[i]))
				result = error_set(
					err, ERR_ADDRESS_TAKEN,
					"address %s belongs to this host itself (interface %s)",
					address_format_host(&probe->addresses[i], text),
					one->ifa_name);
	freeifaddrs(all);
	return result;
}

static int open_probe(struct probe *probe, struct error *err)
{
	struct link_facts facts;
	_cleanup_netlink_ struct netlink *nl = netlink_open(-1, err);
	if (!nl || netlink_bridge(nl, probe->bridge, &facts, err) < 0)
		return -1;
	probe->sender = facts.mac;
	struct sockaddr_ll where = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)facts.ifindex,
	};
	probe->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe->fd < 0 || bind(probe->fd, (struct sockaddr *)&where, sizeof(where)) < 0)
		return error_sys(err, ERR_NETWORK, errno,
				 "cannot open a packet socket on bridge %s", probe->bridge);
	return 0;
}

static int ask(const struct probe *probe, struct error *err)
{
	uint8_t frame[FRAME_TALK_MAX];
	for (size_t i = 0; i < probe->count; i++) {
		size_t length = frame_question(frame, &probe->sender, &probe->addresses[i]);
		if (send(probe->fd, frame, length, 0) < 0)
			return error_sys(err, ERR_NETWORK, errno, "cannot send on bridge %s",
					 probe->bridge);
	}
	return 0;
}

static int look(const struct probe *probe, const uint8_t *frame, size_t length, struct error *err)
{
	char text[ADDRESS_TEXT_MAX], mac[MAC_TEXT_MAX];
	struct mac who;
	for (size_t i = 0; i < probe->count; i++) {
		if (!frame_claims(frame, length, &probe->addresses[i], &who) ||
		    mac_equal(&who, &probe->sender) || (probe->own && mac_equal(&who, probe->own)))
			continue;
		return error_set(err, ERR_ADDRESS_TAKEN,
				 "address %s is in use on the network of bridge %s by %s",
				 address_format_host(&probe->addresses[i], text), probe->bridge,
				 mac_format(&who, mac));
	}
	return 0;
}

static int listen_until(const struct probe *probe, deadline_t deadline, struct error *err)
{
	uint8_t frame[2048];
	struct sockaddr_ll from;
	for (;;) {
		int ready = fdio_wait(probe->fd, POLLIN, deadline, err);
		if (ready <= 0)
			return ready;
		socklen_t size = sizeof(from);
		ssize_t got = recvfrom(probe->fd, frame, sizeof(frame), 0, (void *)&from, &size);
		if (got > 0 && from.sll_pkttype != PACKET_OUTGOING &&
		    look(probe, frame, (size_t)got, err) < 0)
			return -1;
		// A bridge with much traffic must not keep us beyond the deadline.
		if (deadline_passed(deadline))
			return 0;
	}
}

int probe_addresses(const char *bridge, const struct address *addresses, size_t count,
		    const struct mac *own, deadline_t deadline, struct error *err)
{
	struct probe probe = {
		.bridge = bridge, .addresses = addresses, .count = count, .own = own, .fd = -1};
	int64_t start = clock_now_ns();
	int result = open_probe(&probe, err);
	if (result == 0)
		result = check_host(&probe, err);
	for (int i = 1; i <= QUESTIONS && result == 0; i++) {
		deadline_t until = start + (deadline - start) / QUESTIONS * i;
		result = ask(&probe, err);
		if (result == 0)
			result = listen_until(&probe, i == QUESTIONS ? deadline : until, err);
	}
	if (probe.fd >= 0)
		close(probe.fd);
	return result;
}
