// SPDX-License-Identifier: Apache-2.0
#include "lib/net/frame.h"

#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip6.h>
#include <string.h>

#define PROTOCOL_QINQ 0x88a8 // IEEE 802.1ad

static const struct mac everybody = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

// What is behind the Ethernet header and any VLAN tags.
struct payload {
	uint16_t protocol;
	const uint8_t *bytes;
	size_t length;
};

static bool read_payload(const uint8_t *frame, size_t length, struct payload *payload)
{
	size_t at = 2 * ETHER_ADDR_LEN;
	for (int tags = 0; tags < 3; tags++, at += 4) {
		if (length < at + 2)
			return false;
		uint16_t protocol = (uint16_t)(frame[at] << 8 | frame[at + 1]);
		if (protocol == ETHERTYPE_VLAN || protocol == PROTOCOL_QINQ)
			continue;
		*payload = (struct payload){protocol, frame + at + 2, length - at - 2};
		return true;
	}
	return false;
}

static bool read_arp(const struct payload *payload, struct ether_arp *arp)
{
	if (payload->protocol != ETHERTYPE_ARP || payload->length < sizeof(*arp))
		return false;
	memcpy(arp, payload->bytes, sizeof(*arp));
	return arp->arp_hrd == htons(ARPHRD_ETHER) && arp->arp_pro == htons(ETHERTYPE_IP) &&
	       arp->arp_hln == ETHER_ADDR_LEN && arp->arp_pln == 4;
}

// Neighbour solicitation and advertisement have the same form.
struct discovery {
	struct ip6_hdr ip;
	struct nd_neighbor_solicit message;
};

static bool read_discovery(const struct payload *payload, struct discovery *nd)
{
	if (payload->protocol != ETHERTYPE_IPV6 || payload->length < sizeof(*nd))
		return false;
	memcpy(nd, payload->bytes, sizeof(*nd));
	return nd->ip.ip6_nxt == IPPROTO_ICMPV6 && nd->ip.ip6_hlim == 255 &&
	       (nd->message.nd_ns_type == ND_NEIGHBOR_SOLICIT ||
		nd->message.nd_ns_type == ND_NEIGHBOR_ADVERT);
}

static bool has_address(const struct frame_filter *filter, int family, const void *bytes)
{
	for (size_t i = 0; i < filter->count; i++) {
		const struct address *a = &filter->addresses[i];
		if (a->family == family && !memcmp(a->bytes, bytes, address_length(a)))
			return true;
	}
	return false;
}

static bool asks_for(const struct frame_filter *filter, const uint8_t *frame, size_t length)
{
	struct payload payload;
	struct ether_arp arp;
	struct discovery nd;
	if (!read_payload(frame, length, &payload))
		return false;
	if (read_arp(&payload, &arp))
		return arp.arp_op == htons(ARPOP_REQUEST) &&
		       has_address(filter, AF_INET, arp.arp_tpa);
	if (read_discovery(&payload, &nd))
		return nd.message.nd_ns_type == ND_NEIGHBOR_SOLICIT &&
		       has_address(filter, AF_INET6, &nd.message.nd_ns_target);
	return false;
}

bool frame_wanted(const struct frame_filter *filter, const uint8_t *frame, size_t length)
{
	const uint8_t *own = filter->mac.bytes;
	if (length < FRAME_MIN || length > FRAME_MAX)
		return false;
	if (!memcmp(frame + ETHER_ADDR_LEN, own, ETHER_ADDR_LEN))
		return false;
	if (!memcmp(frame, own, ETHER_ADDR_LEN))
		return true;
	return (frame[0] & 1) && asks_for(filter, frame, length);
}

bool frame_vnet_valid(const uint8_t *vnet, size_t frame_length)
{
	struct virtio_net_hdr header;
	memcpy(&header, vnet, sizeof(header));
	if (header.flags & ~(VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID))
		return false;
	if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    (size_t)header.csum_start + header.csum_offset + 2 > frame_length)
		return false;
	switch (header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return header.gso_type == VIRTIO_NET_HDR_GSO_NONE;
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return header.gso_size > 0 && header.hdr_len <= frame_length;
	default:
		return false;
	}
}

static size_t put_ethernet(uint8_t *frame, const struct mac *to, const struct mac *from,
			   uint16_t protocol)
{
	struct ether_header header = {.ether_type = htons(protocol)};
	memcpy(header.ether_dhost, to->bytes, ETHER_ADDR_LEN);
	memcpy(header.ether_shost, from->bytes, ETHER_ADDR_LEN);
	memcpy(frame, &header, sizeof(header));
	return sizeof(header);
}

static size_t put_arp(uint8_t *frame, const struct mac *mac, const struct address *sender,
		      const struct address *target)
{
	struct ether_arp arp = {
		.arp_hrd = htons(ARPHRD_ETHER),
		.arp_pro = htons(ETHERTYPE_IP),
		.arp_hln = ETHER_ADDR_LEN,
		.arp_pln = 4,
		.arp_op = htons(ARPOP_REQUEST),
	};
	memcpy(arp.arp_sha, mac->bytes, ETHER_ADDR_LEN);
	if (sender)
		memcpy(arp.arp_spa, sender->bytes, 4);
	memcpy(arp.arp_tpa, target->bytes, 4);
	size_t at = put_ethernet(frame, &everybody, mac, ETHERTYPE_ARP);
	memcpy(frame + at, &arp, sizeof(arp));
	return at + sizeof(arp);
}

static uint32_t sum_words(const void *bytes, size_t length, uint32_t sum)
{
	const uint8_t *b = bytes;
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)(b[i] << 8 | b[i + 1]);
	return sum;
}

// RFC 4443 section 2.3, over the pseudo header of RFC 8200 section 8.1. `length` is even here.
static uint16_t icmp6_checksum(const struct ip6_hdr *ip, const void *message, size_t length)
{
	uint32_t sum = sum_words(&ip->ip6_src, 2 * sizeof(ip->ip6_src), (uint32_t)length);
	sum = sum_words(message, length, sum + IPPROTO_ICMPV6);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static size_t put_icmp6(uint8_t *frame, const struct mac *to, const struct mac *from,
			struct ip6_hdr *ip, void *message, size_t length)
{
	struct icmp6_hdr *icmp = message;
	ip->ip6_flow = htonl(6u << 28);
	ip->ip6_plen = htons((uint16_t)length);
	ip->ip6_nxt = IPPROTO_ICMPV6;
	ip->ip6_hlim = 255;
	icmp->icmp6_cksum = icmp6_checksum(ip, message, length);
	size_t at = put_ethernet(frame, to, from, ETHERTYPE_IPV6);
	memcpy(frame + at, ip, sizeof(*ip));
	memcpy(frame + at + sizeof(*ip), message, length);
	return at + sizeof(*ip) + length;
}

static size_t put_advertisement(uint8_t *frame, const struct mac *mac,
				const struct address *address)
{
	static const struct mac all_nodes = {{0x33, 0x33, 0, 0, 0, 1}};
	struct {
		struct nd_neighbor_advert advert;
		struct nd_opt_hdr option;
		uint8_t mac[ETHER_ADDR_LEN];
	} message = {
		.advert.nd_na_type = ND_NEIGHBOR_ADVERT,
		.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE,
		.advert.nd_na_target = address->v6,
		.option = {.nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1},
	};
	struct ip6_hdr ip = {.ip6_src = address->v6};
	memcpy(message.mac, mac->bytes, ETHER_ADDR_LEN);
	inet_pton(AF_INET6, "ff02::1", &ip.ip6_dst);
	return put_icmp6(frame, &all_nodes, mac, &ip, &message, sizeof(message));
}

static size_t put_solicitation(uint8_t *frame, const struct mac *sender,
			       const struct address *address)
{
	struct nd_neighbor_solicit message = {
		.nd_ns_type = ND_NEIGHBOR_SOLICIT,
		.nd_ns_target = address->v6,
	};
	struct ip6_hdr ip = {0};
	struct mac to;
	inet_pton(AF_INET6, "ff02::1:ff00:0", &ip.ip6_dst);
	memcpy(ip.ip6_dst.s6_addr + 13, address->bytes + 13, 3);
	frame_solicited_mac(address, &to);
	return put_icmp6(frame, &to, sender, &ip, &message, sizeof(message));
}

size_t frame_announcement(uint8_t frame[FRAME_TALK_MAX], const struct mac *mac,
			  const struct address *address)
{
	if (address->family == AF_INET)
		return put_arp(frame, mac, address, address);
	return put_advertisement(frame, mac, address);
}

size_t frame_question(uint8_t frame[FRAME_TALK_MAX], const struct mac *sender,
		      const struct address *address)
{
	if (address->family == AF_INET)
		return put_arp(frame, sender, NULL, address);
	return put_solicitation(frame, sender, address);
}

// Another's probe for the same address (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3): it is
// about to take it.
static bool arp_claims(const struct ether_arp *arp, const struct address *address)
{
	static const uint8_t nobody[4];
	if (!memcmp(arp->arp_spa, address->bytes, 4))
		return true;
	return arp->arp_op == htons(ARPOP_REQUEST) && !memcmp(arp->arp_spa, nobody, 4) &&
	       !memcmp(arp->arp_tpa, address->bytes, 4);
}

static bool discovery_claims(const struct discovery *nd, const struct address *address)
{
	if (!memcmp(&nd->ip.ip6_src, address->bytes, 16))
		return true;
	return !memcmp(&nd->message.nd_ns_target, address->bytes, 16) &&
	       (nd->message.nd_ns_type == ND_NEIGHBOR_ADVERT ||
		IN6_IS_ADDR_UNSPECIFIED(&nd->ip.ip6_src));
}

bool frame_claims(const uint8_t *frame, size_t length, const struct address *address,
		  struct mac *who)
{
	struct payload payload;
	struct ether_arp arp;
	struct discovery nd;
	bool claims = false;
	if (!read_payload(frame, length, &payload))
		return false;
	memcpy(who->bytes, frame + ETHER_ADDR_LEN, ETHER_ADDR_LEN);
	if (address->family == AF_INET && read_arp(&payload, &arp)) {
		memcpy(who->bytes, arp.arp_sha, ETHER_ADDR_LEN);
		claims = arp_claims(&arp, address);
	} else if (address->family == AF_INET6 && read_discovery(&payload, &nd)) {
		claims = discovery_claims(&nd, address);
	}
	return claims;
}

void frame_link_local(const struct mac *mac, struct address *address)
{
	const uint8_t *m = mac->bytes;
	*address = (struct address){.family = AF_INET6, .prefix = 64};
	const uint8_t bytes[16] = {0xfe,     0x80, 0,    0,    0,    0,    0,    0,
				   m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
	memcpy(address->bytes, bytes, sizeof(bytes));
}

void frame_solicited_mac(const struct address *address, struct mac *mac)
{
	*mac = (struct mac){
		{0x33, 0x33, 0xff, address->bytes[13], address->bytes[14], address->bytes[15]}};
}
