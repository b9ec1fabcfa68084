// SPDX-License-Identifier: Apache-2.0
// The mover's io_uring: reads and writes of its socket on registered buffers, polls on its channel.
// One operation of each tag is under way at a time.
//
// io_uring does not pass through seccomp, so the privileged parent makes it: disabled, with buffers
// and files registered, and with restrictions that leave three operations on those two files
// (io_uring_register(2), IORING_REGISTER_RESTRICTIONS). The mover can only turn it on.
#ifndef WPAR_TRANSPORT_URING_H
#define WPAR_TRANSPORT_URING_H

#include "lib/base/error.h"

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URING_BUFFERS     3                    // 0 receives, 1 and 2 send in turn
#define URING_BUFFER_SIZE ((size_t)264 * 1024) // a data message in its records
// In the memory that parent and mover share: the buffers, then what uring_take must know.
#define URING_MEMORY (URING_BUFFERS * URING_BUFFER_SIZE + 4096)

enum uring_file {
	URING_SOCKET,
	URING_CHANNEL,
	URING_FILES,
};

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
	uint8_t *registered; // what operations call the first buffer; NULL: not registered
	bool busy[URING_TAGS];
};

// The parent's half: the descriptor of a disabled, restricted io_uring, or -1. The buffers are
// URING_MEMORY bytes of the memfd `memory` at `at`; neither they nor the files are touched. Where
// RLIMIT_MEMLOCK is too small for registered buffers (an unprivileged test), plain reads and writes
// are permitted instead.
int uring_make(int memory, off_t at, const int files[URING_FILES], struct error *err);

// The mover's half, before it closes its sandbox: maps all of it and turns it on.
int uring_take(struct uring *uring, int fd, int memory, off_t at, struct error *err);
void uring_close(struct uring *uring);

static inline uint8_t *uring_buffer(const struct uring *uring, unsigned buffer)
{
	return uring->memory + buffer * URING_BUFFER_SIZE;
}

// Queue an operation on the socket; the bytes lie in registered buffer `buffer`. It is read up to
// the buffer's end.
int uring_read(struct uring *uring, unsigned buffer, size_t at, struct error *err);
int uring_write(struct uring *uring, unsigned buffer, size_t at, size_t length, struct error *err);
// One-shot, level-triggered: POLLIN or POLLOUT on the channel.
int uring_poll(struct uring *uring, enum uring_tag tag, struct error *err);

// Submits what is queued and waits for at least one completion; calls done(argument, tag, result)
// for each (result as of the system call: -errno). It stops at the first -1 of done.
typedef int uring_done(void *argument, enum uring_tag tag, int result, struct error *err);
int uring_run(struct uring *uring, uring_done *done, void *argument, struct error *err);

#endif
