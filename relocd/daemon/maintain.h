// SPDX-License-Identifier: Apache-2.0
// relocd --backup and relocd --restore: runs that serve nobody.
#ifndef RELOCD_MAINTAIN_H
#define RELOCD_MAINTAIN_H

#include "lib/base/error.h"

// A copy of this host's registry, while relocd runs or not. Certificates and keys are not in it.
int maintain_backup(const char *file, struct error *err);
// Puts a copy in the place of the registry; ERR_WRONG_STATE while relocd runs.
int maintain_restore(const char *file, struct error *err);

#endif
