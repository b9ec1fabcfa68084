// SPDX-License-Identifier: Apache-2.0
#include "relocd/move/cable.h"

#include "lib/base/log.h"
#include "lib/partition/station.h"

static int open_network(struct cable *c, const struct partition_def *def, const char *port,
			struct error *err)
{
	const struct partition_network *network = &def->networks[c->count];
	_cleanup_station_ struct station station = {0};
	char ifname[IFNAMSIZ];
	if (station_of(network, &station, err) < 0)
		return -1;
	size_t i = c->count++;
	hold_name(def->name, (unsigned)i, ifname);
	c->ports[i] = port_open(port, err);
	if (c->ports[i])
		c->holds[i] = hold_open(ifname, network->bridge, &station.mac, station.addresses,
					station.address_count, err);
	return c->holds[i] ? 0 : -1;
}

int cable_open(struct cable *c, const struct partition_def *def, const struct keeper_status *keeper,
	       struct error *err)
{
	if (keeper->port_count != def->network_count)
		return error_set(err, ERR_KEEPER, "the keeper has %zu ports for %zu networks",
				 keeper->port_count, def->network_count);
	for (size_t i = 0; i < keeper->port_count; i++)
		if (open_network(c, def, keeper->ports[i], err) < 0)
			return -1;
	return 0;
}

int cable_pull(struct cable *c, bool plugged, struct error *err)
{
	c->pulled = true; // a failure may leave some pulled: plugging in does no harm to the others
	for (size_t i = 0; i < c->count; i++)
		if (hold_begin(c->holds[i], plugged ? c->ports[i] : NULL, err) < 0)
			return -1;
	return 0;
}

int cable_announce(struct cable *c, struct error *err)
{
	int result = 0;
	for (size_t i = 0; i < c->count; i++)
		if (hold_announce(c->holds[i], result ? NULL : err) < 0)
			result = -1;
	return result;
}

void cable_plug_in(struct cable *c)
{
	struct error err;
	c->pulled = false;
	for (size_t i = 0; i < c->count; i++)
		if (hold_release(c->holds[i], c->ports[i], &err) < 0)
			log_error_of(&err, "network");
}

int cable_collect(struct cable *c, struct error *err)
{
	for (size_t i = 0; c->pulled && i < c->count; i++)
		if (hold_collect(c->holds[i], err) < 0)
			return -1;
	return 0;
}

size_t cable_poll(const struct cable *c, struct pollfd *fds)
{
	size_t count = c->pulled ? c->count : 0;
	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = hold_fd(c->holds[i]), .events = POLLIN};
	return count;
}

void cable_close(struct cable *c)
{
	for (size_t i = 0; i < c->count; i++) {
		hold_close(c->holds[i]);
		port_close(c->ports[i]);
	}
	*c = (struct cable){0};
}
