// SPDX-License-Identifier: Apache-2.0
// Volumes of partitions. One is either a path of the host, which relocd leaves alone, or has a
// name, which stands for a folder that relocd makes and may remove again:
//     SHARED/wpar-volumes/UUID/NAME   below the first folder of storage: shared that is there
//     STATE/volumes/UUID/NAME         with storage "copied", or where nothing is shared
// UUID is the partition's, so that it keeps its volumes when it is renamed.
#ifndef RELOCD_VOLUMES_H
#define RELOCD_VOLUMES_H

#include "lib/config/config.h"
#include "lib/partition/definition.h"

// Whether path is below one of the folders that all hosts share, and on this host really there
// (symbolic links followed).
bool volumes_shared(const struct config *c, const char *path);

// In a definition that is being read (it has a uuid): gives the named ones their paths, and each
// bind its storage by where it is. ERR_DEFINITION for what cannot be a name.
int volumes_complete(const struct config *c, json_t *definition, struct error *err);
// Those of the host are there (ERR_ROOTFS_MISSING) and nothing of relocd's own (ERR_DEFINITION).
int volumes_check(const struct config *c, const struct partition_def *def, struct error *err);
// Makes the named ones that are not there, for the user of the partition's process. ERR_STORAGE.
int volumes_make(const struct config *c, const struct partition_def *def, struct error *err);
// Removes the named ones with all that is in them. Failures are logged.
void volumes_remove(const struct config *c, const json_t *definition);

#endif
