// SPDX-License-Identifier: Apache-2.0
// Paths of requests: texts from outside stay one segment or one value.
#include "lib/client/client_http.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '~' || c == '.';
}

// "." and ".." would be steps of a path, so their dots are written out.
static void append_encoded(char **to, const char *text)
{
	bool dots = !strcmp(text, ".") || !strcmp(text, "..");
	for (; *text; text++)
		if (is_unreserved(*text) && !dots)
			*(*to)++ = *text;
		else
			*to += sprintf(*to, "%%%02X", (unsigned char)*text);
}

static size_t encoded_max(const char *format, va_list args)
{
	size_t max = strlen(format) + 1;
	for (; *format; format++)
		if (*format == '%')
			max += 3 * strlen(va_arg(args, const char *));
	return max;
}

char *wpar_path(const char *format, ...)
{
	va_list args, counted;
	va_start(args, format);
	va_copy(counted, args);
	char *path = malloc(encoded_max(format, counted)), *to = path;
	va_end(counted);
	for (; path && *format; format++)
		if (*format != '%')
			*to++ = *format;
		else {
			append_encoded(&to, va_arg(args, const char *));
			format++;
		}
	if (path)
		*to = 0;
	va_end(args);
	return path;
}

void client_add_query(char **path, const char *key, const char *value)
{
	if (!*path || !value)
		return;
	char *more = wpar_path(strchr(*path, '?') ? "&%s=%s" : "?%s=%s", key, value);
	char *whole = NULL;
	if (!more || asprintf(&whole, "%s%s", *path, more) < 0)
		whole = NULL;
	free(more);
	free(*path);
	*path = whole;
}
