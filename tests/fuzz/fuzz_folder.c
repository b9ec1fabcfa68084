// SPDX-License-Identifier: Apache-2.0
// Whatever a stream of packed folders says, nothing is made outside of the folder.
#include "images/folder.h"
#include "lib/base/fdio.h"
#include "tests/fuzz/scratch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// As the layer above an image, cut up in a way that the input chooses; over what is there already.
static void unpack_in_pieces(int inside, const uint8_t *data, size_t size)
{
	struct folder_unpacker *u = folder_unpacker_new(inside, true, NULL);
	size_t piece = size ? data[0] + 1u : 1;
	for (size_t at = 0; u && at < size; at += piece)
		if (folder_unpacker_feed(u, data + at, size - at < piece ? size - at : piece,
					 NULL) < 0)
			break;
	folder_unpacker_free(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int scratch = scratch_folder();
	if (mkdirat(scratch, "top", 0700) < 0)
		abort();
	int dir = openat(scratch, "top", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(dir, "inside", 0700);
	int inside = openat(dir, "inside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder_unpack(inside, data, size, NULL);
	unpack_in_pieces(inside, data, size);
	struct stat st;
	if (fstat(dir, &st) < 0 || st.st_nlink != 3)
		abort(); // something was made beside the folder
	close(inside);
	close(dir);
	fdio_remove_tree(scratch, "top", NULL);
	return 0;
}
