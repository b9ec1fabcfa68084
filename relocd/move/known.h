// SPDX-License-Identifier: Apache-2.0
// The revoked keys that hosts tell each other of with every call: JSON [["host","key"],...] between
// our own processes, messages between hosts.
#ifndef RELOCD_MOVE_KNOWN_H
#define RELOCD_MOVE_KNOWN_H

#include "images/peer.pb-c.h"

#include "lib/transport/link.h"

#include <jansson.h>
#include <stddef.h>

#define KNOWN_MAX 256

// What a message holds; entries that are no host name and key are left out. The caller's.
json_t *known_to_json(Wpar__Revoked *const *list, size_t count);

// ERR_PEER_UNTRUSTED when the key of the other host is among them.
int known_refuse(const json_t *json, const struct link *link, struct error *err);

// For a message; points into the JSON.
struct known {
	Wpar__Revoked entries[KNOWN_MAX];
	Wpar__Revoked *list[KNOWN_MAX];
	size_t count;
};
void known_from_json(const json_t *json, struct known *known);

#endif
