// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: relocd.yaml.
#include "lib/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config;
	struct error err;
	if (config_parse("fuzz", (const char *)data, size, &config, &err) == 0)
		config_free(&config);
	return 0;
}
