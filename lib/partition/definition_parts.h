// SPDX-License-Identifier: Apache-2.0
// Private to definition_*.c: the sections of a definition's reader.
#ifndef WPAR_PARTITION_DEFINITION_PARTS_H
#define WPAR_PARTITION_DEFINITION_PARTS_H

#include "lib/partition/definition.h"
#include "lib/partition/jsonread.h"

int definition_no_memory(struct error *err);
// As jsonread_strings, but an absent list is an empty one.
int definition_list(const struct jsonread *r, const char *key, char ***out, struct error *err);

// Needs the uuid, for hardware addresses that were not given.
int definition_networks(const struct jsonread *r, struct partition_def *def, struct error *err);
int definition_dns(const struct jsonread *r, struct partition_def *def, struct error *err);

#endif
