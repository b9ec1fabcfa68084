// SPDX-License-Identifier: Apache-2.0
// A block is told from another one by 128 bits of XXH3: who could make two that collide harms only
// the copy of his own file.
#include "images/folder_blocks.h"

#include "images/folder_format.h"
#include "lib/base/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <xxhash.h>

struct folder_blocks {
	XXH128_hash_t *hashes; // all zero: a hole
	size_t count;
};

struct folder_blocks *folder_blocks_new(struct error *err)
{
	struct folder_blocks *b = calloc(1, sizeof(*b));
	if (!b)
		error_set(err, ERR_NOMEM, "no memory for a list of blocks");
	return b;
}

void folder_blocks_free(struct folder_blocks *b)
{
	if (b)
		free(b->hashes);
	free(b);
}

static const XXH128_hash_t hole = {0, 0};

// Blocks that were not there before are holes: the copy is as long as the file was.
static int resize(struct folder_blocks *b, size_t count, struct error *err)
{
	XXH128_hash_t *more = reallocarray(b->hashes, count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ERR_NOMEM, "no memory for a list of blocks");
	b->hashes = more;
	for (size_t i = b->count; i < count; i++)
		b->hashes[i] = hole;
	b->count = count;
	return 0;
}

static int put_extent(const struct folder_sink *sink, uint64_t offset, uint64_t length,
		      struct error *err)
{
	struct folder_extent extent = {htole64(offset), htole64(length)};
	return sink->put(sink->arg, &extent, sizeof(extent), err);
}

// What a file that is cut off meanwhile has no more reads as zeroes.
static int read_block(int fd, uint8_t *piece, size_t length, off_t at, struct error *err)
{
	size_t done = 0;
	while (done < length) {
		ssize_t n = pread(fd, piece + done, length - done, at + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_STORAGE, errno, "cannot read");
		if (n == 0)
			break;
		done += (size_t)n;
	}
	memset(piece + done, 0, length - done);
	return 0;
}

static int send_block(struct folder_blocks *b, size_t index, int fd, off_t size, uint8_t *piece,
		      const struct folder_sink *sink, struct error *err)
{
	off_t at = (off_t)index * FOLDER_BLOCK;
	size_t length = size - at < FOLDER_BLOCK ? (size_t)(size - at) : FOLDER_BLOCK;
	if (read_block(fd, piece, length, at, err) < 0)
		return -1;
	// With its length: a block at the end may grow.
	XXH128_hash_t hash = XXH3_128bits_withSeed(piece, length, length);
	if (XXH128_isEqual(hash, b->hashes[index]))
		return 0;
	b->hashes[index] = hash;
	if (put_extent(sink, (uint64_t)at, length, err) < 0)
		return -1;
	return sink->put(sink->arg, piece, length, err);
}

int folder_blocks_send(struct folder_blocks *b, int fd, off_t size, uint8_t *piece,
		       const struct folder_sink *sink, struct error *err)
{
	size_t count = (size_t)((size + FOLDER_BLOCK - 1) / FOLDER_BLOCK);
	off_t data = 0, end = 0; // of the data that was found last
	if (resize(b, count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		off_t at = (off_t)i * FOLDER_BLOCK;
		if (at >= end) {
			data = lseek(fd, at, SEEK_DATA);
			if (data < 0 && errno != ENXIO)
				return error_sys(err, ERR_STORAGE, errno, "cannot find its data");
			if (data < 0 || data > size)
				data = size;
			end = data < size ? lseek(fd, data, SEEK_HOLE) : size;
			if (end <= data || end > size)
				end = size;
		}
		// A block in a hole is of no interest, unless it was none.
		bool in_hole = at + FOLDER_BLOCK <= data;
		if (in_hole && XXH128_isEqual(b->hashes[i], hole))
			continue;
		if (send_block(b, i, fd, size, piece, sink, err) < 0)
			return -1;
	}
	return put_extent(sink, (uint64_t)size, 0, err);
}
