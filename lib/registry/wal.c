// SPDX-License-Identifier: Apache-2.0
#include "lib/registry/wal.h"

#include "lib/base/cleanup.h"
#include "lib/base/fdio.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HEADER       32
#define FRAME_HEADER 24
#define MAGIC        0x377f0682u // its lowest bit: check sums are over big-endian words
#define PAGE_MAX     65536u

struct wal {
	int fd;
	bool big;
	uint32_t page;
	uint8_t salts[8];
	uint32_t sums[2]; // over all that was valid
};

static uint32_t number(const uint8_t *at)
{
	uint32_t n;
	memcpy(&n, at, sizeof(n));
	return be32toh(n);
}

static void add_sums(const struct wal *w, const uint8_t *bytes, size_t length, uint32_t sums[2])
{
	for (size_t i = 0; i + 8 <= length; i += 8) {
		uint32_t pair[2];
		memcpy(pair, bytes + i, sizeof(pair));
		sums[0] += (w->big ? be32toh(pair[0]) : le32toh(pair[0])) + sums[1];
		sums[1] += (w->big ? be32toh(pair[1]) : le32toh(pair[1])) + sums[0];
	}
}

static bool read_header(struct wal *w)
{
	uint8_t header[HEADER];
	if (fdio_pread_all(w->fd, header, sizeof(header), 0, NULL) < 0 ||
	    (number(header) & ~1u) != MAGIC)
		return false;
	w->big = number(header) & 1;
	w->page = number(header + 8);
	memcpy(w->salts, header + 16, sizeof(w->salts));
	add_sums(w, header, 24, w->sums);
	return w->sums[0] == number(header + 24) && w->sums[1] == number(header + 28) &&
	       w->page >= 512 && w->page <= PAGE_MAX;
}

static bool is_valid(struct wal *w, const uint8_t *frame)
{
	uint32_t sums[2] = {w->sums[0], w->sums[1]};
	add_sums(w, frame, 8, sums);
	add_sums(w, frame + FRAME_HEADER, w->page, sums);
	if (memcmp(frame + 8, w->salts, sizeof(w->salts)) != 0 || sums[0] != number(frame + 16) ||
	    sums[1] != number(frame + 20))
		return false;
	memcpy(w->sums, sums, sizeof(sums));
	return true;
}

// A frame of this log that ends a transaction, behind one that is not valid: it was committed, and
// will be left out. (What was never committed lies there, too, but without an end.)
static bool leaves_out(struct wal *w, off_t size)
{
	const size_t length = FRAME_HEADER + w->page;
	_cleanup_free_ uint8_t *frame = malloc(length);
	bool valid = true;
	for (off_t at = HEADER; frame && at + (off_t)length <= size; at += (off_t)length) {
		if (fdio_pread_all(w->fd, frame, length, at, NULL) < 0)
			return true;
		valid = valid && is_valid(w, frame);
		if (!valid && number(frame + 4) && !memcmp(frame + 8, w->salts, sizeof(w->salts)))
			return true;
	}
	return false;
}

bool wal_is_damaged(const char *path)
{
	char name[PATH_MAX];
	struct stat st;
	snprintf(name, sizeof(name), "%s-wal", path);
	_cleanup_close_ int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct wal w = {.fd = fd};
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= HEADER)
		return false;
	return !read_header(&w) || leaves_out(&w, st.st_size);
}
