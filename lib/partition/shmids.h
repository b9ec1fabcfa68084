// SPDX-License-Identifier: Apache-2.0
// Shared memory that CRIU would mix up: its images name a SysV segment by its id and all other
// shared memory by its inode number, in one sequence. The kernel counts both from zero, each for
// itself.
#ifndef WPAR_PARTITION_SHMIDS_H
#define WPAR_PARTITION_SHMIDS_H

#include "lib/base/error.h"
#include "lib/partition/task.h"

#include <stddef.h>
#include <stdint.h>

struct shmids {
	uint64_t *list; // of all SysV segments of the partition, attached or not
	size_t count;
	uint64_t dev; // of the kernel's own file system for all shared memory
};

// Those of init's namespace; init_folder is its /proc/PID. ERR_SYSTEM, ERR_NOMEM.
int shmids_read(int init_folder, struct shmids *ids, struct error *err);
void shmids_free(struct shmids *ids);
#define _cleanup_shmids_ __attribute__((cleanup(shmids_free)))

// ERR_UNDUMPABLE: it has other shared memory, mapped or open, with the number of a segment.
int shmids_check(const struct shmids *ids, const struct task *t, struct error *err);

#endif
