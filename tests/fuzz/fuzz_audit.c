// SPDX-License-Identifier: Apache-2.0
// Images of CRIU from a stranger, one behind the other; then the end is judged.
#include "lib/base/cleanup.h"
#include "tests/unit/audit_images.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"inventory.img",      "pstree.img", "core-1.img",       "ids-1.img", "seccomp.img",
		"mountpoints-13.img", "files.img",  "ghost-file-1.img", "memfd.img"};
	if (size < 1)
		return 0;
	struct audit *a = audit_open(&image_grant, NULL);
	// In pieces: {length, kind}, bytes.
	while (a && size > 3) {
		size_t length = data[0] | (size_t)data[1] << 8;
		length = length < size - 3 ? length : size - 3;
		audit_image(a, names[data[2] % ARRAY_SIZE(names)], data + 3, length, NULL);
		data += 3 + length;
		size -= 3 + length;
	}
	if (a)
		audit_end(a, NULL);
	audit_free(a);
	return 0;
}
