// SPDX-License-Identifier: Apache-2.0
// The definition of a partition, as an administrator, a peer's OFFER or a backup may have it: one
// that is taken can be written and read again and is the same, also with what is pending in it.
#include "lib/base/cleanup.h"
#include "lib/partition/definition.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool fact)
{
	if (!fact)
		abort();
}

static void check_bounds(const struct partition_def *def)
{
	demand(def->network_count <= DEFINITION_NETWORKS_MAX);
	demand(def->name[0] && !strchr(def->name, '/') && def->process.args && def->process.env);
	for (size_t i = 0; i < def->mount_count; i++)
		demand(def->mounts[i].destination[0] == '/' &&
		       !strstr(def->mounts[i].destination, "/../"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {0};
	_cleanup_definition_ struct partition_def *def =
		definition_from_text((const char *)data, size, &err);
	if (!def) {
		demand(error_is_set(&err));
		return 0;
	}
	check_bounds(def);
	_cleanup_json_ json_t *first = definition_to_json(def);
	_cleanup_definition_ struct partition_def *again = definition_from_json(first, &err);
	demand(again != NULL);
	_cleanup_json_ json_t *second = definition_to_json(again);
	demand(json_equal(first, second));
	// What is pending may be wrong, which the next start says; it must be found out, no more.
	_cleanup_json_ json_t *next = definition_with(first, def->pending);
	_cleanup_definition_ struct partition_def *later =
		next ? definition_from_json(next, NULL) : NULL;
	if (later)
		check_bounds(later);
	return 0;
}
