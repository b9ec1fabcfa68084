// SPDX-License-Identifier: Apache-2.0
// The readers of /proc/PID/maps and smaps. Names of files in them are chosen by the partition.
#include "lib/memory/maps.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct maps maps;
	char *text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	if (maps_parse(text, &maps, NULL) == 0) {
		if (maps_add_flags(&maps, text, NULL) < 0)
			abort(); // all lines were short enough for maps_parse()
		maps_free(&maps);
	}
	free(text);
	return 0;
}
