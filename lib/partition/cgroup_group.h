// SPDX-License-Identifier: Apache-2.0
// Private to cgroup*.c: one partition's pair of groups in one hierarchy.
#ifndef WPAR_PARTITION_CGROUP_GROUP_H
#define WPAR_PARTITION_CGROUP_GROUP_H

#include "lib/partition/hierarchy.h"
#include "lib/partition/name.h"

#include <stdbool.h>

struct group {
	struct hierarchy hierarchy;
	int outer;   // folder wpar/NAME
	int payload; // folder wpar/NAME/payload
};

struct cgroup {
	char name[NAME_MAX_LENGTH + 1];
	size_t count;
	struct group groups[HIERARCHY_MAX];
	int procs[HIERARCHY_MAX];    // cgroup.procs of each payload
	const struct group *freezer; // one of groups: v2, else the v1 freezer
	char freezer_path[512];      // its folder wpar/NAME
	bool devices_confined;       // known to the one that made it
};

// Reads a small control file into text (NUL-terminated, cut off at size).
int group_read(int folder, const char *file, char *text, size_t size, struct error *err);

#endif
