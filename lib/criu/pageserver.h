// SPDX-License-Identifier: Apache-2.0
//
// The page-server end: what CRIU's dump speaks over the descriptor given as page_server_fd.
//
// An incremental parser that copies nothing: while it is in page data it asks its owner where the
// bytes shall go (the `space` call) and they are read from the socket straight to there, into the
// ring shared with the mover for instance. Both header forms are understood: 32 bytes since CRIU
// 4.2, 24 before, told apart by the first message.
//
// The other end is CRIU running as root on this host, but its bytes are still held to hard limits:
// a broken header ends the dump and the source runs on.
#ifndef WPAR_CRIU_PAGESERVER_H
#define WPAR_CRIU_PAGESERVER_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// dst_id = id << 8 | type. The id of a task is its pid inside the partition's pid namespace.
enum page_dst_type { PAGE_DST_TASK = 1, PAGE_DST_SHMEM = 2 };

// Flags of an entry (CRIU's PE_*).
enum page_flags { PAGE_PARENT = 1, PAGE_LAZY = 2, PAGE_PRESENT = 4 };

#define PAGE_BYTES 4096u

static inline unsigned page_dst_type(uint64_t dst_id)
{
	return dst_id & 0xff;
}

static inline uint64_t page_dst_number(uint64_t dst_id)
{
	return dst_id >> 8;
}

// All return 0, or -1 with *err filled, which ends the session with that error.
struct pageserver_ops {
	// Pages of this destination follow.
	int (*open)(void *arg, uint64_t dst_id, struct error *err);
	// An entry; with PAGE_PRESENT nr_pages * PAGE_BYTES bytes of data follow.
	int (*pages)(void *arg, uint64_t dst_id, uint64_t vaddr, uint64_t nr_pages, uint32_t flags,
		     struct error *err);
	// Where the next data goes: sets *buf and *size (1 .. want); *size = 0: no room now, the
	// parser stops with PAGESERVER_FULL. The place must stay valid until `filled`.
	int (*space)(void *arg, size_t want, void **buf, size_t *size, struct error *err);
	// n bytes (at least 1, at most *size) of the place given by `space` are data.
	int (*filled)(void *arg, size_t n, struct error *err);
	// The dump is complete; not 0 makes CRIU abort it and resume the source.
	int (*close)(void *arg, struct error *err);
};

struct pageserver_limits {
	uint64_t entry_pages; // of one entry
	uint64_t entries;     // of the session
	uint64_t bytes;       // of page data in the session
};

// An entry below 1 GiB (longer ones are no valid image), 16 TiB in all.
#define PAGESERVER_LIMITS_DEFAULT                                                              \
	{                                                                                      \
		.entry_pages = (1u << 18) - 1, .entries = 1u << 24, .bytes = (uint64_t)1 << 44 \
	}

enum pageserver_state {
	PAGESERVER_AGAIN,  // wait until the fd is readable, then call step again
	PAGESERVER_FULL,   // `space` had no room: call step again when there is some
	PAGESERVER_CLOSED, // CRIU said close and got its answer
	PAGESERVER_EOF,    // CRIU went away without a close: the dump has failed
};

struct pageserver;

// `fd`: our end of an AF_UNIX stream socket pair, made non-blocking here; -1 for one that is only
// fed with pageserver_window/_fed. Taken, also on error.
struct pageserver *pageserver_new(int fd, const struct pageserver_limits *limits,
				  const struct pageserver_ops *ops, void *arg, struct error *err);
void pageserver_free(struct pageserver *s);

static inline void pageserver_freep(struct pageserver **s)
{
	pageserver_free(*s);
}
#define _cleanup_pageserver_ __attribute__((cleanup(pageserver_freep)))

int pageserver_fd(const struct pageserver *s);
// Bytes of page data received so far.
uint64_t pageserver_bytes(const struct pageserver *s);

// Reads and handles what is there, without waiting, at most about `budget` bytes of page data.
int pageserver_step(struct pageserver *s, size_t budget, enum pageserver_state *state,
		    struct error *err);

// The parser alone, for other sources of bytes: put up to *size bytes at *buf, then say how many.
// *size = 0: no room (PAGESERVER_FULL).
int pageserver_window(struct pageserver *s, void **buf, size_t *size, struct error *err);
int pageserver_fed(struct pageserver *s, size_t n, struct error *err);

#endif
