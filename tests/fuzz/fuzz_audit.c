// SPDX-License-Identifier: Apache-2.0
// Images of CRIU from a stranger: the first byte chooses which image the rest is taken for, then
// the end is judged.
#include "lib/base/cleanup.h"
#include "tests/unit/audit_images.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
		"inventory.img", "pstree.img",         "core-1.img", "ids-1.img",
		"seccomp.img",   "mountpoints-13.img", "files.img",  "ghost-file-1.img"};
	if (size < 1)
		return 0;
	struct audit *a = audit_open(&image_grant, NULL);
	// In pieces: {length of the piece, kind}, bytes.
	while (a && size > 2) {
		size_t length = data[0] * 8u < size - 2 ? data[0] * 8u : size - 2;
		audit_image(a, names[data[1] % ARRAY_SIZE(names)], data + 2, length, NULL);
		data += 2 + length;
		size -= 2 + length;
	}
	if (a)
		audit_end(a, NULL);
	audit_free(a);
	return 0;
}
