// SPDX-License-Identifier: Apache-2.0
// Names of partitions: they become folder, cgroup and socket names, so the rule is strict.
#ifndef WPAR_PARTITION_NAME_H
#define WPAR_PARTITION_NAME_H

#include "lib/base/error.h"

#define NAME_MAX_LENGTH 63

// 0 when `name` is 1-63 of [A-Za-z0-9._-], starts with a letter or digit and has no ".."; otherwise
// -1 with ERR_NAME_INVALID. NULL is invalid. Control characters are shown escaped in the message.
int name_check(const char *name, struct error *err);

#endif
