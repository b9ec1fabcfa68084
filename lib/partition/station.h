// SPDX-License-Identifier: Apache-2.0
// What a partition is on one of its networks: the MAC, addresses and gateways of its definition,
// parsed.
#ifndef WPAR_PARTITION_STATION_H
#define WPAR_PARTITION_STATION_H

#include "lib/net/address.h"
#include "lib/partition/definition.h"

struct station {
	struct mac mac;
	struct address *addresses;
	size_t address_count;
	struct address gateways[2]; // at most one of a family
	size_t gateway_count;
};

// station_free() it, also after a failure. ERR_DEFINITION, ERR_NOMEM.
int station_of(const struct partition_network *network, struct station *station, struct error *err);
void station_free(struct station *station);

#define _cleanup_station_ __attribute__((cleanup(station_free)))

#endif
