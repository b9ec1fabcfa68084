// SPDX-License-Identifier: Apache-2.0
// An image of a page store, whole in memory, for tests that look into it. Included after cmocka.h.
#ifndef WPAR_TESTS_IMAGE_FILE_H
#define WPAR_TESTS_IMAGE_FILE_H

#include "lib/base/fdio.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct image {
	uint8_t *bytes; // the caller frees it
	size_t length, at;
};

static struct image image_load(int dirfd, const char *name)
{
	struct image i = {0};
	struct stat st;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	i.length = (size_t)st.st_size;
	i.bytes = malloc(i.length + 1);
	assert_int_equal(fdio_read_all(fd, i.bytes, i.length, NULL), 0);
	close(fd);
	return i;
}

#endif
