// SPDX-License-Identifier: Apache-2.0
// What the mounts of a partition are made of, prepared by its keeper in a mount namespace of its
// own:
//     RUN/partitions/NAME/rootfs     the root filesystem, bound on itself so that it is a mount
//     point RUN/partitions/NAME/volatile   one tmpfs: dev, trees/{run,tmp,shm,...}, empty, etc
// Inside the partition /dev, /run, /tmp, /dev/shm and the tmpfs mounts of the definition are bind
// mounts of folders of that one tmpfs. For CRIU these are external mounts: it neither packs their
// contents (a forked tar for each tmpfs) nor mounts anything but binds. The contents of `trees`
// travel separately; dev and etc are made anew from the definition.
//
// Each source of a bind is a mount of its own below volatile/mnt, with its final flags: a copy of
// it has them from birth. (CRIU leaves the flags of an external mount alone when it believes that
// they are those of another mount of the same folder: read-only masks came back writable.)
#ifndef WPAR_PARTITION_STAGE_H
#define WPAR_PARTITION_STAGE_H

#include "lib/base/error.h"
#include "lib/partition/definition.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define STAGE_KEY_MAX  24
#define STAGE_PATH_MAX 640

// A bind mount into the partition; in the order in which they have to be made.
struct stage_bind {
	char key[STAGE_KEY_MAX]; // as CRIU knows it
	char *origin;            // the folder or file itself
	char *source;            // the mount of it to be copied, in the keeper's mount namespace
	char *destination; // in the partition, before symbolic links are followed; NULL: a mask
	bool optional;     // left out where the root filesystem has no place for it and takes none
};

struct stage_tree {
	char name[STAGE_KEY_MAX];
	char path[STAGE_PATH_MAX];
};

struct stage {
	char root[STAGE_PATH_MAX];
	char volatile_dir[STAGE_PATH_MAX];
	struct stage_bind *binds;
	size_t bind_count;
	size_t null_mask, empty_mask; // which of them: a device for files, an empty folder
	struct stage_tree trees[15];  // as many as one message carries (KEEPER_TREES_MAX)
	size_t tree_count;
	int image, upper; // held while its root is made of them; -1: it is a folder
};

#define STAGE_NONE                       \
	{                                \
		.image = -1, .upper = -1 \
	}

// Leaves the host's mount namespace (for good: the calling process becomes its keeper) and mounts
// and fills everything below run_dir. With `fresh` the trees get what the root filesystem has in
// /run, and libexec/init where it is needed; without, they stay empty (an arriving partition brings
// them). The root that is made of an image is then not mounted yet: its upper layer has to arrive
// first. ERR_ROOTFS_MISSING, ERR_STORAGE (a mount below the source of an rbind), ERR_LAUNCH.
int stage_prepare(struct stage *stage, const struct partition_def *def, const char *run_dir,
		  bool fresh, struct error *err);
// Mounts the root of an image.
int stage_mount_image(struct stage *stage, const struct partition_def *def, struct error *err);
// Unmounts and removes the folders; never fails aloud.
void stage_remove(struct stage *stage);

// The flags of mount(2) that a bind of this key has; 0: there is no such bind.
unsigned long stage_flags(const struct partition_def *def, const char *key);

// Where the small init of system partitions is, inside.
#define STAGE_INIT "/run/.wpar/init"
// Whether the command runs below it.
bool stage_wants_init(const struct partition_def *def);

#endif
