// SPDX-License-Identifier: Apache-2.0
// The root filesystem of a partition that was made of an image: an overlay (the kernel's
// Documentation/filesystems/overlayfs.rst) of the image below and of what the partition has written
// above it:
//     STATE/partitions/NAME/upper   what it wrote, and marks for what it removed
//     STATE/partitions/NAME/work    overlayfs' own
// Both are on this host's disk and belong to one mount at a time. In a move the upper layer travels
// (relocd/departure/upper.c); it may be looked at while it is mounted, but not changed.
#ifndef WPAR_STORAGE_UPPER_H
#define WPAR_STORAGE_UPPER_H

#include "lib/base/error.h"

#include <limits.h>

// STATE/partitions/NAME/upper; returns path.
char *upper_path(const char *name, char path[PATH_MAX]);

// Makes both folders, empty, with the owner and mode of the image's root; keeps what is there.
int upper_make(const char *name, const char *digest, struct error *err);

// Takes the upper layer for a mount: a descriptor with a lock that nobody else gets. -1 and
// ERR_STORAGE: it is mounted.
int upper_hold(const char *name, struct error *err);

// Gives the lock up; the descriptor stays.
int upper_release(int fd, struct error *err);

// Mounts the overlay at the absolute path `where`, without devices. Changes the working folder of
// the caller (to /), which must have one thread.
int upper_mount(const char *name, const char *digest, const char *where, struct error *err);

// Both folders are gone at once, their contents a moment later. Absent: 0.
int upper_discard(const char *name, struct error *err);

#endif
