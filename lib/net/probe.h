// SPDX-License-Identifier: Apache-2.0
// Is an address free on the network behind a bridge? Asked by ARP probes (RFC 5227) and neighbour
// solicitations from the unspecified address (RFC 4862 section 5.4.2), so that no table learns
// anything from the question.
#ifndef WPAR_NET_PROBE_H
#define WPAR_NET_PROBE_H

#include "lib/base/clock.h"
#include "lib/net/address.h"

#include <stddef.h>

// Asks for all addresses at once through the bridge's own interface, three times until the deadline
// (200 ms are plenty on a LAN); always takes that long when they are free. 0: nobody answered.
// ERR_ADDRESS_TAKEN names the address and who has it: this host, or the MAC that answered. Answers
// from `own` (the partition where it still is) do not count. Runs in the host's namespace.
int probe_addresses(const char *bridge, const struct address *addresses, size_t count,
		    const struct mac *own, deadline_t deadline, struct error *err);

#endif
