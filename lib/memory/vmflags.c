// SPDX-License-Identifier: Apache-2.0
#include "lib/memory/vmflags.h"

#include "lib/base/buf.h"
#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define TEXT_MAX   (1u << 30)

static const char flags_key[] = "VmFlags:";

static bool is_flags(const char *line)
{
	return !strncmp(line, flags_key, strlen(flags_key));
}

// A mapping begins with its address in small letters, other lines with a name in capitals.
static bool is_wanted(const char *line)
{
	return (*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f') || is_flags(line);
}

// Takes the whole lines of `text`; returns how many bytes these were.
static ssize_t take_lines(struct buf *to, const char *text, size_t length, struct error *err)
{
	const char *at = text, *end;
	while ((end = memchr(at, '\n', length - (size_t)(at - text)))) {
		size_t line = (size_t)(end + 1 - at);
		if (is_wanted(at) && buf_append(to, at, line, err) < 0)
			return -1;
		at = end + 1;
	}
	return at - text;
}

static int take_all(int fd, char *chunk, struct buf *to, struct error *err)
{
	size_t kept = 0;
	for (;;) {
		ssize_t n = read(fd, chunk + kept, READ_BYTES - kept);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_sys(err, ERR_SYSTEM, errno, "cannot read smaps");
		if (n == 0)
			return buf_append(to, "", 1, err);
		ssize_t taken = take_lines(to, chunk, kept + (size_t)n, err);
		if (taken < 0)
			return -1;
		kept += (size_t)(n - taken);
		memmove(chunk, chunk + taken, kept);
		if (kept == READ_BYTES)
			return error_set(err, ERR_PROTOCOL, "a line of smaps has no end");
	}
}

int vmflags_read(int proc_folder, struct vmflags *flags, struct error *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	_cleanup_close_ int fd = openat(proc_folder, "smaps", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *chunk = malloc(READ_BYTES + 1);
	*flags = (struct vmflags){0};
	if (fd < 0)
		return error_sys(err, ERR_SYSTEM, errno, "cannot read smaps");
	if (!chunk)
		return error_set(err, ERR_NOMEM, "no memory for the flags of mappings");
	chunk[READ_BYTES] = 0;
	if (take_all(fd, chunk, &text, err) < 0) {
		buf_free(&text);
		return -1;
	}
	*flags = (struct vmflags){(char *)text.data, text.length - 1};
	return 0;
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');
	return end ? end + 1 : line + strlen(line);
}

bool vmflags_fit(const struct vmflags *flags, const char *maps)
{
	if (!flags->text)
		return false;
	for (const char *at = flags->text; *at;) {
		const char *end = next_line(at);
		size_t length = (size_t)(end - at);
		if (!is_flags(at)) {
			if (strncmp(maps, at, length) != 0)
				return false;
			maps += length;
		}
		at = end;
	}
	return *maps == 0;
}

size_t vmflags_differ(const struct vmflags *a, const struct vmflags *b)
{
	size_t differ = 0;
	const char *x = a->text, *y = b->text;
	while (*x && *y) {
		const char *x_end = next_line(x), *y_end = next_line(y);
		bool same = x_end - x == y_end - y && !memcmp(x, y, (size_t)(x_end - x));
		if (!same && (!is_flags(x) || !is_flags(y)))
			return SIZE_MAX;
		differ += !same;
		x = x_end;
		y = y_end;
	}
	return *x || *y ? SIZE_MAX : differ;
}

void vmflags_free(struct vmflags *flags)
{
	free(flags->text);
	*flags = (struct vmflags){0};
}
