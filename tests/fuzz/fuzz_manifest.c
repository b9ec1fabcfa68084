// SPDX-License-Identifier: Apache-2.0
// A manifest that can be read can be written and read again, and is the same.
#include "images/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest a = {0}, b = {0};
	struct buf out = BUF_INIT(64u << 20);
	if (manifest_read(&a, data, size, NULL) == 0) {
		struct error err = {0};
		if (manifest_write(&a, &out, &err) < 0 ||
		    manifest_read(&b, out.data, out.length, &err) < 0)
			abort();
		if (manifest_compare(&a, &b, &err) < 0 &&
		    err.id != ERR_PROTOCOL) // doubles are refused
			abort();
	}
	manifest_free(&a);
	manifest_free(&b);
	buf_free(&out);
	return 0;
}
