// SPDX-License-Identifier: Apache-2.0
// Addresses as people write them: IPv4 and IPv6 with a prefix length, hardware addresses.
#ifndef WPAR_NET_ADDRESS_H
#define WPAR_NET_ADDRESS_H

#include "lib/base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct address {
	int family; // AF_INET or AF_INET6
	union {
		struct in_addr v4;
		struct in6_addr v6;
		uint8_t bytes[16]; // network byte order, address_length() of them
	};
	uint8_t prefix; // length of the network part in bits
};

struct mac {
	uint8_t bytes[6];
};

#define ADDRESS_TEXT_MAX 52 // INET6_ADDRSTRLEN, "/128"
#define MAC_TEXT_MAX     18

// "10.77.0.50/24", "fd77::50/64": an address that an interface can have, with its prefix length.
// ERR_DEFINITION for anything else: multicast, loopback, unspecified, IPv4-mapped, or the network's
// own or broadcast address.
int address_parse_cidr(const char *text, struct address *address, struct error *err);
// "10.77.0.1", "fd77::1": a gateway or a server; prefix becomes 32 or 128.
int address_parse_host(const char *text, struct address *address, struct error *err);
// With the prefix / without it; both return text.
char *address_format_cidr(const struct address *address, char text[ADDRESS_TEXT_MAX]);
char *address_format_host(const struct address *address, char text[ADDRESS_TEXT_MAX]);

// 4 or 16.
unsigned address_length(const struct address *address);
// Same family and same address; the prefix does not count.
bool address_equal(const struct address *a, const struct address *b);
// `host` lies in the network of `network` (its prefix).
bool address_in_network(const struct address *host, const struct address *network);

// "02:00:0a:4d:00:32". ERR_DEFINITION for anything that a station cannot have (group bit, zero).
int mac_parse(const char *text, struct mac *mac, struct error *err);
char *mac_format(const struct mac *mac, char text[MAC_TEXT_MAX]);
bool mac_equal(const struct mac *a, const struct mac *b);
// A random, locally administered one (02:...).
int mac_generate(struct mac *mac, struct error *err);

#endif
