// SPDX-License-Identifier: Apache-2.0
// "networks" and "dns" of a definition.
#include "lib/partition/definition_parts.h"

#include "lib/base/cleanup.h"
#include "lib/net/address.h"
#include "lib/partition/strv.h"

#include <ctype.h>
#include <net/if.h>
#include <string.h>

static bool is_interface(const char *name)
{
	if (!*name || strlen(name) >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (const char *c = name; *c; c++)
		if (*c == '/' || *c == ':' || !isgraph((unsigned char)*c))
			return false;
	return true;
}

static int read_mac(const struct jsonread *r, struct partition_network *network, const char *uuid,
		    unsigned index, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	struct mac mac;
	int there = jsonread_string(r, "mac", &text, err);
	if (there < 0)
		return -1;
	if (!there || !strcmp(text, "auto")) {
		definition_make_mac(uuid, index, network->mac);
		return 0;
	}
	if (mac_parse(text, &mac, err) < 0)
		return error_wrap(err, "%s.mac", r->path);
	mac_format(&mac, network->mac);
	return 0;
}

// A string or a list of strings.
static int read_gateways(const struct jsonread *r, struct partition_network *network,
			 struct error *err)
{
	_cleanup_free_ char *one = NULL;
	if (!json_is_string(json_object_get(r->object, "gateway")))
		return definition_list(r, "gateway", &network->gateways, err);
	if (jsonread_string(r, "gateway", &one, err) < 0)
		return -1;
	network->gateways = strv_new((const char *const[]){one, NULL});
	return network->gateways ? 0 : definition_no_memory(err);
}

// A route through a gateway that is not on the network itself cannot be made.
static int check_gateway(const struct jsonread *r, const struct partition_network *network,
			 const char *text, int *family, struct error *err)
{
	struct address gateway, own;
	if (address_parse_host(text, &gateway, err) < 0)
		return error_wrap(err, "%s.gateway", r->path);
	*family = gateway.family;
	if (gateway.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&gateway.v6))
		return 0;
	for (char **address = network->addresses; *address; address++)
		if (address_parse_cidr(*address, &own, NULL) == 0 &&
		    address_in_network(&gateway, &own))
			return 0;
	return jsonread_wrong(r, "gateway", err, "%s is in the network of none of its addresses",
			      text);
}

static int read_network(const struct jsonread *r, struct partition_network *network,
			const char *uuid, unsigned index, struct error *err)
{
	static const char *const keys[] = {"bridge", "addresses", "gateway", "mac", NULL};
	if (jsonread_only(r, keys, err) < 0 ||
	    jsonread_string(r, "bridge", &network->bridge, err) < 0 ||
	    definition_list(r, "addresses", &network->addresses, err) < 0 ||
	    read_gateways(r, network, err) < 0)
		return -1;
	if (!network->bridge || !is_interface(network->bridge))
		return jsonread_wrong(r, "bridge", err, "is missing or not an interface name");
	struct address parsed;
	for (char **address = network->addresses; *address; address++)
		if (address_parse_cidr(*address, &parsed, err) < 0)
			return error_wrap(err, "%s.addresses", r->path);
	return read_mac(r, network, uuid, index, err);
}

// The kernel takes one default route of a family.
static int check_gateways(const struct jsonread *item, const struct partition_network *network,
			  bool seen[2], struct error *err)
{
	int family = AF_INET;
	for (char **gateway = network->gateways; *gateway; gateway++) {
		if (check_gateway(item, network, *gateway, &family, err) < 0)
			return -1;
		bool *before = &seen[family == AF_INET6];
		if (*before)
			return jsonread_wrong(item, "gateway", err,
					      "%s is the second default gateway of IPv%d", *gateway,
					      family == AF_INET6 ? 6 : 4);
		*before = true;
	}
	return 0;
}

static bool has_address(const struct partition_network *network, const struct address *wanted)
{
	struct address own;
	for (char **text = network->addresses; *text; text++)
		if (address_parse_cidr(*text, &own, NULL) == 0 && address_equal(&own, wanted))
			return true;
	return false;
}

// Against the networks before it: every station has its own MAC and addresses.
static int check_station(const struct jsonread *item, const struct partition_def *def, size_t n,
			 struct error *err)
{
	const struct partition_network *network = &def->networks[n];
	struct address address;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(def->networks[i].mac, network->mac))
			return jsonread_wrong(item, "mac", err, "%s is there twice", network->mac);
		for (char **text = network->addresses; *text; text++)
			if (address_parse_cidr(*text, &address, NULL) == 0 &&
			    has_address(&def->networks[i], &address))
				return jsonread_wrong(item, "addresses", err, "%s is there twice",
						      *text);
	}
	return 0;
}

int definition_networks(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	bool seen[2] = {false, false};
	const json_t *array;
	int there = jsonread_array(r, "networks", &array, err);
	if (there <= 0)
		return there;
	size_t count = json_array_size(array);
	if (count > DEFINITION_NETWORKS_MAX)
		return jsonread_wrong(r, "networks", err, "has more than %d items",
				      DEFINITION_NETWORKS_MAX);
	if (!(def->networks = calloc(count + 1, sizeof(*def->networks))))
		return definition_no_memory(err);
	for (size_t i = 0; i < count; i++) {
		struct jsonread item;
		def->network_count = i + 1;
		if (jsonread_item(r, "networks", array, i, &item, err) < 0 ||
		    read_network(&item, &def->networks[i], def->uuid, (unsigned)i, err) < 0 ||
		    check_gateways(&item, &def->networks[i], seen, err) < 0 ||
		    check_station(&item, def, i, err) < 0)
			return -1;
	}
	return 0;
}

int definition_dns(const struct jsonread *r, struct partition_def *def, struct error *err)
{
	if (definition_list(r, "dns", &def->dns, err) < 0)
		return -1;
	if (strv_length(def->dns) > DEFINITION_DNS_MAX)
		return jsonread_wrong(r, "dns", err, "has more than %d items, see resolv.conf(5)",
				      DEFINITION_DNS_MAX);
	struct address parsed;
	for (char **server = def->dns; *server; server++)
		if (address_parse_host(*server, &parsed, err) < 0)
			return error_wrap(err, "dns");
	return 0;
}
