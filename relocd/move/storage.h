// SPDX-License-Identifier: Apache-2.0
// The volumes of a partition that is to move: on storage that both hosts share, and the same there.
#ifndef RELOCD_MOVE_STORAGE_H
#define RELOCD_MOVE_STORAGE_H

#include "lib/base/error.h"
#include "lib/partition/definition.h"

// Each bind of the definition is of storage class shared, is there, and is below one of the folders
// that all hosts share ("shared" of relocd's start message). ERR_NOT_SHARED, ERR_ROOTFS_MISSING.
int storage_check(const json_t *start, const struct partition_def *def, struct error *err);

// The inode numbers of the sources of the binds, in their order: the caller frees the list.
int storage_inodes(const struct partition_def *def, uint64_t **list, size_t *count,
		   struct error *err);
// They are the same here. ERR_NOT_SHARED.
int storage_compare(const struct partition_def *def, const uint64_t *list, size_t count,
		    struct error *err);

#endif
