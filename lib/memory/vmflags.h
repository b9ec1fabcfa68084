// SPDX-License-Identifier: Apache-2.0
// The flags of mappings (VmFlags of /proc/PID/smaps, proc_pid_smaps(5)): what mlock(2) and
// madvise(2) said. The kernel tells them nowhere else, and walks all page tables to make that file,
// 20 ms per GB of small pages. So they are read while the process runs and used when it is stopped,
// as far as its mappings are still the same.
#ifndef WPAR_MEMORY_VMFLAGS_H
#define WPAR_MEMORY_VMFLAGS_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct vmflags {
	char *text; // the lines of smaps that begin a mapping, and those of flags; NULL: none
	size_t length;
};

// Reads those of a process by its open /proc folder.
int vmflags_read(int proc_folder, struct vmflags *flags, struct error *err);

// Are they of just the mappings in `maps`, the text of a maps file?
bool vmflags_fit(const struct vmflags *flags, const char *maps);

// Of two that fit the same mappings: how many mappings have other flags. SIZE_MAX: they do not.
size_t vmflags_differ(const struct vmflags *a, const struct vmflags *b);

void vmflags_free(struct vmflags *flags);

#endif
