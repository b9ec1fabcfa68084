// SPDX-License-Identifier: Apache-2.0
// Which devices the processes of a control group may open and make: those without a state or an
// owner (null, zero, full, random, urandom, tty, ptmx and pseudo-terminals), none of the host's.
#ifndef WPAR_PARTITION_DEVICES_H
#define WPAR_PARTITION_DEVICES_H

#include "lib/base/error.h"

// In a folder of the v1 hierarchy with the devices controller
// (Documentation/admin-guide/cgroup-v1/devices.rst of the kernel). The policy is handed down to
// groups made below it from then on: there must be none yet. ERR_CGROUP.
int devices_confine_v1(int folder, struct error *err);
// Whether a policy holds there: 0, or ERR_CGROUP.
int devices_check_v1(int folder, struct error *err);
// In a folder of a v2 hierarchy: a program of type BPF_PROG_TYPE_CGROUP_DEVICE, which lives as long
// as the group and holds for all groups below. A repeated call replaces it. ERR_CGROUP; err->sys is
// EPERM where this process may not load programs, EINVAL or ENOSYS where the kernel has none.
int devices_confine_v2(int folder, struct error *err);

#endif
