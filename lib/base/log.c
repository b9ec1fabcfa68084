// SPDX-License-Identifier: Apache-2.0
#include "lib/base/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char name[64] = "wpar";
static bool debug;
static int journal = -1;

void log_open(const char *who)
{
	snprintf(name, sizeof(name), "%s", who);
	journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_debug_enable(bool on)
{
	debug = on;
}

static size_t prefix(char *line, size_t size, int priority)
{
	if (journal > 0)
		return (size_t)snprintf(line, size, "<%d>%s: ", priority, name);
	struct timespec now;
	struct tm parts;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	size_t n = strftime(line, size, "%FT%T", &parts);
	return n +
	       (size_t)snprintf(line + n, size - n, ".%03ldZ %s: ", now.tv_nsec / 1000000, name);
}

static void escape(char *text)
{
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

void log_at(int priority, const char *format, ...)
{
	if (priority > 6 && !debug)
		return;
	char line[2048];
	size_t n = prefix(line, sizeof(line) - 1, priority), body = n;
	va_list args;
	va_start(args, format);
	int length = vsnprintf(line + n, sizeof(line) - 1 - n, format, args);
	va_end(args);
	if (length < 0)
		return;
	n += (size_t)length;
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	escape(line + body);
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; // nobody to tell
}

void log_error_of(const struct error *err, const char *context)
{
	log_error("%s: %s (%s)", context, err->message, error_code(err));
}
