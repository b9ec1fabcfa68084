// SPDX-License-Identifier: Apache-2.0
// Copies what a root filesystem brings along for a folder that gets a volatile one mounted over it
// (images hold folders such as /run/postgresql with their owners).
#ifndef WPAR_PARTITION_TREECOPY_H
#define WPAR_PARTITION_TREECOPY_H

#include "lib/base/error.h"

#include <sys/types.h>

// Copies folders, regular files and symbolic links below `folder` of the root filesystem `root`
// into the existing folder `to`, with owners and modes; special files are left out. Never follows a
// link out of the root. No such folder: 0.
int treecopy_from_root(const char *root, const char *folder, const char *to, struct error *err);

// Copies one regular file to a new one.
int treecopy_file(const char *from, const char *to, mode_t mode, struct error *err);

#endif
