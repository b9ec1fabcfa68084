// SPDX-License-Identifier: Apache-2.0
// A bundle that is taken is a definition once it has a name and a command; one that is refused says
// why.
#include "lib/base/cleanup.h"
#include "lib/partition/bundle.h"
#include "lib/partition/definition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = {0};
	_cleanup_json_ json_t *notes = NULL;
	_cleanup_json_ json_t *json = bundle_from_text((const char *)data, size, "/", &notes, &err);
	if (!json && !error_is_set(&err))
		abort();
	if (!json)
		return 0;
	json_object_set_new(json, "name", json_string("fuzz"));
	json_object_set_new(json, "type", json_string("system"));
	_cleanup_definition_ struct partition_def *def = definition_from_json(json, &err);
	if (!def || !notes)
		abort();
	return 0;
}
