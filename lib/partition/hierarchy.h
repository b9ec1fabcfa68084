// SPDX-License-Identifier: Apache-2.0
// The cgroup hierarchies that are mounted on this host, from /proc/self/mountinfo (proc(5)).
#ifndef WPAR_PARTITION_HIERARCHY_H
#define WPAR_PARTITION_HIERARCHY_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define HIERARCHY_MAX 20

struct hierarchy {
	char mount[256]; // where it is mounted
	bool v2;
	char controllers[160]; // v1: super options ("rw,cpu,cpuacct"); v2: empty
};

// Finds them in the text of a mountinfo file; each hierarchy once, the v2 one first. Returns how
// many.
size_t hierarchy_parse(const char *mountinfo, struct hierarchy list[HIERARCHY_MAX]);
// Those of this process. ERR_CGROUP when there are none.
int hierarchy_find(struct hierarchy list[HIERARCHY_MAX], size_t *count, struct error *err);
// v1: whether `controller` is one of this hierarchy's ("memory", "name=systemd").
bool hierarchy_has(const struct hierarchy *h, const char *controller);
// The path of a process in this hierarchy from the text of /proc/PID/cgroup (cgroups(7)), into
// path.
bool hierarchy_path_of(const struct hierarchy *h, const char *proc_cgroup, char *path, size_t size);

#endif
