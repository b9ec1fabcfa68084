// SPDX-License-Identifier: Apache-2.0
#include "lib/partition/station.h"

#include "lib/partition/strv.h"

#include <stdlib.h>

int station_of(const struct partition_network *network, struct station *station, struct error *err)
{
	size_t count = strv_length(network->addresses);
	*station = (struct station){.addresses = calloc(count + 1, sizeof(*station->addresses))};
	if (!station->addresses)
		return error_set(err, ERR_NOMEM, "no memory for addresses");
	for (; station->address_count < count; station->address_count++)
		if (address_parse_cidr(network->addresses[station->address_count],
				       &station->addresses[station->address_count], err) < 0)
			return -1;
	for (char **gateway = network->gateways; gateway && *gateway && station->gateway_count < 2;
	     gateway++)
		if (address_parse_host(*gateway, &station->gateways[station->gateway_count++],
				       err) < 0)
			return -1;
	return mac_parse(network->mac, &station->mac, err);
}

void station_free(struct station *station)
{
	free(station->addresses);
	station->addresses = NULL;
}
