// SPDX-License-Identifier: Apache-2.0
// Ethernet frames as far as we read and write them: which of them are for a partition, ARP
// (RFC 826, 5227) and neighbour discovery (RFC 4861). Pure functions. Private to lib/net.
#ifndef WPAR_NET_FRAME_H
#define WPAR_NET_FRAME_H

#include "lib/net/address.h"

#include <linux/virtio_net.h>
#include <stddef.h>

// The largest frame that a TAP device gives or a packet socket takes: 64 KiB of segments not yet
// cut, Ethernet header, two VLAN tags.
#define FRAME_MAX      (65535 + 14 + 8)
#define FRAME_MIN      14
#define FRAME_VNET     sizeof(struct virtio_net_hdr)
#define FRAME_TALK_MAX 128 // room for any frame made here

struct frame_filter {
	struct mac mac;
	const struct address *addresses;
	size_t count;
};

// Is it for that partition: unicast to its MAC, or an ARP request or neighbour solicitation for one
// of its addresses? What the partition's own MAC sent is not.
bool frame_wanted(const struct frame_filter *filter, const uint8_t *frame, size_t length);

// Do the offsets of the header lie within a frame of that length, and are its kinds known?
bool frame_vnet_valid(const uint8_t *vnet, size_t frame_length);

// "address is at mac", to everybody: gratuitous ARP request, or unsolicited neighbour advertisement
// with the override flag. Returns the length.
size_t frame_announcement(uint8_t frame[FRAME_TALK_MAX], const struct mac *mac,
			  const struct address *address);
// "Who has address?", from nobody: `sender` is only the MAC that answers go to.
size_t frame_question(uint8_t frame[FRAME_TALK_MAX], const struct mac *sender,
		      const struct address *address);
// Does that frame say that somebody has (or just now wants: another's probe) the address? Fills
// `who`.
bool frame_claims(const uint8_t *frame, size_t length, const struct address *address,
		  struct mac *who);

// The link-local address that a MAC gives (RFC 4291 appendix A).
void frame_link_local(const struct mac *mac, struct address *address);
// The multicast MAC for neighbour solicitations of an IPv6 address (RFC 2464 section 7).
void frame_solicited_mac(const struct address *address, struct mac *mac);

#endif
