// SPDX-License-Identifier: Apache-2.0
// Names of resource limits, "RLIMIT_NOFILE" (getrlimit(2)).
#ifndef WPAR_PARTITION_RLIMIT_H
#define WPAR_PARTITION_RLIMIT_H

int rlimit_number(const char *name);   // -1: unknown
const char *rlimit_name(int resource); // NULL: unknown

#endif
