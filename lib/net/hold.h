// SPDX-License-Identifier: Apache-2.0
// Nothing sent to a partition is lost while it moves. A hold is a TAP port on the bridge that takes
// the partition's place: frames for its MAC, and ARP requests and neighbour solicitations for its
// addresses, are kept in order and injected into the partition's own port when it runs again. There
// is one on either host. Frames keep their virtio_net_hdr (linux/virtio_net.h): what was sent with
// segmentation or checksum offload stays valid.
//
// The bridge's table points to the hold by a dynamic entry, never a static one: when the other host
// announces the address, the entry moves to the uplink by itself, and frames of other partitions on
// this host go the new way. The kernel removes device and entry when the process dies.
//
//     departure:  hold_open ... hold_begin(h, port) ... hold_serialise -> HELD ... hold_close
//       aborted:  hold_announce(h), hold_release(h, port), hold_close
//     arrival:    hold_open ... hold_begin(h, NULL), hold_announce ... hold_add_frames(HELD) ...
//                 hold_release(h, port), hold_close
#ifndef WPAR_NET_HOLD_H
#define WPAR_NET_HOLD_H

#include "lib/net/address.h"
#include "lib/net/port.h"

#include <stddef.h>
#include <stdint.h>

#define HOLD_BYTES_MAX  (4u << 20)
#define HOLD_FRAMES_MAX 4096u

struct hold;

// Makes the TAP port (PREPARE; some milliseconds). It captures nothing yet. `ifname` as from
// hold_name(). ERR_NETWORK, ERR_BRIDGE_MISSING.
struct hold *hold_open(const char *ifname, const char *bridge, const struct mac *mac,
		       const struct address *addresses, size_t address_count, struct error *err);
void hold_name(const char *partition, unsigned index, char ifname[IFNAMSIZ]);

// From now on frames for the partition come here; `port` (may be NULL: disabled already) is
// disabled. No frame falls between the two: one sendmsg does it.
int hold_begin(struct hold *hold, struct port *port, struct error *err);

// Tells bridges, switches and neighbours that the partition is here: gratuitous ARP and unsolicited
// neighbour advertisements (override) from its MAC for each address, sent through the hold.
int hold_announce(struct hold *hold, struct error *err);

// Readable when frames wait: call hold_collect then, or at least now and then (the device queues
// 4096 frames by itself).
int hold_fd(const struct hold *hold);
// Takes waiting frames over into memory. Past the bounds frames are dropped, newest first, counted.
int hold_collect(struct hold *hold, struct error *err);

// The frames held here, as bytes for the peer, in pieces of whole frames: writes at most `room`
// bytes (at least HOLD_PIECE_MIN) and returns how many; 0 when all are out. *cursor starts at 0.
#define HOLD_PIECE_MIN 70000u
size_t hold_serialise(const struct hold *hold, size_t *cursor, void *bytes, size_t room);
// Takes a piece from the peer; these frames go before our own. Nothing in it is trusted: frames
// that are not for this partition, or malformed ones, are refused whole (ERR_PROTOCOL).
int hold_add_frames(struct hold *hold, const void *bytes, size_t length, struct error *err);

// Gives the place back: enables the port, injects the peer's frames, then ours, points the bridge's
// table to the port, injects what came meanwhile. The partition's sockets must exist by now, or its
// kernel answers with resets. The hold is idle afterwards (hold_begin would start it again).
int hold_release(struct hold *hold, struct port *port, struct error *err);

struct hold_stats {
	size_t own, peer;        // frames held here / taken from the peer
	size_t dropped;          // past the bounds
	size_t injected, failed; // frames that went into the port, and that it did not take
};
void hold_stats(const struct hold *hold, struct hold_stats *stats);

// Removes the device. Slow (the kernel waits for its readers): not while the partition is frozen.
void hold_close(struct hold *hold);

#define _cleanup_hold_ __attribute__((cleanup(hold_cleanup)))
static inline void hold_cleanup(struct hold **hold)
{
	hold_close(*hold);
}

#endif
