// SPDX-License-Identifier: Apache-2.0
// Reads a console log line by line, from its older file on, and follows it over a rotation.
#include "lib/partition/console.h"

#include "lib/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct console_reader {
	char path[4096]; // of the current file
	char since[40];
	int fd;
	ino_t inode;
	char buffer[CONSOLE_LINE_MAX + 128];
	size_t start, end;
};

// Opens a file and notes which one it is; absent: 0 with fd -1.
static int open_file(struct console_reader *reader, const char *path, struct error *err)
{
	struct stat st;
	reader->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (reader->fd < 0)
		return errno == ENOENT ? 0
				       : error_sys(err, ERR_STORAGE, errno, "cannot open %s", path);
	if (fstat(reader->fd, &st) < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot look at %s", path);
	reader->inode = st.st_ino;
	return 0;
}

// The two files; the older one is read first, and left when it ends.
static int open_first(struct console_reader *reader, struct error *err)
{
	char older[4100];
	snprintf(older, sizeof(older), "%s.1", reader->path);
	if (open_file(reader, older, err) < 0)
		return -1;
	return reader->fd >= 0 ? 0 : open_file(reader, reader->path, err);
}

struct console_reader *console_reader_open(const char *folder, const char *since, struct error *err)
{
	struct console_reader *reader = calloc(1, sizeof(*reader));
	if (!reader) {
		error_set(err, ERR_NOMEM, "no memory for a console reader");
		return NULL;
	}
	snprintf(reader->path, sizeof(reader->path), "%.4000s/console.log", folder);
	snprintf(reader->since, sizeof(reader->since), "%s", since ? since : "");
	if (open_first(reader, err) < 0) {
		console_reader_close(reader);
		return NULL;
	}
	return reader;
}

void console_reader_close(struct console_reader *reader)
{
	if (!reader)
		return;
	if (reader->fd >= 0)
		close(reader->fd);
	free(reader);
}

// Splits "TIME STREAM F text\n" in place; false for a damaged line.
static bool split(char *at, size_t length, struct console_line *line)
{
	char *stream = memchr(at, ' ', length);
	char *mark = stream ? memchr(stream + 1, ' ', length - (size_t)(stream + 1 - at)) : NULL;
	if (!mark || (size_t)(mark - at) + 4 > length)
		return false;
	*stream = *mark = 0;
	line->time = at;
	line->stream = stream + 1;
	line->text = mark + 3;
	line->length = length - (size_t)(line->text - at);
	if (mark[1] == 'P')
		line->length--; // a part: its newline is ours, not the program's
	return true;
}

// 1: a line is at start; 0: more bytes are needed.
static int take_line(struct console_reader *reader, char **at, size_t *length)
{
	char *from = reader->buffer + reader->start;
	char *newline = memchr(from, '\n', reader->end - reader->start);
	bool full = reader->start == 0 && reader->end == sizeof(reader->buffer);
	if (!newline && !full)
		return 0;
	*at = from;
	*length = newline ? (size_t)(newline + 1 - from) : reader->end - reader->start;
	reader->start += *length;
	return 1;
}

static ssize_t read_more(struct console_reader *reader, struct error *err)
{
	if (reader->fd < 0 && open_file(reader, reader->path, err) < 0)
		return -1;
	if (reader->fd < 0)
		return 0;
	reader->end -= reader->start;
	memmove(reader->buffer, reader->buffer + reader->start, reader->end);
	reader->start = 0;
	ssize_t n = read(reader->fd, reader->buffer + reader->end,
			 sizeof(reader->buffer) - reader->end);
	if (n < 0)
		return error_sys(err, ERR_STORAGE, errno, "cannot read %s", reader->path);
	reader->end += (size_t)n;
	return n;
}

// At the end of a file: 1 when another one has taken its name meanwhile and is open now.
static int next_file(struct console_reader *reader, struct error *err)
{
	struct stat st;
	if (stat(reader->path, &st) < 0 || (reader->fd >= 0 && st.st_ino == reader->inode))
		return 0;
	if (reader->fd >= 0)
		close(reader->fd);
	return open_file(reader, reader->path, err) < 0 ? -1 : 1;
}

static bool is_wanted(const struct console_reader *reader, const struct console_line *line)
{
	// RFC 3339 in UTC with the same number of digits sorts as text.
	return strcmp(line->time, reader->since) >= 0;
}

int console_reader_next(struct console_reader *reader, struct console_line *line, struct error *err)
{
	char *at;
	size_t length;
	for (;;) {
		if (take_line(reader, &at, &length)) {
			if (split(at, length, line) && is_wanted(reader, line))
				return 1;
			continue;
		}
		ssize_t n = read_more(reader, err);
		if (n < 0)
			return -1;
		if (n > 0)
			continue;
		int other = next_file(reader, err);
		if (other <= 0)
			return other;
	}
}
