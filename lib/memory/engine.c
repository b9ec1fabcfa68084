// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/engine.h"

#include "lib/base/cleanup.h"

#include <string.h>

// Best first. What is not known well enough yet is only taken by its name.
static const struct memory_engine *const engines[] = {&memory_engine_track, &memory_engine_stop};

const struct memory_engine *memory_engine_find(const char *name, char *why, size_t size,
					       struct error *err)
{
	bool automatic = !name || !strcmp(name, "auto");
	why[0] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		char reason[160] = "";
		if (!automatic && strcmp(engines[i]->name, name))
			continue;
		if (engines[i]->usable(reason, sizeof(reason)))
			return engines[i];
		snprintf(why, size, "engine %s cannot work here: %s", engines[i]->name, reason);
	}
	if (why[0])
		error_set(err, ERR_VERSION, "%s", why);
	else
		error_set(err, ERR_USAGE, "there is no memory engine \"%s\"", name);
	return NULL;
}

bool memory_engine_exists(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (!strcmp(engines[i]->name, name))
			return true;
	return !strcmp(name, "auto");
}
