// SPDX-License-Identifier: Apache-2.0
// Files and folders of /proc and /sys that carry a mount of the partition (they are masked or
// read-only). Another kernel may lack some, and a restore would fail on that.
#ifndef RELOCD_MOVE_KERNELPATHS_H
#define RELOCD_MOVE_KERNELPATHS_H

#include "lib/base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

// The mount points below /proc and /sys that a process sees, as strings; those of folders end in
// '/'. The caller's. ERR_SYSTEM.
json_t *kernelpaths_of(pid_t pid, struct error *err);
// The same from the text of a mountinfo file (proc(5)) and the root that its paths are below.
json_t *kernelpaths_read(const char *mountinfo, int root);

// Whether this host has all of them. ERR_VERSION names the first that is missing or of the other
// kind, ERR_PROTOCOL one that is not below /proc or /sys.
int kernelpaths_check(char *const *paths, size_t count, struct error *err);

#endif
