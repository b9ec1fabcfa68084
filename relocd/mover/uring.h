// SPDX-License-Identifier: Apache-2.0
// The mover's io_uring: reads and writes on registered buffers, polls on the channel. One operation
// of each tag is under way at a time.
#ifndef WPAR_MOVER_URING_H
#define WPAR_MOVER_URING_H

#include "lib/base/error.h"

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URING_BUFFERS     3 // 0 receives, 1 and 2 send in turn
#define URING_BUFFER_SIZE ((size_t)512 * 1024)

enum uring_tag {
	URING_READ,
	URING_WRITE,
	URING_CHANNEL_IN,
	URING_CHANNEL_OUT,
	URING_TAGS,
};

struct uring {
	struct io_uring ring;
	uint8_t *memory;
	bool registered;
	bool busy[URING_TAGS];
};

// To be called while still root: registered memory counts against RLIMIT_MEMLOCK of a plain user.
// Where that limit is too small for it (an unprivileged test), plain reads and writes are used.
int uring_open(struct uring *uring, struct error *err);
void uring_close(struct uring *uring);

static inline uint8_t *uring_buffer(const struct uring *uring, unsigned buffer)
{
	return uring->memory + buffer * URING_BUFFER_SIZE;
}

// Queue an operation on fd; the bytes lie in registered buffer `buffer`.
int uring_read(struct uring *uring, int fd, unsigned buffer, struct error *err);
int uring_write(struct uring *uring, int fd, unsigned buffer, size_t at, size_t length,
		struct error *err);
// One-shot, level-triggered: POLLIN or POLLOUT on the channel.
int uring_poll(struct uring *uring, int fd, enum uring_tag tag, struct error *err);

// Submits what is queued and waits for at least one completion; calls done(argument, tag, result)
// for each (result as of the system call: -errno). It stops at the first -1 of done.
typedef int uring_done(void *argument, enum uring_tag tag, int result, struct error *err);
int uring_run(struct uring *uring, uring_done *done, void *argument, struct error *err);

#endif
