// SPDX-License-Identifier: Apache-2.0
// The images of this host, each once, under the digest of its manifest:
//     STATE/images/HEX/layout   an OCI image layout: the blobs as they came, checked by digest;
//     what
//                               another host is sent
//     STATE/images/HEX/rootfs   unpacked: the lower layer of the roots of partitions, never written
//     STATE/images/.new-XXXXXX  one that is being made; renamed when it is whole and on disk
// Who uses an image holds a descriptor of its folder with a shared lock; what nobody holds and no
// partition names may be collected. Nothing but root can look into STATE/images.
#ifndef WPAR_STORAGE_STORE_H
#define WPAR_STORAGE_STORE_H

#include "lib/base/clock.h"
#include "lib/base/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define STORE_DIGEST_MAX 72      // "sha256:" and 64 digits
#define STORE_IMAGE      "image" // what the one image of each of our layouts is tagged

// STATE/images/HEX or, with `below`, STATE/images/HEX/below; returns path.
char *store_path(const char *digest, const char *below, char path[PATH_MAX]);

// An image that is there, as a descriptor of its folder with a shared lock. -1 and ERR_IMAGE when
// it is not.
int store_open(const char *digest, struct error *err);

// One making of images at a time on each host: waits for it. The descriptor is the lock.
int store_lock(deadline_t deadline, struct error *err);

// A new empty folder for an image that is being made, with its path; the descriptor keeps it from
// being collected.
int store_begin(char path[PATH_MAX], struct error *err);
// Makes the folder the image `digest`, durably; another one that came first is kept instead.
// Returns its descriptor as store_open() does.
int store_finish(const char *path, const char *digest, struct error *err);
void store_abandon(const char *path);

// Removes every image that `used` does not know and nobody holds, and what a crash has left half
// made. Returns how many.
int store_collect(bool (*used)(void *arg, const char *digest), void *arg);

// Moves a tree out of the way at once, and then removes it: STATE/trash. What a crash leaves there
// the next store_collect() removes. Absent: 0.
int store_discard(const char *path, struct error *err);

#endif
