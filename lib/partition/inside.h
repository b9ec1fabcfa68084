// SPDX-License-Identifier: Apache-2.0
// The mounts of a partition as seen from inside: run by its future init in its new mount namespace.
#ifndef WPAR_PARTITION_INSIDE_H
#define WPAR_PARTITION_INSIDE_H

#include "lib/base/error.h"
#include "lib/partition/definition.h"
#include "lib/partition/stage.h"

// Makes the stage's root the root, leaves the host's mounts behind and mounts everything.
int inside_mount(const struct stage *stage, const struct partition_def *def, struct error *err);

// Then: makes a folder and those above it, where they are missing.
int inside_make_folder(const char *path, struct error *err);

#endif
