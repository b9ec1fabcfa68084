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

// Behind the head and the segments: the records, then their texts.
static int put_flags(int fd, const struct criu_blank_list *list, off_t at, struct error *err)
{
	off_t text = at + (off_t)(list->flags_count * sizeof(struct criu_blank_smaps));

	for (size_t i = 0; i < list->flags_count; i++) {
		const struct criu_blank_flags *f = &list->flags[i];
		const struct criu_blank_smaps smaps = {(uint64_t)f->pid, (uint64_t)text, f->length};

		if (put(fd, &smaps, sizeof(smaps), at, err) < 0 ||
		    put(fd, f->text, f->length, text, err) < 0)
			return -1;
		at += (off_t)sizeof(smaps);
		text += (off_t)f->length;
	}
	return 0;
}

int criu_blank_hide(int fd, const struct criu_blank_list *list, struct error *err)
{
	const struct criu_blank_head head = {
		.tasks = 1, .segments = list->segment_count, .smaps = list->flags_count};
	size_t segments = list->segment_count * sizeof(*list->segments);

	// The head last: with it the list is complete.
	if ((segments && put(fd, list->segments, segments, sizeof(head), err) < 0) ||
	    put_flags(fd, list, (off_t)(sizeof(head) + segments), err) < 0)
		return -1;
	return put(fd, &head, sizeof(head), 0, err);
}
