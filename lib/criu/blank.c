// SPDX-License-Identifier: Apache-2.0
#include "lib/criu/blank.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int put(int fd, const void *bytes, size_t length, off_t offset, struct error *err)
{
	ssize_t n = pwrite(fd, bytes, length, offset);

	if (n >= 0 && (size_t)n == length)
		return 0;
	return error_sys(err, ERR_SYSTEM, n < 0 ? errno : ENOSPC, "cannot write a memory file");
}

int criu_blank_open(struct error *err)
{
	const struct criu_blank_head nothing = {0};
	int fd = memfd_create("criu-blank", MFD_CLOEXEC);

	if (fd < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot make a memory file");
	if (put(fd, &nothing, sizeof(nothing), 0, err) == 0)
		return fd;
	close(fd);
	return -1;
}

char **criu_blank_environment(int number, struct error *err)
{
	static char entry[sizeof(CRIU_BLANK_ENV) + 16];
	size_t count = 0, kept = 0;

	while (environ[count])
		count++;
	char **list = calloc(count + 2, sizeof(*list));
	if (!list) {
		error_set(err, ERR_NOMEM, "no memory for an environment");
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], CRIU_BLANK_ENV "=", sizeof(CRIU_BLANK_ENV)) != 0)
			list[kept++] = environ[i];
	snprintf(entry, sizeof(entry), CRIU_BLANK_ENV "=%d", number);
	list[kept] = entry;
	return list;
}

int criu_blank_hide(int fd, const struct criu_blank_segment *list, size_t count, struct error *err)
{
	const struct criu_blank_head head = {.tasks = 1, .segments = count};

	// The head last: with it the list is complete.
	if (count && put(fd, list, count * sizeof(*list), sizeof(head), err) < 0)
		return -1;
	return put(fd, &head, sizeof(head), 0, err);
}
