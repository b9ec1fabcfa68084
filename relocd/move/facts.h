// SPDX-License-Identifier: Apache-2.0
// Facts about this host and about a partition's tasks that VALIDATE compares.
#ifndef RELOCD_MOVE_FACTS_H
#define RELOCD_MOVE_FACTS_H

#include "lib/base/error.h"
#include "lib/criu/program.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FACTS_KERNEL_MAX 65

void facts_kernel(char release[FACTS_KERNEL_MAX]);

// The flags of the first processor, as a JSON array of strings; NULL with err.
json_t *facts_cpu_features(struct error *err);
// ERR_CPU names the first features of `wanted` that `have` lacks.
int facts_cpu_compare(const json_t *wanted, const json_t *have, struct error *err);

// Finds the CRIU that relocd's configuration names ("criu" and "criu_preload" of its start message)
// and has it pass its self-test, or remembers that it has.
int facts_criu(const json_t *start, struct criu_program *program, struct criu_version *version,
	       struct error *err);

int facts_memory(uint64_t *available, uint64_t *total, struct error *err);
// Of what is available, how much may be taken for pages that wait for the link: a quarter, and no
// more than FACTS_SPARE_MAX.
#define FACTS_SPARE_MAX (1ull << 30)
uint64_t facts_spare(uint64_t available);

// Is a folder the same one on both hosts? Its inode number and change time tell, on any shared
// filesystem. ERR_ROOTFS_MISSING.
struct facts_folder {
	uint64_t inode;
	int64_t ctime_ns;
};
int facts_folder(const char *path, struct facts_folder *folder, struct error *err);

// A task's pid in its own pid namespace, and how much of its memory is its own, about. Shared
// memory is nobody's: it travels once for all (lib/memory/track_segment.h).
struct facts_task {
	pid_t inner;
	uint64_t resident_bytes; // anonymous pages that are in memory
	uint64_t private_bytes;  // in memory or swapped out
};
int facts_task(pid_t pid, struct facts_task *task, struct error *err);

#endif
