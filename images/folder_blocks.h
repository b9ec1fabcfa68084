// SPDX-License-Identifier: Apache-2.0
// Private to folder_pack.c: large files that are sent again, of which only changed blocks go.
#ifndef WPAR_IMAGES_FOLDER_BLOCKS_H
#define WPAR_IMAGES_FOLDER_BLOCKS_H

#include "images/folder.h"

#include <sys/types.h>

#define FOLDER_BLOCK       (64u << 10)
#define FOLDER_BLOCKS_FROM (256 << 10) // smaller files are sent whole

// Sends as extents what `b` does not know of the first `size` bytes of a file, notes it, and ends
// the extents. `piece` has room for a block.
int folder_blocks_send(struct folder_blocks *b, int fd, off_t size, uint8_t *piece,
		       const struct folder_sink *sink, struct error *err);

#endif
