// SPDX-License-Identifier: Apache-2.0
// Copies of the registry: taken while relocd runs, and put back while it does not.
#ifndef WPAR_REGISTRY_BACKUP_H
#define WPAR_REGISTRY_BACKUP_H

#include "lib/base/error.h"

// Writes a consistent copy of the registry `path` to `file` (0600, replaced whole or not at all),
// while others use it (SQLite's online backup).
int backup_write(const char *path, const char *file, struct error *err);

// Puts the copy `file` in the place of the registry `path`; what was there stays as `path`.old.
// Marked as restored: relocd starts in quarantine with it. The caller has made sure that nobody
// uses the registry. ERR_REGISTRY when `file` is damaged, none, or of a newer version.
int backup_restore(const char *path, const char *file, struct error *err);

#endif
