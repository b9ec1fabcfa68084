// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/engine.h"

#include "lib/base/cleanup.h"

#include <string.h>

// Best first.
static const struct memory_engine *const engines[] = {&memory_engine_stop};

const struct memory_engine *memory_engine_find(const char *name, struct error *err)
{
	char why[200] = "";
	bool automatic = !name || !strcmp(name, "auto");
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (!automatic && strcmp(engines[i]->name, name))
			continue;
		if (engines[i]->usable(why, sizeof(why)))
			return engines[i];
	}
	if (why[0])
		error_set(err, ERR_VERSION, "memory engine %s cannot work here: %s", name, why);
	else
		error_set(err, ERR_USAGE, "there is no memory engine \"%s\"", name);
	return NULL;
}
