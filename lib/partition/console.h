// SPDX-License-Identifier: Apache-2.0
// The console log of a partition: STATE/partitions/NAME/console.log, and console.log.1 before it.
// A line is `2026-11-23T05:09:00.123Z stdout F text`: time of arrival, stream, F for a full line or
// P for a part (longer than 8 KiB, or unfinished), text. This is the form of Kubernetes' CRI logs,
// so existing collectors read it.
#ifndef WPAR_PARTITION_CONSOLE_H
#define WPAR_PARTITION_CONSOLE_H

#include "lib/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define CONSOLE_SIZE_MAX (8u << 20) // one file; there are at most two
#define CONSOLE_LINE_MAX 8192

// ---- the writer (keeper) -----------------------------------------------------------------------
struct console;
struct console *console_open(const char *folder, size_t size_max, struct error *err);
// Takes bytes of stream 0 (stdout) or 1 (stderr). Failing storage loses lines, never the partition:
// there is no error to return.
void console_put(struct console *console, int stream, const char *bytes, size_t length);
// Writes out unfinished lines (at the end of the partition, and before a move).
void console_flush(struct console *console);
void console_close(struct console *console);

// ---- the reader (relocd) -----------------------------------------------------------------------
struct console_line {
	char *time;   // RFC 3339, NUL-terminated, all three point into the reader's buffer
	char *stream; // "stdout" or "stderr"
	char *text;   // with its newline, unless it is a part
	size_t length;
};
struct console_reader;
// From the line at or after `since` on (NULL: all that is kept). A log that does not exist yet is
// empty.
struct console_reader *console_reader_open(const char *folder, const char *since,
					   struct error *err);
// 1: a line; 0: none (yet: call again later to follow, rotation is noticed); -1: error.
int console_reader_next(struct console_reader *reader, struct console_line *line,
			struct error *err);
void console_reader_close(struct console_reader *reader);

#endif
