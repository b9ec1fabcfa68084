// SPDX-License-Identifier: Apache-2.0
// What is mounted below a folder.
#ifndef WPAR_PARTITION_SUBMOUNT_H
#define WPAR_PARTITION_SUBMOUNT_H

#include <stdbool.h>
#include <stddef.h>

// Finds the first mount point below `folder` (without symbolic links, normalised) in the text of a
// mountinfo file (proc(5)) and puts it into point. The folder itself does not count.
bool submount_find(const char *mountinfo, const char *folder, char *point, size_t size);

#endif
