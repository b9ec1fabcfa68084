// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/restore.h"

#include "lib/base/cleanup.h"

#include <string.h>

// To begin a page server and to register the memory with it takes about as long as CRIU takes to
// fill so much (0.8 to 2.5 s per GB).
#define PAYS_BYTES (16ull << 20)

static const char *const names[] = {
	[RESTORE_AUTO] = "auto", [RESTORE_EAGER] = "eager", [RESTORE_LAZY] = "lazy"};

int restore_parse(const char *text, enum restore_wish *wish, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*wish = (enum restore_wish)i;
			return 0;
		}
	return error_set(err, ERR_USAGE, "no restore %s: auto, eager or lazy", text);
}

bool restore_on_demand_pays(enum restore_wish wish, uint64_t bytes)
{
	return wish == RESTORE_LAZY || (wish == RESTORE_AUTO && bytes >= PAYS_BYTES);
}
