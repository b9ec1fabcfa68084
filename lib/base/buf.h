// SPDX-License-Identifier: Apache-2.0
// A growing byte buffer with a hard maximum, for everything whose length comes from outside.
#ifndef WPAR_BASE_BUF_H
#define WPAR_BASE_BUF_H

#include "lib/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t length;
	size_t room;
	size_t max; // appending past it is an error
};

#define BUF_INIT(limit) ((struct buf){.max = (limit)})

void buf_free(struct buf *buf);
// Makes room for `more` bytes after length and returns where they go; NULL with err when past max.
uint8_t *buf_reserve(struct buf *buf, size_t more, struct error *err);
int buf_append(struct buf *buf, const void *bytes, size_t length, struct error *err);
// Drops the first `length` bytes.
void buf_consume(struct buf *buf, size_t length);

#define _cleanup_buf_ __attribute__((cleanup(buf_free)))

#endif
