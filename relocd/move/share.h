// SPDX-License-Identifier: Apache-2.0
// How many connections a move uses. relocd and departure decide by the same rule.
#ifndef RELOCD_MOVE_SHARE_H
#define RELOCD_MOVE_SHARE_H

#define SHARE_STREAMS_MAX 8

// Of what was asked for, 1 to SHARE_STREAMS_MAX. 0: as many as this host has processors for, half
// as many as these, at most 4: each connection has a mover that encrypts, and the rest of the work
// is one process's.
unsigned share_streams(unsigned asked);

#endif
