// SPDX-License-Identifier: Apache-2.0
// The writer of console logs; the reader is console_reader.c.
#include "lib/partition/console.h"

#include "lib/base/cleanup.h"
#include "lib/base/clock.h"
#include "lib/base/fdio.h"
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *const stream_names[] = {"stdout", "stderr"};

struct part { // an unfinished line
	char text[CONSOLE_LINE_MAX];
	size_t length;
};

struct console {
	char path[4096];
	size_t size_max, size;
	int fd;
	bool complained;
	struct part parts[2];
};

static int open_log(struct console *console)
{
	struct stat st;
	console->fd = open(console->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (console->fd < 0)
		return -1;
	console->size = fstat(console->fd, &st) == 0 ? (size_t)st.st_size : 0;
	return 0;
}

struct console *console_open(const char *folder, size_t size_max, struct error *err)
{
	struct console *console = calloc(1, sizeof(*console));
	if (!console) {
		error_set(err, ERR_NOMEM, "no memory for a console");
		return NULL;
	}
	snprintf(console->path, sizeof(console->path), "%.4000s/console.log", folder);
	console->size_max = size_max;
	if (open_log(console) < 0) {
		error_sys(err, ERR_STORAGE, errno, "cannot open %s", console->path);
		free(console);
		return NULL;
	}
	return console;
}

static void complain_once(struct console *console, const char *what)
{
	if (!console->complained)
		log_warn("%s %s: %s", what, console->path, strerror(errno));
	console->complained = true;
}

static void rotate(struct console *console)
{
	char older[4100];
	snprintf(older, sizeof(older), "%s.1", console->path);
	if (console->fd >= 0)
		close(console->fd);
	if (rename(console->path, older) < 0)
		complain_once(console, "cannot rotate");
	if (open_log(console) < 0)
		complain_once(console, "cannot open");
}

static void write_line(struct console *console, int stream, char mark, const char *text,
		       size_t length)
{
	char line[CONSOLE_LINE_MAX + 64], now[CLOCK_TEXT_MAX];
	int n = snprintf(line, sizeof(line), "%s %s %c %.*s\n", clock_rfc3339(now),
			 stream_names[stream], mark, 0, "");
	// The text may hold any byte: copied, not printed.
	memcpy(line + n - 1, text, length);
	size_t total = (size_t)n - 1 + length;
	line[total++] = '\n';
	if (console->size + total > console->size_max && console->size)
		rotate(console);
	if (console->fd < 0)
		return;
	if (fdio_write_all(console->fd, line, total, NULL) < 0)
		complain_once(console, "cannot write");
	else
		console->size += total;
}

void console_put(struct console *console, int stream, const char *bytes, size_t length)
{
	struct part *part = &console->parts[stream];
	while (length) {
		const char *newline = memchr(bytes, '\n', length);
		size_t room = sizeof(part->text) - part->length;
		size_t n = newline ? (size_t)(newline - bytes) : length;
		bool whole = newline && n <= room;
		n = n < room ? n : room;
		memcpy(part->text + part->length, bytes, n);
		part->length += n;
		if (whole || part->length == sizeof(part->text)) {
			write_line(console, stream, whole ? 'F' : 'P', part->text, part->length);
			part->length = 0;
		}
		n += whole; // the newline itself
		bytes += n;
		length -= n;
	}
}

void console_flush(struct console *console)
{
	for (int stream = 0; stream < 2; stream++) {
		struct part *part = &console->parts[stream];
		if (part->length)
			write_line(console, stream, 'P', part->text, part->length);
		part->length = 0;
	}
}

void console_close(struct console *console)
{
	if (!console)
		return;
	console_flush(console);
	if (console->fd >= 0)
		close(console->fd);
	free(console);
}
