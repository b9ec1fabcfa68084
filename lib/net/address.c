// SPDX-License-Identifier: Apache-2.0
#include "lib/net/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

unsigned address_length(const struct address *address)
{
	return address->family == AF_INET ? 4 : 16;
}

static bool any_host_bit(const struct address *address, bool value)
{
	for (unsigned bit = address->prefix; bit < 8 * address_length(address); bit++)
		if (((address->bytes[bit / 8] >> (7 - bit % 8)) & 1) == value)
			return true;
	return false;
}

static bool usable_v4(const struct address *address)
{
	unsigned first = address->bytes[0];
	return first != 0 && first != 127 && first < 224;
}

static bool usable_v6(const struct address *address)
{
	const struct in6_addr *a = &address->v6;
	return !IN6_IS_ADDR_UNSPECIFIED(a) && !IN6_IS_ADDR_LOOPBACK(a) &&
	       !IN6_IS_ADDR_MULTICAST(a) && !IN6_IS_ADDR_V4MAPPED(a) && !IN6_IS_ADDR_V4COMPAT(a);
}

static int parse(const char *text, struct address *address, struct error *err)
{
	memset(address, 0, sizeof(*address));
	address->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	address->prefix = (uint8_t)(8 * address_length(address));
	if (inet_pton(address->family, text, address->bytes) != 1)
		return error_set(err, ERR_DEFINITION, "\"%.60s\" is not an IP address", text);
	if (address->family == AF_INET ? !usable_v4(address) : !usable_v6(address))
		return error_set(err, ERR_DEFINITION,
				 "%s is not an address that a station can have", text);
	return 0;
}

int address_parse_host(const char *text, struct address *address, struct error *err)
{
	return parse(text, address, err);
}

static int parse_prefix(const char *text, const char *digits, struct address *address,
			struct error *err)
{
	char *end;
	unsigned long most = address->prefix, value = strtoul(digits, &end, 10);
	if (digits[0] < '0' || digits[0] > '9' || *end || value < 1 || value > most)
		return error_set(err, ERR_DEFINITION,
				 "\"%.60s\": the prefix length must be 1 to %lu", text, most);
	address->prefix = (uint8_t)value;
	return 0;
}

int address_parse_cidr(const char *text, struct address *address, struct error *err)
{
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	if (!slash)
		return error_set(err, ERR_DEFINITION,
				 "\"%.60s\" lacks a prefix length, as in 192.0.2.7/24", text);
	if ((size_t)(slash - text) >= sizeof(host))
		return error_set(err, ERR_DEFINITION, "\"%.60s\" is not an IP address", text);
	snprintf(host, sizeof(host), "%.*s", (int)(slash - text), text);
	if (parse(host, address, err) < 0 || parse_prefix(text, slash + 1, address, err) < 0)
		return -1;
	// RFC 3021: a network of two has no addresses of its own.
	if (address->family == AF_INET && address->prefix < 31 &&
	    (!any_host_bit(address, true) || !any_host_bit(address, false)))
		return error_set(err, ERR_DEFINITION,
				 "%s is the network's own or its broadcast address", text);
	return 0;
}

char *address_format_host(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
	if (!inet_ntop(address->family, address->bytes, text, ADDRESS_TEXT_MAX))
		snprintf(text, ADDRESS_TEXT_MAX, "?");
	return text;
}

char *address_format_cidr(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
	address_format_host(address, text);
	size_t length = strlen(text);
	snprintf(text + length, ADDRESS_TEXT_MAX - length, "/%u", address->prefix);
	return text;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, address_length(a));
}

bool address_in_network(const struct address *host, const struct address *network)
{
	unsigned whole = network->prefix / 8, rest = network->prefix % 8;
	if (host->family != network->family || memcmp(host->bytes, network->bytes, whole))
		return false;
	return !rest || !((host->bytes[whole] ^ network->bytes[whole]) >> (8 - rest));
}

static bool read_octets(const char *text, uint8_t bytes[6])
{
	if (strlen(text) != MAC_TEXT_MAX - 1)
		return false;
	for (int i = 0; i < 6; i++, text += 3) {
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
		    text[2] != (i < 5 ? ':' : '\0'))
			return false;
		bytes[i] = (uint8_t)strtoul(text, NULL, 16);
	}
	return true;
}

int mac_parse(const char *text, struct mac *mac, struct error *err)
{
	static const struct mac zero;
	if (!read_octets(text, mac->bytes))
		return error_set(err, ERR_DEFINITION,
				 "\"%.60s\" is not a MAC address, as in 02:00:0a:4d:00:32", text);
	if ((mac->bytes[0] & 1) || mac_equal(mac, &zero))
		return error_set(err, ERR_DEFINITION,
				 "%s is not a MAC address that a station can have", text);
	return 0;
}

char *mac_format(const struct mac *mac, char text[MAC_TEXT_MAX])
{
	const uint8_t *b = mac->bytes;
	snprintf(text, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
		 b[5]);
	return text;
}

bool mac_equal(const struct mac *a, const struct mac *b)
{
	return !memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

int mac_generate(struct mac *mac, struct error *err)
{
	if (getrandom(mac->bytes, sizeof(mac->bytes), 0) != sizeof(mac->bytes))
		return error_sys(err, ERR_SYSTEM, errno, "cannot get random bytes");
	mac->bytes[0] = 0x02;
	return 0;
}
