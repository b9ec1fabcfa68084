// SPDX-License-Identifier: Apache-2.0
// All networks of a partition during a move: their ports, and the holds that take their place.
// Either side has one.
//
//     departure:  cable_open ... cable_pull(c, true) ... HELD ... cable_close
//       aborted:  cable_announce, cable_plug_in, cable_close
//     arrival:    cable_open ... cable_pull(c, false), cable_announce ... HELD ...
//                 cable_plug_in, cable_close
#ifndef RELOCD_MOVE_CABLE_H
#define RELOCD_MOVE_CABLE_H

#include "lib/net/hold.h"
#include "lib/net/port.h"
#include "lib/partition/definition.h"
#include "lib/partition/keeper_client.h"

#include <poll.h>
#include <stdbool.h>

struct cable {
	struct port *ports[DEFINITION_NETWORKS_MAX];
	struct hold *holds[DEFINITION_NETWORKS_MAX];
	size_t count;
	bool pulled; // the holds have its place
};

// Opens the ports that the keeper made and a hold beside each (PREPARE). All zero before. On
// failure what was opened stays until cable_close.
int cable_open(struct cable *c, const struct partition_def *def, const struct keeper_status *keeper,
	       struct error *err);

// From now on frames are held. With `plugged` the ports carried frames until now and are disabled.
int cable_pull(struct cable *c, bool plugged, struct error *err);

// Tells all networks that the partition is on this host; the first failure is returned.
int cable_announce(struct cable *c, struct error *err);
// Gives the ports back their place and the frames that were held. Nobody can do anything about a
// failure here: it is logged, and the other networks get theirs.
void cable_plug_in(struct cable *c);

// Takes waiting frames over while it is pulled.
int cable_collect(struct cable *c, struct error *err);
// Fills in what to poll for them, at most DEFINITION_NETWORKS_MAX entries; returns how many.
size_t cable_poll(const struct cable *c, struct pollfd *fds);

// Slow (see hold_close): not while the partition is frozen. It can be opened again.
void cable_close(struct cable *c);

#endif
