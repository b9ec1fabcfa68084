// SPDX-License-Identifier: Apache-2.0
// The frames of an exec session (protocol wpar-exec/1), the same both ways and on both sides:
// u8 channel, u32 length (big endian), that many bytes.
#ifndef WPAR_CLIENT_EXEC_FRAME_H
#define WPAR_CLIENT_EXEC_FRAME_H

#include "lib/base/buf.h"
#include "lib/client/wpar.h"

#define EXEC_FRAME_HEADER 5
#define EXEC_FRAME_MAX    (256 * 1024) // bytes in one frame; longer ones are split or refused

// Appends `length` bytes as frames (one empty frame for 0).
int exec_frame_append(struct buf *to, enum wpar_channel channel, const void *bytes, size_t length,
		      struct error *err);
// Looks at the beginning of `from`: 1 and a whole frame (pointing into the buffer, *size bytes of
// it), 0: more bytes are needed, -1: not a frame.
int exec_frame_next(const struct buf *from, struct wpar_exec_frame *frame, size_t *size,
		    struct error *err);

#endif
