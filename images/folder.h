// SPDX-License-Identifier: Apache-2.0
// Packs the per-host volatile folders of a partition (/run, /tmp, /dev/shm ...) into a stream of
// bytes and unpacks one beneath a folder.
//
// Travels: folders, regular files, symbolic links, FIFOs, with mode, owner and times; hard links
// within one folder tree stay hard links. Sockets do not: CRIU binds them anew. Device nodes and
// setuid bits never do. Unpacking never leaves the folder: no "..", no absolute names, no symbolic
// link is followed.
#ifndef WPAR_IMAGES_FOLDER_H
#define WPAR_IMAGES_FOLDER_H

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stddef.h>

// Appends the contents of `dirfd` (not the folder itself, but its mode and owner) to `out`.
int folder_pack(int dirfd, struct buf *out, struct error *err);

// Creates what `bytes` holds in the empty folder `dirfd`. ERR_PROTOCOL when the bytes are not what
// folder_pack() writes.
int folder_unpack(int dirfd, const void *bytes, size_t length, struct error *err);

#endif
